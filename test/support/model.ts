/** @file Helpers for tests of models: batches from golden rectangles, values of captured hooks. */
import { leaf, type Dim, type Tensor } from "../../src/graph/index.ts";
import { tokenBatch, type TokenBatch, type TokenBatchOptions } from "../../src/model/index.ts";

/** Row-major numbers as rows. */
export function rowsOf(numbers: readonly number[], width: number): number[][] {
  return Array.from({ length: numbers.length / width }, (_, r) => numbers.slice(r * width, (r + 1) * width));
}

/** A batch of a golden's `ids` [b, p], with its mask where it has one. */
export function goldenBatch(
  tensors: { numbers(name: string): number[]; dims(name: string): readonly number[]; has(name: string): boolean },
  ids = "input_ids",
  mask?: string,
  options: TokenBatchOptions = {},
): TokenBatch {
  const width = tensors.dims(ids)[1]!;
  const given = mask === undefined ? undefined : rowsOf(tensors.numbers(mask), width);
  return tokenBatch(rowsOf(tensors.numbers(ids), width), { mask: given, ...options });
}

/** A realized tensor's data as plain numbers. */
export const numbersOf = (x: Tensor): number[] => Array.from(x.data as ArrayLike<number | bigint>, Number);

/** The entries of [b, p, …] where a mask [b, p] is 1. */
export function atReal(values: readonly number[], mask: readonly number[]): number[] {
  const width = values.length / mask.length;
  return mask.flatMap((m, i) => (m === 1 ? values.slice(i * width, (i + 1) * width) : []));
}

/** An int64 leaf of indices. */
export function indexLeaf(values: readonly number[], dims: readonly number[], shape: readonly Dim[] = dims): Tensor {
  return leaf(BigInt64Array.from(values, BigInt), dims, { shape });
}

/** Rows of different lengths as a rectangle with its mask. */
export function padded(
  rows: readonly (readonly number[])[],
  side: "left" | "right",
  padId: number,
): { ids: number[][]; mask: number[][] } {
  const length = Math.max(...rows.map((row) => row.length));
  const fill = (row: readonly number[], value: number): number[] => {
    const pads = new Array<number>(length - row.length).fill(value);
    return side === "left" ? [...pads, ...row] : [...row, ...pads];
  };
  return {
    ids: rows.map((row) => fill(row, padId)),
    mask: rows.map((row) =>
      fill(
        row.map(() => 1),
        0,
      ),
    ),
  };
}
