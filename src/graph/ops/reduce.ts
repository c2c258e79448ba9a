/** @file Reductions, softmax, cumulative sums, top-k. */
import { productOf, sameDim, type Dim } from "../axis.ts";
import { normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import {
  notDifferentiable,
  type Along,
  type GradientRule,
  type NotDifferentiable,
  type Operation,
} from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { cast, div, equal, exp, mul, requireKind, sub } from "./elementwise.ts";
import { scatterAdd } from "./indexing.ts";
import { broadcastTo, reshape, sizeOf } from "./shape.ts";

interface ReduceAttributes {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
  readonly [name: string]: boolean | readonly number[];
}

const reducedShape = (shape: readonly Dim[], { axes, keepDims }: ReduceAttributes): Dim[] =>
  keepDims ? shape.map((d, i) => (axes.includes(i) ? 1 : d)) : shape.filter((_, i) => !axes.includes(i));

/** Visits the rows that a reduction folds: the output index and the row's entries. */
function foldRows(
  dims: readonly number[],
  axes: readonly number[],
  data: Float64Array,
  fold: (row: Float64Array) => number,
): Float64Array {
  const strides = stridesOf(dims);
  const kept = dims.map((_, i) => i).filter((i) => !axes.includes(i));
  const rowDims = axes.map((i) => dims[i]!);
  const row = new Float64Array(sizeOfDims(rowDims));
  const out = new Float64Array(sizeOfDims(kept.map((i) => dims[i]!)));
  walk(
    kept.map((i) => dims[i]!),
    [kept.map((i) => strides[i]!)],
    (o, [base]) => {
      walk(rowDims, [axes.map((i) => strides[i]!)], (r, [at]) => {
        row[r] = data[base! + at!]!;
      });
      out[o] = fold(row);
    },
  );
  return out;
}

const logSumExpOf = (row: Float64Array): number => {
  const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(top)) return top;
  return top + Math.log(row.reduce((a, b) => a + Math.exp(b - top), 0));
};

/** A kept-dims view of a reduction's output or of its gradient. */
const keptShape = (x: Tensor, axes: readonly number[]): Dim[] => x.shape.map((d, i) => (axes.includes(i) ? 1 : d));

const alongReduce = (node: Tensor, axis: number, { axes, keepDims }: ReduceAttributes): Along => {
  if (keepDims) return axes.includes(axis) ? undefined : [axis];
  const kept = node.inputs[0]!.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  return [kept[axis]!];
};

function reduction(
  name: string,
  fold: (row: Float64Array) => number,
  gradient: GradientRule<ReduceAttributes>,
  kind: "number" | "float" = "number",
): Operation<ReduceAttributes> {
  return {
    name,
    infer: ([x], attributes) => {
      requireKind(name, x!, kind);
      return { shape: reducedShape(x!.shape, attributes), dtype: x!.dtype };
    },
    lower: ({ emit, inputs, attributes }) =>
      emit.node(name, [inputs[0]!, emit.int64(attributes.axes)], { keepdims: Number(attributes.keepDims) }),
    gradient,
    evaluate: ({ inputs: [x], attributes }) => foldRows(x!.dims, attributes.axes, x!.data, fold),
    along: alongReduce,
  };
}

const spread = (g: Tensor, x: Tensor, axes: readonly number[]): Tensor =>
  broadcastTo(reshape(g, keptShape(x, axes)), x.shape);

/** Ties share the gradient equally. */
const extremeGradient: GradientRule<ReduceAttributes> = ({ inputs: [x], output, gradient, attributes: { axes } }) => {
  const hits = cast(equal(x!, reshape(output, keptShape(x!, axes))), x!.dtype);
  return [mul(hits, div(reshape(gradient, keptShape(x!, axes)), sum(hits, axes, { keepDims: true })))];
};

type ReductionName = "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceLogSumExp";

