/** @file The analysis runner: ops over a split of a session, under its lifecycle. */
import { join } from "node:path";
import { z } from "zod";
import type { Batch } from "../../data/index.ts";
import type { Json, JsonObject } from "../../formats/index.ts";
import { compileFilter, filterText } from "../../model/hooks/hooks.ts";
import type { AnalysisDataModule, AnalysisModule, AnalysisSession, LifecycleHook, Split } from "../../session/index.ts";
import { spliceHooks } from "../../sae/index.ts";
import { openStores } from "./analyze.ts";
import { artifactCfg, type ArtifactCfg } from "../review/artifacts.ts";
import {
  analysisCfgs,
  resolveCfg,
  runnables,
  type AnalysisCfg,
  type Complete,
  type Runnable,
  type RunResults,
} from "../plan/cfg.ts";
import { hooksOf } from "../engine/targets.ts";
import { AnalysisError } from "../errors.ts";
import { hookConfig, hookOptions } from "../plan/hookOptions.ts";
import { modelHash, saeHash } from "../plan/identity.ts";
import { givenInputs } from "../plan/inputStore.ts";
import {
  batchesPerShard,
  runLoop,
  stopwatch,
  type AnalyzeTimings,
  type LoopRun,
  type PlannedAnalysis,
} from "./loop.ts";
import { bundledOps, withComponents, type AnyOp, type OpOptions, type OpTable, type PreferOps } from "../ops/index.ts";
import { storedColumns } from "../ops/results.ts";
import type { AnalyzeProgress } from "./progress.ts";
import type { Reused } from "./reuse.ts";
import type { AnalysisStore } from "../store/index.ts";
import type { HookInfo } from "../tables/index.ts";
import { requireInputs } from "../ops/op.ts";
import { checkRunnerOptions, runnerOptionNames } from "./runnerOptions.ts";
import { configHash } from "../store/manifest.ts";
import { first, survey } from "../plan/survey.ts";
import { LatentAnalysisTargets, type TargetOptions } from "../plan/targets.ts";
import { entryFor, type SavedInputs } from "./batchTables.ts";

/** A session, or just its two sides. */
export type RunnerSession =
  AnalysisSession | { readonly module: AnalysisModule; readonly datamodule: AnalysisDataModule };

/** How a runner runs. Limits count batches; −1 is no limit. */
export interface AnalysisRunnerOptions extends Omit<OpOptions, "layers" | "hooks" | "saveInputs"> {
  /** Of analysis, whatever the split. Default −1. */
  readonly limitAnalysisBatches?: number;
  /** Where the split is `train`. Default −1. */
  readonly limitTrainBatches?: number;
  /** Where the split is `validation`. Default −1. */
  readonly limitValBatches?: number;
  /** Where the split is `test` or `predict`. Default −1. */
  readonly limitTestBatches?: number;
  /** Batches over all epochs; what does not make a whole epoch more is not run. Default −1. */
  readonly maxSteps?: number;
  /** Passes over the data; ops that remember go on, and what the last pass gives is kept. Default 1. */
  readonly maxEpochs?: number;
  /** Default `test`. */
  readonly split?: Split;
  /** Whose latents are reported. Default: those of all SAEs. */
  readonly targets?: LatentAnalysisTargets | TargetOptions;
  /** Run ops even where a cfg has a step of its own. Default false. */
  readonly ignoreManual?: boolean;
  readonly artifactCfg?: Partial<ArtifactCfg>;
  /** What `run()` runs where it is given nothing. Default: what the session's `run_cfg` asks for. */
  readonly analysisCfgs?: Runnable | Iterable<Runnable>;
  /** Ops by name; those of the session's components come on top. Default: the bundled ones. */
  readonly ops?: OpTable;
  /** Who keeps a name that several ops have. Default: the session's `prefer_ops`; without it, that is an error. */
  readonly preferOps?: PreferOps;
  /** The folder of the store. Without it (and without `cacheDir`) results stay in memory. */
  readonly out?: string;
  /** Continue a store that holds a part of this very run. Default false: refuse it. */
  readonly resume?: boolean;
  /** A folder of stores, one for each config: what was run before is read, not run again. */
  readonly cacheDir?: string;
  /** Stores from which analyses of the same content address are taken instead of being computed. */
  readonly reuse?: readonly (string | AnalysisStore)[];
  /** Every `of`-th shard only, from number `index` on: `mergeStores` puts the parts of several machines together. */
  readonly part?: { readonly index: number; readonly of: number };
  /** Worth keeping with the store; not part of what decides results. */
  readonly provenance?: JsonObject;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: AnalyzeProgress) => void;
  /** Where warnings go. Default: `console.warn`. */
  readonly warn?: (message: string) => void;
  /** End the session after the run. Default true. */
  readonly endSession?: boolean;
}

