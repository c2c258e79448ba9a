/** @file Weight views that move or change data (casts, slices, folds) are computed once and kept. */
import { apply, leaf, type Tensor } from "../graph/tensor.ts";
import { operations as ops } from "../graph/ops/table.ts";
import { rebuild, topological } from "../graph/traverse.ts";

/** Views that are free at run time: they only read their operand under another shape. */
const isFree = (x: Tensor): boolean => x.op === ops.Reshape;

/** What a maximal expression over weights alone was computed to. */
const computed = new WeakMap<Tensor, Tensor>();
/** The views of a weight live as long as it does, whether or not an expression holds them in between. */
const viewsOf = new WeakMap<Tensor, Tensor[]>();

function keepAlive(view: Tensor): void {
  const weight = topological([view]).find((x) => x.storage?.role === "weight")!;
  const known = viewsOf.get(weight);
  if (known === undefined) viewsOf.set(weight, [view]);
  else known.push(view);
}

/**
 * Replaces every maximal expression that depends on weights only, and does more than reshape them, by a leaf that
 * holds its value. `compute` realizes those that are new.
 */
export async function foldWeightViews(
  outputs: readonly Tensor[],
  compute: (views: readonly Tensor[]) => Promise<readonly Tensor[]>,
): Promise<readonly Tensor[]> {
  const constant = new Map<Tensor, boolean>();
  const isWeights = (node: Tensor): boolean => constant.get(node)!;
  const views = new Set<Tensor>();
  const seen: Tensor[] = [];
  rebuild(outputs, (node) => {
    seen.push(node);
    const only =
      node.storage !== undefined
        ? node.storage.role === "weight"
        : node.inputs.length > 0
          ? node.inputs.every((x) => isWeights(x) || x.op === ops.Constant) && node.inputs.some(isWeights)
          : false;
    constant.set(node, only);
    return node;
  });
  const needsValue = (node: Tensor): boolean => {
    let at = node;
    while (isFree(at)) at = at.inputs[0]!;
    return at.storage === undefined;
  };
  const consider = (node: Tensor): void => {
    let at = node;
    while (isFree(at)) at = at.inputs[0]!;
    if (isWeights(at) && needsValue(at)) views.add(at);
  };
  for (const node of seen) if (!isWeights(node)) for (const x of node.inputs) if (isWeights(x)) consider(x);
  if (views.size === 0) return outputs;
  const fresh = [...views].filter((v) => !computed.has(v));
  if (fresh.length > 0) {
    const values = await compute(fresh);
    fresh.forEach((view, i) => {
      const { data, dims, dtype } = values[i]!;
      keepAlive(view);
      computed.set(
        view,
        leaf(data, dims, { dtype, shape: view.shape, role: "weight", name: `view of ${nameOf(view)}` }),
      );
    });
  }
  const replaced = rebuild(outputs, (node, inputs) => {
    if (views.has(node)) return computed.get(node)!;
    return inputs.every((x, i) => x === node.inputs[i]) ? node : apply(node.op, inputs, node.attributes);
  });
  return outputs.map((x) => replaced.get(x)!);
}

function nameOf(view: Tensor): string {
  let at = view;
  while (at.storage === undefined && at.inputs.length > 0)
    at = at.inputs.find((x) => x.op !== ops.Constant) ?? at.inputs[0]!;
  return at.storage?.name ?? view.op.name;
}
