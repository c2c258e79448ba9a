/** @file The analysis runner: ops over a split of a session, under its lifecycle. */
import { join } from "node:path";
import type { Batch } from "../../data/index.ts";
import type { AnalysisDataModule, AnalysisModule, AnalysisSession, LifecycleHook } from "../../session/index.ts";
import { spliceHooks } from "../../sae/index.ts";
import { bundledOps, withComponents, type OpTable } from "../ops/index.ts";
import {
  analysisCfgs,
  runnables,
  type AnalysisCfg,
  type Complete,
  type Runnable,
  type RunResults,
} from "../plan/cfg.ts";
import { plannedAnalyses, reportedHooks, targetsOf } from "../plan/plan.ts";
import { runConfig } from "../plan/runConfig.ts";
import { first, survey } from "../plan/survey.ts";
import type { LatentAnalysisTargets } from "../plan/targets.ts";
import { artifactCfg, type ArtifactCfg } from "../review/artifacts.ts";
import { configHash } from "../store/manifest.ts";
import type { HookInfo } from "../tables/index.ts";
import { runLoop, shardCount, type AnalyzeTimings, type LoopRun } from "./loop.ts";
import { stopwatch } from "./progress.ts";
import { openStores, type Reused } from "./reuse.ts";
import { batchLimit, checkOptions, epochsOf, type AnalysisRunnerOptions, type RunnerNumbers } from "./runnerOptions.ts";

/** A session, or just its two sides. */
export type RunnerSession =
  AnalysisSession | { readonly module: AnalysisModule; readonly datamodule: AnalysisDataModule };

/** How the last run went. */
export interface RunFacts {
  readonly timings: AnalyzeTimings;
  /** Analyses that were found instead of computed, by name. */
  readonly reused: Readonly<Record<string, Reused>>;
  /** Hooks whose latents were reported. */
  readonly hooks: readonly HookInfo[];
  /** The texts of the answers where all examples have the same, else null: then they stand with the examples. */
  readonly answers: readonly string[] | null;
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
  readonly #numbers: RunnerNumbers;
  #facts: RunFacts | undefined;

  /** @throws AnalysisError `analysis/options`, `analysis/targets`; for an op of a component that cannot be made */
  constructor(session: RunnerSession, options: AnalysisRunnerOptions = {}) {
    this.session = "init" in session ? session : bare(session);
    this.options = { ...session.module.runDefaults, ...options };
    this.#numbers = checkOptions(options);
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
    const hooks = reportedHooks(module, this.targets);
    const { ignoreManual = false, warn = console.warn } = options;
    const analyses = await plannedAnalyses(wanted, { module, ops: this.ops, hooks, options, ignoreManual, warn });
    if (saes.length > 0) model.trace([[0]], { splices: spliceHooks(saes), capture: "*.hook_sae_acts_post" });
    const allOf = (): AsyncIterable<Batch> => datamodule.batches(split);
    const plan = await survey(first(allOf(), batchLimit(this.#numbers)), options.signal);
    const epochs = epochsOf(this.#numbers, plan.sizes.length);
    const { evalBatchSize: batchSize } = datamodule;
    // Hashing every weight takes as long as reading them: only where somebody will look at it.
    const kept = options.out !== undefined || options.cacheDir !== undefined || options.reuse !== undefined;
    const config = kept ? runConfig({ model, saes, hooks, plan, batchSize, epochs, options }) : {};
    const hash = configHash({ config, hooks, shards: shardCount(plan, batchSize) });
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
        provenance: { split, ...(Object.keys(record).length > 0 && { session: record }), ...options.provenance },
        signal: options.signal,
        onProgress: options.onProgress,
        onMoment: (moment) => session.call(`onAnalysis${moment}`),
      },
      prepare_seconds,
    );
    this.#facts = {
      timings: { prepare_seconds, ...run.timings },
      reused: run.reused,
      hooks,
      answers: plan.answers,
      out,
    };
    return run;
  }
}

function bare({ module, datamodule }: Exclude<RunnerSession, AnalysisSession>): AnalysisSession {
  const nothing = (): Promise<void> => Promise.resolve();
  return { module, datamodule, record: {}, init: nothing, call: nothing, end: nothing };
}
