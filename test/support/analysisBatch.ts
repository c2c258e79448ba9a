/** @file Batches to analyse, of random rows. */
import type { AnalysisBatch } from "../../src/analysis/ops/index.ts";
import { padded } from "./model.ts";
import { randomRows } from "./random.ts";

/** Rows of random tokens with three answers each, labels in turn. */
export function randomBatch(
  lengths: readonly number[],
  vocabulary: number,
  options: { seed?: number; side?: "left" | "right"; index?: number; first?: number } = {},
): AnalysisBatch & { readonly ids: readonly (readonly number[])[]; readonly rows: readonly (readonly number[])[] } {
  const { seed = 5, side = "left", index = 0, first = 10 } = options;
  const rows = randomRows(lengths, vocabulary, seed);
  const { ids, mask } = padded(rows, side, 0);
  return {
    rows,
    ids,
    index,
    dims: [rows.length, ids[0]!.length],
    tokens: ids.flat(),
    mask: mask.flat(),
    answerIndices: mask.map((row) => row.lastIndexOf(1)),
    labels: rows.map((_, i) => i % 3),
    classes: 3,
    answerIds: rows.flatMap((_, i) => [3 + i, 8 + i, 12 + i]),
    examples: rows.map((_, i) => first + i),
  };
}
