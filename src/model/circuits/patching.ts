/**
 * @file Activation patching: one activation of a corrupted run at a time is that of a clean run, and a metric of the
 * logits is taken. Patches of one block are rows of one batch, which starts at that block.
 */
import { and, equal, range, reshape, slice, stack, where } from "../../graph/index.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import type { HookedModel } from "../hookedModel.ts";
import type { Hook } from "../hooks/hookPoint.ts";
import { tokenBatch, type TokenBatch } from "../run/batch.ts";
import {
  metricShape,
  patchedBatches,
  patchedPoints,
  patchOf,
  placeOf,
  type Patch,
  type PatchAxis,
  type PatchComparison,
  type PatchName,
  type PatchTable,
} from "./patches.ts";

export interface PatchingOptions extends PatchComparison {
  /** Rows of one pass: patches times the batch's rows, at the most. Default: 64, less for long prompts. */
  readonly rowsPerRun?: number;
  /** Called after each pass, with patches. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

/**
 * Activation patching over all layers: how much of an answer does one activation of the clean run bring back? The
 * functions of TransformerLens' `patching` module, as data: each entry is what its `get_act_patch_…` gives. A patched
 * run starts at its block, and runs of one block are rows of one batch.
 * @param patch a name, or a hook point of the blocks with the axes by which its values are told apart
 * @returns the metric of each patched run
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
  options: PatchingOptions,
): Promise<PatchTable> {
  const { metric, rowsPerRun, signal, onProgress } = options;
  const { point, by } = patchOf(patch);
  const { batch, source } = patchedBatches(model, options);
  const points = patchedPoints(model, { point, by });
  const { cache } = await model.runWithCache(source, { names: points, signal });
  const before = await model.runWithCache(batch, { names: "blocks.*.hook_resid_pre", signal });
  const sizes = by.map((axis) => cache.get(points[0]!).dims[placeOf(point, axis)]!);
  const each = tuples(sizes);
  const most = rowsPerRun ?? rowsFor(model.cfg, batch.length);
  const perRun = Math.max(1, Math.min(each.length, Math.floor(most / batch.batchSize)));
  const rows = repeated(batch, perRun);
  const out = new Float32Array(points.length * each.length);
  let done = 0;
  for (const [layer, name] of points.entries()) {
    const residual = repeatedData(before.cache.get(`blocks.${layer}.hook_resid_pre`), perRun);
    const clean = repeatedData(cache.get(name), perRun);
    for (let from = 0; from < each.length; from += perRun) {
      signal?.throwIfAborted();
      // The last ones again, so that every pass has the same graph.
      const start = Math.min(from, each.length - perRun);
      const hook = hookOf(clean, point, by, each.slice(start, start + perRun));
      const found = await model.run(rows, ({ logits }) => metrics(logits, metric, perRun, batch.batchSize), {
        hooks: [[name, hook]],
        startAtLayer: layer,
        residual,
        signal,
      });
      out.set(found.data as Float32Array, layer * each.length + start);
      onProgress?.({ done: (done += Math.min(perRun, each.length - from)), total: out.length });
    }
  }
  return { axes: ["layer", ...by], values: leaf(out, [points.length, ...sizes], { name: "patched metric" }) };
}

/** So many rows that the largest values of a block take no more than 256 MB. */
function rowsFor({ n_heads: heads, d_model: width }: ModelConfig, length: number): number {
  const numbers = Math.max(heads * length, 4 * width) * length;
  return Math.max(1, Math.min(64, Math.floor(2 ** 26 / numbers)));
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

/** Each row's own place takes the clean value. @param clean for all rows of a pass */
function hookOf(clean: Tensor, point: string, by: readonly PatchAxis[], places: readonly (readonly number[])[]): Hook {
  const rows = clean.dims[0]!;
  const placeOfRow = (row: number): readonly number[] => places[Math.floor((row * places.length) / rows)]!;
  return (value) => {
    const from = leaf(clean.data, clean.dims, { shape: value.shape, name: "clean" });
    const here = by.map((axis, i) => {
      const at = placeOf(point, axis);
      const index = BigInt64Array.from({ length: rows }, (_, row) => BigInt(placeOfRow(row)[i]!));
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
  if (wrong !== undefined) throw metricShape(wrong);
  return stack(found);
}
