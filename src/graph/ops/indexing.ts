/** @file Gathers and scatters: rows, along an axis, n-dimensional, and one list of positions per batch row. */
import { productOf, sameDim, sameShape, shapeText, type Dim } from "../axis.ts";
import { normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Along, Emitter, Operation, Value } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { onnxDTypes, requireKind } from "./elementwise.ts";
import { broadcastTo, concat, range, reshape } from "./shape.ts";
import { sum } from "./reduce.ts";

function requireIndex(name: string, indices: Tensor): void {
  if (indices.dtype !== "int64" && indices.dtype !== "int32")
    throw new GraphError(`${name}: indices must be integers, got ${indices.label}`, { code: "graph/dtype" });
}

/** ONNX takes negative indices; the reference does too. */
const wrap = (index: number, size: number, name: string): number => {
  const at = index < 0 ? index + size : index;
  if (!(at >= 0 && at < size))
    throw new GraphError(`${name}: index ${index} is outside an axis of size ${size}`, { code: "graph/index" });
  return at;
};

/** GatherND and arithmetic on shapes take int64 only. */
const asInt64 = (emit: Emitter, value: Value, x: Tensor): Value =>
  x.dtype === "int64" ? value : emit.node("Cast", [value], { to: onnxDTypes.int64 });

const zeros = (emit: Emitter, shape: readonly Dim[], node: Tensor): Value =>
  emit.node("Expand", [emit.scalar(0, node.dtype), emit.int64(shape)]);

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

interface RowsAttributes {
  readonly axis: number;
  readonly batchAxis: number;
  readonly [name: string]: Dim;
}

/** Moves the batch axis to the front and the walked axis behind it; and the way back. */
function frontPermutation(rank: number, { axis, batchAxis }: RowsAttributes): { to: number[]; back: number[] } {
  const rest = [...Array(rank).keys()].filter((i) => i !== axis && i !== batchAxis);
  const to = [batchAxis, axis, ...rest];
  return { to, back: to.map((_, i) => to.indexOf(i)) };
}

const isFront = ({ axis, batchAxis }: RowsAttributes): boolean => batchAxis === 0 && axis === 1;

/** Along an axis, the entries listed for each batch row: `out[b, …, j, …] = x[b, …, index[b, j], …]`. */
const takeRowsOperation: Operation<RowsAttributes> = {
  name: "TakeRows",
  infer: ([x, index], attributes) => {
    requireIndex("TakeRows", index!);
    const { axis, batchAxis } = attributes;
    if (
      index!.rank !== 2 ||
      axis === batchAxis ||
      (x!.shape[batchAxis] !== 1 && !sameDim(x!.shape[batchAxis]!, index!.shape[0]!))
    )
      throw new GraphError(`TakeRows: index ${namedShape(index!)} does not list rows of ${namedShape(x!)}`, {
        code: "graph/index",
        expected: "[batch, count]",
      });
    return {
      shape: x!.shape.map((d, i) => (i === axis ? index!.shape[1]! : i === batchAxis ? index!.shape[0]! : d)),
      dtype: x!.dtype,
    };
  },
  lower: ({ emit, inputs, node, attributes }) => {
    const [x] = node.inputs;
    const { to, back } = frontPermutation(x!.rank, attributes);
    const front = isFront(attributes) ? inputs[0]! : emit.node("Transpose", [inputs[0]!], { perm: to });
    const index = asInt64(emit, inputs[1]!, node.inputs[1]!);
    const shared = x!.shape[attributes.batchAxis] === 1 && node.shape[attributes.batchAxis] !== 1;
    const rows = shared
      ? emit.node("Gather", [emit.node("Squeeze", [front, emit.int64([0])]), index], { axis: 0 })
      : emit.node("GatherND", [front, emit.node("Unsqueeze", [index, emit.int64([-1])])], { batch_dims: 1 });
    return isFront(attributes) ? rows : emit.node("Transpose", [rows], { perm: back });
  },
  gradient: ({ inputs: [x, index], gradient, attributes }) => {
    const { axis, batchAxis } = attributes;
    const put = apply(putRowsOperation, [gradient, index!], { axis, batchAxis, size: x!.shape[axis]! });
    return [
      x!.shape[batchAxis] === 1 && index!.shape[0] !== 1 ? sum(put, batchAxis, { keepDims: true }) : put,
      undefined,
    ];
  },
  evaluate: ({ inputs: [x, index], dims, attributes: { axis, batchAxis } }) => {
    const strides = stridesOf(x!.dims);
    const count = index!.dims[1]!;
    const beside = strides.map((s, i) => (i === axis || (i === batchAxis && x!.dims[i] === 1) ? 0 : s));
    const indexStrides = dims.map((_, i) => (i === axis ? 1 : i === batchAxis ? count : 0));
    const out = new Float64Array(sizeOfDims(dims));
    walk(dims, [beside, indexStrides], (i, [at, k]) => {
      out[i] = x!.data[at! + wrap(index!.data[k!]!, x!.dims[axis]!, "TakeRows") * strides[axis]!]!;
    });
    return out;
  },
  along: (_node, axis, attributes) =>
    axis === attributes.axis || axis === attributes.batchAxis ? undefined : [axis, null],
};

