/** @file Shapes in errors: a fixed size is shown with the name that the nearest weight gives it. */
import type { Dim } from "./axis.ts";
import type { Tensor } from "./tensor.ts";

/** The names that a leaf gives to a size. */
const namesAt = (leaf: Tensor, size: number): string[] =>
  Object.entries(leaf.storage?.sizes ?? {}).flatMap(([name, value]) => (value === size ? [name] : []));

/** The one name that the nearest ancestors who name a size agree on. */
function nameOf(size: number, x: Tensor): string | undefined {
  const seen = new Set<Tensor>([x]);
  for (let level: Tensor[] = [x]; level.length > 0;) {
    const names = new Set(level.flatMap((node) => namesAt(node, size)));
    if (names.size > 0) return names.size === 1 ? [...names][0] : undefined;
    const next = new Set(level.flatMap((node) => node.inputs.filter((input) => !seen.has(input))));
    for (const node of next) seen.add(node);
    level = [...next];
  }
  return undefined;
}

/**
 * A tensor's shape for people: `[batch, pos, d_model=768]`. Sizes are named after the nearest leaf above that names them
 * (`LeafOptions.sizes`), where that leaves no doubt. Walks the expression: for errors only.
 * @param shape default the tensor's own; another one over the same sizes
 * @example
 * const w = leaf(new Float32Array(6), [2, 3], { name: "W_in", sizes: { d_model: 2, d_mlp: 3 } });
 * namedShape(transpose(w)); // "[d_mlp=3, d_model=2]"
 */
export function namedShape(x: Tensor, shape: readonly Dim[] = x.shape): string {
  const named = shape.map((dim) => {
    const name = typeof dim === "number" && dim !== 1 ? nameOf(dim, x) : undefined;
    return name === undefined ? String(dim) : `${name}=${String(dim)}`;
  });
  return `[${named.join(", ")}]`;
}
