/**
 * @file Activation patching: one activation of a corrupted run at a time is that of a clean run, and a metric of the
 * logits is taken. Patches of one block are rows of one batch, which starts at that block.
 */
import { and, equal, range, reshape, slice, stack, where } from "../../graph/index.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { HookedModel } from "../hookedModel.ts";
import type { Hook } from "../hooks/hookPoint.ts";
import { tokenBatch, type TokenBatch } from "../run/batch.ts";
import type { ModelInput } from "../run/runOptions.ts";

/** What a patch is told by: its place in the activation. */
type PatchAxis = "pos" | "head" | "dest" | "src";

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

export interface PatchingOptions {
  /** What is run, again and again. */
  readonly corrupted: ModelInput;
  /** Where the patched values come from: as many rows of the same length. */
  readonly clean: ModelInput;
  /** From the logits of a patched run, [batch, pos, d_vocab], to a scalar. */
  readonly metric: (logits: Tensor) => Tensor;
  /** Rows of one pass: patches times the batch's rows, at the most. Default: 64, less for long prompts. */
  readonly rowsPerRun?: number;
  readonly signal?: AbortSignal;
  /** Called after each pass, with patches. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

export interface PatchTable {
  /** `layer`, and what the patch is told by: the axes of `values`. */
  readonly axes: readonly string[];
  /** The metric of each patched run, float32. */
  readonly values: Tensor;
}

/**
 * Activation patching over all layers: how much of an answer does one activation of the clean run bring back? The
 * functions of TransformerLens' `patching` module, as data: each entry is what its `get_act_patch_…` gives. A patched
 * run starts at its block, and runs of one block are rows of one batch.
 * @param patch a name, or a hook point of the blocks with the axes by which its values are told apart
 * @throws ModelError when the two inputs differ in size, when the model has no such point, or when the metric is no scalar
 * @example
 * const metric = (logits: Tensor) => logits.select(1, -1).select(1, 5297).sum(); // of the last position
 * const [corrupted, clean] = ["The Eiffel Tower is in", "The Eiffel Tower was in"];
 * const { axes, values } = await activationPatch(model, "attn_head_out_by_pos", { corrupted, clean, metric });
 * axes; // ["layer", "pos", "head"]
 * values; // [12, 8, 4]
 */
export async function activationPatch(
  model: HookedModel,
  patch: PatchName | Patch,
  { corrupted, clean, metric, rowsPerRun, signal, onProgress }: PatchingOptions,
): Promise<PatchTable> {
  const { point, by } = typeof patch === "string" ? patchNamed(patch) : patch;
  const { n_layers: layers } = model.cfg;
  const [batch, source] = sameSize(model.batch(corrupted), model.batch(clean));
  const name = (layer: number): string => `blocks.${layer}.${point}`;
  const { cache } = await model.runWithCache(source, {
    names: Array.from({ length: layers }, (_, layer) => name(layer)),
    signal,
  });
  const before = await model.runWithCache(batch, { names: "blocks.*.hook_resid_pre", signal });
  const sizes = by.map((axis) => cache.get(name(0)).dims[placeOf(point, axis)]!);
  const each = tuples(sizes);
  const rows = rowsPerRun ?? rowsFor(model.cfg, batch.length);
  const perRun = Math.max(1, Math.min(each.length, Math.floor(rows / batch.batchSize)));
  const out = new Float32Array(layers * each.length);
  let done = 0;
  for (let layer = 0; layer < layers; layer++) {
    const entering = before.cache.get(`blocks.${layer}.hook_resid_pre`);
    for (let from = 0; from < each.length; from += perRun) {
      signal?.throwIfAborted();
      // The last ones again, so that every pass has the same graph.
      const start = Math.min(from, each.length - perRun);
      const hook = patchOf(cache.get(name(layer)), point, by, each.slice(start, start + perRun));
      const found = await model.run(
        repeated(batch, perRun),
        ({ logits }) => metrics(logits, metric, perRun, batch.batchSize),
        {
          hooks: [[name(layer), hook]],
          startAtLayer: layer,
          residual: repeatedData(entering, perRun),
          signal,
        },
      );
      out.set(found.data as Float32Array, layer * each.length + start);
      onProgress?.({ done: (done += Math.min(perRun, each.length - from)), total: layers * each.length });
    }
  }
  return { axes: ["layer", ...by], values: leaf(out, [layers, ...sizes], { name: "patched metric" }) };
}

