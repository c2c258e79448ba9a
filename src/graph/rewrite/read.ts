/** @file What rewrites ask of expressions. */
import { operations as ops } from "../ops/table.ts";
import type { Tensor } from "../tensor.ts";

/** The number that a constant is. */
export const constantOf = (x: Tensor | undefined): number | undefined =>
  x?.op === ops.Constant ? (x.attributes["value"] as number) : undefined;

/** How often each tensor is used, as an output or as an operand of what is in `order`. */
export function users(order: readonly Tensor[], outputs: readonly Tensor[]): Map<Tensor, number> {
  const count = new Map<Tensor, number>();
  const use = (x: Tensor): void => void count.set(x, (count.get(x) ?? 0) + 1);
  outputs.forEach(use);
  for (const node of order) node.inputs.forEach(use);
  return count;
}
