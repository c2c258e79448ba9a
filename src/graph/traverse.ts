/** @file Walking expressions. */
import { apply, type Tensor } from "./tensor.ts";

/** Every tensor the roots are made of, inputs before users; each once. */
export function topological(roots: readonly Tensor[]): Tensor[] {
  const order: Tensor[] = [];
  const seen = new Set<Tensor>();
  const stack: { node: Tensor; next: number }[] = [];
  for (const root of roots) {
    if (seen.has(root)) continue;
    seen.add(root);
    stack.push({ node: root, next: 0 });
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const input = top.node.inputs[top.next++];
      if (input === undefined) {
        order.push(top.node);
        stack.pop();
      } else if (!seen.has(input)) {
        seen.add(input);
        stack.push({ node: input, next: 0 });
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
