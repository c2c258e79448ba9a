/** @file Parts of a tensor: slices, padding, concatenation. */
import { addDims, sameDim, subDims, type Dim } from "../axis.ts";
import { normalizeAxis, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Along, Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { squeeze, unsqueeze } from "./shape.ts";

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

export const partOperations: {
  readonly Slice: typeof sliceOperation;
  readonly Pad: typeof padOperation;
  readonly Concat: typeof concatOperation;
} = { Slice: sliceOperation, Pad: padOperation, Concat: concatOperation };

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
