/** @file From wanted tensors to a plan: rewrites, structure key, feeds. */
import { atomOf, dimKey, evaluateDim, type Atom } from "../graph/axis.ts";
import { attributesKey } from "../graph/intern.ts";
import { operations } from "../graph/ops/table.ts";
import { fuseAttention } from "../graph/rewrite/fuseAttention.ts";
import { fuseNorms } from "../graph/rewrite/fuseNorms.ts";
import { narrow } from "../graph/rewrite/narrow.ts";
import { simplify } from "../graph/rewrite/simplify.ts";
import type { Tensor } from "../graph/tensor.ts";
import { topological } from "../graph/traverse.ts";
import type { Plan } from "./backend.ts";
import { RuntimeError } from "./errors.ts";

/** The rewrites of `realize`, in order. */
export function rewrite(outputs: readonly Tensor[], options: { fuse: boolean } = { fuse: false }): readonly Tensor[] {
  const simple = simplify(narrow(simplify(outputs)));
  return options.fuse ? fuseNorms(fuseAttention(simple)) : simple;
}

/** Makes a plan of rewritten outputs. Weights for which `packs` answers true become part of the graph. */
export function makePlan(outputs: readonly Tensor[], packs: (weight: Tensor) => boolean): Plan {
  const order = topological(outputs);
  const numbers = new Map<Tensor, number>();
  const atoms = new Map<number, Atom>();
  const atomNumbers = new Map<number, number>();
  const rename = (atom: Atom): number => {
    let n = atomNumbers.get(atom.id);
    if (n === undefined) {
      atomNumbers.set(atom.id, (n = atomNumbers.size));
      atoms.set(atom.id, atom);
    }
    return n;
  };
  const feeds: Tensor[] = [];
  const packed = new Set<Tensor>();
  const parts: string[] = [];
  let fused = 0;
  order.forEach((node, i) => {
    numbers.set(node, i);
    const fed = node.storage !== undefined || node.op.host === true;
    if (node.op === operations.CausalAttention) fused++;
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
  return { outputs, feeds, packed, atoms: [...atoms.values()], fused, key };
}

/** The size of every axis of a plan that is declared with the axis or can be read off the data that is fed. */
export function axisSizes(plan: Plan, dimsOf: (feed: Tensor) => readonly number[] | undefined): Map<number, number> {
  const sizes = new Map<number, number>();
  for (const { id, size } of plan.atoms) if (size !== undefined) sizes.set(id, size);
  const check = (name: string, known: number, received: number, feed: Tensor): void => {
    if (known !== received)
      throw new RuntimeError(`axis ${name} has two sizes`, {
        code: "runtime/axis-size",
        where: feed.label,
        expected: String(known),
        received: String(received),
      });
  };
  const compound: (() => void)[] = [];
  for (const feed of plan.feeds) {
    const dims = dimsOf(feed);
    if (dims === undefined) continue;
    feed.shape.forEach((dim, i) => {
      if (typeof dim === "number") return;
      const atom = atomOf(dim);
      if (atom === undefined) compound.push(() => check(String(dim), evaluateDim(dim, sizes), dims[i]!, feed));
      else check(atom.name, sizes.get(atom.id) ?? dims[i]!, dims[i]!, feed);
      if (atom !== undefined) sizes.set(atom.id, dims[i]!);
    });
  }
  if (plan.atoms.every((atom) => sizes.has(atom.id))) for (const verify of compound) verify();
  return sizes;
}

/** The concrete dimensions of a tensor. */
export function concreteDims(x: Tensor, sizes: ReadonlyMap<number, number>): number[] {
  return x.shape.map((dim) => evaluateDim(dim, sizes));
}