const limit = z
  .number()
  .int()
  .min(-1, "a limit is a number from 1, or −1 for none")
  .default(-1)
  .refine((n) => n !== 0, "a limit of 0 runs nothing; −1 is no limit");
const numbersSchema = z.object({
  limitAnalysisBatches: limit,
  limitTrainBatches: limit,
  limitValBatches: limit,
  limitTestBatches: limit,
  maxSteps: limit,
  maxEpochs: z.number().int().min(1, "analyses go through the data at least once").default(1),
  split: z.enum(["train", "validation", "test", "predict"]).default("test"),
});

/** How the last run went. */
export interface RunFacts {
  readonly timings: AnalyzeTimings;
  /** Analyses that were found instead of computed, by name. */
  readonly reused: Readonly<Record<string, Reused>>;
  /** Hooks whose latents were reported. */
  readonly hooks: readonly HookInfo[];
  /** The folder of the store, where there is one. */
  readonly out: string | undefined;
}

/**
 * Runs analyses over a split of a session. Those of one run share what they have in common: four analyses cost little
 * more than the dearest of them. Options are checked when the runner is made; nothing runs before `run`.
 * @example
 * const data = await openDataset("rte/validation.jsonl", { limit: 2 });
 * const datamodule = { evalBatchSize: 2, batches: () => batches(data, { tokenizer, batchSize: 2 }) };
 * const runner = new AnalysisRunner({ module: { model, saes, answers: null }, datamodule }, { targets: { layers: [9] } });
 * const { logit_diffs_base: base, logit_diffs_sae: sae } = await runner.run([ops.logitDiffsBase, ops.logitDiffsSae]);
 * console.log(String(baseVsSaeLogitDiffs(sae, base)));
 */
export class AnalysisRunner {
  readonly session: AnalysisSession;
  readonly options: AnalysisRunnerOptions;
  readonly artifactCfg: ArtifactCfg;
  readonly targets: LatentAnalysisTargets | undefined;
  /** Every op that `run` finds by name. */
  readonly ops: OpTable;
  readonly #numbers: z.infer<typeof numbersSchema>;
  #facts: RunFacts | undefined;

  /** @throws AnalysisError `analysis/options`, `analysis/targets`; for an op of a component that cannot be made */
  constructor(session: RunnerSession, options: AnalysisRunnerOptions = {}) {
    this.session = "init" in session ? session : bare(session);
    this.options = { ...session.module.runDefaults, ...options };
    this.#numbers = check(options);
    this.targets = options.targets && targetsOf(options.targets);
    const { sharedComponents = [], opCollections = [], cfg } = this.session;
    this.ops = withComponents(options.ops ?? bundledOps, [...sharedComponents, ...opCollections], {
      prefer: options.preferOps ?? cfg?.runCfg.preferOps ?? undefined,
    });
    this.artifactCfg = artifactCfg(options.artifactCfg);
  }

  /** How the last run went; undefined before there was one. */
  get facts(): RunFacts | undefined {
    return this.#facts;
  }

