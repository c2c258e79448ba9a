/** @file The same elements under another shape: reshape, transpose, broadcast. */
import { divideDims, mulDims, productOf, sameDim, sameShape, shapeText, type Dim } from "../axis.ts";
import { broadcastShapes, broadcastStrides, normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Along, Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";

/** Runs of axes of two shapes that hold the same elements, e.g. `[batch | pos | 12·64]` and `[batch | pos | 12, 64]`. */
export function alignShapes(from: readonly Dim[], to: readonly Dim[]): { from: number[]; to: number[] }[] | undefined {
  const groups: { from: number[]; to: number[] }[] = [];
  let i = 0;
  let j = 0;
  while (i < from.length || j < to.length) {
    const a = from[i];
    const b = to[j];
    if (a !== undefined && b !== undefined && sameDim(a, b)) groups.push({ from: [i++], to: [j++] });
    else if (a === 1) groups.push({ from: [i++], to: [] });
    else if (b === 1) groups.push({ from: [], to: [j++] });
    else {
      if (a === undefined || b === undefined) return undefined;
      const group = { from: [i++], to: [j++] };
      let left = a;
      let right = b;
      while (!sameDim(left, right)) {
        if (i < from.length && divideDims(right, left) !== undefined && left !== right) {
          left = mulDims(left, from[i]!);
          group.from.push(i++);
        } else if (j < to.length && divideDims(left, right) !== undefined) {
          right = mulDims(right, to[j]!);
          group.to.push(j++);
        } else if (i < from.length) {
          left = mulDims(left, from[i]!);
          group.from.push(i++);
        } else if (j < to.length) {
          right = mulDims(right, to[j]!);
          group.to.push(j++);
        } else return undefined;
      }
      groups.push(group);
    }
  }
  return groups;
}

const reshapeOperation: Operation<{ shape: readonly Dim[] }> = {
  name: "Reshape",
  infer: ([x], { shape }) => {
    if (!sameDim(productOf(x!.shape), productOf(shape)))
      throw new GraphError(`Reshape: ${namedShape(x!)} does not hold as many elements as ${shapeText(shape)}`, {
        code: "graph/reshape",
      });
    return { shape, dtype: x!.dtype };
  },
  lower: ({ emit, inputs, node }) => emit.reshape(inputs[0]!, node.inputs[0]!.shape, node.shape),
  gradient: ({ inputs: [x], gradient }) => [reshape(gradient, x!.shape)],
  evaluate: ({ inputs }) => inputs[0]!.data,
  along: (node, axis) => {
    const group = alignShapes(node.inputs[0]!.shape, node.shape)?.find((g) => g.to.includes(axis));
    if (group === undefined || group.to.length > 1 || group.from.length > 1) return undefined;
    return [group.from[0] ?? null];
  },
};

const transposeOperation: Operation<{ perm: readonly number[] }> = {
  name: "Transpose",
  infer: ([x], { perm }) => {
    const seen = new Set(perm);
    if (perm.length !== x!.rank || seen.size !== perm.length || perm.some((p) => !(p >= 0 && p < x!.rank)))
      throw new GraphError(`Transpose: [${perm.join(", ")}] is not a permutation of the axes of ${namedShape(x!)}`, {
        code: "graph/transpose",
      });
    return { shape: perm.map((p) => x!.shape[p]!), dtype: x!.dtype };
  },
  lower: ({ emit, inputs, attributes }) => emit.node("Transpose", inputs, { perm: attributes.perm }),
  gradient: ({ gradient, attributes: { perm } }) => [
    transpose(
      gradient,
      perm.map((_, i) => perm.indexOf(i)),
    ),
  ],
  evaluate: ({ inputs: [x], dims, attributes: { perm } }) => {
    const strides = stridesOf(x!.dims);
    const out = new Float64Array(x!.data.length);
    walk(dims, [perm.map((p) => strides[p]!)], (i, [at]) => {
      out[i] = x!.data[at!]!;
    });
    return out;
  },
  along: (_node, axis, { perm }) => [perm[axis]!],
};

const expandOperation: Operation<{ shape: readonly Dim[] }> = {
  name: "Expand",
  infer: ([x], { shape }) => {
    const out = broadcastShapes("Expand", [x!.shape, shape]);
    if (out.length !== shape.length || !out.every((d, i) => sameDim(d, shape[i]!)))
      throw new GraphError(`Expand: ${namedShape(x!)} does not stretch to ${shapeText(shape)}`, {
        code: "graph/broadcast",
      });
    return { shape, dtype: x!.dtype };
  },
  lower: ({ emit, inputs, node }) => emit.node("Expand", [inputs[0]!, emit.int64(node.shape)]),
  gradient: ({ inputs: [x], gradient }) => [sumTo(gradient, x!.shape)],
  evaluate: ({ inputs: [x], dims }) => {
    const out = new Float64Array(sizeOfDims(dims));
    walk(dims, [broadcastStrides(x!.dims, dims)], (i, [at]) => {
      out[i] = x!.data[at!]!;
    });
    return out;
  },
  // A stretched axis does not vary: narrowing it means stretching less, which the narrowing rewrite does not do.
  along: (node, axis): Along => {
    const at = axis - (node.rank - node.inputs[0]!.rank);
    return at < 0 || !sameDim(node.inputs[0]!.shape[at]!, node.shape[axis]!) ? undefined : [at];
  },
};

export const shapeOperations: {
  readonly Reshape: typeof reshapeOperation;
  readonly Transpose: typeof transposeOperation;
  readonly Expand: typeof expandOperation;
} = { Reshape: reshapeOperation, Transpose: transposeOperation, Expand: expandOperation };

/**
 * The same elements in row-major order under another shape; one entry may be −1 (the rest).
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * reshape(x, [2, -1]); // [2, 12]
 */
export function reshape(x: Tensor, shape: readonly Dim[]): Tensor {
  const hole = shape.indexOf(-1);
  let target = shape;
  if (hole >= 0) {
    // Sizes that stay cancel first: a sum such as past + new divides by itself only.
    const left = [...x.shape];
    const added = shape.filter((dim, i) => {
      if (i === hole) return false;
      const at = left.findIndex((d) => sameDim(d, dim));
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
    const rest = divideDims(productOf(left), productOf(added));
    if (rest === undefined)
      throw new GraphError(`Reshape: ${namedShape(x)} does not divide into ${shapeText(shape)}`, {
        code: "graph/reshape",
      });
    target = shape.map((d, i) => (i === hole ? rest : d));
  }
  return sameShape(x.shape, target) ? x : apply(reshapeOperation, [x], { shape: target });
}

/**
 * Axes in another order; default: the last two swapped.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * transpose(x, [1, 0, 2]); // [3, 2, 4]
 */
export function transpose(x: Tensor, perm?: readonly number[]): Tensor {
  const order = perm ?? [...x.shape.keys()].map((i) => (i === x.rank - 1 ? i - 1 : i === x.rank - 2 ? i + 1 : i));
  return order.every((p, i) => p === i) && order.length === x.rank
    ? x
    : apply(transposeOperation, [x], { perm: order });
}

/**
 * Stretches axes of size 1 (and missing leading ones) to a shape.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * broadcastTo(x, [5, 2, 3, 4]); // [5, 2, 3, 4]
 */
export function broadcastTo(x: Tensor, shape: readonly Dim[]): Tensor {
  return sameShape(x.shape, shape) ? x : apply(expandOperation, [x], { shape });
}

/**
 * A new axis of size 1.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * unsqueeze(x, -1); // [2, 3, 4, 1]
 */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  const at = axis < 0 ? axis + x.rank + 1 : axis;
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/**
 * Without an axis of size 1.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * squeeze(slice(x, 1, 0, 1), 1); // [2, 4]
 */
export function squeeze(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis("Squeeze", axis, x);
  if (x.shape[at] !== 1)
    throw new GraphError(`Squeeze: axis ${at} of ${namedShape(x)} is not of size 1`, { code: "graph/squeeze" });
  return reshape(
    x,
    x.shape.filter((_, i) => i !== at),
  );
}

/**
 * Adjacent axes `from … to` (both included) as one.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * mergeAxes(x, 1, 2); // [2, 12]
 */
export function mergeAxes(x: Tensor, from: number, to: number): Tensor {
  const a = normalizeAxis("Reshape", from, x);
  const b = normalizeAxis("Reshape", to, x);
  return reshape(x, [...x.shape.slice(0, a), productOf(x.shape.slice(a, b + 1)), ...x.shape.slice(b + 1)]);
}

/**
 * One axis as several, e.g. `d_model` as `[head, d_head]`.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * splitAxis(x, -1, [2, 2]); // [2, 3, 2, 2]
 */
export function splitAxis(x: Tensor, axis: number, sizes: readonly Dim[]): Tensor {
  const at = normalizeAxis("Reshape", axis, x);
  if (!sameDim(productOf(sizes), x.shape[at]!))
    throw new GraphError(
      `Reshape: axis ${String(x.shape[at])} of ${namedShape(x)} does not split into ${shapeText(sizes)}`,
      {
        code: "graph/reshape",
      },
    );
  return reshape(x, [...x.shape.slice(0, at), ...sizes, ...x.shape.slice(at + 1)]);
}
