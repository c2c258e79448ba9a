/** @file Reads a store: both tables of each analysis, shard by shard or whole. */
import { systemCode } from "../../formats/disk/systemError.ts";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { hubSnapshot, type HubOptions, type Uploaded, type UploadOptions } from "../../formats/index.ts";
import { AnalysisError } from "../errors.ts";

import { AnalysisView, type ViewOptions } from "../views/analysisView.ts";
import type { AnalysisEntry, BatchRow, OpResult, StoredRow, Tables } from "../tables/entry.ts";
import type { OpenStore } from "./openStore.ts";
import { describeStore, provenanceOf, type StoreProvenance } from "./provenance.ts";
import { ask } from "./sql.ts";
import { checkPulled, datasetRef, push, uploadStore, type PushOptions } from "./push.ts";
import { joinLatents, type LatentColumns } from "../tables/latents.ts";
import type { HookInfo } from "../tables/hookInfo.ts";
import { analysisHash, entryOf, readManifest, shardHash, type Manifest } from "./manifest.ts";
import { isAnalysisName, type AnalysisName, type AnalysisResult, type ExampleRow } from "../tables/four.ts";
import {
  decodeBatches,
  decodeExamples,
  decodeLatents,
  shardFault,
  shardFile,
  tablesOf,
  type TableName,
} from "./shard.ts";

/** What a store gives back for an analysis: one of the four under its own name, or that of any op. */
export type StoredResult<Name extends string> = Name extends AnalysisName ? AnalysisResult : OpResult;
/** A row of the `examples` table of an analysis. */
export type StoredExample<Name extends string> = Name extends AnalysisName ? ExampleRow : StoredRow;

/**
 * A finished (or, with `partial`, a growing) store. Every shard is checked against its checksum and the config hash
 * when it is read.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const base = await store.load("logit_diffs_base");
 * console.log(base.examples[0].logit_diffs);
 * ```
 */
export class AnalysisStore implements OpenStore {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly #partial: boolean;

  private constructor(folder: string, manifest: Manifest, partial: boolean) {
    this.folder = folder;
    this.manifest = manifest;
    this.#partial = partial;
  }

  /**
   * @param options.partial leave out shards that are not there yet instead of throwing.
   * @throws AnalysisError `store/none` when the folder is not a store, `store/manifest` when its manifest is damaged.
   */
  static async open(folder: string, options: { partial?: boolean } = {}): Promise<AnalysisStore> {
    const manifest = await readManifest(folder);
    if (!manifest)
      throw new AnalysisError(`${folder} is not a store`, {
        code: "store/none",
        expected: "a folder with a manifest.json, as `interpretune analyze --out` leaves it",
      });
    return new AnalysisStore(folder, manifest, options.partial ?? false);
  }

  /** Those of the four that are here under their own names, in their usual order. */
  get analyses(): readonly AnalysisName[] {
    return this.names.filter(isAnalysisName);
  }

  /** All analyses of the store by name: the four first. */
  get names(): readonly string[] {
    return this.manifest.analyses;
  }

  /** The hooks in forward-pass order, with their widths. */
  get hooks(): readonly HookInfo[] {
    return this.manifest.hooks;
  }

  /** How an analysis is declared: its op, its columns, its hooks. */
  entry(name: string): AnalysisEntry & { readonly hooks: readonly HookInfo[] } {
    const entry = entryOf(this.manifest, name);
    if (entry !== undefined) return { ...entry, hooks: entry.hooks ?? this.hooks };
    throw new AnalysisError(`${this.folder} does not hold ${name}`, {
      code: "store/analysis",
      expected: this.names.join(", "),
      received: name,
    });
  }

  /** The content address of an analysis: what it holds was computed from the same things wherever it is the same. */
  hashOf(name: string): string {
    const { hooks: _, ...entry } = this.entry(name);
    return analysisHash(this.manifest.config_hash, { ...entry, hooks: entryOf(this.manifest, name)!.hooks });
  }

  /** All tables of an analysis. */
  async load<Name extends string>(name: Name): Promise<StoredResult<Name>> {
    const [examples, latents] = [await this.examples(name), await this.latents(name)];
    return this.#result(name, { examples, latents, batches: await this.batches(name) }) as StoredResult<Name>;
  }

