/** @file Example by example: the answer's margin in the plain model and with SAEs spliced in. */
import { AnalysisError } from "../errors.ts";
import type { AnalysisResult } from "../tables/four.ts";
import { Table, fixed, type Cell, type Column } from "../../display/index.ts";

export interface BaseVsSaeOptions {
  /** Rows to show. Default 10. */
  readonly topK?: number;
  /** Terminal columns at which prompts are wrapped. Default 80. */
  readonly maxPromptWidth?: number;
  /** Gives tokens their text where the results hold none; without it such tokens are shown as ids. */
  readonly tokenizer?: { decode(ids: readonly number[]): string };
  /** `correct`, as published: only examples that the plain model has right. `all`: what SAEs do to the wrong ones too. */
  readonly keep?: "correct" | "all";
}

/**
 * Logit differences of the plain and of the spliced model, largest plain difference first. Sample ids are positions
 * in the data.
 *
 * @throws AnalysisError when the two analyses are not of the same examples.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const [base, sae] = [await store.load("logit_diffs_base"), await store.load("logit_diffs_sae")];
 * console.log(String(baseVsSaeLogitDiffs(sae, base, { topK: 10 })));
 * ```
 */
export function baseVsSaeLogitDiffs(sae: AnalysisResult, base: AnalysisResult, options: BaseVsSaeOptions = {}): Table {
  const { topK = 10, keep = "correct" } = options;
  sameExamples(sae, base);
  const places = base.examples
    .map((_, i) => i)
    .filter((i) => keep === "all" || base.examples[i]!.logit_diffs > 0)
    .sort((a, b) => base.examples[b]!.logit_diffs - base.examples[a]!.logit_diffs);
  return logitDiffRows(sae, base, places.slice(0, topK), options);
}

/** Refuses two analyses that are not of the same examples. */
export function sameExamples(sae: AnalysisResult, base: AnalysisResult): void {
  const differs = base.examples.findIndex((row, i) => row.example !== sae.examples[i]?.example);
  if (base.examples.length !== sae.examples.length || differs >= 0)
    throw new AnalysisError("the two analyses are not of the same examples", {
      code: "review/examples",
      expected: `${base.examples.length} examples of ${base.analysis}`,
      received: `${sae.examples.length} of ${sae.analysis}${differs < 0 ? "" : `, different from row ${differs} on`}`,
    });
}

/** Prompt, answer and both logit differences of the examples at these places. */
export function logitDiffRows(
  sae: AnalysisResult,
  base: AnalysisResult,
  places: readonly number[],
  { maxPromptWidth = 80, tokenizer }: BaseVsSaeOptions,
  title?: string,
): Table {
  const decode = (ids: readonly number[]): string => tokenizer?.decode(ids) ?? ids.join(" ");
  const rows = places.map((i): Cell[] => {
    const { example, prompts, tokens, answers, orig_labels, logit_diffs } = sae.examples[i]!;
    const clean = base.examples[i]!;
    return [
      example,
      prompts ?? (tokens ? decode(tokens) : ""),
      answers?.[orig_labels] ?? decode([clean.label_ids]),
      clean.logit_diffs,
      logit_diffs,
    ];
  });
  const signed = (cell: Cell): string => fixed(Number(cell), 3).replace(/^(?!-)/, "+");
  const columns: Column[] = [
    { key: "sample_id", label: "Sample ID", align: "left" },
    { key: "prompt", label: "Prompt", wrap: maxPromptWidth },
    { key: "answer", label: "Answer" },
    { key: "clean_logit_diff", label: "Clean Logit Diff", align: "left", format: signed },
    { key: "sae_logit_diff", label: "SAE Logit Diff", align: "left", format: signed },
  ];
  return new Table(columns, rows, title);
}