const reductions: { readonly [N in ReductionName]: Operation<ReduceAttributes> } = {
  ReduceSum: reduction(
    "ReduceSum",
    (row) => row.reduce((a, b) => a + b, 0),
    ({ inputs: [x], gradient, attributes }) => [spread(gradient, x!, attributes.axes)],
  ),
  ReduceMean: reduction(
    "ReduceMean",
    (row) => row.reduce((a, b) => a + b, 0) / row.length,
    ({ inputs: [x], gradient, attributes: { axes } }) => {
      const count = sizeOf(productOf(axes.map((i) => x!.shape[i]!)), gradient.dtype);
      return [spread(div(gradient, count), x!, axes)];
    },
    "float",
  ),
  ReduceMax: reduction("ReduceMax", (row) => row.reduce((a, b) => Math.max(a, b), -Infinity), extremeGradient),
  ReduceMin: reduction("ReduceMin", (row) => row.reduce((a, b) => Math.min(a, b), Infinity), extremeGradient),
  ReduceLogSumExp: reduction(
    "ReduceLogSumExp",
    logSumExpOf,
    ({ inputs: [x], output, gradient, attributes: { axes } }) => [
      mul(reshape(gradient, keptShape(x!, axes)), exp(sub(x!, reshape(output, keptShape(x!, axes))))),
    ],
    "float",
  ),
};

interface AxisAttributes {
  readonly axis: number;
  readonly [name: string]: number | string | boolean;
}
const passOthers = (_node: Tensor, axis: number, attributes: AxisAttributes): Along =>
  axis === attributes.axis ? undefined : [axis];

const argMax: Operation<AxisAttributes> = {
  name: "ArgMax",
  infer: ([x], { axis }) => {
    requireKind("ArgMax", x!, "number");
    return { shape: x!.shape.filter((_, i) => i !== axis), dtype: "int64" };
  },
  lower: ({ emit, inputs, attributes }) => emit.node("ArgMax", inputs, { axis: attributes.axis, keepdims: 0 }),
  gradient: notDifferentiable("an index has no derivative"),
  evaluate: ({ inputs: [x], attributes }) =>
    foldRows(x!.dims, [attributes.axis], x!.data, (row) => row.reduce((best, v, i) => (v > row[best]! ? i : best), 0)),
  along: (_node, axis, attributes) => [axis < attributes.axis ? axis : axis + 1],
};

/** Applies a function to every row along one axis. */
function mapRows(
  dims: readonly number[],
  axis: number,
  data: Float64Array,
  length: number,
  f: (row: Float64Array) => ArrayLike<number>,
): Float64Array {
  const inner = sizeOfDims(dims.slice(axis + 1));
  const outer = sizeOfDims(dims.slice(0, axis));
  const n = dims[axis]!;
  const row = new Float64Array(n);
  const out = new Float64Array(outer * length * inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      for (let k = 0; k < n; k++) row[k] = data[(o * n + k) * inner + i]!;
      const result = f(row);
      for (let k = 0; k < length; k++) out[(o * length + k) * inner + i] = result[k]!;
    }
  return out;
}

function rowwise(
  name: string,
  f: (row: Float64Array) => ArrayLike<number>,
  gradient: GradientRule<AxisAttributes> | NotDifferentiable,
): Operation<AxisAttributes> {
  return {
    name,
    infer: ([x]) => {
      requireKind(name, x!, "float");
      return { shape: x!.shape, dtype: x!.dtype };
    },
    lower: ({ emit, inputs, attributes }) => emit.node(name, inputs, { axis: attributes.axis }),
    gradient,
    evaluate: ({ inputs: [x], attributes: { axis } }) => mapRows(x!.dims, axis, x!.data, x!.dims[axis]!, f),
    along: passOthers,
  };
}

