/** @file Operations that move data or make shapes: reshape, transpose, broadcast, slice, pad, concat, iota, sizes. */
import { addDims, divideDims, mulDims, productOf, sameDim, sameShape, shapeText, subDims, type Dim } from "../axis.ts";
import { broadcastShapes, broadcastStrides, normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import type { DType } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import { notDifferentiable, type Along, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { cast, onnxDTypes } from "./elementwise.ts";
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

interface SliceAttributes {
  readonly axis: number;
  readonly start: Dim;
  readonly end: Dim;
  readonly [name: string]: Dim;
}

const alongOthers = (_node: Tensor, axis: number, attributes: { readonly axis: number }): Along =>
  axis === attributes.axis ? undefined : [axis];

const sliceOperation: Operation<SliceAttributes> = {
  name: "Slice",
  infer: ([x], { axis, start, end }) => {
    const size = x!.shape[axis]!;
    const length = subDims(end, start);
    const outside = (d: Dim): boolean => typeof d === "number" && (d < 0 || (typeof size === "number" && d > size));
    if (outside(start) || outside(end) || (typeof length === "number" && length < 0))
      throw new GraphError(`Slice: [${String(start)}, ${String(end)}) is outside axis ${axis} of ${namedShape(x!)}`, {
        code: "graph/slice",
      });
    return { shape: x!.shape.map((d, i) => (i === axis ? length : d)), dtype: x!.dtype };
  },
  lower: ({ emit, inputs, attributes: { axis, start, end } }) =>
    emit.node("Slice", [inputs[0]!, emit.int64([start]), emit.int64([end]), emit.int64([axis])]),
  gradient: ({ inputs: [x], gradient, attributes: { axis, start, end } }) => [
    pad(gradient, axis, start, subDims(x!.shape[axis]!, end)),
  ],
  evaluate: ({ inputs: [x], dims, attributes: { axis, start }, sizeOf: size }) => {
    const strides = stridesOf(x!.dims);
    const base = size(start) * strides[axis]!;
    const out = new Float64Array(sizeOfDims(dims));
    walk(dims, [strides], (i, [at]) => {
      out[i] = x!.data[base + at!]!;
    });
    return out;
  },
  along: alongOthers,
};

const padOperation: Operation<{ axis: number; before: Dim; after: Dim }> = {
  name: "Pad",
  infer: ([x], { axis, before, after }) => ({
    shape: x!.shape.map((d, i) => (i === axis ? addDims(before, addDims(d, after)) : d)),
    dtype: x!.dtype,
  }),
  // All axes are listed: where a transpose is moved past a Pad that names its axes, ONNX Runtime mistakes one for another.
  lower: ({ emit, inputs, node, attributes: { axis, before, after } }) => {
    const at = (width: Dim): Dim[] => node.shape.map((_, i) => (i === axis ? width : 0));
    const widths = emit.int64([...at(before), ...at(after)]);
    return emit.node("Pad", [inputs[0]!, widths, emit.scalar(0, node.dtype)], { mode: "constant" });
  },
  gradient: ({ inputs: [x], gradient, attributes: { axis, before } }) => [
    slice(gradient, axis, before, addDims(before, x!.shape[axis]!)),
  ],
  evaluate: ({ inputs: [x], dims, attributes: { axis, before }, sizeOf: size }) => {
    const strides = stridesOf(dims);
    const base = size(before) * strides[axis]!;
    const out = new Float64Array(sizeOfDims(dims));
    walk(x!.dims, [strides], (i, [at]) => {
      out[base + at!] = x!.data[i]!;
    });
    return out;
  },
  along: alongOthers,
};

const concatOperation: Operation<{ axis: number }> = {
  name: "Concat",
  infer: (inputs, { axis }) => {
    const [first] = inputs;
    for (const x of inputs)
      if (
        x.dtype !== first!.dtype ||
        x.rank !== first!.rank ||
        !x.shape.every((d, i) => i === axis || sameDim(d, first!.shape[i]!))
      )
        throw new GraphError(`Concat: parts differ beside axis ${axis}: ${inputs.map((t) => t.label).join(" and ")}`, {
          code: "graph/concat",
        });
    const total = inputs.map((x) => x.shape[axis]!).reduce(addDims);
    return { shape: first!.shape.map((d, i) => (i === axis ? total : d)), dtype: first!.dtype };
  },
  lower: ({ emit, inputs, attributes }) => emit.node("Concat", inputs, { axis: attributes.axis }),
  gradient: ({ inputs, gradient, attributes: { axis }, needs }) => {
    let start: Dim = 0;
    return inputs.map((x, i) => {
      const end: Dim = addDims(start, x.shape[axis]!);
      const part = needs(i) ? slice(gradient, axis, start, end) : undefined;
      start = end;
      return part;
    });
  },
  evaluate: ({ inputs, dims, attributes: { axis } }) => {
    const strides = stridesOf(dims);
    const out = new Float64Array(sizeOfDims(dims));
    let base = 0;
    for (const x of inputs) {
      walk(x.dims, [strides], (i, [at]) => {
        out[base + at!] = x.data[i]!;
      });
      base += x.dims[axis]! * strides[axis]!;
    }
    return out;
  },
  along: (node, axis, attributes) => (axis === attributes.axis ? undefined : node.inputs.map(() => axis)),
};

const rangeOperation: Operation<{ size: Dim }> = {
  name: "Range",
  infer: (_inputs, { size }) => ({ shape: [size], dtype: "int64" }),
  lower: ({ emit, attributes }) =>
    emit.node("Range", [emit.int64Scalar(0), emit.int64Scalar(attributes.size), emit.int64Scalar(1)]),
  gradient: notDifferentiable("it has no inputs"),
  evaluate: ({ dims }) => Float64Array.from({ length: dims[0]! }, (_, i) => i),
  along: () => undefined,
};

const sizeOperation: Operation<{ dim: Dim; dtype: DType }> = {
  name: "Size",
  infer: (_inputs, { dtype }) => {
    if (dtype === "bool") throw new GraphError("sizeOf: a size is a number, not a bool", { code: "graph/dtype" });
    return { shape: [], dtype };
  },
  lower: ({ emit, attributes: { dim, dtype } }) =>
    typeof dim === "number"
      ? emit.scalar(dim, dtype)
      : dtype === "int64"
        ? emit.int64Scalar(dim)
        : emit.node("Cast", [emit.int64Scalar(dim)], { to: onnxDTypes[dtype] }),
  gradient: notDifferentiable("a size has no derivative"),
  evaluate: ({ attributes, sizeOf: size }) => Float64Array.of(size(attributes.dim)),
  along: () => [],
};

export const shapeOperations: {
  readonly Reshape: typeof reshapeOperation;
  readonly Transpose: typeof transposeOperation;
  readonly Expand: typeof expandOperation;
  readonly Slice: typeof sliceOperation;
  readonly Pad: typeof padOperation;
  readonly Concat: typeof concatOperation;
  readonly Range: typeof rangeOperation;
  readonly Size: typeof sizeOperation;
} = {
  Reshape: reshapeOperation,
  Transpose: transposeOperation,
  Expand: expandOperation,
  Slice: sliceOperation,
  Pad: padOperation,
  Concat: concatOperation,
  Range: rangeOperation,
  Size: sizeOperation,
};

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
 * Entries `start … end − 1` of an axis. Negative numbers count from the end; bounds may be axes.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * slice(x, 1, -2); // [2, 2, 4]: the last two of axis 1
 */
export function slice(x: Tensor, axis: number, start: Dim, end?: Dim): Tensor {
  const at = normalizeAxis("Slice", axis, x);
  const size = x.shape[at]!;
  const from = typeof start === "number" && start < 0 ? addDims(size, start) : start;
  const to = end === undefined ? size : typeof end === "number" && end < 0 ? addDims(size, end) : end;
  return from === 0 && sameDim(to, size) ? x : apply(sliceOperation, [x], { axis: at, start: from, end: to });
}

/**
 * One entry of an axis, the axis removed. Negative counts from the end.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(select(x, 1, -1))).toArray(); // [2, 4]
 */
export function select(x: Tensor, axis: number, index: number): Tensor {
  const at = normalizeAxis("Slice", axis, x);
  const start = index < 0 ? addDims(x.shape[at]!, index) : index;
  return squeeze(slice(x, at, start, addDims(start, 1)), at);
}

/**
 * Zeros before and after an axis.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(pad(x, 1, 0, 1))).toArray(); // [1, 2, 0, 3, 4, 0]
 */
export function pad(x: Tensor, axis: number, before: Dim, after: Dim): Tensor {
  const at = normalizeAxis("Pad", axis, x);
  return before === 0 && after === 0 ? x : apply(padOperation, [x], { axis: at, before, after });
}

/**
 * Parts one after the other along an axis.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * concat([x, x], 1); // [2, 6, 4]
 */
export function concat(parts: readonly Tensor[], axis: number): Tensor {
  if (parts.length === 0) throw new GraphError("Concat: no parts", { code: "graph/concat" });
  const at = normalizeAxis("Concat", axis, parts[0]!);
  return parts.length === 1 ? parts[0]! : apply(concatOperation, parts, { axis: at });
}

/**
 * Tensors of one shape along a new axis.
 * @example
 * const x = leaf(new Float32Array(24), [2, 3, 4]);
 * stack([x, x], 1); // [2, 2, 3, 4]
 */
export function stack(parts: readonly Tensor[], axis = 0): Tensor {
  return concat(
    parts.map((x) => unsqueeze(x, axis)),
    axis,
  );
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

/**
 * `0, 1, …, size − 1` as int64.
 * @example
 * (await realize(range(3))).toArray(); // [0, 1, 2]
 */
export function range(size: Dim): Tensor {
  return apply(rangeOperation, [], { size });
}

/**
 * A dimension as a scalar expression.
 * @example
 * (await realize(sizeOf(axis("pos", 5)))).toArray(); // [5]
 */
export function sizeOf(dim: Dim, dtype: DType = "int64"): Tensor {
  return apply(sizeOperation, [], { dim, dtype });
}

/**
 * One number repeated over a shape.
 * @example
 * (await realize(full([2, 2], constant(1)))).toArray(); // [1, 1, 1, 1]
 */
export function full(shape: readonly Dim[], value: Tensor, dtype: DType = value.dtype): Tensor {
  return broadcastTo(cast(value, dtype), shape);
}