  /** An analysis shard by shard, as results of their own: for what needs all tables of a part at a time. */
  async *parts(name: string): AsyncGenerator<AnalysisResult | OpResult> {
    for (let shard = 0; shard < this.manifest.shards; shard++)
      yield this.#result(name, await this.shard(name, shard)) as AnalysisResult | OpResult;
  }

  #result(name: string, { examples, latents, batches }: Tables): object {
    const { op, hooks, columns } = this.entry(name);
    const result = { analysis: op, hooks, examples, latents };
    return isAnalysisName(name) ? result : { ...result, name, columns, batches };
  }

  /**
   * Writes the store as a folder that can be uploaded as a data set, with its card and `it_artifact.json`. A folder that
   * holds an earlier state of this store is brought up to date.
   * @throws AnalysisError `store/other-store` when the folder holds another one; `store/not-empty`, `store/incomplete`
   * @example
   * const store = await AnalysisStore.open("runs/rte");
   * await store.pushTo("hub/rte-analyses", { title: "RTE", license: "mit" });
   * (await AnalysisStore.openPulled("hub/rte-analyses")).names.length; // 4
   */
  pushTo(folder: string, options: PushOptions = {}): Promise<void> {
    return push(this, folder, options);
  }

  /**
   * Opens a data set folder that `pushTo` wrote, after checking that it is whole and unchanged.
   * @throws AnalysisError `store/artifact`; as `open`
   */
  static async openPulled(folder: string): Promise<AnalysisStore> {
    const store = await AnalysisStore.open(folder);
    await checkPulled(store);
    return store;
  }

  /**
   * Uploads the store to the hub as a data set of that id, `owner/name`; an earlier state of it there is brought up to date.
   * @throws as `pushTo`, and FormatError `hub/no-token`, `hub/forbidden`, …
   * @example
   * const store = await AnalysisStore.open("runs/rte");
   * if (process.env.HF_TOKEN !== undefined) await store.upload("owner/rte-analyses", { title: "RTE", visibility: "private" });
   */
  upload(id: string, options: PushOptions & UploadOptions = {}): Promise<Uploaded> {
    return uploadStore(this, id, options);
  }

  /**
   * Opens a store that was uploaded as a data set, `owner/name` or `owner/name@revision`, from the hub's cache or into it,
   * after checking that it is whole and unchanged.
   * @throws FormatError `hub/…`; AnalysisError as `openPulled`
   * @example
   * const pulled = await AnalysisStore.pull("owner/rte-analyses").catch((error: Error) => error.message);
   */
  static async pull(id: string, options: HubOptions = {}): Promise<AnalysisStore> {
    return AnalysisStore.openPulled((await hubSnapshot(datasetRef(id), options)).folder);
  }

  /**
   * Answers a question in SQL, by DuckDB (`npm install @duckdb/node-api`). Tables are `<analysis>.examples`,
   * `<analysis>.latents` and `<analysis>.batches`; `examples`, `latents` and `batches` are those of all analyses, with a
   * column `analysis`.
   * @throws AnalysisError `store/no-duckdb` where it is not installed, `store/sql` for a question it cannot answer
   * @example
   * const store = await AnalysisStore.open("runs/rte");
   * const question = "select hook, latent, sum(attribution_values) as effect from logit_diffs_attr_grad.latents group by all";
   * await store.sql(question).catch((error: Error) => error.message); // rows, or how to install DuckDB
   */
  sql(question: string): Promise<Record<string, unknown>[]> {
    return ask(this, question);
  }

  /** Reads every shard once and checks it. @throws AnalysisError `store/incomplete`, `store/corrupt` */
  async verify(): Promise<void> {
    for (const name of this.names)
      for (const table of tablesOf(this.entry(name))) for await (const _ of this.#shards(name, table)) continue;
  }

  /** Where the results come from: what decides them, and how the runs that wrote them went. */
  get provenance(): StoreProvenance {
    return provenanceOf(this.manifest);
  }

  /**
   * What the store holds and where it comes from, for people.
   * @example
   * console.log((await AnalysisStore.open("runs/rte")).describe());
   */
  describe(): string {
    return describeStore(this.folder, this.manifest);
  }

  /** An analysis batch by batch, as the published store has it: see {@link AnalysisView}. */
  async view(name: string, options: ViewOptions = {}): Promise<AnalysisView> {
    return AnalysisView.of(await this.load(name), options);
  }

  /** The `examples` table of an analysis. */
  async examples<Name extends string>(name: Name): Promise<StoredExample<Name>[]> {
    const parts: StoredExample<Name>[][] = [];
    for await (const part of this.exampleShards(name)) parts.push(part);
    return parts.flat();
  }

  /** The `latents` table of an analysis, as columns; empty where it has none. */
  async latents(name: string): Promise<LatentColumns> {
    const parts: LatentColumns[] = [];
    for await (const part of this.latentShards(name)) parts.push(part);
    return joinLatents(this.entry(name).columns, parts);
  }

  /** The `batches` table of an analysis; empty where it has none. */
  async batches(name: string): Promise<BatchRow[]> {
    const parts: BatchRow[][] = [];
    for await (const bytes of this.#shards(name, "batches"))
      parts.push(await decodeBatches(bytes, this.entry(name).columns));
    return parts.flat();
  }

  /** The `examples` table shard by shard, for stores larger than memory. */
  async *exampleShards<Name extends string>(name: Name): AsyncGenerator<StoredExample<Name>[]> {
    for await (const bytes of this.#shards(name, "examples"))
      yield (await decodeExamples(bytes, this.entry(name).columns)) as object[] as StoredExample<Name>[];
  }

  /** The `latents` table shard by shard, as columns. */
  async *latentShards(name: string): AsyncGenerator<LatentColumns> {
    const { columns, hooks } = this.entry(name);
    for await (const bytes of this.#shards(name, "latents")) yield await decodeLatents(bytes, columns, hooks);
  }

  /** All tables of one shard of an analysis. @throws AnalysisError when it is not there or damaged */
  async shard(name: string, shard: number): Promise<Tables> {
    const { columns, hooks } = this.entry(name);
    const only = async (table: TableName): Promise<Uint8Array | undefined> => {
      for await (const bytes of this.#shards(name, table, [shard])) return bytes;
      return undefined;
    };
    const [examples, latents, batches] = [await only("examples"), await only("latents"), await only("batches")];
    return {
      examples: examples === undefined ? [] : await decodeExamples(examples, columns),
      latents: latents === undefined ? joinLatents(columns, []) : await decodeLatents(latents, columns, hooks),
      batches: batches === undefined ? [] : await decodeBatches(batches, columns),
    };
  }

  /** The files of a table of an analysis, shard by shard, checked as they are read. */
  async *#shards(
    analysis: string,
    table: TableName,
    which: Iterable<number> = Array(this.manifest.shards).keys(),
  ): AsyncGenerator<Uint8Array> {
    const entry = this.entry(analysis);
    if (!tablesOf(entry).includes(table)) return;
    const { shards } = this.manifest;
    const config_hash = shardHash(this.manifest.config_hash, entryOf(this.manifest, analysis)!);
    for (const shard of which) {
      const path = join(this.folder, analysis, shardFile(table, shard));
      const bytes = await readFile(path).catch((cause: unknown) => {
        if (systemCode(cause) === "ENOENT") return undefined;
        throw new AnalysisError(`cannot read ${path}`, {
          code: "store/unreadable",
          received: systemCode(cause),
          cause,
        });
      });
      if (bytes === undefined) {
        if (this.#partial) continue;
        throw new AnalysisError(`the store ${this.folder} is not complete`, {
          code: "store/incomplete",
          where: `shard ${shard + 1} of ${shards} of ${analysis}`,
          hint: "resume the run that writes it (--resume)",
        });
      }
      const fault = shardFault(bytes, { config_hash, analysis, table, shard });
      if (fault !== undefined)
        throw new AnalysisError(`${path} cannot be used: ${fault}`, {
          code: "store/corrupt",
          hint: "resume the run (--resume): it makes damaged shards again",
        });
      yield bytes;
    }
  }
}
