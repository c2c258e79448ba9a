/** @file How a file lays parameters out: each layout reads a file's tensor as parameters and writes it back. */
import { add, concat, reshape, slice, sub, transpose } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";

export type Shape = readonly number[];

/** A tensor in a file against the parameters it holds. `join(split(x))` is `x`, bit for bit unless noted. */
export interface Layout {
  /** The shape in the file, from the parameters' shapes. */
  readonly fileShape: (shapes: readonly Shape[]) => Shape;
  readonly split: (x: Tensor, shapes: readonly Shape[]) => Tensor[];
  readonly join: (params: readonly Tensor[], shapes: readonly Shape[]) => Tensor;
}

interface OneToOne {
  readonly fileShape: (shape: Shape) => Shape;
  readonly read: (x: Tensor, shape: Shape) => Tensor;
  readonly write: (param: Tensor, shape: Shape) => Tensor;
}

function one({ fileShape, read, write }: OneToOne): Layout {
  return {
    fileShape: ([shape]) => fileShape(shape!),
    split: (x, [shape]) => [read(x, shape!)],
    join: ([param], [shape]) => write(param!, shape!),
  };
}

interface ThreeInOne {
  readonly fileShape: (shape: Shape) => Shape;
  readonly part: (x: Tensor, index: number, shape: Shape) => Tensor;
  readonly write: (params: readonly Tensor[], shape: Shape) => Tensor;
}

/** Queries, keys and values, all of one shape. */
function three({ fileShape, part, write }: ThreeInOne): Layout {
  return {
    fileShape: ([shape]) => fileShape(shape!),
    split: (x, [shape]) => [0, 1, 2].map((i) => part(x, i, shape!)),
    join: (params, [shape]) => write(params, shape!),
  };
}

const reversed = (shape: Shape): Shape => shape.toReversed();
const flattened = ([a, b, ...rest]: Shape): Shape => [a! * b!, ...rest];

/** As it is. */
export const same: Layout = one({ fileShape: (s) => s, read: (x) => x, write: (p) => p });

/** A Linear's [out, in], or an embedding read as an unembedding. */
export const transposed: Layout = one({ fileShape: reversed, read: (x) => transpose(x), write: (p) => transpose(p) });

/** The first two axes as one: [head, d_head, …] ← [head · d_head, …]. */
export const merged: Layout = one({ fileShape: flattened, read: reshape, write: (p, s) => reshape(p, flattened(s)) });

/** A Linear from the residual to heads: [head, d_model, d_head] ← [head · d_head, d_model]. */
export const toHeads: Layout = one({
  fileShape: ([h, d, e]) => [h! * e!, d!],
  read: rowsAsHeads,
  write: headsAsRows,
});

/** A Linear from heads to the residual: [head, d_head, d_model] ← [d_model, head · d_head]. */
export const fromHeads: Layout = one({
  fileShape: (s) => reversed(flattened(s)),
  read: (x, s) => reshape(transpose(x), s),
  write: (p, s) => transpose(reshape(p, flattened(s))),
});

/** Gemma's norms store w − 1. Exact for all w in [0.5, ∞); otherwise w − 1 is rounded once when written. */
export const onePlus: Layout = one({ fileShape: (s) => s, read: (x) => add(x, 1), write: (p) => sub(p, 1) });

/** GPT-2's Conv1D from the residual to q, k and v: columns [d_model, {q, k, v} · head · d_head]. */
export const fusedColumns: Layout = three({
  fileShape: ([h, d, e]) => [d!, 3 * h! * e!],
  part: (x, i, s) => rowsAsHeads(transpose(slice(x, 1, i * s[0]! * s[2]!, (i + 1) * s[0]! * s[2]!)), s),
  write: (params, s) =>
    concat(
      params.map((p) => transpose(headsAsRows(p, s))),
      1,
    ),
});

/** The bias of it: [{q, k, v} · head · d_head]. */
export const fusedBias: Layout = three({
  fileShape: ([h, e]) => [3 * h! * e!],
  part: (x, i, s) => reshape(slice(x, 0, i * s[0]! * s[1]!, (i + 1) * s[0]! * s[1]!), s),
  write: (params, s) =>
    concat(
      params.map((p) => reshape(p, flattened(s))),
      0,
    ),
});

/** GPT-NeoX's Linear to heads of q, k and v: rows [head · {q, k, v} · d_head, d_model]. */
export const fusedRows: Layout = three({
  fileShape: ([h, d, e]) => [3 * h! * e!, d!],
  part: (x, i, [h, d, e]) => transpose(slice(reshape(x, [h!, 3 * e!, d!]), 1, i * e!, (i + 1) * e!), [0, 2, 1]),
  write: (params, [h, d, e]) =>
    reshape(
      concat(
        params.map((p) => transpose(p, [0, 2, 1])),
        1,
      ),
      [3 * h! * e!, d!],
    ),
});

/** The bias of it: [head · {q, k, v} · d_head]. */
export const fusedRowsBias: Layout = three({
  fileShape: ([h, e]) => [3 * h! * e!],
  part: (x, i, [h, e]) => slice(reshape(x, [h!, 3 * e!]), 1, i * e!, (i + 1) * e!),
  write: (params, [h, e]) => reshape(concat(params, 1), [3 * h! * e!]),
});

/** `toHeads` where rotation pairs are neighbours (GGUF): within a head, row 2i + j is Hugging Face's row j · d_head/2 + i. */
export const interleavedToHeads: Layout = one({
  fileShape: ([h, d, e]) => [h! * e!, d!],
  read: (x, s) => rowsAsHeads(swapPairs(x, [s[0]!, s[2]! / 2, 2, s[1]!], x.shape as Shape), s),
  write: (p, s) => swapPairs(headsAsRows(p, s), [s[0]!, 2, s[2]! / 2, s[1]!], [s[0]! * s[2]!, s[1]!]),
});

/** The bias of it. */
export const interleavedMerged: Layout = one({
  fileShape: flattened,
  read: (x, s) => swapPairs(x, [s[0]!, s[1]! / 2, 2, 1], s),
  write: (p, s) => swapPairs(p, [s[0]!, 2, s[1]! / 2, 1], flattened(s)),
});

function rowsAsHeads(x: Tensor, [h, d, e]: Shape): Tensor {
  return transpose(reshape(x, [h!, e!, d!]), [0, 2, 1]);
}

function headsAsRows(p: Tensor, [h, d, e]: Shape): Tensor {
  return reshape(transpose(p, [0, 2, 1]), [h! * e!, d!]);
}

/** Exchanges the middle two axes of a tensor seen as `grouped`. */
function swapPairs(x: Tensor, grouped: Shape, result: Shape): Tensor {
  return reshape(transpose(reshape(x, grouped), [0, 2, 1, 3]), result);
}