/** So many rows that the largest values of a block take no more than 256 MB. */
function rowsFor({ n_heads: heads, d_model: width }: ModelConfig, length: number): number {
  const numbers = Math.max(heads * length, 4 * width) * length;
  return Math.max(1, Math.min(64, Math.floor(2 ** 26 / numbers)));
}

function patchNamed(name: string): Patch {
  if (Object.hasOwn(patches, name)) return patches[name as PatchName];
  throw new ModelError(`there is no patch ${name}`, {
    code: "model/patch",
    expected: Object.keys(patches).join(", "),
    hint: 'or give a hook point and axes: { point: "attn.hook_z", by: ["head"] }',
  });
}

/** Where an axis stands in an activation. */
function placeOf(point: string, axis: PatchAxis): number {
  const axes = axesOf(point);
  if (axes.includes(axis)) return 1 + axes.indexOf(axis);
  throw new ModelError(`values at ${point} have no axis ${axis}`, { code: "model/patch", expected: axes.join(", ") });
}

function sameSize(corrupted: TokenBatch, clean: TokenBatch): [TokenBatch, TokenBatch] {
  const dims = ({ batchSize, length }: TokenBatch): string => `${batchSize} rows of ${length} tokens`;
  if (dims(corrupted) === dims(clean)) return [corrupted, clean];
  throw new ModelError("the clean and the corrupted input differ in size", {
    code: "model/patch",
    expected: dims(corrupted),
    received: dims(clean),
    hint: "patching puts values of one run in the places of another: use prompts of as many tokens",
  });
}

/** All places, the last axis fastest. */
function tuples(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (found, size) => found.flatMap((head) => Array.from({ length: size }, (_, i) => [...head, i])),
    [[]],
  );
}

/** The rows of a batch, several times. */
function repeated({ ids, mask, policy }: TokenBatch, times: number): TokenBatch {
  const again = <T>(rows: readonly T[]): T[] => Array.from({ length: times }, () => rows).flat();
  return tokenBatch(again(ids), { mask: again(mask), positions: policy === "padded" ? "padded" : "explicit" });
}

function repeatedData(x: Tensor, times: number): Tensor {
  const one = x.data as Float32Array;
  const data = new Float32Array(times * one.length);
  for (let i = 0; i < times; i++) data.set(one, i * one.length);
  return leaf(data, [times * x.dims[0]!, ...x.dims.slice(1)], { name: "repeated" });
}

/** Each row's own place takes the clean value. */
function patchOf(clean: Tensor, point: string, by: readonly PatchAxis[], places: readonly (readonly number[])[]): Hook {
  const times = places.length;
  const rows = times * clean.dims[0]!;
  return (value) => {
    const given = repeatedData(clean, times);
    const from = leaf(given.data, given.dims, { shape: value.shape, name: "clean" });
    const here = by.map((axis, i) => {
      const at = placeOf(point, axis);
      const index = BigInt64Array.from({ length: rows }, (_, r) => BigInt(places[Math.floor(r / clean.dims[0]!)]![i]!));
      const own = leaf(index, [rows], { shape: [value.shape[0]!], name: axis });
      const entries = reshape(
        range(value.shape[at]!),
        value.shape.map((dim, d) => (d === at ? dim : 1)),
      );
      return equal(entries, reshape(own, [value.shape[0]!, ...value.shape.slice(1).map(() => 1)]));
    });
    return here.length === 0
      ? from
      : where(
          here.reduce((a, b) => and(a, b)),
          from,
          value,
        );
  };
}

/** The metric of each patch's own rows, [patch]. */
function metrics(logits: Tensor, metric: PatchingOptions["metric"], count: number, rows: number): Tensor {
  const found = Array.from({ length: count }, (_, i) => metric(slice(logits, 0, i * rows, (i + 1) * rows)));
  const wrong = found.find((x) => x.rank !== 0);
  if (wrong !== undefined)
    throw new ModelError("the metric of a patched run is a scalar", { code: "model/patch", received: wrong.label });
  return stack(found);
}
