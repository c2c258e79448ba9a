/** @file Gathers by index tuples over several axes, and the scatter that undoes them. */
import { productOf, sameShape, shapeText, type Dim } from "../axis.ts";
import { sizeOfDims, stridesOf } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { asInt64, requireIndex, wrap, zeros } from "./indices.ts";
import { concat } from "./parts.ts";
import { requireKind } from "./rules.ts";
import { broadcastTo, reshape } from "./shape.ts";
import { range } from "./sizes.ts";

const gatherNDOperation: Operation<{ batchDims: number }> = {
  name: "GatherND",
  infer: ([x, indices], { batchDims }) => {
    requireIndex("GatherND", indices!);
    const depth = indices!.shape.at(-1);
    if (typeof depth !== "number" || depth + batchDims > x!.rank || batchDims >= indices!.rank)
      throw new GraphError(`GatherND: index tuples ${namedShape(indices!)} do not address ${namedShape(x!)}`, {
        code: "graph/index",
      });
    return { shape: [...indices!.shape.slice(0, -1), ...x!.shape.slice(batchDims + depth)], dtype: x!.dtype };
  },
  lower: ({ emit, inputs, node, attributes }) => {
    const indices = asInt64(emit, inputs[1]!, node.inputs[1]!);
    return emit.node("GatherND", [inputs[0]!, indices], { batch_dims: attributes.batchDims });
  },
  gradient: ({ inputs: [x, indices], gradient, attributes: { batchDims } }) => [
    scatterNDAdd(gradient, withBatch(indices!, batchDims), x!.shape),
    undefined,
  ],
  evaluate: ({ inputs: [x, indices], dims, attributes: { batchDims } }) => {
    const out = new Float64Array(sizeOfDims(dims));
    forEachTuple(x!.dims, indices!.dims, indices!.data, batchDims, (from, to, width) =>
      out.set(x!.data.subarray(from, from + width), to),
    );
    return out;
  },
  along: () => undefined,
};

/** Offsets into the addressed array and into the updates, for each index tuple. */
function forEachTuple(
  dims: readonly number[],
  indexDims: readonly number[],
  indices: Float64Array,
  batchDims: number,
  visit: (at: number, update: number, width: number) => void,
): void {
  const depth = indexDims.at(-1)!;
  const strides = stridesOf(dims);
  const width = sizeOfDims(dims.slice(batchDims + depth));
  const perBatch = sizeOfDims(indexDims.slice(batchDims, -1));
  const batchStride = batchDims === 0 ? 0 : strides[batchDims - 1]!;
  const tuples = sizeOfDims(indexDims.slice(0, -1));
  for (let t = 0; t < tuples; t++) {
    let at = Math.floor(t / perBatch) * batchStride;
    for (let d = 0; d < depth; d++)
      at += wrap(indices[t * depth + d]!, dims[batchDims + d]!, "GatherND") * strides[batchDims + d]!;
    visit(at, t * width, width);
  }
}

/** Index tuples with the batch coordinates in front, for a scatter that has no batch axes. */
function withBatch(indices: Tensor, batchDims: number): Tensor {
  let full = indices;
  for (let d = batchDims - 1; d >= 0; d--) {
    const own = range(indices.shape[d]!);
    const shape = indices.shape.map((dim, i) => (i === indices.rank - 1 ? 1 : dim));
    const column = reshape(
      own,
      shape.map((dim, i) => (i === d ? dim : 1)),
    );
    full = concat([broadcastTo(column, shape), full], -1);
  }
  return full;
}

const scatterNDOperation: Operation<{ shape: readonly Dim[] }> = {
  name: "ScatterND",
  infer: ([updates, indices], { shape }) => {
    requireIndex("ScatterND", indices!);
    requireKind("ScatterND", updates!, "number");
    const depth = indices!.shape.at(-1);
    const expected = [...indices!.shape.slice(0, -1), ...shape.slice(depth as number)];
    if (typeof depth !== "number" || depth > shape.length || !sameShape(updates!.shape, expected))
      throw new GraphError(
        `ScatterND: index tuples ${namedShape(indices!)} do not place ${namedShape(updates!)} in ${shapeText(shape)}`,
        { code: "graph/index" },
      );
    return { shape, dtype: updates!.dtype };
  },
  // ScatterND adds in parallel, so repeated tuples could add in any order: address the flattened array instead.
  lower: ({ emit, inputs, node, attributes: { shape } }) => {
    const depth = node.inputs[1]!.shape.at(-1) as number;
    const strides = shape.slice(0, depth).map((_, i) => productOf(shape.slice(i + 1, depth)));
    const positive = emit.node("Mod", [asInt64(emit, inputs[1]!, node.inputs[1]!), emit.int64(shape.slice(0, depth))]);
    const offsets = emit.node("Mul", [positive, emit.int64(strides)]);
    const rows = emit.node("ReduceSum", [offsets, emit.int64([-1])], { keepdims: 0 });
    const width = productOf(shape.slice(depth));
    const count = productOf(node.inputs[1]!.shape.slice(0, -1));
    const [updates, indices] = node.inputs;
    const flatRows = emit.reshape(rows, indices!.shape.slice(0, -1), [count, 1]);
    const flatUpdates = emit.reshape(inputs[0]!, updates!.shape, [count, width]);
    const table = [productOf(shape.slice(0, depth)), width];
    const base = zeros(emit, table, node);
    const index = emit.node("Expand", [flatRows, emit.int64([count, width])]);
    const flat = emit.node("ScatterElements", [base, index, flatUpdates], { axis: 0, reduction: "add" });
    return emit.reshape(flat, table, shape);
  },
  gradient: ({ inputs: [, indices], gradient }) => [gatherND(gradient, indices!), undefined],
  evaluate: ({ inputs: [updates, indices], dims }) => {
    const out = new Float64Array(sizeOfDims(dims));
    forEachTuple(dims, indices!.dims, indices!.data, 0, (to, from, width) => {
      for (let i = 0; i < width; i++) out[to + i]! += updates!.data[from + i]!;
    });
    return out;
  },
  along: () => undefined,
};

export const gatherNDOperations: {
  readonly GatherND: typeof gatherNDOperation;
  readonly ScatterND: typeof scatterNDOperation;
} = { GatherND: gatherNDOperation, ScatterND: scatterNDOperation };

/**
 * Slices addressed by index tuples (ONNX GatherND): the last axis of `indices` holds coordinates after `batchDims` shared axes.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * const index = leaf(BigInt64Array.of(0n, 1n, 1n, 0n), [2, 2]);
 * (await realize(gatherND(x, index))).toArray(); // [2, 3]
 */
export function gatherND(x: Tensor, indices: Tensor, options: { batchDims?: number } = {}): Tensor {
  return apply(gatherNDOperation, [x, indices], { batchDims: options.batchDims ?? 0 });
}
/**
 * Adds slices into zeros of a shape at index tuples: the derivative of {@link gatherND}.
 * @example
 * const updates = leaf(Float32Array.of(5, 6), [2]);
 * const index = leaf(BigInt64Array.of(0n, 1n, 1n, 0n), [2, 2]);
 * (await realize(scatterNDAdd(updates, index, [2, 2]))).toArray(); // [0, 5, 6, 0]
 */
export function scatterNDAdd(updates: Tensor, indices: Tensor, shape: readonly Dim[]): Tensor {
  return apply(scatterNDOperation, [updates, indices], { shape });
}
