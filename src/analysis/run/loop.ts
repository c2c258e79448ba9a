/** @file The one loop of all analyses: batches in order, shards of a store, resumption, reuse. */
import type { Batch } from "../../data/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import type { Columns } from "../tables/columns.ts";
import { hookOptions, sameHooks, type HookOptions } from "../plan/hookOptions.ts";
import { findOp, OpState, runOps, type AnyOp, type OpOptions, type OpRequest } from "../ops/index.ts";
import { Tally, type AnalyzeProgress } from "./progress.ts";
import { reusable, type Reused } from "./reuse.ts";
import { AnalysisStore, StoreWriter, type ShardTables } from "../store/index.ts";
import {
  isAnalysisName,
  type AnalysisEntry,
  type AnalysisResult,
  type HookInfo,
  type OpResult,
} from "../tables/index.ts";
import type { Tables } from "../tables/entry.ts";
import { configHash, entryOf, isPlain } from "../store/manifest.ts";
import type { Survey } from "../plan/survey.ts";
import { packageVersion } from "../../formats/packageVersion.ts";
import { batchTables, joinTables, resultOf, type SavedInputs } from "./batchTables.ts";

/** An analysis that is to be run. */
export interface PlannedAnalysis {
  readonly entry: AnalysisEntry;
  readonly op: AnyOp;
  readonly inputs: SavedInputs;
  /** Instead of those of the run. */
  readonly hookOptions?: HookOptions;
  /** Columns that are there before it runs. */
  readonly given?: (batch: Batch) => Columns;
}

/** The moments of a run that others take part in. */
export type LoopMoment = "EpochStart" | "BatchStart" | "BatchEnd" | "EpochEnd";

export interface LoopOptions {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  /** A fresh iteration over the batches that were surveyed. */
  readonly batches: () => AsyncIterable<Batch>;
  readonly plan: Survey;
  readonly batchSize: number;
  /** Everything that decides the results of all analyses. */
  readonly config: JsonObject;
  readonly hooks: readonly HookInfo[];
  readonly analyses: readonly PlannedAnalysis[];
  readonly options: OpOptions;
  /** The folder of the store. Without it results stay in memory. */
  readonly out?: string;
  readonly resume?: boolean;
  readonly part?: { readonly index: number; readonly of: number };
  /** Stores in which analyses of the same content address may be found. */
  readonly reuse?: readonly AnalysisStore[];
  readonly provenance?: JsonObject;
  /** Passes over the data; what the last one gives is stored. */
  readonly epochs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: AnalyzeProgress) => void;
  readonly onMoment?: (moment: LoopMoment) => Promise<void>;
}

/** What a run took. Seconds are of wall-clock time. */
export interface AnalyzeTimings {
  /** Reading and tokenising the data, hashing what the run is made from. */
  readonly prepare_seconds: number;
  readonly compute_seconds: number;
  readonly write_seconds: number;
  /** Examples that were computed by this run; the others were in the store already. */
  readonly examples: number;
  /** (example, active latent) pairs that were ablated by this run. */
  readonly ablated_pairs: number;
  /** Graphs that were compiled. */
  readonly compilations: number;
}

export interface LoopRun {
  /** By name, in the order in which they were asked for. */
  readonly results: Readonly<Record<string, AnalysisResult | OpResult>>;
  readonly timings: Omit<AnalyzeTimings, "prepare_seconds">;
  /** Analyses that were not computed but found, by name. */
  readonly reused: Readonly<Record<string, Reused>>;
}

/** Examples a shard is to hold: little is lost when a run dies. */
const shardExamples = 16;
/** Shards a store is to have at most. */
const maxShards = 512;

/** Consecutive batches per shard: a function of the number of batches and their size alone. */
export function batchesPerShard(count: number, batchSize: number): number {
  return Math.max(1, Math.floor(shardExamples / batchSize), Math.ceil(count / maxShards));
}

/**
 * Runs analyses over batches, those that share anything together, and stores them shard by shard.
 * @param prepareSeconds what the caller took before
 */
