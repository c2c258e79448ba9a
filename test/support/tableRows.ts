/** @file Made-up rows of the four analyses for tests of their tables, views and reviews. */
import { analyses, type AnalysisName, type ExampleRow, type LatentRow } from "../../src/analysis/tables/index.ts";

/** Examples in batches of two whose label is 1: right where the difference is positive. */
export const examplesOf = (
  diffs: readonly number[],
  own: (example: number) => Partial<ExampleRow> = () => ({}),
): ExampleRow[] =>
  diffs.map((logit_diffs, example) => ({
    example,
    batch: example >> 1,
    label_ids: 7,
    orig_labels: 1,
    answer_indices: -1,
    loss: example + 1,
    logit_diffs,
    preds: logit_diffs > 0 ? 1 : 0,
    answer_logits: [0, logit_diffs],
    ...own(example),
  }));

/** An active latent, and the logit difference without it. */
export type Ablated = readonly [example: number, hook: string, latent: number, activation: number, ablated: number];

/** The rows of the ablation. */
export const ablationRows = (active: readonly Ablated[], diffs: readonly number[]): LatentRow[] =>
  active.map(([example, hook, latent, activation, ablated]) => ({
    example,
    hook,
    latent,
    activation,
    attribution_values: diffs[example]! - ablated,
    ablated_logit_diff: ablated,
    ablated_loss: 10,
    ablated_pred: ablated > 0 ? 1 : 0,
  }));

/** What another of the four says of the same latents: the columns that it has. */
export function latentsOf(analysis: AnalysisName, rows: readonly LatentRow[]): LatentRow[] {
  if (analysis === "logit_diffs_base") return [];
  return rows.map(({ example, hook, latent, activation, ...values }) => ({
    ...{ example, hook, latent, activation },
    ...Object.fromEntries(analyses[analysis].map((name) => [name, values[name]])),
  }));
}
