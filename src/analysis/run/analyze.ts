/** @file The four analyses over a data set. */
import { batches, type BatchesOptions, type Dataset } from "../../data/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import { filterText } from "../../model/hooks/filter.ts";
import type { HookedModel } from "../../model/index.ts";
import { spliceHooks, type LatentModel } from "../../sae/index.ts";
import { hooksOf, reported } from "../engine/targets.ts";
import { AnalysisError } from "../errors.ts";
import { ops, type OpOptions } from "../ops/index.ts";
import { entryFor } from "../plan/planned.ts";
import { runConfig } from "../plan/runConfig.ts";
import { survey } from "../plan/survey.ts";
import type { AnalysisStore } from "../store/index.ts";
import { analysisNames, type AnalysisName, type AnalysisResult, type HookInfo } from "../tables/index.ts";
import { runLoop, type AnalyzeTimings } from "./loop.ts";
import { stopwatch, type AnalyzeProgress } from "./progress.ts";
import { openStores, type Reused } from "./reuse.ts";

export interface AnalyzeOptions extends OpOptions, Omit<BatchesOptions, "tokenizer" | "maxLength" | "vocabSize"> {
  readonly model: HookedModel;
  readonly saes?: readonly LatentModel[];
  readonly data: Dataset;
  /** Which analyses; default all four. */
  readonly analyses?: readonly AnalysisName[];
  readonly signal?: AbortSignal;
  /** The folder of the store. Without it results stay in memory. */
  readonly out?: string;
  /** Continue a store that holds a part of this very run. Default false: refuse it. */
  readonly resume?: boolean;
  /** Every `of`-th shard only, from number `index` on: `mergeStores` puts the parts of several machines together. */
  readonly part?: { readonly index: number; readonly of: number };
  /** Stores in which analyses of the same content address are taken from instead of being computed. */
  readonly reuse?: readonly (string | AnalysisStore)[];
  /** Worth keeping in the manifest; not part of the hash. */
  readonly provenance?: JsonObject;
  readonly onProgress?: (progress: AnalyzeProgress) => void;
}

export interface AnalysisRun {
  /** Both tables of each analysis that was asked for, effects unmasked. */
  readonly results: { [A in AnalysisName]?: AnalysisResult };
  readonly timings: AnalyzeTimings;
  /** Analyses that were found in another store, by name. */
  readonly reused: Readonly<Record<string, Reused>>;
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
  const { model, saes = [], data, signal, analyses = analysisNames, batchSize = 8, saveInputs = true } = options;
  const clock = stopwatch();
  const hooks = hooksFor(model, saes, analyses, options);
  const reading = readingOptions(options);
  const plan = await survey(batches(data, reading), signal);
  const inputs = { prompts: saveInputs, tokens: saveInputs, answers: saveInputs };
  const config = runConfig({ model, saes, hooks, plan, batchSize, options });
  const prepare_seconds = clock.lap();
  const { results, timings, reused } = await runLoop(
    {
      ...{ model, saes, plan, batchSize, hooks, signal, config },
      batches: () => batches(data, reading),
      analyses: analysisNames
        .filter((name) => analyses.includes(name))
        .map((name) => ({ entry: entryFor(four[name], name, inputs), op: four[name], inputs })),
      options: { paddingSide: "left", ...options },
      out: options.out,
      resume: options.resume,
      part: options.part,
      reuse: await openStores(options.reuse),
      provenance: { ...readingRecord(options), ...options.provenance },
      onProgress: options.onProgress,
    },
    prepare_seconds,
  );
  return { results: results, timings: { prepare_seconds, ...timings }, reused };
}

const four = {
  logit_diffs_base: ops.logitDiffsBase,
  logit_diffs_sae: ops.logitDiffsSae,
  logit_diffs_attr_grad: ops.logitDiffsAttrGrad,
  logit_diffs_attr_ablation: ops.logitDiffsAttrAblation,
} as const;

/** The hooks whose latents are reported, after checking that every SAE fits its hook point. */
function hooksFor(
  model: HookedModel,
  saes: readonly LatentModel[],
  analyses: readonly AnalysisName[],
  { layers, hooks: names, namesFilter }: OpOptions,
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
  const hooks = reported(hooksOf(model, saes, layers, names), namesFilter).map(({ info }) => info);
  if (saes.length > 0 && hooks.length === 0)
    throw new AnalysisError(namesFilter === undefined ? "no SAE is at these layers" : "no SAE is named by the filter", {
      code: "analysis/layers",
      expected: `layers or names of ${hooksOf(model, saes)
        .map(({ info }) => info.name)
        .join(", ")}`,
      received: [layers?.join(", "), namesFilter && filterText(namesFilter)].filter(Boolean).join("; "),
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

/** What the data was read with, for people: what it decides is in the batches. */
function readingRecord({ data, prompt = "package", chat = "plain" }: AnalyzeOptions): JsonObject {
  return { data_kind: data.kind, prompt, chat };
}
