/** @file How often each analysis is right, and for ablations what its vote is worth. */
import { batchRanges, exampleOf } from "../views/shapes.ts";
import type { AnalysisName, AnalysisResult } from "../tables/four.ts";
import { displayed, fixed, Table, type Column, type Displayable } from "../../display/index.ts";

/** What `computeCorrect` says. Shows itself as a line of `accuracyTable`. */
export interface CorrectSummary extends Displayable {
  readonly analysis: AnalysisName;
  /** What the analysis is called. */
  readonly name: string;
  readonly total_correct: number;
  /** Number of examples. */
  readonly total: number;
  /** 100 · total_correct / total, over examples, not a mean over batches. */
  readonly percentage_correct: number;
  /** For ablation, per batch, the prediction that most ablated runs make; otherwise null. */
  readonly batch_predictions: number[][] | null;
  /** For ablation, the (example, active latent) pairs and how many of them change the prediction; otherwise null. */
  readonly pairs: { readonly total: number; readonly flipped: number } | null;
}

/**
 * Predictions that agree with the labels. For `logit_diffs_attr_ablation`, as published, an example's prediction is
 * the most frequent one over the ablations of all latents alive in its batch (ties go to the smaller class); a latent
 * that is inactive in the example votes for the unablated prediction. That vote hardly moves, so `pairs` counts what
 * single ablations change.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const { percentage_correct } = computeCorrect(await store.load("logit_diffs_base"));
 * ```
 */
export function computeCorrect(result: AnalysisResult): CorrectSummary {
  const { analysis, name = analysis, examples } = result;
  const ablation = analysis === "logit_diffs_attr_ablation";
  const predictions = ablation ? votes(result) : null;
  const flat = predictions?.flat() ?? examples.map((row) => row.preds);
  const total = examples.length;
  const total_correct = examples.filter((row, i) => flat[i] === row.orig_labels).length;
  const pairs = ablation ? { total: result.latents.length, flipped: flips(result) } : null;
  const percentage_correct = (100 * total_correct) / total;
  const summary = { analysis, name, total_correct, total, percentage_correct, batch_predictions: predictions, pairs };
  const shown: CorrectSummary = displayed(summary, () => accuracyTable([shown], { pairs: pairs !== null }));
  return shown;
}

export interface AccuracyOptions {
  /** For ablations the number of ablated pairs and of predictions they flip, too. Default false. */
  readonly pairs?: boolean;
  /** Heading of the names: the newer tutorial's `Op`, which is the default, or the older one's `Mode`. */
  readonly heading?: string;
}

/**
 * The table `Op | Total Correct | Percentage Correct`, a line per analysis.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const results = await Promise.all(store.analyses.map((name) => store.load(name)));
 * console.log(String(accuracyTable(results)));
 * ```
 */
export function accuracyTable(
  results: readonly (AnalysisResult | CorrectSummary)[],
  options: AccuracyOptions = {},
): Table {
  const columns: Column[] = [
    { key: "op", label: options.heading ?? "Op" },
    { key: "total_correct", label: "Total Correct" },
    { key: "percentage_correct", label: "Percentage Correct", align: "left", format: (c) => `${fixed(Number(c), 2)}%` },
  ];
  if (options.pairs)
    columns.push({ key: "ablated_pairs", label: "Ablated Pairs" }, { key: "flipped_pairs", label: "Flipped Pairs" });
  const rows = results.map((result) => {
    const { name, total_correct, percentage_correct, pairs } =
      "total_correct" in result ? result : computeCorrect(result);
    const own = [name, total_correct, percentage_correct];
    return options.pairs ? [...own, pairs?.total ?? null, pairs?.flipped ?? null] : own;
  });
  return new Table(columns, rows);
}

function votes(result: AnalysisResult): number[][] {
  const { hooks, latents, examples } = result;
  const rows = exampleOf(result);
  return batchRanges(result).map(({ start, end, first, last }) => {
    const alive = new Set<number>();
    const base = Math.max(0, ...hooks.map(({ width }) => width));
    const counts = Array.from({ length: end - start }, () => new Map<number, number>());
    const vote = (example: number, pred: number, weight: number): void => {
      const count = counts[example - start]!;
      count.set(pred, (count.get(pred) ?? 0) + weight);
    };
    const active = new Int32Array(end - start);
    for (let i = first; i < last; i++) {
      alive.add(latents.hook[i]! * base + latents.latent[i]!);
      active[rows[i]! - start]!++;
      vote(rows[i]!, latents.ablated_pred![i]!, 1);
    }
    // Latents that are inactive in an example leave it as it was; with none alive at all, so does the vote.
    for (let e = start; e < end; e++)
      vote(e, examples[e]!.preds, alive.size === 0 ? 1 : alive.size - active[e - start]!);
    return counts.map((count) => [...count].sort(([a, n], [b, m]) => m - n || a - b)[0]![0]);
  });
}

function flips(result: AnalysisResult): number {
  const rows = exampleOf(result);
  return rows.filter((row, i) => result.latents.ablated_pred![i] !== result.examples[row]!.preds).length;
}
