/** @file Writes a store, shard by shard, so that a run that dies is resumed and ends with the same bytes. */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { AnalysisError } from "../errors.ts";
import { makeFolder, temporary, writeAtomic, writing } from "./atomic.ts";
import { canonicalJson, differences, type JsonObject } from "../../formats/canonicalJson.ts";
import { lockFile, lockFolder } from "./lock.ts";
import { configHash, identity, readManifest, writeManifest, type Manifest } from "./manifest.ts";
import {
  analysisNames,
  analysisResult,
  type AnalysisName,
  type ExampleRow,
  type HookInfo,
  type LatentColumns,
  type LatentRow,
} from "./schema.ts";
import { encodeExamples, encodeLatents, shardFault, shardFile, type ShardId, type TableName } from "./shard.ts";

export interface StoreOptions {
  /** Analyses this run writes; the folder may hold others of the same config already. */
  readonly analyses: readonly AnalysisName[];
  /** Hooks in forward-pass order, with the width of each SAE. */
  readonly hooks: readonly HookInfo[];
  /** Number of batch groups; each becomes one shard of each table. */
  readonly shards: number;
  /** Continue a folder that holds shards of this config already. Default false: refuse it. */
  readonly resume?: boolean;
  /** Versions, paths and dates worth keeping. Not part of the hash. */
  readonly provenance?: JsonObject;
}

/** The two tables of one analysis for one batch group, as rows or columns. */
export interface ShardTables {
  readonly examples: readonly ExampleRow[];
  readonly latents: LatentColumns | readonly LatentRow[];
}

const tables: readonly TableName[] = ["latents", "examples"];

/**
 * The one writer of a store: `DIR/manifest.json` and `DIR/<analysis>/{examples,latents}-00000.parquet`, a shard per
 * batch group. A shard is written beside, synced and renamed; it is done when both files are there, undamaged and
 * with the right config hash. Bytes depend on config and rows only.
 *
 * @example
 * ```ts
 * const row = { example: 0, batch: 0, label_ids: 2949, orig_labels: 1, answer_indices: -1, loss: 6.3,
 *   logit_diffs: 1.29, preds: 1, answer_logits: [-30.1, -28.8] };
 * await using writer = await StoreWriter.create("runs/by-hand", { model: "gpt2" }, {
 *   analyses: ["logit_diffs_base"], hooks: [], shards: 1, resume: true,
 * });
 * for (const { shard, analyses } of writer.missing())
 *   for (const analysis of analyses) await writer.write(shard, analysis, { examples: [row], latents: [] });
 * await writer.finish({ threads: 2, seconds: 12.5 });
 * ```
 */
export class StoreWriter {
  readonly folder: string;
  #manifest: Manifest;
  readonly #analyses: readonly AnalysisName[];
  readonly #earlier: readonly JsonObject[];
  #run: JsonObject = { started: new Date().toISOString() };
  readonly #done: Set<string>;
  #unlock: (() => Promise<void>) | undefined;

  private constructor(
    folder: string,
    manifest: Manifest,
    wanted: readonly AnalysisName[],
    done: Set<string>,
    unlock: () => Promise<void>,
  ) {
    this.folder = folder;
    this.#manifest = manifest;
    this.#analyses = wanted;
    this.#earlier = manifest.runs;
    this.#done = done;
    this.#unlock = unlock;
  }

