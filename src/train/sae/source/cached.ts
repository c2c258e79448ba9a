/** @file Activations on disk: shards of safetensors, written once, read as often as wanted. */
import { systemCode } from "../../../formats/disk/systemError.ts";
import { z } from "zod";
import { differences } from "../../../formats/canonicalJson.ts";
import {
  fileSource,
  jsonHash,
  openSafetensors,
  writeFileAtomic,
  writeSafetensors,
  type JsonObject,
  type TensorData,
} from "../../../formats/index.ts";
import type { HookedModel } from "../../../model/index.ts";
import { TrainError } from "../../errors.ts";
import { outFolder } from "../../outFolder.ts";
import { inFiles, inPrograms } from "../config.ts";
import { parseSaeTrainingOptions, type SaeTrainingOptions } from "../options.ts";
import { cachedOptionNames, cacheOptionNames } from "./cacheOptions.ts";
import { modelSource } from "./modelSource.ts";
import type { Documents } from "./packing.ts";
import { rowWidth, type ActivationRows, type ActivationSource } from "./source.ts";

export interface CacheActivationsOptions extends Partial<SaeTrainingOptions> {
  readonly model: HookedModel;
  readonly data: Documents | readonly (string | readonly number[])[];
  readonly hookNames: readonly string[];
  /** Folder of the shards. A folder that is partly written by the same call goes on where it stopped. */
  readonly out: string;
  /** Bytes of a shard, about. Default 256 MB. */
  readonly shardBytes?: number;
  /** What the model and the data are called: activations of others are refused. Default: the model's own name. */
  readonly metadata?: JsonObject;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { rows: number; of: number }) => void;
}

/** What was written. */
export interface CacheSummary {
  readonly rows: number;
  readonly shards: number;
  /** Of each hook point. */
  readonly widths: Readonly<Record<string, number>>;
}

const shardSchema = z.strictObject({ rows: z.int().nonnegative(), state: z.record(z.string(), z.json()) });
const manifestSchema = z.strictObject({
  version: z.literal(1),
  hash: z.string(),
  widths: z.record(z.string(), z.int().positive()),
  metadata: z.record(z.string(), z.json()),
  options: z.record(z.string(), z.json()),
  shards: z.array(shardSchema),
  complete: z.boolean(),
});
type Manifest = z.output<typeof manifestSchema>;

const manifestName = "activations.json";
const shardName = (i: number): string => `shard_${String(i).padStart(5, "0")}.safetensors`;

async function readManifest(folder: string): Promise<Manifest | undefined> {
  const { readFile } = await import("node:fs/promises");
  const file = `${folder}/${manifestName}`;
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(cause) ?? "")) return undefined;
    throw new TrainError("the cached activations cannot be read", { code: "train/activations", where: file, cause });
  }
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new TrainError("the folder does not hold cached activations", {
      code: "train/activations",
      where: file,
      cause,
    });
  }
}

/**
 * Runs a model over documents and keeps the activations at hook points as safetensors shards (one tensor [rows, width] a
 * hook point), `trainingTokens` of them. Each shard appears whole or not at all; an interrupted call goes on after the
 * last whole one.
 * @throws TrainError when the folder holds activations of another call
 * @example
 * await cacheActivations({
 *   model,
 *   data: prompts,
 *   hookNames: ["blocks.1.hook_resid_post"],
 *   out: "activations",
 *   contextSize: 4,
 *   storeBatchSizePrompts: 2,
 *   trainBatchSizeTokens: 8,
 *   trainingTokens: 64,
 * });
 */
