/** @file Algebraic identities that views and derivatives produce, undone bottom-up. */
import { sameDim, sameShape, type Dim } from "../axis.ts";
import { dtypes } from "../dtype.ts";
import { operations as ops } from "../ops/table.ts";
import type { Attributes } from "../operation.ts";
import { mul } from "../ops/binary.ts";
import { matmul } from "../ops/matmul.ts";
import { sum } from "../ops/reduce.ts";
import { broadcastTo, reshape, transpose } from "../ops/shape.ts";
import { neg } from "../ops/unary.ts";
import { apply, type Tensor } from "../tensor.ts";
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

/** Whether one operand of an elementwise operation is the same along the axes that are summed, and the other is whole. */
function isFactor(x: Tensor, product: Tensor, { axes, keepDims }: Attributes): boolean {
  const other = product.inputs[product.inputs[0] === x ? 1 : 0]!;
  if (!sameShape(other.shape, product.shape)) return false;
  const same = (axes as readonly number[]).every((axis) => x.shape[axis] === 1);
  return x.rank === 0 || (keepDims === true && x.rank === product.rank && same);
}

/** An elementwise operation on stretched operands, done before they are stretched. */
function beforeStretching(node: Tensor): Tensor | undefined {
  if (!node.inputs.some((x) => x.op === ops.Expand)) return undefined;
  const inputs = node.inputs.map((x) => (x.op === ops.Expand ? x.inputs[0]! : x));
  return broadcastTo(simplified(apply(node.op, inputs, node.attributes)), node.shape);
}

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
    ops.ReduceSum,
    ({ inputs: [x], attributes, dtype }) => {
      const { axes, keepDims } = attributes as { axes: readonly number[]; keepDims: boolean };
      const over = (y: Tensor): Tensor => simplified(sum(y, axes, { keepDims }));
      if (x!.op === ops.Neg) return neg(over(x!.inputs[0]!));
      if (x!.op === ops.MatMul && x!.rank === 2 && axes.length === 1 && axes[0] === 0) {
        // The sum of a product's rows is the product of the sum of rows.
        const [a, b] = x!.inputs as [Tensor, Tensor];
        const { transA, transB } = x!.attributes as { transA: boolean; transB: boolean };
        const row = sum(a, transA ? 1 : 0, { keepDims: true });
        const product = simplified(matmul(row, b, { transposeA: transA, transposeB: transB }));
        return keepDims ? product : reshape(product, [product.shape[1]!]);
      }
      if ((x!.op !== ops.Mul && x!.op !== ops.Div) || dtypes[dtype].kind !== "float") return undefined;
      // A factor that is the same in all terms is one of the sum.
      const [a, b] = x!.inputs as [Tensor, Tensor];
      if (isFactor(b, x!, attributes)) return apply(x!.op, [over(a), b], {});
      return x!.op === ops.Mul && isFactor(a, x!, attributes) ? mul(a, over(b)) : undefined;
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
  for (;;) {
    const better = rules.get(made.op)?.(made) ?? (made.op.broadcasts === true ? beforeStretching(made) : undefined);
    if (better === undefined || better === made) return made;
    made = better;
  }
}

/** The outputs with identities removed. Values are unchanged. */
export function simplify(outputs: readonly Tensor[]): Tensor[] {
  const rebuilt = rebuild(outputs, (node, inputs) =>
    node.op.transparent ? inputs[0]! : simplified(withInputs(node, inputs)),
  );
  return outputs.map((x) => rebuilt.get(x)!);
}
