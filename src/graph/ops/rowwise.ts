/** @file Operations on each row along an axis: softmax, cumulative sums, top-k. */
import { normalizeAxis, sizeOfDims } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { type Along, type GradientRule, type NotDifferentiable, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { mul, sub } from "./binary.ts";
import { scatterAdd } from "./gather.ts";
import { logSumExpOf, sum } from "./reduce.ts";
import { requireKind } from "./rules.ts";
import { exp } from "./unary.ts";

interface AxisAttributes {
  readonly axis: number;
  readonly [name: string]: number | string | boolean;
}
const passOthers = (_node: Tensor, axis: number, attributes: AxisAttributes): Along =>
  axis === attributes.axis ? undefined : [axis];

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

export const rowwiseOperations: typeof softmaxOperations & {
  readonly CumSum: typeof cumSum;
  readonly TopK: typeof topKOperation;
} = { ...softmaxOperations, CumSum: cumSum, TopK: topKOperation };

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
