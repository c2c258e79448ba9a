/** @file Reads a store: both tables of each analysis, shard by shard or whole. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { AnalysisError } from "../errors.ts";
import { systemCode } from "./atomic.ts";
import { readManifest, type Manifest } from "./manifest.ts";
import {
  concatLatents,
  type AnalysisName,
  type AnalysisResult,
  type ExampleRow,
  type HookInfo,
  type LatentColumns,
} from "./schema.ts";
import { decodeExamples, decodeLatents, shardFault, shardFile, type TableName } from "./shard.ts";

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
export class AnalysisStore {
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

  /** The analyses of the store, in their usual order. */
  get analyses(): readonly AnalysisName[] {
    return this.manifest.analyses;
  }

  /** The hooks in forward-pass order, with their widths. */
  get hooks(): readonly HookInfo[] {
    return this.manifest.hooks;
  }

  /** Both tables of an analysis. */
  async load(analysis: AnalysisName): Promise<AnalysisResult> {
    const [examples, latents] = [await this.examples(analysis), await this.latents(analysis)];
    return { analysis, hooks: this.hooks, examples, latents };
  }

  /** The `examples` table of an analysis. */
  async examples(analysis: AnalysisName): Promise<ExampleRow[]> {
    const parts: ExampleRow[][] = [];
    for await (const part of this.exampleShards(analysis)) parts.push(part);
    return parts.flat();
  }

  /** The `latents` table of an analysis, as columns. */
  async latents(analysis: AnalysisName): Promise<LatentColumns> {
    const parts: LatentColumns[] = [];
    for await (const part of this.latentShards(analysis)) parts.push(part);
    return concatLatents(analysis, parts);
  }

  /** The `examples` table shard by shard, for stores larger than memory. */
  async *exampleShards(analysis: AnalysisName): AsyncGenerator<ExampleRow[]> {
    for await (const bytes of this.#shards(analysis, "examples")) yield await decodeExamples(bytes);
  }

  /** The `latents` table shard by shard, as columns. */
  async *latentShards(analysis: AnalysisName): AsyncGenerator<LatentColumns> {
    for await (const bytes of this.#shards(analysis, "latents")) yield await decodeLatents(bytes, analysis, this.hooks);
  }

  async *#shards(analysis: AnalysisName, table: TableName): AsyncGenerator<Uint8Array> {
    if (!this.analyses.includes(analysis))
      throw new AnalysisError(`${this.folder} does not hold ${analysis}`, {
        code: "store/analysis",
        expected: this.analyses.join(", "),
        received: analysis,
      });
    const { config_hash, shards } = this.manifest;
    for (let shard = 0; shard < shards; shard++) {
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
