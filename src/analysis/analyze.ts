/** @file The four analyses over a data set: batches in file order, shards of a store, resumption. */
import { createHash } from "node:crypto";
import { batches, defaultAnswers, type BatchesOptions, type Dataset } from "../data/index.ts";
import type { Json, JsonObject } from "../formats/index.ts";
import type { HookedModel } from "../model/index.ts";
import { spliceHooks, type Sae } from "../sae/index.ts";
import { analyzeBatch, hooksOf, type AnalysisOptions } from "./engine/batch.ts";
import { AnalysisError } from "./errors.ts";
import { modelHash, saeHash } from "./identity.ts";
import {
  analysisNames,
  analysisResult,
  AnalysisStore,
  concatLatents,
  StoreWriter,
  type AnalysisName,
  type AnalysisResult,
  type HookInfo,
} from "./store/index.ts";

/** How far a run is. */
export interface AnalyzeProgress {
  /** Examples that are done, those of earlier runs included. */
  readonly done: number;
  readonly total: number;
  /** (example, latent) pairs of the present batch that are ablated, where it is at that. */
  readonly pairs?: { readonly done: number; readonly total: number };
}

export interface AnalyzeOptions
  extends Omit<AnalysisOptions, "onAblation">, Omit<BatchesOptions, "tokenizer" | "maxLength" | "vocabSize"> {
  readonly model: HookedModel;
  readonly saes?: readonly Sae[];
  readonly data: Dataset;
  /** The folder of the store. Without it results stay in memory. */
  readonly out?: string;
  /** Continue a store that holds a part of this very run. Default false: refuse it. */
  readonly resume?: boolean;
  /** Worth keeping in the manifest; not part of the hash. */
  readonly provenance?: JsonObject;
  readonly onProgress?: (progress: AnalyzeProgress) => void;
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

export interface AnalysisRun {
  /** Both tables of each analysis that was asked for, effects unmasked. */
  readonly results: { [A in AnalysisName]?: AnalysisResult };
  readonly timings: AnalyzeTimings;
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
 * Runs analyses over a data set, in file order. With `out`, a store is written shard by shard: a run that is
 * interrupted or killed is resumed at the missing shards, computes in them only the analyses they lack, and ends with
 * the same bytes. Every row is read, tokenised and checked before anything is computed.
 * @returns both tables of each analysis, read back from the store where there is one
 * @throws DataError naming file and line; SaeError or ModelError when an SAE does not fit; AnalysisError for options that
 *   do not fit and for a store that cannot be written or continued; the signal's reason when aborted: what was written
 *   stays and can be resumed
 * @example
 * const data = await openDataset("rte/validation.jsonl", { limit: 8 });
 * const { results } = await analyzeDataset({ model, saes, data, batchSize: 2, out: "runs/first" });
 * console.log(String(accuracyTable(Object.values(results))));
 */
export async function analyzeDataset(options: AnalyzeOptions): Promise<AnalysisRun> {
  const { model, saes = [], data, out, signal, analyses = analysisNames, batchSize = 8, onProgress } = options;
  const clock = stopwatch();
  const hooks = hooksFor(model, saes, analyses, options.layers);
  const reading = readingOptions(options);
  const plan = await survey(data, reading, signal);
  const perShard = batchesPerShard(plan.batches, batchSize);
  const shards = Math.ceil(plan.batches / perShard);
  await using writer =
    out === undefined
      ? undefined
      : await StoreWriter.create(out, configOf(options, plan, hooks), {
          analyses,
          hooks,
          shards,
          resume: options.resume,
          provenance: options.provenance,
        });
  const all = Array.from({ length: shards }, (_, shard) => ({ shard, analyses }));
  const missing = new Map((writer?.missing() ?? all).map((entry) => [entry.shard, entry.analyses]));
  const groups = writer === undefined ? [analyses] : await computedTogether(writer, analyses);
  const prepare_seconds = clock.lap();

  const inMemory = new Map<AnalysisName, AnalysisResult[]>();
  let pending: AnalysisRun["results"][] = [];
  const flush = async (shard: number): Promise<void> => {
    clock.lap();
    for (const name of missing.get(shard)!) {
      const merged = merge(
        name,
        hooks,
        pending.map((result) => result[name]!),
      );
      if (writer === undefined) inMemory.set(name, [...(inMemory.get(name) ?? []), merged]);
      else await writer.write(shard, name, merged);
    }
    pending = [];
    write_seconds += clock.lap();
  };

  const compiledBefore = model.runtime.compilations;
  let [done, computed, pairs, compute_seconds, write_seconds] = [0, 0, 0, 0, 0];
  for await (const batch of missing.size === 0 ? [] : batches(data, reading)) {
    signal?.throwIfAborted();
    const shard = Math.floor(batch.index / perShard);
    const wanted = missing.get(shard);
    onProgress?.({ done, total: plan.examples });
    if (wanted !== undefined) {
      const onAblation = (count: number, total: number): void =>
        onProgress?.({ done, total: plan.examples, pairs: { done: count, total } });
      clock.lap();
      const result: AnalysisRun["results"] = {};
      for (const group of groups.filter((names) => names.some((name) => wanted.includes(name))))
        Object.assign(
          result,
          await analyzeBatch(model, saes, batch, { paddingSide: "left", ...options, analyses: group, onAblation }),
        );
      compute_seconds += clock.lap();
      computed += batch.dims[0];
      pairs += result.logit_diffs_attr_ablation?.latents.length ?? 0;
      pending.push(result);
    }
    done += batch.dims[0];
    onProgress?.({ done, total: plan.examples });
    const lastOfShard = (batch.index + 1) % perShard === 0 || batch.index + 1 === plan.batches;
    if (wanted !== undefined && lastOfShard) await flush(shard);
  }
  const compilations = model.runtime.compilations - compiledBefore;
  const timings = {
    prepare_seconds,
    compute_seconds,
    write_seconds,
    examples: computed,
    ablated_pairs: pairs,
    compilations,
  };
  await writer?.finish({ ...timings, ...circumstances(model) });
  return { timings, results: await collect(analyses, hooks, inMemory, out) };
}

/**
 * Which analyses are computed together. One graph of several has other last bits than a graph of one, so what a store
 * lacks is computed in the company in which it was first asked for: the same bytes, wherever a run was stopped.
 */
async function computedTogether(
  writer: StoreWriter,
  analyses: readonly AnalysisName[],
): Promise<(readonly AnalysisName[])[]> {
  const { manifest } = await AnalysisStore.open(writer.folder, { partial: true });
  const before = manifest.runs.map(({ computed_together: names }) =>
    analysisNames.filter((name) => Array.isArray(names) && names.includes(name)),
  );
  const first = analyses.filter((name) => !before.flat().includes(name));
  await writer.record({ computed_together: first });
  return [...before, first];
}

/** The hooks whose latents are reported, after checking that every SAE fits its hook point. */
function hooksFor(
  model: HookedModel,
  saes: readonly Sae[],
  analyses: readonly AnalysisName[],
  layers: readonly number[] | undefined,
): HookInfo[] {
  if (analyses.length === 0)
    throw new AnalysisError("no analysis was asked for", { code: "analysis/none", expected: analysisNames.join(", ") });
  if (saes.length === 0 && analyses.some((name) => name !== "logit_diffs_base"))
    throw new AnalysisError("these analyses need at least one SAE", {
      code: "analysis/no-saes",
      received: analyses.join(", "),
      hint: "give SAEs, or ask for logit_diffs_base alone",
    });
  if (saes.length > 0) model.trace([[0]], { splices: spliceHooks(saes), capture: "*.hook_sae_acts_post" });
  const hooks = hooksOf(model, saes, layers).map(({ info }) => info);
  if (saes.length > 0 && hooks.length === 0)
    throw new AnalysisError("no SAE is at these layers", {
      code: "analysis/layers",
      expected: `layers of ${saes.map((sae) => sae.hookName).join(", ")}`,
      received: layers?.join(", "),
    });
  return hooks;
}

function readingOptions(options: AnalyzeOptions): BatchesOptions {
  const { model, answers, prompt, chat, batchSize, paddingSide } = options;
  return {
    answers,
    prompt,
    chat,
    batchSize,
    paddingSide,
    // Where the model's family wants no BOS, the tokenizer is not asked.
    prependBos: options.prependBos ?? (model.cfg.default_prepend_bos ? undefined : false),
    tokenizer: model.hasTokenizer ? model.tokenizer : undefined,
    maxLength: model.cfg.n_ctx,
    vocabSize: model.cfg.d_vocab,
  };
}

interface Survey {
  readonly batches: number;
  readonly examples: number;
  /** SHA-256 of every batch: token ids, masks, labels, answers, prompts. */
  readonly sha256: string;
}

/** Goes through all batches once: finds every fault of the data, counts it, and hashes what the model will see. */
async function survey(data: Dataset, options: BatchesOptions, signal: AbortSignal | undefined): Promise<Survey> {
  const hash = createHash("sha256");
  let examples = 0;
  let count = 0;
  for await (const batch of batches(data, options)) {
    signal?.throwIfAborted();
    hash.update(JSON.stringify([batch.dims, batch.classes, batch.prompts]));
    for (const array of [batch.tokens, batch.mask, batch.labels, batch.answerIds]) hash.update(array);
    examples += batch.dims[0];
    count++;
  }
  return { batches: count, examples, sha256: hash.digest("hex") };
}

/** Everything that decides the stored bytes. The data's hash covers tokenizer, prompt, answers and limit as well; they are named to be read. */
function configOf(options: AnalyzeOptions, plan: Survey, hooks: readonly HookInfo[]): JsonObject {
  const { model, saes = [], data } = options;
  const order = hooksOf(model, saes).map(({ sae }): Json => ({ hook: sae.hookName, hash: saeHash(sae) }));
  const answers = options.answers ?? defaultAnswers(data.kind);
  return {
    model: modelHash(model),
    saes: order,
    reported: hooks.map(({ name }) => name),
    data: { kind: data.kind, examples: plan.examples, sha256: plan.sha256 },
    answers: answers === null ? null : answers.map((answer): Json => answer),
    prompt: options.prompt ?? "package",
    chat: options.chat ?? "plain",
    prepend_bos: options.prependBos ?? null,
    padding_side: options.paddingSide ?? "left",
    batch_size: options.batchSize ?? 8,
    positions: options.positions ?? "explicit",
    diff: options.diff ?? "mean",
    ablate: options.ablate ?? "answer",
    use_error_term: options.useErrorTerm ?? false,
    gradient_through_error: options.gradientThroughError ?? false,
    save_inputs: options.saveInputs ?? true,
  };
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

const merge = (name: AnalysisName, hooks: readonly HookInfo[], parts: readonly AnalysisResult[]): AnalysisResult =>
  analysisResult(
    name,
    hooks,
    parts.flatMap((part) => part.examples),
    concatLatents(
      name,
      parts.map((part) => part.latents),
    ),
  );

async function collect(
  analyses: readonly AnalysisName[],
  hooks: readonly HookInfo[],
  inMemory: ReadonlyMap<AnalysisName, readonly AnalysisResult[]>,
  out: string | undefined,
): Promise<AnalysisRun["results"]> {
  const store = out === undefined ? undefined : await AnalysisStore.open(out);
  const results: { [A in AnalysisName]?: AnalysisResult } = {};
  for (const name of analysisNames.filter((each) => analyses.includes(each)))
    results[name] = store === undefined ? merge(name, hooks, inMemory.get(name) ?? []) : await store.load(name);
  return results;
}

/** Seconds since the last lap. */
function stopwatch(): { lap: () => number } {
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
