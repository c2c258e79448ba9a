/** @file What rewrites that make one operation of many have in common. */
import { operations as ops } from "../ops/table.ts";
import { remade, type Tensor } from "../tensor.ts";
import { rebuild } from "../traverse.ts";
import { simplified } from "./simplify.ts";

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

/** The outputs with what was found made anew, from operands that are made anew already. */
export function exchanged<Found>(
  outputs: readonly Tensor[],
  found: ReadonlyMap<Tensor, Found>,
  make: (what: Found, made: (x: Tensor) => Tensor, node: Tensor) => Tensor,
): readonly Tensor[] {
  if (found.size === 0) return outputs;
  const rebuilt = rebuild(outputs, (node, inputs, made) => {
    const what = found.get(node);
    return what === undefined ? simplified(remade(node, inputs)) : make(what, (x) => made.get(x)!, node);
  });
  return outputs.map((x) => rebuilt.get(x)!);
}