/** The adjoint of TakeRows: entries added into zeros at the positions listed for each batch row. */
const putRowsOperation: Operation<RowsAttributes> = {
  name: "PutRows",
  infer: ([updates, index], { axis, batchAxis, size }) => {
    requireIndex("PutRows", index!);
    requireKind("PutRows", updates!, "number");
    if (
      index!.rank !== 2 ||
      axis === batchAxis ||
      !sameDim(updates!.shape[batchAxis]!, index!.shape[0]!) ||
      !sameDim(updates!.shape[axis]!, index!.shape[1]!)
    )
      throw new GraphError(`PutRows: index ${namedShape(index!)} does not place rows of ${namedShape(updates!)}`, {
        code: "graph/index",
        expected: "[batch, count]",
      });
    return { shape: updates!.shape.map((d, i) => (i === axis ? size! : d)), dtype: updates!.dtype };
  },
  lower: ({ emit, inputs, node, attributes }) => {
    const rank = node.rank;
    const { to, back } = frontPermutation(rank, attributes);
    const front = isFront(attributes) ? inputs[0]! : emit.node("Transpose", [inputs[0]!], { perm: to });
    const updates = to.map((i) => node.inputs[0]!.shape[i]!);
    const target = to.map((i) => node.shape[i]!);
    const column = emit.reshape(
      inputs[1]!,
      node.inputs[1]!.shape,
      updates.map((d, i) => (i < 2 ? d : 1)),
    );
    const index = emit.node("Expand", [column, emit.int64(updates)]);
    const put = emit.node("ScatterElements", [zeros(emit, target, node), index, front], { axis: 1, reduction: "add" });
    return isFront(attributes) ? put : emit.node("Transpose", [put], { perm: back });
  },
  gradient: ({ inputs: [, index], gradient, attributes: { axis, batchAxis } }) => [
    takeRows(gradient, index!, { axis, batchAxis }),
    undefined,
  ],
  evaluate: ({ inputs: [updates, index], dims, attributes: { axis, batchAxis } }) => {
    const strides = stridesOf(dims);
    const count = index!.dims[1]!;
    const beside = strides.map((s, i) => (i === axis ? 0 : s));
    const indexStrides = dims.map((_, i) => (i === axis ? 1 : i === batchAxis ? count : 0));
    const out = new Float64Array(sizeOfDims(dims));
    walk(updates!.dims, [beside, indexStrides], (i, [at, k]) => {
      out[at! + wrap(index!.data[k!]!, dims[axis]!, "PutRows") * strides[axis]!]! += updates!.data[i]!;
    });
    return out;
  },
  along: (_node, axis, attributes) =>
    axis === attributes.axis || axis === attributes.batchAxis ? undefined : [axis, null],
};

export const indexOperations: {
  readonly Gather: typeof gatherOperation;
  readonly AddRows: typeof addRowsOperation;
  readonly GatherElements: typeof gatherElementsOperation;
  readonly ScatterElements: typeof scatterAddOperation;
  readonly GatherND: typeof gatherNDOperation;
  readonly ScatterND: typeof scatterNDOperation;
  readonly TakeRows: typeof takeRowsOperation;
  readonly PutRows: typeof putRowsOperation;
} = {
  Gather: gatherOperation,
  AddRows: addRowsOperation,
  GatherElements: gatherElementsOperation,
  ScatterElements: scatterAddOperation,
  GatherND: gatherNDOperation,
  ScatterND: scatterNDOperation,
  TakeRows: takeRowsOperation,
  PutRows: putRowsOperation,
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
function rowAxes(
  name: string,
  x: Tensor,
  options: { axis?: number; batchAxis?: number },
): { axis: number; batchAxis: number } {
  const { axis = 1, batchAxis = 0 } = options;
  return { axis: normalizeAxis(name, axis, x), batchAxis: normalizeAxis(name, batchAxis, x) };
}

/**
 * The positions listed for each batch row: `out[b, j] = x[b, index[b, j]]`.
 * @param x [batch, pos, …] (or with the two axes elsewhere, see options)
 * @param index int64 [batch, count]
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * const index = leaf(BigInt64Array.of(1n, 0n), [2, 1]);
 * (await realize(takeRows(x, index))).toArray(); // [2, 3]
 */
export function takeRows(x: Tensor, index: Tensor, options: { axis?: number; batchAxis?: number } = {}): Tensor {
  return apply(takeRowsOperation, [x, index], rowAxes("TakeRows", x, options));
}
/**
 * Adds entries into zeros at the positions listed for each batch row: the derivative of {@link takeRows}.
 * @example
 * const updates = leaf(Float32Array.of(5, 6), [2, 1]);
 * const index = leaf(BigInt64Array.of(1n, 0n), [2, 1]);
 * (await realize(putRows(updates, index, 2))).toArray(); // [0, 5, 6, 0]
 */
export function putRows(
  updates: Tensor,
  index: Tensor,
  size: Dim,
  options: { axis?: number; batchAxis?: number } = {},
): Tensor {
  return apply(putRowsOperation, [updates, index], { ...rowAxes("PutRows", updates, options), size });
}
