/** @file Expressions as text, for people who debug them. */
import { shapeText } from "./axis.ts";
import type { Tensor } from "./tensor.ts";
import { topological } from "./traverse.ts";

/**
 * One line per node: `%3 = MatMul(%1, %2) {transB: true} : [batch, pos, 768] float32`.
 * @example
 * const x = leaf(new Float32Array(2), [2], { name: "x" });
 * console.log(printGraph(neg(x)));
 * // %0 = Leaf(x) : [2] float32
 * // %1 = Neg(%0) : [2] float32
 */
export function printGraph(...outputs: readonly Tensor[]): string {
  const names = new Map<Tensor, string>();
  const lines = topological(outputs).map((node, i) => {
    const name = node.storage?.name ?? `%${i}`;
    names.set(node, `%${i}`);
    const attributes = Object.entries(node.attributes).map(
      ([key, value]) =>
        `${key}: ${Array.isArray(value) ? `[${value.map(String).join(", ")}]` : String(value as string)}`,
    );
    const call = node.storage ? `Leaf(${name})` : `${node.op.name}(${node.inputs.map((x) => names.get(x)).join(", ")})`;
    return `%${i} = ${call}${attributes.length ? ` {${attributes.join(", ")}}` : ""} : ${shapeText(node.shape)} ${node.dtype}`;
  });
  return lines.join("\n");
}