const softmaxOperations: { readonly [N in "Softmax" | "LogSoftmax"]: Operation<AxisAttributes> } = {
  Softmax: rowwise(
    "Softmax",
    (row) => {
      const total = logSumExpOf(row);
      return row.map((x) => Math.exp(x - total));
    },
    ({ output, gradient, attributes: { axis } }) => {
      const weighted = mul(gradient, output);
      return [sub(weighted, mul(output, sum(weighted, [axis], { keepDims: true })))];
    },
  ),
  LogSoftmax: rowwise(
    "LogSoftmax",
    (row) => {
      const total = logSumExpOf(row);
      return row.map((x) => x - total);
    },
    ({ output, gradient, attributes: { axis } }) => [
      sub(gradient, mul(exp(output), sum(gradient, [axis], { keepDims: true }))),
    ],
  ),
};

const cumSum: Operation<{ axis: number; reverse: boolean; exclusive: boolean }> = {
  name: "CumSum",
  infer: ([x]) => {
    requireKind("CumSum", x!, "number");
    return { shape: x!.shape, dtype: x!.dtype };
  },
  lower: ({ emit, inputs, attributes }) =>
    emit.node("CumSum", [inputs[0]!, emit.int64Scalar(attributes.axis)], {
      reverse: Number(attributes.reverse),
      exclusive: Number(attributes.exclusive),
    }),
  gradient: ({ gradient, attributes }) => [apply(cumSum, [gradient], { ...attributes, reverse: !attributes.reverse })],
  evaluate: ({ inputs: [x], attributes: { axis, reverse, exclusive } }) =>
    mapRows(x!.dims, axis, x!.data, x!.dims[axis]!, (row) => {
      const out = new Float64Array(row.length);
      let total = 0;
      for (let k = 0; k < row.length; k++) {
        const at = reverse ? row.length - 1 - k : k;
        out[at] = exclusive ? total : total + row[at]!;
        total += row[at]!;
      }
      return out;
    }),
  along: passOthers,
};

/** Largest first; equal values in order of index, as ONNX Runtime does. */
function topIndices(row: Float64Array, k: number): number[] {
  return Array.from(row, (_, i) => i)
    .sort((a, b) => row[b]! - row[a]! || a - b)
    .slice(0, k);
}

const topKOperation: Operation<{ k: number; axis: number; part: "values" | "indices" }> = {
  name: "TopK",
  infer: ([x], { k, axis, part }) => {
    requireKind("TopK", x!, "number");
    const size = x!.shape[axis]!;
    if (!Number.isInteger(k) || k < 1 || (typeof size === "number" && k > size))
      throw new GraphError(`TopK: k = ${k} does not fit axis of size ${String(size)}`, { code: "graph/topk" });
    return { shape: x!.shape.map((d, i) => (i === axis ? k : d)), dtype: part === "values" ? x!.dtype : "int64" };
  },
  lower: ({ emit, inputs, attributes: { k, axis, part } }) =>
    emit.nodes("TopK", [inputs[0]!, emit.int64([k])], { axis, largest: 1, sorted: 1 }, 2)[part === "values" ? 0 : 1]!,
  gradient: ({ inputs: [x], gradient, attributes: { k, axis, part } }) => [
    part === "values"
      ? scatterAdd(gradient, apply(topKOperation, [x!], { k, axis, part: "indices" }), axis, x!.shape[axis]!)
      : undefined,
  ],
  evaluate: ({ inputs: [x], attributes: { k, axis, part } }) =>
    mapRows(x!.dims, axis, x!.data, k, (row) => {
      const indices = topIndices(row, k);
      return part === "indices" ? indices : indices.map((i) => row[i]!);
    }),
  along: passOthers,
};

export const reduceOperations: typeof reductions &
  typeof softmaxOperations & {
    readonly ArgMax: typeof argMax;
    readonly CumSum: typeof cumSum;
    readonly TopK: typeof topKOperation;
  } = {
  ...reductions,
  ArgMax: argMax,
  ...softmaxOperations,
  CumSum: cumSum,
  TopK: topKOperation,
};

export interface ReduceOptions {
  /** Keep reduced axes with size 1. */
  keepDims?: boolean;
}

