/** @file Walking expressions. */
import { apply, type Tensor } from "./tensor.ts";

/** Every tensor the roots are made of, inputs before users; each once. */
export function topological(roots: readonly Tensor[]): Tensor[] {
  const order: Tensor[] = [];
  const seen = new Set<Tensor>();
  const path: Tensor[] = [];
  const next: number[] = [];
  for (const root of roots) {
    if (seen.has(root)) continue;
    seen.add(root);
    path.push(root);
    next.push(0);
    while (path.length > 0) {
      const top = path.length - 1;
      const input = path[top]!.inputs[next[top]!++];
      if (input === undefined) {
        order.push(path.pop()!);
        next.pop();
      } else if (!seen.has(input)) {
        seen.add(input);
        path.push(input);
        next.push(0);
      }
    }
  }
  return order;
}

/** The same operation over other inputs; the node itself where they are its own. */
export function withInputs(node: Tensor, inputs: readonly Tensor[]): Tensor {
  return inputs.every((x, i) => x === node.inputs[i]) ? node : apply(node.op, inputs, node.attributes);
}

/**
 * The expression with some tensors replaced: `replace` is asked bottom-up and gets the already rebuilt inputs, and all
 * that has been rebuilt so far.
 */
export function rebuild(
  roots: readonly Tensor[],
  replace: (node: Tensor, inputs: readonly Tensor[], rebuilt: ReadonlyMap<Tensor, Tensor>) => Tensor,
): Map<Tensor, Tensor> {
  const rebuilt = new Map<Tensor, Tensor>();
  for (const node of topological(roots)) {
    const inputs = node.inputs.map((x) => rebuilt.get(x)!);
    rebuilt.set(node, replace(node, inputs, rebuilt));
  }
  return rebuilt;
}
