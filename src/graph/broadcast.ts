/** @file Broadcasting and index arithmetic shared by shape rules and the reference evaluation. */
import { sameDim, shapeText, type Dim } from "./axis.ts";
import { GraphError } from "./errors.ts";
import { namedShape } from "./namedShape.ts";
import type { NDArray } from "./operation.ts";
import type { Tensor } from "./tensor.ts";

/**
 * The common shape of operands, right-aligned; a literal 1 stretches.
 * @param operands what the shapes belong to, which says how to name their sizes in an error
 */
export function broadcastShapes(
  name: string,
  shapes: readonly (readonly Dim[])[],
  operands: readonly Tensor[] = [],
): readonly Dim[] {
  const rank = Math.max(...shapes.map((s) => s.length));
  const out: Dim[] = new Array<Dim>(rank).fill(1);
  const text = (shape: readonly Dim[], i: number): string =>
    operands[i] === undefined ? shapeText(shape) : namedShape(operands[i], shape);
  for (const shape of shapes)
    for (let i = 0; i < shape.length; i++) {
      const at = rank - shape.length + i;
      const dim = shape[i]!;
      if (dim === 1) continue;
      if (out[at] === 1) out[at] = dim;
      else if (!sameDim(out[at]!, dim))
        throw new GraphError(`${name}: shapes do not broadcast: ${shapes.map(text).join(" and ")}`, {
          code: "graph/broadcast",
          where: `axis ${at - rank}`,
          hint: `${String(out[at])} against ${String(dim)}; only a literal 1 stretches`,
        });
    }
  return out;
}

/** An axis counted from the front; negative ones count from the back. */
export function normalizeAxis(name: string, axis: number, x: Tensor): number {
  const at = axis < 0 ? axis + x.rank : axis;
  if (!Number.isInteger(axis) || at < 0 || at >= x.rank)
    throw new GraphError(`${name}: axis ${axis} is not an axis of ${namedShape(x)}`, { code: "graph/axis" });
  return at;
}

/** Row-major strides. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length).fill(1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * dims[i + 1]!;
  return strides;
}

export function sizeOfDims(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

/** Strides of an operand walked along `dims`: 0 where it is stretched or absent. */
export function broadcastStrides(from: readonly number[], dims: readonly number[]): number[] {
  const own = stridesOf(from);
  const lead = dims.length - from.length;
  return dims.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : own[i - lead]!));
}

/** Calls `visit(flat index, offset under each stride list)` for every element of `dims` in row-major order. */
export function walk(
  dims: readonly number[],
  strides: readonly number[][],
  visit: (i: number, at: number[]) => void,
): void {
  const total = sizeOfDims(dims);
  const index = new Array<number>(dims.length).fill(0);
  const at = strides.map(() => 0);
  for (let i = 0; i < total; i++) {
    visit(i, at);
    for (let d = dims.length - 1; d >= 0; d--) {
      index[d]!++;
      for (let s = 0; s < strides.length; s++) at[s]! += strides[s]![d]!;
      if (index[d]! < dims[d]!) break;
      for (let s = 0; s < strides.length; s++) at[s]! -= strides[s]![d]! * dims[d]!;
      index[d] = 0;
    }
  }
}

/** Elementwise evaluation with broadcasting. */
export function mapElements(
  inputs: readonly NDArray[],
  dims: readonly number[],
  f: (...x: number[]) => number,
): Float64Array {
  const out = new Float64Array(sizeOfDims(dims));
  const data = inputs.map((x) => x.data);
  const strides = inputs.map((x) => broadcastStrides(x.dims, dims));
  const args = new Array<number>(inputs.length);
  walk(dims, strides, (i, at) => {
    for (let k = 0; k < args.length; k++) args[k] = data[k]![at[k]!]!;
    out[i] = f(...args);
  });
  return out;
}