  /**
   * Takes the folder (made if need be) and finds out what is missing. Nothing is computed before this has succeeded.
   *
   * @throws AnalysisError `store/unwritable`; `store/locked` when another process writes there; `store/other-config`,
   * which says what differs; `store/not-empty` when the folder holds something else; `store/exists` when it holds
   * shards of this config and `resume` is false.
   */
  static async create(folder: string, config: JsonObject, options: StoreOptions): Promise<StoreWriter> {
    const own = JSON.parse(canonicalJson(config)) as JsonObject;
    const { hooks, shards, provenance = {} } = options;
    const fresh = { config: own, hooks: hooks.map(({ name, width }) => ({ name, width })), shards };
    await makeFolder(folder);
    const unlock = await lockFolder(folder);
    try {
      const found = await readManifest(folder);
      await (found ? sameConfig(folder, found, fresh) : nothingElse(folder));
      const wanted = analysisNames.filter((name) => options.analyses.includes(name));
      const manifest: Manifest = {
        format: "interpretune-store",
        version: 1,
        ...fresh,
        config_hash: configHash(fresh),
        analyses: analysisNames.filter((name) => wanted.includes(name) || found?.analyses.includes(name)),
        provenance: { ...found?.provenance, ...provenance },
        runs: found?.runs ?? [],
      };
      const done = await doneShards(folder, manifest, wanted);
      if (done.size > 0 && options.resume !== true)
        throw new AnalysisError(`${folder} already holds ${done.size} shards of this very run`, {
          code: "store/exists",
          hint: "resume it (--resume), or choose another folder",
        });
      await writeManifest(folder, manifest);
      for (const name of wanted) await makeFolder(join(folder, name));
      return new StoreWriter(folder, manifest, wanted, done, unlock);
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /** Shards that are not done yet, with the analyses that each lacks. */
  missing(): { shard: number; analyses: AnalysisName[] }[] {
    const all = Array.from({ length: this.#manifest.shards }, (_, shard) => ({
      shard,
      analyses: this.#analyses.filter((name) => !this.#done.has(key(name, shard))),
    }));
    return all.filter(({ analyses }) => analyses.length > 0);
  }

  /** Writes both tables of one analysis of one batch group; when it returns they survive a power cut. */
  async write(shard: number, analysis: AnalysisName, { examples, latents }: ShardTables): Promise<void> {
    if (!this.#unlock)
      throw new AnalysisError("this store writer is closed", { code: "store/closed", where: this.folder });
    if (!(Number.isInteger(shard) && shard >= 0 && shard < this.#manifest.shards))
      throw new AnalysisError("there is no such shard", {
        code: "store/shard",
        expected: `0 to ${this.#manifest.shards - 1}`,
        received: String(shard),
      });
    const { hooks, config_hash } = this.#manifest;
    const result = analysisResult(analysis, hooks, examples, latents);
    const id = { config_hash, analysis, shard };
    const bytes = {
      latents: encodeLatents({ ...id, table: "latents" }, hooks, result.latents),
      examples: encodeExamples({ ...id, table: "examples" }, result.examples),
    };
    for (const table of tables) await writeAtomic(join(this.folder, analysis, shardFile(table, shard)), bytes[table]);
    this.#done.add(key(analysis, shard));
  }

  /** Adds facts about this run (timings, thread counts) to its entry in the manifest. Not part of the hash. */
  async record(facts: JsonObject): Promise<void> {
    this.#run = { ...this.#run, ...facts };
    this.#manifest = { ...this.#manifest, runs: [...this.#earlier, this.#run] };
    await writeManifest(this.folder, this.#manifest);
  }

  /**
   * Records the end of the run and gives the folder back.
   *
   * @throws AnalysisError `store/incomplete` when shards are missing; the folder is given back all the same.
   */
  async finish(facts: JsonObject = {}): Promise<void> {
    try {
      const missing = this.missing();
      if (missing.length > 0)
        throw new AnalysisError(`the store ${this.folder} is not complete`, {
          code: "store/incomplete",
          received: `${this.#manifest.shards - missing.length} of ${this.#manifest.shards} shards`,
          hint: "resume it (--resume)",
        });
      await this.record({ ...facts, finished: new Date().toISOString() });
    } finally {
      await this.close();
    }
  }

  /** Gives the folder back as it is; what is written stays and can be resumed. */
  async close(): Promise<void> {
    const unlock = this.#unlock;
    this.#unlock = undefined;
    await unlock?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function key(analysis: AnalysisName, shard: number): string {
  return `${analysis}/${shard}`;
}

function sameConfig(folder: string, found: Manifest, fresh: Pick<Manifest, "config" | "hooks" | "shards">): void {
  const { config, ...rest } = identity(fresh);
  const { config: old, ...oldRest } = identity(found);
  const differing = [...differences(old, config), ...differences(oldRest, rest)];
  if (differing.length === 0) return;
  const shown = differing.slice(0, 8).join("; ");
  throw new AnalysisError(`${folder} holds a run of another config`, {
    code: "store/other-config",
    received: differing.length > 8 ? `${shown}; and ${differing.length - 8} more differences` : shown,
    hint: "choose another folder, or the options of that run",
  });
}

async function nothingElse(folder: string): Promise<void> {
  const names = await writing(folder, () => readdir(folder));
  const others = names.filter((name) => name !== lockFile && !name.endsWith(temporary));
  if (others.length === 0) return;
  throw new AnalysisError(`${folder} is not empty and not a store`, {
    code: "store/not-empty",
    received: others.slice(0, 5).join(", "),
    hint: "choose a new or an empty folder",
  });
}

/** The shards of which both files are whole, and of this config; leftovers of a run that died are removed. */
async function doneShards(folder: string, manifest: Manifest, wanted: readonly AnalysisName[]): Promise<Set<string>> {
  const done = new Set<string>();
  for (const path of [folder, ...wanted.map((name) => join(folder, name))]) {
    for (const name of await readdir(path).catch(() => []))
      if (name.endsWith(temporary)) await rm(join(path, name), { force: true });
  }
  for (const analysis of wanted) {
    for (let shard = 0; shard < manifest.shards; shard++) {
      const whole = async (table: TableName): Promise<boolean> => {
        const id: ShardId = { config_hash: manifest.config_hash, analysis, table, shard };
        const bytes = await readFile(join(folder, analysis, shardFile(table, shard))).catch(() => undefined);
        return bytes !== undefined && shardFault(bytes, id) === undefined;
      };
      if ((await whole("examples")) && (await whole("latents"))) done.add(key(analysis, shard));
    }
  }
  return done;
}
