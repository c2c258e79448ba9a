/** @file The one loop of all analyses: batches in order, shards of a store, resumption, reuse. */
import type { Batch } from "../../data/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import { packageVersion } from "../../formats/packageVersion.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { OpState, type OpOptions } from "../ops/index.ts";
import type { PlannedAnalysis } from "../plan/planned.ts";
import type { Survey } from "../plan/survey.ts";
import { StoreWriter, type AnalysisStore } from "../store/index.ts";
import { configHash } from "../store/manifest.ts";
import type { Tables } from "../tables/entry.ts";
import { isAnalysisName, type AnalysisResult, type HookInfo, type OpResult } from "../tables/index.ts";
import { batchTables, checkFinite, joinTables } from "./batchTables.ts";
import { computeBatch, computedTogether } from "./company.ts";
import { Kept } from "./kept.ts";
import { stopwatch, Tally, type AnalyzeProgress } from "./progress.ts";
import { reusable, type Reused } from "./reuse.ts";

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

/** Shards of a run. */
export function shardCount({ sizes }: Survey, batchSize: number): number {
  return Math.ceil(sizes.length / batchesPerShard(sizes.length, batchSize));
}

/**
 * Runs analyses over batches, those that share anything together, and stores them shard by shard.
 * @param prepareSeconds what the caller took before
 */
export async function runLoop(loop: LoopOptions, prepareSeconds = 0): Promise<LoopRun> {
  const { model, plan, analyses, out, hooks } = loop;
  const shards = shardCount(plan, loop.batchSize);
  await using writer =
    out === undefined
      ? undefined
      : await StoreWriter.create(out, loop.config, {
          ...{ analyses: analyses.map(({ entry }) => entry), hooks, shards, resume: loop.resume, part: loop.part },
          provenance: loop.provenance,
        });
  const kept = new Kept(analyses, shards, writer);
  const reused = await takeFound(loop, kept, shards);
  const chains = Object.fromEntries(analyses.map(({ entry, op }) => [entry.name, op.steps.map((step) => step.name)]));
  await writer?.record({ chains, ...(Object.keys(reused).length > 0 && { reused }) });
  const toCompute = analyses.filter(({ entry }) => !(entry.name in reused));
  const groups = await computedTogether(writer, toCompute);
  const compiledBefore = model.runtime.compilations;
  const passed = await passes(loop, kept, toCompute, groups);
  const timings = {
    ...{ compute_seconds: passed.seconds, write_seconds: kept.seconds, examples: passed.examples },
    ...{ ablated_pairs: passed.pairs, compilations: model.runtime.compilations - compiledBefore },
  };
  await writer?.finish({
    prepare_seconds: prepareSeconds,
    ...timings,
    ...circumstances(model),
    interpretune: await packageVersion(),
  });
  return { results: await kept.results(hooks, loop.part !== undefined), timings, reused };
}

/** Analyses that other stores hold, put where those go that are computed. */
async function takeFound(
  { analyses, config, hooks, reuse = [] }: LoopOptions,
  kept: Kept,
  shards: number,
): Promise<Record<string, Reused>> {
  const reused: Record<string, Reused> = {};
  const hash = configHash({ config, hooks, shards });
  for (const { entry } of analyses) {
    const lacking = kept.missingOf(entry.name);
    const found = lacking.length === 0 ? undefined : await reusable(reuse, hash, entry, lacking);
    if (found === undefined) continue;
    reused[entry.name] = found.from;
    for (const [shard, tables] of found.shards) await kept.write(shard, entry.name, tables);
  }
  return reused;
}

/** Goes over the batches, as often as asked, and keeps what the last pass gives. */
async function passes(
  loop: LoopOptions,
  kept: Kept,
  toCompute: readonly PlannedAnalysis[],
  groups: readonly (readonly PlannedAnalysis[])[],
): Promise<{ seconds: number; examples: number; pairs: number }> {
  const { plan, batchSize, signal, epochs = 1 } = loop;
  const perShard = batchesPerShard(plan.sizes.length, batchSize);
  const shardOf = (batch: number): number => Math.floor(batch / perShard);
  // An op that remembers must see every batch, also those whose shards are there.
  const remembers = ({ op, entry }: PlannedAnalysis): boolean =>
    op.steps.some(({ state }) => state !== undefined) && kept.missingOf(entry.name).length > 0;
  const stateful = toCompute.filter(remembers).map(({ entry }) => entry.name);
  const wantedAt = Array.from(
    { length: shardCount(plan, batchSize) },
    (_, shard) => new Set([...kept.missingAt(shard), ...stateful]),
  );
  const wanted = plan.sizes.filter((_, batch) => wantedAt[shardOf(batch)]!.size > 0);
  const tally = new Tally(loop.onProgress, {
    examples: plan.examples,
    batches: plan.sizes.length,
    toCompute: epochs * wanted.reduce((sum, n) => sum + n, 0),
  });
  const state = new OpState();
  const clock = stopwatch();
  let [seconds, examples, pairs] = [0, 0, 0];
  const compute = async (batch: Batch, now: ReadonlySet<string>, pending: Map<string, Tables[]>): Promise<void> => {
    await loop.onMoment?.("BatchStart");
    clock.lap();
    for (const group of groups.filter((each) => each.some(({ entry }) => now.has(entry.name)))) {
      const results = await computeBatch(loop, group, batch, state, (done, total) => tally.tell({ done, total }));
      for (const { entry, inputs } of group.filter((each) => toCompute.includes(each))) {
        // Of the four, as they are, answers that all examples have stand in the run's config, whoever runs them.
        const named = plan.answers !== null && isAnalysisName(entry.op) && entry.config === undefined;
        const kinds = { ...inputs, answers: inputs.answers && !named };
        const tables = batchTables(entry, kinds, batch, results.get(entry.name)!);
        checkFinite(entry, tables);
        pending.set(entry.name, [...(pending.get(entry.name) ?? []), tables]);
        if (entry.op === "logit_diffs_attr_ablation") pairs += tables.latents.length;
      }
    }
    const taken = clock.lap();
    seconds += taken;
    examples += batch.dims[0];
    tally.finish(batch.dims[0], taken);
    await loop.onMoment?.("BatchEnd");
  };
  for (let epoch = 0; epoch < epochs && wanted.length > 0; epoch++) {
    tally.startEpoch(epoch);
    state.startEpoch();
    await loop.onMoment?.("EpochStart");
    let pending = new Map<string, Tables[]>();
    for await (const batch of loop.batches()) {
      signal?.throwIfAborted();
      const shard = shardOf(batch.index);
      const now = wantedAt[shard]!;
      tally.tell();
      if (now.size > 0) await compute(batch, now, pending);
      else tally.finish(batch.dims[0]);
      tally.tell();
      const lastOfShard = (batch.index + 1) % perShard === 0 || batch.index + 1 === plan.sizes.length;
      if (!lastOfShard) continue;
      if (epoch === epochs - 1)
        for (const { entry } of toCompute.filter((each) => kept.missingAt(shard).includes(each.entry.name)))
          await kept.write(shard, entry.name, joinTables(entry, pending.get(entry.name)!));
      pending = new Map();
    }
    await loop.onMoment?.("EpochEnd");
  }
  return { seconds, examples, pairs };
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
