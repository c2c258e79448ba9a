/** @file Reductions over axes, and the index of the largest entry. */
import { productOf, sameDim, type Dim } from "../axis.ts";
import { normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import { notDifferentiable, type Along, type GradientRule, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { div, equal, mul, sub } from "./binary.ts";
import { requireKind } from "./rules.ts";
import { broadcastTo, reshape } from "./shape.ts";
import { sizeOf } from "./sizes.ts";
import { exp } from "./unary.ts";
import { cast } from "./values.ts";

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

export const logSumExpOf = (row: Float64Array): number => {
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

const argMax: Operation<{ axis: number }> = {
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

export const reduceOperations: typeof reductions & { readonly ArgMax: typeof argMax } = {
  ...reductions,
  ArgMax: argMax,
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

/** Undoes broadcasting: sums a gradient down to a shape that was stretched to it. */
export function sumTo(x: Tensor, shape: readonly Dim[]): Tensor {
  const lead = x.rank - shape.length;
  const axes = x.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && !sameDim(x.shape[i]!, 1)));
  return axes.length === 0 ? x : reshape(sum(x, axes, { keepDims: true }), shape);
}