export async function cacheActivations(options: CacheActivationsOptions): Promise<CacheSummary> {
  const { model, data, hookNames, out, shardBytes = 256e6, metadata, signal, onProgress, ...rest } = options;
  const settings = parseSaeTrainingOptions({ ...rest, trainBatchSizeTokens: 1, lrWarmUpSteps: 0, lrDecaySteps: 0 });
  const kept = Object.fromEntries(cacheOptionNames.map((name) => [name, settings[name]]));
  const about = inFiles(kept) as Manifest["options"];
  const of = metadata ?? { model_name: model.cfg.model_name };
  const hash = jsonHash({ options: about, hookNames: [...hookNames], metadata: of, shardBytes });
  const known = await readManifest(out);
  if (known !== undefined && known.hash !== hash)
    throw new TrainError("the folder holds activations of other options", {
      code: "train/activations",
      where: out,
      received: differences({ ...known.options, ...known.metadata }, { ...about, ...of }).join("; ") || undefined,
      hint: "choose another folder",
    });
  const shards = [...(known?.shards ?? [])];
  const documents: Documents = typeof data === "function" ? data : () => data;
  const source = modelSource(model, documents, hookNames, settings, shards.at(-1)?.state);
  const widths = Object.fromEntries(source.widths);
  const summary = (): CacheSummary => ({ rows: total, shards: shards.length, widths });
  const width = rowWidth(source);
  // What cannot begin leaves no folder.
  await outFolder(out);
  const write = async (complete: boolean): Promise<void> => {
    const manifest: Manifest = {
      version: 1,
      hash,
      widths,
      metadata: of as Manifest["metadata"],
      options: about,
      shards,
      complete,
    };
    await writeFileAtomic(`${out}/${manifestName}`, JSON.stringify(manifest, null, 1));
  };
  const perShard = Math.max(1, Math.floor(shardBytes / (4 * width)));
  let total = shards.reduce((sum, { rows }) => sum + rows, 0);
  try {
    while (total < settings.trainingTokens) {
      const parts: ActivationRows[] = [];
      let rows = 0;
      while (rows < perShard && total + rows < settings.trainingTokens) {
        signal?.throwIfAborted();
        const part = await source.next();
        parts.push(part);
        rows += part.rows;
        if (source.size === 0)
          throw new TrainError("no activation of these documents counts", { code: "train/sae-data" });
      }
      await writeSafetensors(`${out}/${shardName(shards.length)}`, splitColumns(parts, source.widths, rows));
      shards.push({ rows, state: source.state as Manifest["shards"][number]["state"] });
      total += rows;
      await write(total >= settings.trainingTokens);
      onProgress?.({ rows: Math.min(total, settings.trainingTokens), of: settings.trainingTokens });
    }
    return summary();
  } finally {
    await source.close();
  }
}

function splitColumns(
  parts: readonly ActivationRows[],
  widths: ReadonlyMap<string, number>,
  rows: number,
): Record<string, TensorData> {
  const width = rowWidth({ widths });
  let from = 0;
  const columns = [...widths].map(([name, own]) => {
    const data = new Float32Array(rows * own);
    let at = 0;
    for (const part of parts)
      for (let r = 0; r < part.rows; r++, at += own)
        data.set(part.data.subarray(r * width + from, r * width + from + own), at);
    from += own;
    return [name, { dtype: "float32", shape: [rows, own], data }] as const;
  });
  return Object.fromEntries(columns);
}

/** Cached activations, ready to be read. */
export interface CachedActivations {
  readonly widths: ReadonlyMap<string, number>;
  /** Of everything that says what they are. */
  readonly hash: string;
  /**
   * The options of a training with those of the cache.
   * @throws TrainError where the two do not agree
   */
  packed(options: object): object;
  /** @param from where to go on */
  source(from?: JsonObject): ActivationSource;
}

/** @throws TrainError when the folder holds none, or not all of them */
export async function openActivations(folder: string): Promise<CachedActivations> {
  const manifest = await readManifest(folder);
  if (manifest?.complete !== true)
    throw new TrainError(
      manifest === undefined ? "there are no cached activations here" : "the cached activations are not complete",
      { code: "train/activations", where: folder, hint: "call cacheActivations with the same options" },
    );
  const widths = new Map(Object.entries(manifest.widths));
  const own = inPrograms(Object.fromEntries(Object.entries(manifest.options)));
  return {
    widths,
    hash: manifest.hash,
    packed: (options) => {
      const asked = inPrograms(options);
      const kept = Object.fromEntries(cachedOptionNames.map((name) => [name, own[name]]));
      for (const name of cachedOptionNames)
        if (asked[name] !== undefined && JSON.stringify(asked[name]) !== JSON.stringify(own[name]))
          throw new TrainError("the cached activations are of other options", {
            code: "train/activations",
            where: folder,
            expected: `${name} ${JSON.stringify(own[name])}`,
            received: JSON.stringify(asked[name]),
            hint: "leave it out: the cache says",
          });
      return { ...asked, ...kept };
    },
    source: (from) => {
      let shard = typeof from?.["shard"] === "number" ? from["shard"] : 0;
      return {
        widths,
        size: manifest.shards.reduce((sum, { rows }) => sum + rows, 0),
        get state() {
          return { shard };
        },
        close: async () => {},
        next: async (): Promise<ActivationRows> => {
          const { rows } = manifest.shards[shard]!;
          const file = await openSafetensors(await fileSource(`${folder}/${shardName(shard)}`));
          const arrays = await file.readManyFloat32().finally(() => file.close());
          shard = (shard + 1) % manifest.shards.length;
          const width = rowWidth({ widths });
          const data = new Float32Array(rows * width);
          let from = 0;
          for (const [name, own] of widths) {
            const part = arrays.get(name)!;
            for (let r = 0; r < rows; r++) data.set(part.subarray(r * own, (r + 1) * own), r * width + from);
            from += own;
          }
          return { rows, data };
        },
      };
    },
  };
}