  /**
   * Runs what is given, in one pass over the split.
   * @param analyses an op, its name, a composition `a.b.c`, an {@link analysisCfg}, or several of these
   * @returns results by name, in the order in which they were asked for
   * @throws AnalysisError when two have one name, options do not fit, a result is not finite, or a store cannot be
   *   written or continued; the signal's reason when aborted: what was written stays and can be resumed
   */
  async run<const T extends Runnable | Iterable<Runnable>>(analyses: T & Complete<T>): Promise<RunResults<T>>;
  /** Runs the runner's `analysisCfgs`, or what `run_cfg` of the session asks for. */
  async run(): Promise<LoopRun["results"]>;
  async run(analyses?: Runnable | Iterable<Runnable>): Promise<LoopRun["results"]> {
    const { session } = this;
    const ofSession = session.cfg === undefined ? [] : analysisCfgs(session.cfg.runCfg);
    const wanted = runnables(analyses ?? this.options.analysisCfgs ?? ofSession);
    await session.init();
    const call = (hook: LifecycleHook): Promise<void> => session.call(hook);
    await call("onAnalysisStart");
    try {
      const run = await this.#run(wanted);
      return run.results;
    } finally {
      await call("onAnalysisEnd");
      if (this.options.endSession !== false) await session.end();
    }
  }

  async #run(wanted: readonly AnalysisCfg[]): Promise<LoopRun> {
    const { options, session } = this;
    const { module, datamodule, record } = session;
    const { model, saes = [] } = module;
    const { split } = this.#numbers;
    const clock = stopwatch();
    const hooks = this.#hooks(this.targets);
    const analyses = await this.#plan(wanted, hooks);
    if (saes.length > 0) model.trace([[0]], { splices: spliceHooks(saes), capture: "*.hook_sae_acts_post" });
    const allOf = (): AsyncIterable<Batch> => datamodule.batches(split);
    const counted = await survey(first(allOf(), this.#batches()), options.signal);
    const { epochs, plan } = this.#epochs(counted);
    const { evalBatchSize: batchSize } = datamodule;
    // Hashing every weight takes as long as reading them: only where somebody will look at it.
    const kept = options.out !== undefined || options.cacheDir !== undefined || options.reuse !== undefined;
    const config = kept ? this.#config(plan, hooks, epochs) : {};
    const perShard = batchesPerShard(plan.sizes.length, batchSize);
    const hash = configHash({ config, hooks, shards: Math.ceil(plan.sizes.length / perShard) });
    const cached = options.cacheDir === undefined ? undefined : join(options.cacheDir, hash.slice(0, 16));
    const out = options.out ?? cached;
    const prepare_seconds = clock.lap();
    const run = await runLoop(
      {
        ...{ model, saes, plan, batchSize, hooks, config, analyses, epochs, out },
        batches: () => first(allOf(), plan.sizes.length),
        options: { paddingSide: "left", ...options },
        resume: options.resume ?? (options.out === undefined && cached !== undefined),
        part: options.part,
        reuse: await openStores(options.reuse),
        provenance: { ...(Object.keys(record).length > 0 && { session: record }), ...options.provenance },
        signal: options.signal,
        onProgress: options.onProgress,
        onMoment: (moment) => session.call(`onAnalysis${moment}`),
      },
      prepare_seconds,
    );
    this.#facts = { timings: { prepare_seconds, ...run.timings }, reused: run.reused, hooks, out };
    return run;
  }

  #hooks(targets: LatentAnalysisTargets | undefined): HookInfo[] {
    const { model, saes = [] } = this.session.module;
    return targets === undefined ? hooksOf(model, saes).map(({ info }) => info) : targets.resolve(model, saes);
  }

