/** @file Trees of tensors: what is asked for together. */
import { Tensor } from "../graph/tensor.ts";

/** Anything made of tensors: arrays and plain objects of them; other values pass through untouched. */
export type Tree = unknown;

/**
 * Replaces each tensor of a tree; arrays and plain objects are copied, other values kept.
 * @param path where the tree stands: `hooks.blocks.0.hook_resid_pre` is what the ledger calls a result
 */
export function mapTree<T>(tree: T, f: (x: Tensor, path: string) => Tensor, path = ""): T {
  if (tree instanceof Tensor) return f(tree, path) as T;
  const below = (key: string | number): string => (path === "" ? String(key) : `${path}.${key}`);
  if (Array.isArray(tree)) return tree.map((x: unknown, i) => mapTree(x, f, below(i))) as T;
  if (tree !== null && typeof tree === "object" && Object.getPrototypeOf(tree) === Object.prototype)
    return Object.fromEntries(
      Object.entries(tree).map(([k, v]: [string, unknown]) => [k, mapTree(v, f, below(k))]),
    ) as T;
  return tree;
}

/** The tensors of a tree, each once, in order. */
export function tensorsOf(tree: Tree): Tensor[] {
  return [...namedTensors(tree).keys()];
}

/** The tensors of a tree with where each first stands in it. */
export function namedTensors(tree: Tree): Map<Tensor, string> {
  const found = new Map<Tensor, string>();
  mapTree(tree, (x, path) => {
    if (!found.has(x)) found.set(x, path);
    return x;
  });
  return found;
}
