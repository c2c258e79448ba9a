/** @file Names of a runner's options. */
import { optionsCheck, type OptionNames, type OptionsCheck } from "../../graph/options.ts";
import { AnalysisError } from "../errors.ts";
import type { AnalysisRunnerOptions } from "./runner.ts";

export const checkRunnerOptions: OptionsCheck = optionsCheck(AnalysisError, "analysis/options");

export const runnerOptionNames: OptionNames<AnalysisRunnerOptions> = {
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
