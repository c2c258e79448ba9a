/** @file Algebraic identities that views and derivatives produce, undone bottom-up. */
import { sameDim, sameShape, type Dim } from "../axis.ts";
import { operations as ops } from "../ops/table.ts";
import { matmul } from "../ops/matmul.ts";
import { reshape, transpose } from "../ops/shape.ts";
import type { Tensor } from "../tensor.ts";
import { rebuild, withInputs } from "../traverse.ts";

const isConstant = (x: Tensor | undefined, value: number): boolean =>
  x !== undefined && x.op === ops.Constant && x.attributes["value"] === value;

/** Whether a transpose only swaps the last two axes. */
const swapsMatrix = (x: Tensor): boolean => {
  if (x.op !== ops.Transpose) return false;
  const perm = x.attributes["perm"] as readonly number[];
  const last = perm.length - 1;
  return last >= 1 && perm.every((p, i) => p === (i === last ? last - 1 : i === last - 1 ? last : i));
};

type Rule = (node: Tensor) => Tensor | undefined;

/** For each operation, what a node of it may be replaced with. */
const rules = new Map<unknown, Rule>([
  [
    ops.Add,
    ({ inputs: [a, b], shape }) =>
      isConstant(b, 0) ? a : isConstant(a, 0) && sameShape(b!.shape, shape) ? b : undefined,
  ],
  [ops.Sub, ({ inputs: [a, b] }) => (isConstant(b, 0) ? a : undefined)],
  [
    ops.Mul,
    ({ inputs: [a, b], shape }) =>
      isConstant(b, 1) ? a : isConstant(a, 1) && sameShape(b!.shape, shape) ? b : undefined,
  ],
  [ops.Div, ({ inputs: [a, b] }) => (isConstant(b, 1) ? a : undefined)],
  [ops.Neg, ({ inputs: [x] }) => (x!.op === ops.Neg ? x!.inputs[0] : undefined)],
  [ops.Reshape, ({ inputs: [x], shape }) => (x!.op === ops.Reshape ? reshape(x!.inputs[0]!, shape) : undefined)],
  [
    ops.Transpose,
    ({ inputs: [x], attributes }) => {
      if (x!.op !== ops.Transpose) return undefined;
      const [outer, inner] = [attributes["perm"], x!.attributes["perm"]] as (readonly number[])[];
      return transpose(
        x!.inputs[0]!,
        outer!.map((p) => inner![p]!),
      );
    },
  ],
  [
    ops.MatMul,
    ({ inputs: [a, b], attributes }) => {
      const [flipA, flipB] = [swapsMatrix(a!), swapsMatrix(b!)];
      if (!flipA && !flipB) return undefined;
      return matmul(flipA ? a!.inputs[0]! : a!, flipB ? b!.inputs[0]! : b!, {
        transposeA: Boolean(attributes["transA"]) !== flipA,
        transposeB: Boolean(attributes["transB"]) !== flipB,
      });
    },
  ],
  [
    ops.TakeRows,
    ({ inputs: [x, index], attributes }) => {
      const undoes =
        x!.op === ops.PutRows &&
        x!.inputs[1] === index &&
        index!.shape[1] === 1 &&
        x!.attributes["axis"] === attributes["axis"] &&
        x!.attributes["batchAxis"] === attributes["batchAxis"];
      return undoes ? x!.inputs[0] : undefined;
    },
  ],
  [
    ops.Slice,
    ({ inputs: [x], attributes: { axis, start, end } }) => {
      if (x!.op !== ops.Pad || x!.attributes["axis"] !== axis) return undefined;
      const { before } = x!.attributes as { before: Dim };
      const undoes =
        sameDim(before, start as Dim) &&
        sameDim(x!.inputs[0]!.shape[axis as number]!, lengthOf(start as Dim, end as Dim, x!, axis as number));
      return undoes ? x!.inputs[0] : undefined;
    },
  ],
]);

function lengthOf(start: Dim, end: Dim, x: Tensor, axis: number): Dim {
  return ops.Slice.infer([x], { axis, start, end }).shape[axis]!;
}

/** A node with the identities at it undone; its inputs stay as they are. */
export function simplified(node: Tensor): Tensor {
  let made = node;
  for (let rule = rules.get(made.op); rule !== undefined; rule = rules.get(made.op)) {
    const better = rule(made);
    if (better === undefined || better === made) break;
    made = better;
  }
  return made;
}

/** The outputs with identities removed. Values are unchanged. */
export function simplify(outputs: readonly Tensor[]): Tensor[] {
  const rebuilt = rebuild(outputs, (node, inputs) =>
    node.op.transparent ? inputs[0]! : simplified(withInputs(node, inputs)),
  );
  return outputs.map((x) => rebuilt.get(x)!);
}