  /** Cfgs as ops with their entries; two of one name are an error. */
  async #plan(wanted: readonly AnalysisCfg[], hooks: readonly HookInfo[]): Promise<PlannedAnalysis[]> {
    const { ignoreManual = false, warn = console.warn } = this.options;
    const { ops: table } = this;
    const { module } = this.session;
    const planned: PlannedAnalysis[] = [];
    for (const cfg of wanted) {
      const { name, op, manual } = resolveCfg(cfg, table, module, ignoreManual);
      if (planned.some(({ entry }) => entry.name === name))
        throw new AnalysisError("two analyses have one name", {
          code: "analysis/name-twice",
          received: name,
          hint: "give one of them another name: analysisCfg({ targetOp, name })",
        });
      if (manual !== undefined && cfg.targetOp !== undefined)
        warn(`${name}: a step of one's own is run instead of the op; ignoreManual runs the op`);
      if (op.requires.includes("saes") && (module.saes ?? []).length === 0)
        throw new AnalysisError(`${name} needs at least one SAE`, {
          code: "analysis/no-saes",
          hint: "give the session SAEs, or ask for logit_diffs_base alone",
        });
      const hooked = hookOptions(cfg, this.options);
      const own = this.#own(cfg, name, op, hooks);
      const inputs = savedInputs(cfg, module);
      const given = await givenInputs(cfg, op, own ?? hooks);
      if (given === undefined) requireInputs(op);
      const config = { ...given?.config, ...inputsConfig(cfg), ...hookConfig(cfg), ...chainConfig(op, table, manual) };
      const entry = entryFor(op, name, inputs, {
        hooks: own,
        config: Object.keys(config).length > 0 ? config : undefined,
      });
      planned.push({ entry, op, inputs, hookOptions: hooked, given: given?.given });
    }
    return planned;
  }

  /**
   * The hooks whose latents an analysis reports, where they are not the run's.
   * @throws AnalysisError where its names filter leaves none for an op with latents
   */
  #own(cfg: AnalysisCfg, name: string, op: AnyOp, hooks: readonly HookInfo[]): readonly HookInfo[] | undefined {
    const targets = cfg.targets === undefined ? undefined : this.#hooks(targetsOf(cfg.targets));
    const { namesFilter = this.options.namesFilter } = cfg;
    if (namesFilter === undefined) return targets;
    const named = compileFilter(namesFilter);
    const all = targets ?? hooks;
    const own = all.filter((hook) => named(hook.name));
    const latents = Object.values(storedColumns(op.output)).some(({ per }) => per === "latent");
    if (own.length > 0) return own;
    if (!(latents && op.requires.includes("saes"))) return targets;
    throw new AnalysisError(`no latents of ${name} match its names filter`, {
      code: "analysis/names-filter",
      expected: all.map((hook) => hook.name).join(", "),
      received: filterText(namesFilter),
    });
  }

  /** Batches of the split that are run at most. */
  #batches(): number {
    const { split, ...limits } = this.#numbers;
    const ofSplit = { train: limits.limitTrainBatches, validation: limits.limitValBatches };
    const all = [
      limits.limitAnalysisBatches,
      limits.maxSteps,
      { ...ofSplit, test: limits.limitTestBatches, predict: limits.limitTestBatches }[split],
    ];
    return Math.min(...all.filter((n) => n > 0), Infinity);
  }

  #epochs(plan: Awaited<ReturnType<typeof survey>>): { epochs: number; plan: typeof plan } {
    const { maxEpochs, maxSteps } = this.#numbers;
    const most = maxSteps < 0 ? maxEpochs : Math.max(1, Math.floor(maxSteps / plan.sizes.length));
    return { epochs: Math.min(maxEpochs, most), plan };
  }

  /** Everything that decides the results, whatever the analysis. */
  #config(plan: Awaited<ReturnType<typeof survey>>, hooks: readonly HookInfo[], epochs: number): JsonObject {
    const { options, session } = this;
    const { model, saes = [] } = session.module;
    return {
      model: modelHash(model),
      saes: hooksOf(model, saes).map(({ sae }): Json => ({ hook: sae.hookNameOut, hash: saeHash(sae) })),
      reported: hooks.map(({ name }) => name),
      data: { split: this.#numbers.split, examples: plan.examples, sha256: plan.sha256 },
      batch_size: session.datamodule.evalBatchSize,
      epochs,
      positions: options.positions ?? "explicit",
      padding_side: options.paddingSide ?? "left",
      prepend_bos: options.prependBos ?? null,
      diff: options.diff ?? "mean",
      ablate: options.ablate ?? "answer",
      use_error_term: options.useErrorTerm ?? false,
      gradient_through_error: options.gradientThroughError ?? false,
      ...hookConfig(options),
    };
  }
}