function reduce(
  op: Operation<ReduceAttributes>,
  x: Tensor,
  axes: number | readonly number[] | undefined,
  options: ReduceOptions,
): Tensor {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === "number" ? [axes] : axes;
  const sorted = list.map((a) => normalizeAxis(op.name, a, x)).sort((a, b) => a - b);
  if (new Set(sorted).size !== sorted.length)
    throw new GraphError(`${op.name}: an axis is listed twice: [${list.join(", ")}] of ${namedShape(x)}`, {
      code: "graph/axis",
    });
  if (sorted.length === 0) return x;
  return apply(op, [x], { axes: sorted, keepDims: options.keepDims ?? false });
}

/**
 * Sum over axes (all of them by default).
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(sum(x, 0))).toArray(); // [4, 6]
 */
export function sum(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduce(reductions.ReduceSum, x, axes, options);
}
/**
 * Mean over axes (all of them by default).
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(mean(x, -1))).toArray(); // [1.5, 3.5]
 */
export function mean(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduce(reductions.ReduceMean, x, axes, options);
}
/**
 * Maximum over axes; ties share the gradient.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(max(x))).toArray(); // [4]
 */
export function max(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduce(reductions.ReduceMax, x, axes, options);
}
/**
 * Minimum over axes; ties share the gradient.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(min(x, 1))).toArray(); // [1, 3]
 */
export function min(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduce(reductions.ReduceMin, x, axes, options);
}
/**
 * `log Σ exp x` over axes, without overflow.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * logSumExp(x, -1, { keepDims: true }); // [2, 1]
 */
export function logSumExp(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduce(reductions.ReduceLogSumExp, x, axes, options);
}
/**
 * Index of the first maximum along an axis, int64, the axis removed.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(argMax(x))).toArray(); // [1, 1]
 */
function argMaxOf(x: Tensor, axis = -1): Tensor {
  return apply(argMax, [x], { axis: normalizeAxis("ArgMax", axis, x) });
}
export { argMaxOf as argMax };
/**
 * Softmax along one axis.
 * @example
 * const x = leaf(Float32Array.of(0, 0), [2]);
 * (await realize(softmax(x))).toArray(); // [0.5, 0.5]
 */
export function softmax(x: Tensor, axis = -1): Tensor {
  return apply(softmaxOperations.Softmax, [x], { axis: normalizeAxis("Softmax", axis, x) });
}
/**
 * Log of the softmax along one axis.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * logSoftmax(x, -1); // [2, 2]
 */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return apply(softmaxOperations.LogSoftmax, [x], { axis: normalizeAxis("LogSoftmax", axis, x) });
}
/**
 * Running sum along an axis.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(cumsum(x, 1))).toArray(); // [1, 3, 3, 7]
 */
export function cumsum(x: Tensor, axis: number, options: { reverse?: boolean; exclusive?: boolean } = {}): Tensor {
  const { reverse = false, exclusive = false } = options;
  return apply(cumSum, [x], { axis: normalizeAxis("CumSum", axis, x), reverse, exclusive });
}
/**
 * The `k` largest entries along an axis, largest first, and where they stand (int64).
 * @example
 * const { values, indices } = topK(leaf(Float32Array.of(3, 1, 2), [3]), 2);
 * (await realize([values, indices])).map((x) => x.toArray()); // [[3, 2], [0, 2]]
 */
export function topK(x: Tensor, k: number, axis = -1): { values: Tensor; indices: Tensor } {
  const at = normalizeAxis("TopK", axis, x);
  return {
    values: apply(topKOperation, [x], { k, axis: at, part: "values" }),
    indices: apply(topKOperation, [x], { k, axis: at, part: "indices" }),
  };
}

/** Undoes broadcasting: sums a gradient down to a shape that was stretched to it. */
export function sumTo(x: Tensor, shape: readonly Dim[]): Tensor {
  const lead = x.rank - shape.length;
  const axes = x.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && !sameDim(x.shape[i]!, 1)));
  return axes.length === 0 ? x : reshape(sum(x, axes, { keepDims: true }), shape);
}
