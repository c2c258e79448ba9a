/** @file What splicing SAEs does to the answers: what it keeps, breaks and repairs. */
import { displayed, Section, Table, type Cell, type Displayable } from "../../display/index.ts";
import type { AnalysisResult } from "../tables/four.ts";
import { logitDiffRows, sameExamples, type BaseVsSaeOptions } from "./baseVsSae.ts";
import { evenOdds } from "./statistics.ts";

/** What became of examples, by whether the plain and the spliced model have them right. */
const outcomes = {
  kept: ["Right with and without SAEs", true, true],
  broken: ["Right without, wrong with SAEs", true, false],
  repaired: ["Wrong without, right with SAEs", false, true],
  wrong: ["Wrong with and without SAEs", false, false],
} as const;
export type SaeOutcome = keyof typeof outcomes;

/** Examples of one outcome. */
export interface OutcomeCount {
  readonly outcome: SaeOutcome;
  readonly count: number;
  /** Share of all examples. */
  readonly share: number;
  /** Mean of the spliced minus the plain logit difference; NaN without examples. */
  readonly mean_change: number;
}

/** What `saeDamage` says. Shows itself as the table of outcomes and the examples that changed. */
export interface SaeDamage extends Displayable {
  readonly outcomes: readonly OutcomeCount[];
  /** Chance of changes as one-sided as these if SAEs broke and repaired equally often (McNemar's exact test). */
  readonly p_value: number;
  /** Positions in the data, most changed first. */
  readonly broken: readonly number[];
  readonly repaired: readonly number[];
}

/**
 * Both directions of what SAEs do to the answers. An example is right when the prediction is the label. The examples
 * that changed are listed with both logit differences, the most changed first.
 *
 * @throws AnalysisError when the two analyses are not of the same examples.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const damage = saeDamage(await store.load("logit_diffs_sae"), await store.load("logit_diffs_base"));
 * console.log(String(damage), damage.p_value);
 * ```
 */
export function saeDamage(
  sae: AnalysisResult,
  base: AnalysisResult,
  options: Omit<BaseVsSaeOptions, "keep"> = {},
): SaeDamage {
  sameExamples(sae, base);
  const { topK = 10 } = options;
  const right = (result: AnalysisResult, i: number): boolean =>
    result.examples[i]!.preds === result.examples[i]!.orig_labels;
  const change = (i: number): number => sae.examples[i]!.logit_diffs - base.examples[i]!.logit_diffs;
  const of = (outcome: SaeOutcome): number[] =>
    base.examples
      .map((_, i) => i)
      .filter((i) => right(base, i) === outcomes[outcome][1] && right(sae, i) === outcomes[outcome][2])
      .sort((a, b) => Math.abs(change(b)) - Math.abs(change(a)));
  const names = Object.keys(outcomes) as SaeOutcome[];
  const counts = names.map((outcome): OutcomeCount => {
    const own = of(outcome);
    const mean_change = own.reduce((sum, i) => sum + change(i), 0) / own.length;
    return { outcome, count: own.length, share: own.length / base.examples.length, mean_change };
  });
  const [broken, repaired] = [of("broken"), of("repaired")];
  const p_value = evenOdds(broken.length, repaired.length);
  const view = (): Section<Table> => {
    const lists = (["broken", "repaired"] as const).map((outcome) => {
      const own = outcome === "broken" ? broken : repaired;
      return logitDiffRows(sae, base, own.slice(0, topK), options, outcomes[outcome][0]);
    });
    const rows = counts.map(({ outcome, count, share, mean_change }): Cell[] => [
      outcomes[outcome][0],
      count,
      share,
      Number.isNaN(mean_change) ? null : mean_change,
    ]);
    const table = new Table(
      [
        { key: "outcome", label: "Answers" },
        { key: "count", label: "Examples" },
        { key: "share", label: "Share" },
        { key: "mean_change", label: "Mean Change of Logit Diff" },
      ],
      rows,
      `What SAEs do to the answers (exact McNemar p = ${p_value.toPrecision(3)})`,
    );
    return new Section([table, ...lists.filter(({ rows: own }) => own.length > 0)]);
  };
  const ids = (places: number[]): number[] => places.map((i) => base.examples[i]!.example);
  return displayed({ outcomes: counts, p_value, broken: ids(broken), repaired: ids(repaired) }, view);
}
