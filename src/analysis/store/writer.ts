/** @file Writes a store, shard by shard, so that a run that dies is resumed and ends with the same bytes. */
import { isTemporary } from "../../formats/disk/temporary.ts";
import { randomUUID } from "node:crypto";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { AnalysisError } from "../errors.ts";
import { makeFolder, writeAtomic, writing } from "./atomic.ts";
import { canonicalJson, differences, type JsonObject } from "../../formats/canonicalJson.ts";
import { checkTables, type AnalysisEntry, type BatchRow, type StoredRow } from "../tables/entry.ts";
import { latentArrays, zeroLatents } from "../tables/latents.ts";
import { lockFile, lockFolder } from "./lock.ts";
import {
  checkDeclared,
  configHash,
  entryOf,
  identity,
  isPlain,
  manifestFile,
  readManifest,
  shardHash,
  writeManifest,
  type Manifest,
} from "./manifest.ts";
import {
  analysisEntry,
  analysisNames,
  analysisResult,
  isAnalysisName,
  type AnalysisName,
  type ExampleRow,
  type LatentRow,
} from "../tables/four.ts";
import type { HookInfo } from "../tables/hookInfo.ts";
import type { LatentColumns } from "../tables/latents.ts";
import {
  encodeBatches,
  encodeExamples,
  encodeLatents,
  shardFault,
  shardFile,
  tablesOf,
  type ShardId,
  type TableName,
} from "./shard.ts";

export interface StoreOptions {
  /** Analyses this run writes; the folder may hold others of the same config already. */
  readonly analyses: readonly (AnalysisName | AnalysisEntry)[];
  /** Hooks in forward-pass order, with the width of each SAE. */
  readonly hooks: readonly HookInfo[];
  /** Number of batch groups; each becomes one shard of each table. */
  readonly shards: number;
  /** Continue a folder that holds shards of this config already. Default false: refuse it. */
  readonly resume?: boolean;
  /** Versions, paths and dates worth keeping. Not part of the hash. */
  readonly provenance?: JsonObject;
  /** Write only every `of`-th shard, from number `index` on: the others are another machine's. */
  readonly part?: { readonly index: number; readonly of: number };
}

/** The tables of one analysis for one batch group, as rows or columns. */
export interface ShardTables {
  readonly examples: readonly (ExampleRow | StoredRow)[];
  readonly latents?: LatentColumns | readonly LatentRow[];
  readonly batches?: readonly BatchRow[];
}

