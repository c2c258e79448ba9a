/** @file Gathers along an axis, and the scatters that undo them: rows by number, and entries by number. */
import { productOf, sameDim, shapeText, type Dim } from "../axis.ts";
import { normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Along, Emitter, Operation, Value } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { asInt64, requireIndex, wrap, zeros } from "./indices.ts";
import { requireKind } from "./rules.ts";

const gatherOperation: Operation<{ axis: number }> = {
  name: "Gather",
  infer: ([x, indices], { axis }) => {
    requireIndex("Gather", indices!);
    return { shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)], dtype: x!.dtype };
  },
  lower: ({ emit, inputs, attributes }) => emit.node("Gather", inputs, { axis: attributes.axis }),
  gradient: ({ inputs: [x, indices], gradient, attributes: { axis } }) => [
    addRows(gradient, indices!, axis, x!.shape[axis]!),
    undefined,
  ],
  evaluate: ({ inputs: [x, indices], dims, attributes: { axis } }) => {
    const inner = sizeOfDims(x!.dims.slice(axis + 1));
    const outer = sizeOfDims(x!.dims.slice(0, axis));
    const n = x!.dims[axis]!;
    const out = new Float64Array(sizeOfDims(dims));
    let at = 0;
    for (let o = 0; o < outer; o++)
      for (const index of indices!.data) {
        const from = (o * n + wrap(index, n, "Gather")) * inner;
        out.set(x!.data.subarray(from, from + inner), at);
        at += inner;
      }
    return out;
  },
  along: (node, axis, attributes): Along => {
    const width = node.inputs[1]!.rank;
    if (axis < attributes.axis) return [axis, null];
    if (axis < attributes.axis + width) return [null, axis - attributes.axis];
    return [axis - width + 1, null];
  },
};

/** The adjoint of Gather: rows added up into zeros, in the order of the indices. */
const addRowsOperation: Operation<{ axis: number; size: Dim }> = {
  name: "AddRows",
  infer: ([updates, indices], { axis, size }) => {
    requireIndex("AddRows", indices!);
    requireKind("AddRows", updates!, "number");
    const width = indices!.rank;
    const listed = updates!.shape.slice(axis, axis + width);
    if (listed.length !== width || !listed.every((d, i) => sameDim(d, indices!.shape[i]!)))
      throw new GraphError(
        `AddRows: axes ${axis} … of ${namedShape(updates!)} are not those of the indices ${namedShape(indices!)}`,
        { code: "graph/index" },
      );
    return {
      shape: [...updates!.shape.slice(0, axis), size, ...updates!.shape.slice(axis + width)],
      dtype: updates!.dtype,
    };
  },
  // ScatterElements runs on one thread in ONNX Runtime, so repeated indices add in one order.
  lower: ({ emit, inputs, node, attributes: { axis, size } }) => {
    const [updates, indices] = node.inputs;
    if (axis === 0 && typeof size === "number" && size <= fewRows && node.dtype === "float32")
      return addFewRows(emit, inputs, node, size);
    const merged = [
      ...updates!.shape.slice(0, axis),
      productOf(indices!.shape),
      ...updates!.shape.slice(axis + indices!.rank),
    ];
    const flat = emit.reshape(inputs[0]!, updates!.shape, merged);
    const column = emit.reshape(
      inputs[1]!,
      indices!.shape,
      merged.map((d, i) => (i === axis ? d : 1)),
    );
    const index = emit.node("Expand", [column, emit.int64(merged)]);
    return emit.node("ScatterElements", [zeros(emit, node.shape, node), index, flat], { axis, reduction: "add" });
  },
  gradient: ({ inputs: [, indices], gradient, attributes: { axis } }) => [gather(gradient, indices!, axis), undefined],
  evaluate: ({ inputs: [updates, indices], dims, attributes: { axis } }) => {
    const n = dims[axis]!;
    const inner = sizeOfDims(dims.slice(axis + 1));
    const outer = sizeOfDims(dims.slice(0, axis));
    const out = new Float64Array(sizeOfDims(dims));
    let at = 0;
    for (let o = 0; o < outer; o++)
      for (const index of indices!.data) {
        const to = (o * n + wrap(index, n, "AddRows")) * inner;
        for (let i = 0; i < inner; i++) out[to + i]! += updates!.data[at++]!;
      }
    return out;
  },
  along: (node, axis, attributes): Along => {
    if (axis === attributes.axis) return undefined;
    return [axis < attributes.axis ? axis : axis + node.inputs[1]!.rank - 1, null];
  },
};

/** Up to so many rows are added by a product: at about 70 ns an element, ScatterElements is many times slower. */
const fewRows = 512;

/** Ones where a row goes [size, updates], times the updates. */
function addFewRows(emit: Emitter, inputs: readonly Value[], node: Tensor, size: number): Value {
  const [updates, indices] = node.inputs;
  const count = productOf(indices!.shape);
  const width = productOf(updates!.shape.slice(indices!.rank));
  const flat = emit.reshape(inputs[0]!, updates!.shape, [count, width]);
  const index = emit.reshape(asInt64(emit, inputs[1]!, indices!), indices!.shape, [count]);
  const values = emit.node(
    "Concat",
    [0, 1].map((x) => emit.node("Unsqueeze", [emit.scalar(x, "float32"), emit.int64([0])])),
    { axis: 0 },
  );
  const ones = emit.node("OneHot", [index, emit.scalar(size, "int64"), values], { axis: 0 });
  return emit.reshape(emit.node("MatMul", [ones, flat]), [size, width], node.shape);
}

