/** @file Integer operands that name entries: what the rules of gathers and scatters share. */
import type { Dim } from "../axis.ts";
import { dtypes } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import type { Emitter, Value } from "../operation.ts";
import type { Tensor } from "../tensor.ts";

/** Throws unless a tensor holds integers. */
export function requireIndex(name: string, indices: Tensor): void {
  if (indices.dtype !== "int64" && indices.dtype !== "int32")
    throw new GraphError(`${name}: indices must be integers, got ${indices.label}`, { code: "graph/dtype" });
}

/** ONNX takes negative indices; the reference does too. */
export const wrap = (index: number, size: number, name: string): number => {
  const at = index < 0 ? index + size : index;
  if (!(at >= 0 && at < size))
    throw new GraphError(`${name}: index ${index} is outside an axis of size ${size}`, { code: "graph/index" });
  return at;
};

/** GatherND and arithmetic on shapes take int64 only. */
export const asInt64 = (emit: Emitter, value: Value, x: Tensor): Value =>
  x.dtype === "int64" ? value : emit.node("Cast", [value], { to: dtypes.int64.onnx });

/** Zeros of a shape, of a node's dtype. */
export const zeros = (emit: Emitter, shape: readonly Dim[], node: Tensor): Value =>
  emit.node("Expand", [emit.scalar(0, node.dtype), emit.int64(shape)]);
