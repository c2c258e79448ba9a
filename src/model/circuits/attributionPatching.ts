/** @file Attribution patching: what activation patching gives to first order, from one forward and one backward pass. */
import { gradients, mul, stack, sub, sum } from "../../graph/index.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import type { HookedModel } from "../hookedModel.ts";
import {
  metricShape,
  patchedBatches,
  patchedPoints,
  patchOf,
  placeOf,
  type Patch,
  type PatchComparison,
  type PatchName,
  type PatchTable,
} from "./patches.ts";

/**
 * How much each patch of {@link activationPatch} would change the metric, to first order: (clean − corrupted) times the
 * derivative of the metric of the corrupted run (Nanda, “Attribution Patching”, 2023). One run for all patches of a kind.
 * @param patch as {@link activationPatch} takes it
 * @returns estimates of the metric's change: what `activationPatch` gives, less the metric of the corrupted run
 * @throws ModelError as {@link activationPatch}
 * @example
 * const metric = (logits: Tensor) => logits.select(1, -1).select(1, 5297).sum(); // of the last position
 * const [corrupted, clean] = ["The Eiffel Tower is in", "The Eiffel Tower was in"];
 * const { values } = await attributionPatch(model, "attn_head_out_by_pos", { corrupted, clean, metric });
 * values; // [12, 8, 4]: layer, pos, head
 */
export async function attributionPatch(
  model: HookedModel,
  patch: PatchName | Patch,
  options: PatchComparison,
): Promise<PatchTable> {
  const { metric, signal } = options;
  const { point, by } = patchOf(patch);
  const kept = by.map((axis) => placeOf(point, axis));
  const { batch, source } = patchedBatches(model, options);
  const points = patchedPoints(model, { point, by });
  const { cache } = await model.runWithCache(source, { names: points, signal });
  const estimates = ({ logits, hooks }: { logits: Tensor; hooks: Readonly<Record<string, Tensor>> }): Tensor => {
    const score = metric(logits);
    if (score.rank !== 0) throw metricShape(score);
    const values = points.map((name) => hooks[name]!);
    const slopes = gradients(score, values);
    return stack(
      values.map((value, layer) => {
        const { data, dims } = cache.get(points[layer]!);
        const step = sub(leaf(data, dims, { shape: value.shape, name: "clean" }), value);
        return sum(
          mul(step, slopes[layer]!),
          [...value.shape.keys()].filter((axis) => !kept.includes(axis)),
        );
      }),
    );
  };
  const values = await model.run(batch, estimates, { capture: points, signal });
  return { axes: ["layer", ...by], values };
}
