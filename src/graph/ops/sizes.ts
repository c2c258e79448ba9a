/** @file Sizes as values: counted up, read from a shape, and numbers repeated over one. */
import type { Dim } from "../axis.ts";
import type { DType } from "../dtype.ts";
import { dtypes } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import { notDifferentiable, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { broadcastTo } from "./shape.ts";
import { cast } from "./values.ts";

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
        : emit.node("Cast", [emit.int64Scalar(dim)], { to: dtypes[dtype].onnx }),
  gradient: notDifferentiable("a size has no derivative"),
  evaluate: ({ attributes, sizeOf: size }) => Float64Array.of(size(attributes.dim)),
  along: () => [],
};

export const sizeOperations: {
  readonly Range: typeof rangeOperation;
  readonly Size: typeof sizeOperation;
} = { Range: rangeOperation, Size: sizeOperation };

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