export async function runLoop(loop: LoopOptions, prepareSeconds = 0): Promise<LoopRun> {
  const { model, plan, analyses, out, signal, hooks, epochs = 1 } = loop;
  const clock = stopwatch();
  const perShard = batchesPerShard(plan.sizes.length, loop.batchSize);
  const shards = Math.ceil(plan.sizes.length / perShard);
  const entries = analyses.map(({ entry }) => entry);
  await using writer =
    out === undefined
      ? undefined
      : await StoreWriter.create(out, loop.config, {
          ...{ analyses: entries, hooks, shards, resume: loop.resume, part: loop.part },
          provenance: loop.provenance,
        });
  const names = entries.map(({ name }) => name);
  const all = Array.from({ length: shards }, (_, shard) => ({ shard, analyses: names }));
  const missing = new Map((writer?.missing() ?? all).map((each) => [each.shard, each.analyses]));
  const kept = new Memory(analyses, hooks);
  const sink = (shard: number, name: string, tables: Tables): Promise<void> | void =>
    writer === undefined ? kept.write(shard, name, tables) : writer.write(shard, name, tables as ShardTables);

  let [computed, pairs, compute_seconds, write_seconds] = [0, 0, 0, 0];
  const reused: Record<string, Reused> = {};
  for (const entry of entries) {
    const lacking = [...missing].filter(([, lacks]) => lacks.includes(entry.name)).map(([shard]) => shard);
    if (lacking.length === 0) continue;
    const hash = configHash({ config: loop.config, hooks, shards });
    const found = await reusable(loop.reuse ?? [], hash, entry, lacking);
    if (found === undefined) continue;
    reused[entry.name] = found.from;
    for (const [shard, tables] of found.shards) await write(shard, entry.name, tables);
  }
  const chains = Object.fromEntries(analyses.map(({ entry, op }) => [entry.name, op.steps.map((step) => step.name)]));
  await writer?.record({ chains, ...(Object.keys(reused).length > 0 && { reused }) });
  const toCompute = analyses.filter(({ entry }) => !(entry.name in reused));
  const groups = await computedTogether(writer, toCompute);

  async function write(shard: number, name: string, tables: Tables): Promise<void> {
    clock.lap();
    await sink(shard, name, tables);
    const left = missing.get(shard)!.filter((each) => each !== name);
    if (left.length === 0) missing.delete(shard);
    else missing.set(shard, left);
    write_seconds += clock.lap();
  }

  // An op that remembers must see every batch, also those whose shards are there.
  const remembers = ({ op }: PlannedAnalysis): boolean => op.steps.some(({ state }) => state !== undefined);
  const lacks = (name: string): boolean => [...missing.values()].some((list) => list.includes(name));
  const stateful = toCompute.filter((each) => remembers(each) && lacks(each.entry.name)).map(({ entry }) => entry.name);
  const wantedAt = new Map(
    Array.from({ length: shards }, (_, shard): [number, Set<string>] => [
      shard,
      new Set([...(missing.get(shard) ?? []), ...stateful]),
    ]),
  );
  const shardOf = (batch: number): number => Math.floor(batch / perShard);
  const wanted = plan.sizes.filter((_, batch) => wantedAt.get(shardOf(batch))!.size > 0);
  const tally = new Tally(loop.onProgress, {
    examples: plan.examples,
    batches: plan.sizes.length,
    toCompute: epochs * wanted.reduce((sum, n) => sum + n, 0),
  });
  const state = new OpState();
  const compiledBefore = model.runtime.compilations;
  for (let epoch = 0; epoch < epochs && wanted.length > 0; epoch++) {
    const stored = epoch === epochs - 1;
    tally.startEpoch(epoch);
    state.startEpoch();
    await loop.onMoment?.("EpochStart");
    let pending = new Map<string, Tables[]>();
    for await (const batch of loop.batches()) {
      signal?.throwIfAborted();
      const shard = shardOf(batch.index);
      const now = wantedAt.get(shard)!;
      tally.tell();
      if (now.size > 0) {
        await loop.onMoment?.("BatchStart");
        clock.lap();
        for (const group of groups.filter((each) => each.some(({ entry }) => now.has(entry.name)))) {
          const results = await compute(loop, group, batch, state, (done, total) => tally.tell({ done, total }));
          for (const { entry, inputs } of group.filter((each) => toCompute.includes(each))) {
            const result = results.get(entry.name)!;
            const tables = batchTables(entry, inputs, batch, result);
            pending.set(entry.name, [...(pending.get(entry.name) ?? []), tables]);
            if (entry.op === "logit_diffs_attr_ablation") pairs += tables.latents.length;
          }
        }
        const seconds = clock.lap();
        compute_seconds += seconds;
        computed += batch.dims[0];
        tally.finish(batch.dims[0], seconds);
        await loop.onMoment?.("BatchEnd");
      } else tally.finish(batch.dims[0]);
      tally.tell();
      const lastOfShard = (batch.index + 1) % perShard === 0 || batch.index + 1 === plan.sizes.length;
      if (!lastOfShard) continue;
      if (stored)
        for (const name of missing.get(shard) ?? [])
          await write(
            shard,
            name,
            joinTables(
              entries.find((entry) => entry.name === name)!,
              pending.get(name)!,
            ),
          );
      pending = new Map();
    }
    await loop.onMoment?.("EpochEnd");
  }
  const timings = {
    ...{ compute_seconds, write_seconds, examples: computed, ablated_pairs: pairs },
    compilations: model.runtime.compilations - compiledBefore,
  };
  await writer?.finish({
    prepare_seconds: prepareSeconds,
    ...timings,
    ...circumstances(model),
    interpretune: await packageVersion(),
  });
  if (out === undefined) return { results: kept.results(), timings, reused };
  const store = await AnalysisStore.open(out, { partial: loop.part !== undefined });
  const results: Record<string, AnalysisResult | OpResult> = {};
  for (const name of names) results[name] = await store.load(name);
  return { results, timings, reused };
}

