/** @file Recognises norms whose scale and normalised value nobody looks at, and makes one operation of each. */
import { sameDim } from "../axis.ts";
import { layerNormalization, rmsNormalization } from "../ops/norm.ts";
import { operations as ops } from "../ops/table.ts";
import type { Tensor } from "../tensor.ts";
import { topological } from "../traverse.ts";
import { constantOf, exchanged, users } from "./fusing.ts";

/** A norm as it was written down. */
interface Norm {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly epsilon: number;
  readonly centred: boolean;
  /** Values that only the norm itself may use, and how often it does. */
  readonly inner: ReadonlyMap<Tensor, number>;
}

/** The mean over the last axis, which stays with length 1. */
const meanOf = (x: Tensor | undefined): Tensor | undefined => {
  if (x?.op !== ops.ReduceMean) return undefined;
  const { axes, keepDims } = x.attributes as { axes: readonly number[]; keepDims: boolean };
  return keepDims && axes.length === 1 && axes[0] === x.rank - 1 ? x.inputs[0] : undefined;
};

/** The one of two operands that is a vector along the last axis of the other, and the other. */
function vectorAnd(node: Tensor): { vector: Tensor; other: Tensor } | undefined {
  const [a, b] = node.inputs as [Tensor, Tensor];
  const fits = (vector: Tensor, other: Tensor): boolean =>
    vector.rank === 1 && other.rank > 1 && sameDim(vector.shape[0]!, other.shape.at(-1)!);
  if (fits(b, a)) return { vector: b, other: a };
  return fits(a, b) ? { vector: a, other: b } : undefined;
}

/** Reads a norm upwards from its product with the weight. */
function readNorm(scaled: Tensor): Norm | undefined {
  if (scaled.op !== ops.Mul || scaled.dtype !== "float32") return undefined;
  const { vector: weight, other: quotient } = vectorAnd(scaled) ?? {};
  if (quotient?.op !== ops.Div) return undefined;
  const [numerator, root] = quotient.inputs as [Tensor, Tensor];
  const shifted = root.op === ops.Sqrt ? root.inputs[0]! : undefined;
  const epsilon = shifted?.op === ops.Add ? constantOf(shifted.inputs[1]) : undefined;
  const mean = shifted?.inputs[0];
  const square = meanOf(mean);
  if (epsilon === undefined || square?.op !== ops.Pow) return undefined;
  if (square.inputs[0] !== numerator || constantOf(square.inputs[1]) !== 2) return undefined;
  const inner = new Map([scaled, quotient, root, shifted!, mean!, square].map((x) => [x, 1]));
  const [x, middle] = numerator.inputs as [Tensor | undefined, Tensor | undefined];
  const centred = numerator.op === ops.Sub && meanOf(middle) === x;
  if (centred) inner.set(numerator, 2).set(middle!, 1);
  return { x: centred ? x! : numerator, weight: weight!, bias: undefined, epsilon, centred, inner };
}

/**
 * The same values with LayerNorm and RMSNorm as one operation, wherever what lies between serves nothing else: nobody
 * asked for it, hooked it, or needs it for a derivative.
 */
export function fuseNorms(outputs: readonly Tensor[]): readonly Tensor[] {
  const order = topological(outputs);
  if (!order.some((x) => x.op === ops.Sqrt)) return outputs;
  const count = users(order, outputs);
  const found = new Map<Tensor, Norm>();
  for (const node of order) {
    const norm = readNorm(node);
    // How often the product itself is used does not matter.
    if (norm !== undefined && [...norm.inner].every(([x, n]) => x === node || count.get(x) === n))
      found.set(node, norm);
    const { vector, other } = (node.op === ops.Add && vectorAnd(node)) || {};
    const unshifted = other && found.get(other);
    if (unshifted?.centred !== true || unshifted.bias !== undefined || count.get(other!) !== 1) continue;
    found.delete(other!);
    found.set(node, { ...unshifted, bias: vector });
  }
  return exchanged(outputs, found, ({ x, weight, bias, epsilon, centred }, made) =>
    centred
      ? layerNormalization(made(x), made(weight), bias && made(bias), epsilon)
      : rmsNormalization(made(x), made(weight), epsilon),
  );
}