/**
 * The one writer of a store: `DIR/manifest.json` and `DIR/<analysis>/{examples,latents}-00000.parquet`, a shard per
 * batch group; `batches-00000.parquet` beside them where an op has columns per batch. A shard is written beside,
 * synced and renamed; it is done when its files are there, undamaged and with the right config hash. Bytes depend on config and rows only.
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
  readonly #entries: readonly AnalysisEntry[];
  readonly #part: { readonly index: number; readonly of: number };
  readonly #earlier: readonly JsonObject[];
  #run: JsonObject = { started: new Date().toISOString() };
  readonly #done: Set<string>;
  #unlock: (() => Promise<void>) | undefined;

  private constructor(
    folder: string,
    manifest: Manifest,
    entries: readonly AnalysisEntry[],
    part: { readonly index: number; readonly of: number },
    done: Set<string>,
    unlock: () => Promise<void>,
  ) {
    this.folder = folder;
    this.#manifest = manifest;
    this.#entries = entries;
    this.#part = part;
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
    const { hooks, shards, provenance = {}, part = { index: 0, of: 1 } } = options;
    const given = options.analyses.map((each) => (typeof each === "string" ? analysisEntry(each) : each));
    const entries = [...given].sort((a, b) => place(a) - place(b));
    distinct(entries);
    const fresh = { config: own, hooks: hooks.map(({ name, width }) => ({ name, width })), shards };
    await makeFolder(folder);
    const unlock = await lockFolder(folder);
    try {
      const found = await readManifest(folder);
      await (found ? sameConfig(folder, found, fresh) : nothingElse(folder));
      for (const entry of entries) if (found) sameEntry(folder, found, entry);
      const names = new Set([...(found?.analyses ?? []), ...entries.map(({ name }) => name)]);
      const declared = Object.fromEntries(
        entries.flatMap(({ name, ...entry }) => (isPlain({ name, ...entry }) ? [] : [[name, entry]])),
      );
      const all = { ...found?.declared, ...declared };
      const manifest: Manifest = {
        format: "interpretune-store",
        version: 1,
        ...fresh,
        config_hash: configHash(fresh),
        analyses: [...analysisNames.filter((name) => names.delete(name)), ...names],
        ...(Object.keys(all).length > 0 && { declared: all }),
        provenance: { ...found?.provenance, ...provenance },
        runs: found?.runs ?? [],
        identity: found?.identity ?? { store_id: randomUUID(), created_utc: new Date().toISOString() },
      };
      const done = await doneShards(folder, manifest, entries);
      if (done.size > 0 && options.resume !== true)
        throw new AnalysisError(`${folder} already holds ${done.size} shards of this very run`, {
          code: "store/exists",
          hint: "resume it (--resume), or choose another folder",
        });
      await writeManifest(folder, manifest);
      for (const { name } of entries) await makeFolder(join(folder, name));
      return new StoreWriter(folder, manifest, entries, part, done, unlock);
    } catch (error) {
      await unlock();
      throw error;
    }
  }

  /** How this writer's analyses are declared. */
  get entries(): readonly AnalysisEntry[] {
    return this.#entries;
  }

  /** The hash that stands in the shards of an analysis of this writer. */
  hashOf(name: string): string {
    return shardHash(this.#manifest.config_hash, this.#entry(name));
  }

  /** What earlier runs recorded. */
  get earlierRuns(): readonly JsonObject[] {
    return this.#earlier;
  }

  /** Shards of this writer's part that are not done yet, with the analyses that each lacks. */
  missing(): { shard: number; analyses: string[] }[] {
    const names = this.#entries.map(({ name }) => name);
    const all = this.#own().map((shard) => ({
      shard,
      analyses: names.filter((name) => !this.#done.has(key(name, shard))),
    }));
    return all.filter(({ analyses }) => analyses.length > 0);
  }

  #own(): number[] {
    const { index, of } = this.#part;
    return Array.from({ length: this.#manifest.shards }, (_, shard) => shard).filter((shard) => shard % of === index);
  }

  #entry(name: string): AnalysisEntry {
    const entry = this.#entries.find((each) => each.name === name);
    if (entry !== undefined) return entry;
    throw new AnalysisError("this writer does not write that analysis", {
      code: "store/analysis",
      expected: this.#entries.map((each) => each.name).join(", "),
      received: name,
    });
  }

  /** Writes the tables of one analysis of one batch group; when it returns they survive a power cut. */
  async write(shard: number, analysis: string, { examples, latents = [], batches = [] }: ShardTables): Promise<void> {
    if (!this.#unlock)
      throw new AnalysisError("this store writer is closed", { code: "store/closed", where: this.folder });
    if (!(Number.isInteger(shard) && shard >= 0 && shard < this.#manifest.shards))
      throw new AnalysisError("there is no such shard", {
        code: "store/shard",
        expected: `0 to ${this.#manifest.shards - 1}`,
        received: String(shard),
      });
    const entry = this.#entry(analysis);
    const { columns } = entry;
    const hooks = entry.hooks ?? this.#manifest.hooks;
    const tables =
      isAnalysisName(entry.op) && entry.name === entry.op
        ? { ...analysisResult(entry.op, hooks, examples as readonly ExampleRow[], latents), batches }
        : checkTables(entry, hooks, { examples, batches, latents: asColumns(entry, latents) });
    const id = { config_hash: this.hashOf(analysis), analysis, shard };
    const encode: Readonly<Record<TableName, () => Uint8Array>> = {
      latents: () => encodeLatents({ ...id, table: "latents" }, columns, hooks, tables.latents),
      batches: () => encodeBatches({ ...id, table: "batches" }, columns, tables.batches),
      examples: () => encodeExamples({ ...id, table: "examples" }, columns, tables.examples),
    };
    const bytes = tablesOf(entry).map((table): [TableName, Uint8Array] => [table, encode[table]()]);
    for (const [table, content] of bytes)
      await writeAtomic(join(this.folder, analysis, shardFile(table, shard)), content);
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
          received: `${this.#own().length - missing.length} of ${this.#own().length} shards`,
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

function key(analysis: string, shard: number): string {
  return `${analysis}/${shard}`;
}

/** The four come first, in their usual order. */
function place({ name }: AnalysisEntry): number {
  const at = (analysisNames as readonly string[]).indexOf(name);
  return at < 0 ? analysisNames.length : at;
}

/** Latents as columns; of rows there may be only none, because an op's own columns are not rows' keys. */
function asColumns(entry: AnalysisEntry, latents: LatentColumns | readonly LatentRow[]): LatentColumns {
  if (!("activation" in latents)) return zeroLatents(entry.columns, 0);
  return latentArrays(latents).length > 0 ? latents : zeroLatents(entry.columns, 0);
}

/** Names of folders: two that differ in case only are one on some systems. */
function distinct(entries: readonly AnalysisEntry[]): void {
  const seen = new Set<string>([manifestFile, lockFile]);
  for (const entry of entries) {
    checkDeclared(entry);
    const name = entry.name.toLowerCase();
    if (seen.has(name))
      throw new AnalysisError("two analyses cannot have one name", {
        code: "store/name-twice",
        received: entry.name,
        hint: "give one of them another name",
      });
    seen.add(name);
  }
}

function sameEntry(folder: string, found: Manifest, entry: AnalysisEntry): void {
  const other = found.analyses.find((name) => name !== entry.name && name.toLowerCase() === entry.name.toLowerCase());
  const there = entryOf(found, entry.name);
  const same = there && shardHash(found.config_hash, there) === shardHash(found.config_hash, entry);
  if (other === undefined && (there === undefined || same)) return;
  const [own, old] = [entry, there].map((each) => ({ op: each?.op, ...each?.config }));
  throw new AnalysisError(`${folder} holds another analysis of that name`, {
    code: "store/other-analysis",
    received: other ?? `${entry.name}: ${differences(old, own).join("; ") || "other hooks or columns"}`,
    hint: "give this one another name, or choose another folder",
  });
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
    hint:
      found.config["form"] === fresh.config["form"]
        ? "choose another folder, or the options of that run"
        : "another version of interpretune wrote its config in another form: the store can be read, but not continued; choose another folder",
  });
}

/** @throws AnalysisError `store/not-empty` when a folder holds anything */
export async function nothingElse(folder: string): Promise<void> {
  const names = await writing(folder, () => readdir(folder));
  const others = names.filter((name) => name !== lockFile && !isTemporary(name));
  if (others.length === 0) return;
  throw new AnalysisError(`${folder} is not empty and not a store`, {
    code: "store/not-empty",
    received: others.slice(0, 5).join(", "),
    hint: "choose a new or an empty folder",
  });
}

/** The shards of which all files are whole, and of this config; leftovers of a run that died are removed. */
async function doneShards(folder: string, manifest: Manifest, entries: readonly AnalysisEntry[]): Promise<Set<string>> {
  const done = new Set<string>();
  for (const path of [folder, ...entries.map(({ name }) => join(folder, name))]) {
    for (const name of await readdir(path).catch(() => []))
      if (isTemporary(name)) await rm(join(path, name), { force: true });
  }
  for (const entry of entries) {
    const config_hash = shardHash(manifest.config_hash, entry);
    for (let shard = 0; shard < manifest.shards; shard++) {
      const whole = async (table: TableName): Promise<boolean> => {
        const id: ShardId = { config_hash, analysis: entry.name, table, shard };
        const bytes = await readFile(join(folder, entry.name, shardFile(table, shard))).catch(() => undefined);
        return bytes !== undefined && shardFault(bytes, id) === undefined;
      };
      let all = true;
      for (const table of tablesOf(entry).reverse()) all &&= await whole(table);
      if (all) done.add(key(entry.name, shard));
    }
  }
  return done;
}
