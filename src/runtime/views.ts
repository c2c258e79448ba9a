/** @file Weight views that move or change data (casts, slices, folds) are computed once and kept. */
import type { DataArray } from "../graph/dtype.ts";
import { operations as ops } from "../graph/ops/table.ts";
import { leaf, remade, type Tensor } from "../graph/tensor.ts";
import { rebuild, topological } from "../graph/traverse.ts";
import type { Buffer } from "./backend.ts";

/** Views that are free at run time only read their operand under another shape: what lies below them counts. */
function beneath(x: Tensor): Tensor {
  let at = x;
  while (at.op === ops.Reshape) at = at.inputs[0]!;
  return at;
}

/** Views by their first weight, and their values: both live as long as that weight does. */
const kept = new WeakMap<Tensor, Map<Tensor, Tensor>>();

function firstWeight(view: Tensor): Tensor {
  let at = view;
  while (at.storage === undefined) at = at.inputs.find((x) => x.fixed)!;
  return at;
}

function keptBy(weight: Tensor): Map<Tensor, Tensor> {
  let views: Map<Tensor, Tensor> | undefined = kept.get(weight);
  if (views === undefined) {
    views = new Map<Tensor, Tensor>();
    kept.set(weight, views);
  }
  return views;
}

/** Every maximal expression that depends on weights only and does more than reshape them, outputs themselves left out. */
export function weightViews(outputs: readonly Tensor[]): ReadonlySet<Tensor> {
  const views = new Set<Tensor>();
  for (const node of topological(outputs))
    if (!node.fixed)
      for (const x of node.inputs) if (x.fixed && beneath(x).storage === undefined) views.add(beneath(x));
  return views;
}

/**
 * A slice of a weight (a third of a fused projection, say), copied: a graph that does it has to be compiled, and is no
 * faster. Undefined for every other view.
 */
export function slicedWeight(view: Tensor): Buffer | undefined {
  const whole = view.inputs[0];
  const data = whole && beneath(whole).storage?.data;
  if (view.op !== ops.Slice || data === undefined) return undefined;
  const { axis, start } = view.attributes as { axis: number; start: number };
  const [from, to] = [whole!.shape as number[], view.shape as number[]];
  const product = (sizes: readonly number[]): number => sizes.reduce((n, size) => n * size, 1);
  const each = product(from.slice(axis + 1));
  const run = to[axis]! * each;
  const out = new (data.constructor as new (length: number) => DataArray)(product(to));
  for (let row = 0, at = start * each; row * run < out.length; row++, at += from[axis]! * each)
    out.set(data.subarray(at, at + run) as never, row * run);
  return { dims: to, data: out };
}

/**
 * Replaces every weight view by a leaf that holds its value.
 * @param compute realizes those that are new
 */
export async function foldWeightViews(
  outputs: readonly Tensor[],
  compute: (views: readonly Tensor[]) => Promise<readonly Tensor[]>,
): Promise<readonly Tensor[]> {
  const views = weightViews(outputs);
  if (views.size === 0) return outputs;
  const fresh = [...views].filter((view) => !keptBy(firstWeight(view)).has(view));
  if (fresh.length > 0) {
    const values = await compute(fresh);
    fresh.forEach((view, i) => {
      const { data, dims, dtype } = values[i]!;
      const weight = firstWeight(view);
      const name = `view of ${weight.storage!.name}`;
      keptBy(weight).set(view, leaf(data, dims, { dtype, role: "weight", name }));
    });
  }
  const replaced = rebuild(outputs, (node, inputs) => {
    if (views.has(node)) return keptBy(firstWeight(node)).get(node)!;
    return remade(node, inputs);
  });
  return outputs.map((x) => replaced.get(x)!);
}