function bare({ module, datamodule }: Exclude<RunnerSession, AnalysisSession>): AnalysisSession {
  const nothing = (): Promise<void> => Promise.resolve();
  return { module, datamodule, record: {}, init: nothing, call: nothing, end: nothing };
}

const targetsOf = (targets: LatentAnalysisTargets | TargetOptions): LatentAnalysisTargets =>
  targets instanceof LatentAnalysisTargets ? targets : new LatentAnalysisTargets(targets);

function check(options: AnalysisRunnerOptions): z.infer<typeof numbersSchema> {
  checkRunnerOptions(options, runnerOptionNames, "AnalysisRunner");
  const parsed = numbersSchema.safeParse(options);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AnalysisError(`an option of the runner is wrong: ${issue!.message}`, {
    code: "analysis/options",
    where: issue!.path.join("."),
    received: JSON.stringify(options[issue!.path[0] as keyof AnalysisRunnerOptions]),
  });
}

/** What stands with the examples. @throws AnalysisError for texts of token ids without a tokenizer */
function savedInputs(
  { savePrompts = true, saveTokens = true, decodeKwargs }: AnalysisCfg,
  { model }: AnalysisModule,
): SavedInputs {
  const inputs = { prompts: savePrompts, tokens: saveTokens, answers: savePrompts };
  if (!savePrompts || decodeKwargs === undefined) return inputs;
  if (!model.hasTokenizer)
    throw new AnalysisError("token ids cannot be decoded", {
      code: "analysis/capability",
      expected: "a model with a tokenizer",
      hint: "leave decodeKwargs out",
    });
  const { skipSpecialTokens = true, cleanUpTokenizationSpaces = true } = decodeKwargs;
  const { tokenizer } = model;
  return { ...inputs, prompts: (ids) => tokenizer.decode(ids, { skipSpecialTokens, cleanUpTokenizationSpaces }) };
}

/** What of the examples table is left out or made in another way, where anything is. */
function inputsConfig({ savePrompts = true, saveTokens = true, decodeKwargs }: AnalysisCfg): JsonObject {
  const { skipSpecialTokens = true, cleanUpTokenizationSpaces = true } = decodeKwargs ?? {};
  return {
    ...(!(savePrompts && saveTokens) && { save_prompts: savePrompts, save_tokens: saveTokens }),
    ...(savePrompts &&
      decodeKwargs !== undefined && {
        decode_kwargs: {
          skip_special_tokens: skipSpecialTokens,
          clean_up_tokenization_spaces: cleanUpTokenizationSpaces,
        },
      }),
  };
}

/** The chain of an op where its name does not say it all: parameters, and the text of what is not bundled. */
function chainConfig(op: AnyOp, table: OpTable, manual: string | undefined): JsonObject {
  const known = bundledOps.has(op.name) && bundledOps.find(op.name) === op;
  if (known && table.has(op.name)) return {};
  if (manual !== undefined) return { step: manual };
  const bundled = new Map(bundledOps.ops.flatMap(({ steps }) => steps.map((step) => [step.name, step.source])));
  return {
    chain: op.steps.map(({ name, params, source }): Json => ({
      op: name,
      params: JSON.parse(JSON.stringify(params ?? {})) as Json,
      ...(bundled.get(name) !== source && { source }),
    })),
  };
}
