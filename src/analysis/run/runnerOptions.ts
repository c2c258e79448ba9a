/** @file A runner's options. */
import { z } from "zod";
import type { JsonObject } from "../../formats/index.ts";
import { optionsCheck, type OptionNames } from "../../graph/options.ts";
import type { Split } from "../../session/index.ts";
import { AnalysisError } from "../errors.ts";
import type { OpOptions, OpTable, PreferOps } from "../ops/index.ts";
import type { Runnable } from "../plan/cfg.ts";
import type { LatentAnalysisTargets, TargetOptions } from "../plan/targets.ts";
import type { ArtifactCfg } from "../review/artifacts.ts";
import type { AnalysisStore } from "../store/index.ts";
import type { AnalyzeProgress } from "./progress.ts";

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

const checkNames = optionsCheck(AnalysisError, "analysis/options");

const runnerOptionNames: OptionNames<AnalysisRunnerOptions> = {
  diff: true,
  ablate: true,
  useErrorTerm: true,
  gradientThroughError: true,
  positions: true,
  paddingSide: true,
  prependBos: true,
  fwdHooks: true,
  bwdHooks: true,
  namesFilter: true,
  ablateLatentFn: true,
  limitAnalysisBatches: true,
  limitTrainBatches: true,
  limitValBatches: true,
  limitTestBatches: true,
  maxSteps: true,
  maxEpochs: true,
  split: true,
  targets: true,
  ignoreManual: true,
  artifactCfg: true,
  analysisCfgs: true,
  ops: true,
  preferOps: true,
  out: true,
  resume: true,
  cacheDir: true,
  reuse: true,
  part: true,
  provenance: true,
  signal: true,
  onProgress: true,
  warn: true,
  endSession: true,
};

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

/** Which batches of which split, how often. */
export type RunnerNumbers = Required<
  Pick<
    AnalysisRunnerOptions,
    | "limitAnalysisBatches"
    | "limitTrainBatches"
    | "limitValBatches"
    | "limitTestBatches"
    | "maxSteps"
    | "maxEpochs"
    | "split"
  >
>;

/** @throws AnalysisError `analysis/options` for an option that there is not, or a number that cannot be */
export function checkOptions(options: AnalysisRunnerOptions): RunnerNumbers {
  checkNames(options, runnerOptionNames, "AnalysisRunner");
  const parsed = numbersSchema.safeParse(options);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AnalysisError(`an option of the runner is wrong: ${issue!.message}`, {
    code: "analysis/options",
    where: issue!.path.join("."),
    received: JSON.stringify(options[issue!.path[0] as keyof AnalysisRunnerOptions]),
  });
}

/** Batches that are run at most. */
export function batchLimit({ split, ...limits }: RunnerNumbers): number {
  const ofSplit = { train: limits.limitTrainBatches, validation: limits.limitValBatches };
  const all = [
    limits.limitAnalysisBatches,
    limits.maxSteps,
    { ...ofSplit, test: limits.limitTestBatches, predict: limits.limitTestBatches }[split],
  ];
  return Math.min(...all.filter((n) => n > 0), Infinity);
}

/** Passes over so many batches. */
export function epochsOf({ maxEpochs, maxSteps }: RunnerNumbers, batches: number): number {
  return maxSteps < 0 ? maxEpochs : Math.min(maxEpochs, Math.max(1, Math.floor(maxSteps / batches)));
}
