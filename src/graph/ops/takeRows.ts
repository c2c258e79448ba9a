/** @file One list of positions for each batch row: taken out, and added back. */
import { sameDim, type Dim } from "../axis.ts";
import { normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { asInt64, requireIndex, wrap, zeros } from "./indices.ts";
import { sum } from "./reduce.ts";
import { requireKind } from "./rules.ts";

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

export const takeRowsOperations: {
  readonly TakeRows: typeof takeRowsOperation;
  readonly PutRows: typeof putRowsOperation;
} = { TakeRows: takeRowsOperation, PutRows: putRowsOperation };

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
