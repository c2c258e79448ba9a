/** @file What can be patched, and the two runs that are compared. */
import type { Tensor } from "../../graph/tensor.ts";
import { ModelError } from "../errors.ts";
import type { HookedModel } from "../hookedModel.ts";
import type { TokenBatch } from "../run/batch.ts";
import type { ModelInput } from "../run/runOptions.ts";

/** What a patch is told by: its place in the activation. */
export type PatchAxis = "pos" | "head" | "dest" | "src";

/** One kind of patch: a hook point of every block, and by which axes its values are told apart. */
export interface Patch {
  /** Behind `blocks.L.`: `attn.hook_z`. */
  readonly point: string;
  /** All else along is patched together; no axes: the whole activation. */
  readonly by: readonly PatchAxis[];
}

/** The axes of a point's values behind the batch. */
function axesOf(point: string): readonly PatchAxis[] {
  if (/^attn\.hook_(pattern|attn_scores)$/.test(point)) return ["head", "dest", "src"];
  return /^attn\.hook_(z|q|k|v|rot_q|rot_k|result)$/.test(point) ? ["pos", "head"] : ["pos"];
}

/** The patches of TransformerLens' `patching` module, by the names that follow `get_act_patch_`. */
export type PatchName =
  | "resid_pre"
  | "resid_mid"
  | "attn_out"
  | "mlp_out"
  | `attn_head_${"out" | "q" | "k" | "v" | "pattern"}_${"by_pos" | "all_pos"}`
  | "attn_head_pattern_dest_src_pos";

const patches: { readonly [N in PatchName]: Patch } = {
  resid_pre: { point: "hook_resid_pre", by: ["pos"] },
  resid_mid: { point: "hook_resid_mid", by: ["pos"] },
  attn_out: { point: "hook_attn_out", by: ["pos"] },
  mlp_out: { point: "hook_mlp_out", by: ["pos"] },
  attn_head_out_by_pos: { point: "attn.hook_z", by: ["pos", "head"] },
  attn_head_out_all_pos: { point: "attn.hook_z", by: ["head"] },
  attn_head_q_by_pos: { point: "attn.hook_q", by: ["pos", "head"] },
  attn_head_q_all_pos: { point: "attn.hook_q", by: ["head"] },
  attn_head_k_by_pos: { point: "attn.hook_k", by: ["pos", "head"] },
  attn_head_k_all_pos: { point: "attn.hook_k", by: ["head"] },
  attn_head_v_by_pos: { point: "attn.hook_v", by: ["pos", "head"] },
  attn_head_v_all_pos: { point: "attn.hook_v", by: ["head"] },
  attn_head_pattern_all_pos: { point: "attn.hook_pattern", by: ["head"] },
  attn_head_pattern_by_pos: { point: "attn.hook_pattern", by: ["head", "dest"] },
  attn_head_pattern_dest_src_pos: { point: "attn.hook_pattern", by: ["head", "dest", "src"] },
};

export interface PatchComparison {
  /** What is run. */
  readonly corrupted: ModelInput;
  /** Where the patched values come from: as many rows of the same length. */
  readonly clean: ModelInput;
  /** From the logits of a run, [batch, pos, d_vocab], to a scalar. */
  readonly metric: (logits: Tensor) => Tensor;
  readonly signal?: AbortSignal;
}

export interface PatchTable {
  /** `layer`, and what the patch is told by: the axes of `values`. */
  readonly axes: readonly string[];
  /** float32 */
  readonly values: Tensor;
}

/** A patch by its name, or as it is given. */
export function patchOf(patch: PatchName | Patch): Patch {
  if (typeof patch !== "string") return patch;
  const name: string = patch;
  if (Object.hasOwn(patches, name)) return patches[name as PatchName];
  throw new ModelError(`there is no patch ${name}`, {
    code: "model/patch",
    expected: Object.keys(patches).join(", "),
    hint: 'or give a hook point and axes: { point: "attn.hook_z", by: ["head"] }',
  });
}

/** Where an axis stands in an activation. */
export function placeOf(point: string, axis: PatchAxis): number {
  const axes = axesOf(point);
  if (axes.includes(axis)) return 1 + axes.indexOf(axis);
  throw new ModelError(`values at ${point} have no axis ${axis}`, { code: "model/patch", expected: axes.join(", ") });
}

/** The two inputs as batches of one size. */
export function patchedBatches(
  model: HookedModel,
  { corrupted, clean }: PatchComparison,
): { batch: TokenBatch; source: TokenBatch } {
  const [batch, source] = [model.batch(corrupted), model.batch(clean)];
  const dims = ({ batchSize, length }: TokenBatch): string => `${batchSize} rows of ${length} tokens`;
  if (dims(batch) === dims(source)) return { batch, source };
  throw new ModelError("the clean and the corrupted input differ in size", {
    code: "model/patch",
    expected: dims(batch),
    received: dims(source),
    hint: "patching puts values of one run in the places of another: use prompts of as many tokens",
  });
}

/** The patched point of each block. */
export const patchedPoints = ({ cfg }: HookedModel, { point }: Patch): string[] =>
  Array.from({ length: cfg.n_layers }, (_, layer) => `blocks.${layer}.${point}`);

/** The error for a metric that is no number. */
export const metricShape = (x: Tensor): ModelError =>
  new ModelError("the metric of a patched run is a scalar", { code: "model/patch", received: x.label });