const gatherElementsOperation: Operation<{ axis: number }> = {
  name: "GatherElements",
  infer: ([x, indices], { axis }) => {
    requireIndex("GatherElements", indices!);
    sameBeside("GatherElements", x!.shape, indices!.shape, axis);
    return { shape: indices!.shape, dtype: x!.dtype };
  },
  lower: ({ emit, inputs, attributes }) => emit.node("GatherElements", inputs, { axis: attributes.axis }),
  gradient: ({ inputs: [x, indices], gradient, attributes: { axis } }) => [
    scatterAdd(gradient, indices!, axis, x!.shape[axis]!),
    undefined,
  ],
  evaluate: ({ inputs: [x, indices], dims, attributes: { axis } }) => {
    const strides = stridesOf(x!.dims);
    const beside = strides.map((s, i) => (i === axis ? 0 : s));
    const out = new Float64Array(sizeOfDims(dims));
    walk(dims, [beside], (i, [at]) => {
      out[i] = x!.data[at! + wrap(indices!.data[i]!, x!.dims[axis]!, "GatherElements") * strides[axis]!]!;
    });
    return out;
  },
  along: (_node, axis, attributes) => (axis === attributes.axis ? undefined : [axis, axis]),
};

function sameBeside(name: string, a: readonly Dim[], b: readonly Dim[], axis?: number): void {
  if (a.length !== b.length || !a.every((d, i) => i === axis || sameDim(d, b[i]!)))
    throw new GraphError(
      `${name}: shapes differ${axis === undefined ? "" : ` beside axis ${axis}`}: ${shapeText(a)} and ${shapeText(b)}`,
      {
        code: "graph/index",
      },
    );
}

const scatterAddOperation: Operation<{ axis: number; size: Dim }> = {
  name: "ScatterElements",
  infer: ([updates, indices], { axis, size }) => {
    requireIndex("ScatterElements", indices!);
    requireKind("ScatterElements", updates!, "number");
    sameBeside("ScatterElements", updates!.shape, indices!.shape);
    return { shape: updates!.shape.map((d, i) => (i === axis ? size : d)), dtype: updates!.dtype };
  },
  lower: ({ emit, inputs, node, attributes: { axis } }) =>
    emit.node("ScatterElements", [zeros(emit, node.shape, node), inputs[1]!, inputs[0]!], { axis, reduction: "add" }),
  gradient: ({ inputs: [, indices], gradient, attributes: { axis } }) => [
    takeAlong(gradient, indices!, axis),
    undefined,
  ],
  evaluate: ({ inputs: [updates, indices], dims, attributes: { axis } }) => {
    const strides = stridesOf(dims);
    const beside = strides.map((s, i) => (i === axis ? 0 : s));
    const out = new Float64Array(sizeOfDims(dims));
    walk(updates!.dims, [beside], (i, [at]) => {
      out[at! + wrap(indices!.data[i]!, dims[axis]!, "ScatterElements") * strides[axis]!]! += updates!.data[i]!;
    });
    return out;
  },
  along: (_node, axis, attributes) => (axis === attributes.axis ? undefined : [axis, axis]),
};

export const gatherOperations: {
  readonly Gather: typeof gatherOperation;
  readonly AddRows: typeof addRowsOperation;
  readonly GatherElements: typeof gatherElementsOperation;
  readonly ScatterElements: typeof scatterAddOperation;
} = {
  Gather: gatherOperation,
  AddRows: addRowsOperation,
  GatherElements: gatherElementsOperation,
  ScatterElements: scatterAddOperation,
};

/**
 * Entries of an axis by number: `out[…, i…, …] = x[…, indices[i…], …]`; for a table of rows, an embedding lookup.
 * @example
 * const table = leaf(Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]);
 * const rows = leaf(BigInt64Array.of(2n, 0n), [2]);
 * (await realize(gather(table, rows))).toArray(); // [5, 6, 1, 2]
 */
export function gather(x: Tensor, indices: Tensor, axis = 0): Tensor {
  return apply(gatherOperation, [x, indices], { axis: normalizeAxis("Gather", axis, x) });
}
/**
 * Adds rows into zeros by number: the derivative of {@link gather}. Repeated indices add up in a fixed order.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * const rows = leaf(BigInt64Array.of(2n, 0n), [2]);
 * (await realize(addRows(x, rows, 0, 3))).toArray(); // [3, 4, 0, 0, 1, 2]
 */
export function addRows(updates: Tensor, indices: Tensor, axis: number, size: Dim): Tensor {
  return apply(addRowsOperation, [updates, indices], { axis, size });
}
/**
 * One entry per position along an axis: `out[…, j, …] = x[…, indices[…, j, …], …]`.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * const index = leaf(BigInt64Array.of(1n, 0n), [2, 1]);
 * (await realize(takeAlong(x, index, 1))).toArray(); // [2, 3]
 */
export function takeAlong(x: Tensor, indices: Tensor, axis: number): Tensor {
  return apply(gatherElementsOperation, [x, indices], { axis: normalizeAxis("GatherElements", axis, x) });
}
/**
 * Adds entries into zeros along an axis: the derivative of {@link takeAlong}.
 * @example
 * const updates = leaf(Float32Array.of(5, 6), [2, 1]);
 * const index = leaf(BigInt64Array.of(1n, 0n), [2, 1]);
 * (await realize(scatterAdd(updates, index, 1, 2))).toArray(); // [0, 5, 6, 0]
 */
export function scatterAdd(updates: Tensor, indices: Tensor, axis: number, size: Dim): Tensor {
  return apply(scatterAddOperation, [updates, indices], {
    axis: normalizeAxis("ScatterElements", axis, updates),
    size,
  });
}
