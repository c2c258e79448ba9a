/** @file Numbers in a box: what columns become when batches or latents are put together. */
import { AnalysisError } from "../errors.ts";

/** Numbers with a shape, row by row. */
export interface NdArray {
  readonly shape: readonly number[];
  readonly data: Float32Array | Float64Array;
}

/** Numbers, or lists of them to any depth. */
export type Nested = number | boolean | readonly Nested[];

const isNested = (x: unknown): x is Nested =>
  typeof x === "number" || typeof x === "boolean" || (Array.isArray(x) && x.every(isNested));

export function isNdArray(x: unknown): x is NdArray {
  return typeof x === "object" && x !== null && "shape" in x && "data" in x && ArrayBuffer.isView(x.data);
}

/** Whether something can be put in a box: numbers, lists of numbers, boxes. */
export const isNumeric = (x: unknown): x is Nested | NdArray => isNdArray(x) || isNested(x);

function size(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

const shown = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

function ragged(what: string, shapes: readonly (readonly number[])[]): never {
  const distinct = [...new Set(shapes.map(shown))];
  throw new AnalysisError(`${what} are of different shapes and cannot be put together`, {
    code: "store/ragged",
    expected: "one shape",
    received: distinct.length > 4 ? `${distinct.slice(0, 4).join(", ")}, …` : distinct.join(", "),
    hint: "read them one by one",
  });
}

/** A box around numbers or lists of numbers. @throws AnalysisError when lists of one level differ in length */
export function ndArray(x: Nested | NdArray, what = "its lists"): NdArray {
  if (isNdArray(x)) return x;
  if (typeof x === "number" || typeof x === "boolean") return { shape: [], data: Float64Array.of(Number(x)) };
  return stack(
    x.map((item) => ndArray(item, what)),
    what,
  );
}

/** Boxes of one shape along a new first axis. @throws AnalysisError when their shapes differ */
export function stack(parts: readonly NdArray[], what: string): NdArray {
  const inner = parts[0]?.shape ?? [];
  if (parts.some(({ shape }) => shown(shape) !== shown(inner)))
    ragged(
      what,
      parts.map(({ shape }) => shape),
    );
  return { shape: [parts.length, ...inner], data: joined(parts) };
}

/** Boxes one after the other along their first axis. @throws AnalysisError when their other axes differ */
export function concat(parts: readonly NdArray[], what: string): NdArray {
  const inner = parts[0]?.shape.slice(1) ?? [];
  if (parts.some(({ shape }) => shape.length === 0 || shown(shape.slice(1)) !== shown(inner)))
    ragged(
      what,
      parts.map(({ shape }) => shape),
    );
  const length = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return { shape: [length, ...inner], data: joined(parts) };
}

function joined(parts: readonly NdArray[]): NdArray["data"] {
  const total = parts.reduce((sum, { data }) => sum + data.length, 0);
  const single = parts.length > 0 && parts.every(({ data }) => data instanceof Float32Array);
  const data = single ? new Float32Array(total) : new Float64Array(total);
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return data;
}

/** Reductions by name, over one axis. */
const folds = {
  sum: (values: readonly number[]): number => values.reduce((a, b) => a + b, 0),
  mean: (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length,
  max: (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity),
  min: (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity),
};

/** How to reduce an axis. */
export type Reduction = keyof typeof folds;
export const reductions: readonly Reduction[] = Object.keys(folds) as Reduction[];

/** One axis reduced; without an axis, everything: shape []. */
export function reduce(x: NdArray, how: Reduction, axis?: number): NdArray {
  const fold = folds[how];
  if (axis === undefined) return { shape: [], data: Float64Array.of(fold(Array.from(x.data))) };
  const at = axis < 0 ? axis + x.shape.length : axis;
  const n = x.shape[at];
  if (n === undefined)
    throw new AnalysisError("there is no such axis", {
      code: "store/axis",
      expected: `an axis of ${shown(x.shape)}`,
      received: String(axis),
    });
  const after = size(x.shape.slice(at + 1));
  const shape = x.shape.toSpliced(at, 1);
  const data = Float64Array.from({ length: size(shape) }, (_, i) => {
    const start = Math.floor(i / after) * n * after + (i % after);
    return fold(Array.from({ length: n }, (_, k) => x.data[start + k * after]!));
  });
  return { shape, data };
}
