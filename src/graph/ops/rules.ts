/** @file What the rules of several operations share: axes under broadcasting, and what is asked of operands. */
import { dtypes, type DType } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Along } from "../operation.ts";
import type { Tensor } from "../tensor.ts";

/** Attributes of operations that have none. */
export type None = Record<never, never>;
export const none: None = {};

/** Output axis → operand axis under right-aligned broadcasting. */
export function alongBroadcast(node: Tensor, axis: number): Along {
  return node.inputs.map((x) => {
    const at = axis - (node.rank - x.rank);
    return at < 0 || x.shape[at] === 1 ? null : at;
  });
}

/** The one dtype that operands share; throws where they differ. */
export function sameDTypes(name: string, inputs: readonly Tensor[]): DType {
  const [first] = inputs;
  for (const x of inputs)
    if (x.dtype !== first!.dtype)
      throw new GraphError(`${name}: dtypes differ: ${inputs.map((t) => `${t.dtype}${namedShape(t)}`).join(" and ")}`, {
        code: "graph/dtype",
        hint: "cast one of them",
      });
  return first!.dtype;
}

/** Throws unless a tensor holds floating-point numbers, or numbers of any kind. */
export function requireKind(name: string, x: Tensor, kind: "float" | "number"): void {
  const own = dtypes[x.dtype].kind;
  if (own === "bool" || (kind === "float" && own === "int"))
    throw new GraphError(`${name}: needs a ${kind === "float" ? "floating-point" : "number"} tensor, got ${x.label}`, {
      code: "graph/dtype",
      hint: "cast it to float32",
    });
}