/** Results that stay in memory. */
class Memory {
  readonly #analyses: readonly PlannedAnalysis[];
  readonly #hooks: readonly HookInfo[];
  readonly #parts = new Map<string, Tables[]>();

  constructor(analyses: readonly PlannedAnalysis[], hooks: readonly HookInfo[]) {
    this.#analyses = analyses;
    this.#hooks = hooks;
  }

  write(shard: number, name: string, tables: Tables): void {
    const parts = this.#parts.get(name) ?? [];
    parts[shard] = tables;
    this.#parts.set(name, parts);
  }

  results(): Record<string, AnalysisResult | OpResult> {
    return Object.fromEntries(
      this.#analyses.map(({ entry }) => {
        const tables = joinTables(entry, this.#parts.get(entry.name) ?? []);
        return [entry.name, resultOf(entry, entry.hooks ?? this.#hooks, tables)];
      }),
    );
  }
}

/** Runs a company of analyses over a batch; those with the same points and hooks in one go. */
async function compute(
  { model, saes, options, hooks, signal }: LoopOptions,
  group: readonly PlannedAnalysis[],
  batch: Batch,
  state: OpState,
  onAblation: (done: number, total: number) => void,
): Promise<Awaited<ReturnType<typeof runOps>>> {
  const company: { readonly key: string; readonly own: HookOptions; readonly some: PlannedAnalysis[] }[] = [];
  for (const each of group) {
    const key = (each.entry.hooks ?? hooks).map(({ name }) => name).join(" ");
    const own = each.hookOptions ?? hookOptions({}, options);
    const found = company.find((other) => other.key === key && sameHooks(other.own, own));
    if (found === undefined) company.push({ key, own, some: [each] });
    else found.some.push(each);
  }
  const results: Awaited<ReturnType<typeof runOps>> = new Map();
  for (const { own: hooked, some } of company) {
    const saveInputs = some.some(({ inputs }) => inputs.prompts || inputs.tokens);
    const own = { ...options, ...hooked, saveInputs, hooks: (some[0]!.entry.hooks ?? hooks).map(({ name }) => name) };
    const requests = some.map(({ op, entry, given }): OpRequest => ({ op, name: entry.name, given: given?.(batch) }));
    for (const [name, result] of await runOps(
      { model, saes, options: own, signal, onAblation, state },
      requests,
      batch,
    ))
      results.set(name, result);
  }
  return results;
}

/**
 * Which analyses are computed together. One graph of several has other last bits than a graph of one, so what a store
 * lacks is computed in the company in which it was first asked for: the same bytes, wherever a run was stopped.
 */
async function computedTogether(
  writer: StoreWriter | undefined,
  analyses: readonly PlannedAnalysis[],
): Promise<(readonly PlannedAnalysis[])[]> {
  if (writer === undefined) return [analyses];
  const { manifest } = await AnalysisStore.open(writer.folder, { partial: true });
  const known = (name: unknown): PlannedAnalysis[] => {
    const asked = analyses.find(({ entry }) => entry.name === name);
    if (asked !== undefined) return [asked];
    const entry = typeof name === "string" ? entryOf(manifest, name) : undefined;
    if (entry === undefined || !isPlain(entry) || !isAnalysisName(entry.name)) return [];
    return [{ entry, op: findOp(entry.name), inputs: { prompts: false, tokens: false, answers: false } }];
  };
  const before = writer.earlierRuns.map(({ computed_together: names }) =>
    Array.isArray(names) ? names.flatMap(known) : [],
  );
  const first = analyses.filter((each) => !before.flat().includes(each));
  await writer.record({ computed_together: first.map(({ entry }) => entry.name) });
  return [...before, first].filter((group) => group.length > 0);
}

/** What may move the last bits of a result without being part of its config. */
function circumstances(model: HookedModel): JsonObject {
  const { backend } = model.runtime;
  return {
    backend: backend.name,
    device: backend.device,
    threads: "threads" in backend && typeof backend.threads === "number" ? backend.threads : null,
    weights: model.weightPolicy,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** Seconds since the last lap. */
export function stopwatch(): { lap: () => number } {
  let last = performance.now();
  return {
    lap: () => {
      const now = performance.now();
      const seconds = (now - last) / 1000;
      last = now;
      return seconds;
    },
  };
}
