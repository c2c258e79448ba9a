/** @file Rows of different lengths as one rectangle with a mask. */
import { TokenizerError } from "./errors.ts";

export type Side = "left" | "right";

/** Token ids and their attention mask, both row-major `[rows, width]`; the mask is 1 at real tokens, 0 at padding. */
export interface PaddedRows {
  readonly ids: Int32Array<ArrayBuffer>;
  readonly mask: Int32Array<ArrayBuffer>;
  readonly dims: readonly [rows: number, width: number];
}

export interface PadOptions {
  /** Where the padding goes. Default `"right"`. */
  side?: Side;
  /** The id written at padding. Default 0: the mask, not this id, says what is padding. */
  value?: number;
  /** `"longest"` (default) pads to the longest row, a number to that width, `false` asserts that rows are equally long. */
  padding?: "longest" | number | false;
}

/**
 * Pads rows of token ids to one rectangle.
 *
 * @param rows token ids, one list per row; a row may be empty
 * @returns ids and mask, `[rows, width]`
 * @throws TokenizerError when a row is longer than the width asked for, or rows differ in length with `padding: false`
 * @example
 * ```ts
 * padRows([[5, 6], [7]], { side: "left", value: 0 });
 * // { ids: Int32Array [5, 6, 0, 7], mask: Int32Array [1, 1, 0, 1], dims: [2, 2] }
 * ```
 */
export function padRows(rows: readonly ArrayLike<number>[], options: PadOptions = {}): PaddedRows {
  const { side = "right", value = 0, padding = "longest" } = options;
  const longest = rows.reduce((n, row) => Math.max(n, row.length), 0);
  const width = typeof padding === "number" ? padding : longest;
  const misfit = rows.findIndex((row) => (padding === false ? row.length !== longest : row.length > width));
  if (misfit >= 0)
    throw new TokenizerError("the rows do not fit one rectangle", {
      code: "tokenizer/padding",
      where: `row ${misfit}`,
      expected: padding === false ? `${longest} tokens, as in the longest row` : `at most ${width} tokens`,
      received: `${rows[misfit]!.length} tokens`,
      hint: padding === false ? "ask for padding" : "truncate, or pad to a larger width",
    });
  const ids = new Int32Array(rows.length * width).fill(value);
  const mask = new Int32Array(rows.length * width);
  rows.forEach((row, r) => {
    const at = r * width + (side === "left" ? width - row.length : 0);
    ids.set(row, at);
    mask.fill(1, at, at + row.length);
  });
  return { ids, mask, dims: [rows.length, width] };
}
