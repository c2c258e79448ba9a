/** @file Where the tables of a run go: a store, or memory; and what of them is missing. */
import type { PlannedAnalysis } from "../plan/planned.ts";
import { AnalysisStore, type ShardTables, type StoreWriter } from "../store/index.ts";
import type { Tables } from "../tables/entry.ts";
import type { AnalysisResult, HookInfo, OpResult } from "../tables/index.ts";
import { joinTables, resultOf } from "./batchTables.ts";
import { stopwatch } from "./progress.ts";

export class Kept {
  /** Seconds that writing took. */
  seconds = 0;
  readonly #analyses: readonly PlannedAnalysis[];
  readonly #writer: StoreWriter | undefined;
  /** By shard the analyses it lacks. */
  readonly #missing: Map<number, readonly string[]>;
  /** What stays in memory, shard by shard. */
  readonly #parts = new Map<string, Tables[]>();

  /** @param writer of the store; without one, tables stay in memory */
  constructor(analyses: readonly PlannedAnalysis[], shards: number, writer: StoreWriter | undefined) {
    this.#analyses = analyses;
    this.#writer = writer;
    const names = analyses.map(({ entry }) => entry.name);
    const all = Array.from({ length: shards }, (_, shard) => ({ shard, analyses: names }));
    this.#missing = new Map((writer?.missing() ?? all).map((each) => [each.shard, each.analyses]));
  }

  /** The analyses that a shard lacks. */
  missingAt(shard: number): readonly string[] {
    return this.#missing.get(shard) ?? [];
  }

  /** The shards that an analysis lacks. */
  missingOf(name: string): number[] {
    return [...this.#missing].filter(([, names]) => names.includes(name)).map(([shard]) => shard);
  }

  async write(shard: number, name: string, tables: Tables): Promise<void> {
    const clock = stopwatch();
    if (this.#writer !== undefined) await this.#writer.write(shard, name, tables as ShardTables);
    else {
      const parts = this.#parts.get(name) ?? [];
      parts[shard] = tables;
      this.#parts.set(name, parts);
    }
    this.#missing.set(
      shard,
      this.missingAt(shard).filter((each) => each !== name),
    );
    this.seconds += clock.lap();
  }

  /** Results by name, read back from the store where there is one. */
  async results(hooks: readonly HookInfo[], partial: boolean): Promise<Record<string, AnalysisResult | OpResult>> {
    const store = this.#writer && (await AnalysisStore.open(this.#writer.folder, { partial }));
    const results: Record<string, AnalysisResult | OpResult> = {};
    for (const { entry } of this.#analyses)
      results[entry.name] =
        (await store?.load(entry.name)) ??
        resultOf(entry, entry.hooks ?? hooks, joinTables(entry, this.#parts.get(entry.name) ?? []));
    return results;
  }
}
