/** @file From wanted tensors to a plan: rewrites, structure key, feeds. */
import { dimKey, evaluateDim, forEachAtom, atomOf } from "../graph/axis.ts";
import { narrow } from "../graph/rewrite/narrow.ts";
import { simplify } from "../graph/rewrite/simplify.ts";
import { attributesKey, type Tensor } from "../graph/tensor.ts";
import { topological } from "../graph/traverse.ts";
import type { Plan } from "./backend.ts";
import { RuntimeError } from "./errors.ts";

/** The rewrites of `realize`, in order. */
export function rewrite(outputs: readonly Tensor[]): Tensor[] {
  return simplify(narrow(simplify(outputs)));
}

/** Makes a plan of rewritten outputs. Weights for which `packs` answers true become part of the graph. */
export function makePlan(outputs: readonly Tensor[], packs: (weight: Tensor) => boolean): Plan {
  const order = topological(outputs);
  const numbers = new Map<Tensor, number>();
  const atomNumbers = new Map<number, number>();
  const rename = (id: number): number => {
    let n = atomNumbers.get(id);
    if (n === undefined) atomNumbers.set(id, (n = atomNumbers.size));
    return n;
  };
  const feeds: Tensor[] = [];
  const packed = new Set<Tensor>();
  const parts: string[] = [];
  order.forEach((node, i) => {
    numbers.set(node, i);
    const fed = node.storage !== undefined || node.op.host === true;
    if (!fed) {
      let part = node.op.name;
      for (const x of node.inputs) part += `|${numbers.get(x)!}`;
      parts.push(part + attributesKey(node.attributes, rename));
      return;
    }
    const shape = node.shape.map((d) => dimKey(d, rename)).join(",");
    if (node.storage?.role === "weight" && packs(node)) {
      packed.add(node);
      parts.push(`P${node.id}`);
    } else {
      feeds.push(node);
      parts.push(`L${node.dtype}[${shape}]`);
    }
  });
  const key = `${parts.join("\n")}\n→${outputs.map((x) => numbers.get(x)!).join(",")}`;
  return { outputs, feeds, packed, atoms: [...atomNumbers.keys()], key };
}

/** The size of every axis of a plan, read off the data that is fed, or declared with the axis. */
export function axisSizes(plan: Plan, dimsOf: (feed: Tensor) => readonly number[] | undefined): Map<number, number> {
  const sizes = new Map<number, number>();
  const set = (id: number, size: number, where: string): void => {
    const known = sizes.get(id);
    if (known !== undefined && known !== size)
      throw new RuntimeError("an axis has two sizes", {
        code: "runtime/axis-size",
        where,
        expected: String(known),
        received: String(size),
      });
    sizes.set(id, size);
  };
  for (const feed of plan.feeds) {
    const dims = dimsOf(feed);
    feed.shape.forEach((dim, i) => {
      forEachAtom(dim, (id, name, size) => {
        if (size !== undefined) set(id, size, name);
      });
      const atom = atomOf(dim);
      if (atom !== undefined && dims !== undefined) set(atom, dims[i]!, feed.storage?.name ?? feed.op.name);
    });
  }
  for (const node of topological(plan.outputs))
    for (const dim of node.shape)
      forEachAtom(dim, (id, name, size) => {
        if (size !== undefined && !sizes.has(id)) set(id, size, name);
      });
  return sizes;
}

/** The concrete dimensions of a tensor. */
export function concreteDims(x: Tensor, sizes: ReadonlyMap<number, number>): number[] {
  return x.shape.map((dim) => evaluateDim(dim, sizes));
}
