/** @file Analyses of a model with spliced SAEs: runs, stores, review. */
export { analyzeDataset, type AnalysisRun, type AnalyzeOptions } from "./analyze.ts";
export type { ArtifactCfg } from "./artifacts.ts";
export {
  analysisCfg,
  analysisCfgs,
  configuredTargets,
  type AnalysisCfg,
  type AnalysisCfgOptions,
  type AnalysisStep,
  type DecodeKwargs,
  type InputStore,
  type Runnable,
  type RunResults,
} from "./cfg.ts";
export { type AnalyzeTimings } from "./loop.ts";
export { type AnalyzeProgress } from "./progress.ts";
export { type Reused } from "./reuse.ts";
export { AnalysisRunner, type AnalysisRunnerOptions, type RunFacts, type RunnerSession } from "./runner.ts";
export { LatentAnalysisTargets, SAEAnalysisTargets, type SaeFqn, type TargetOptions } from "./targets.ts";
export { logitDiff, withAnswers, type AnsweredBatch, type AnswerLeaves, type DiffKind } from "./engine/answers.ts";
export { type AblatedLatent, type AblateLatentFn } from "./engine/generalAblation.ts";
export { analyzeBatch, hooksOf, type AnalysisOptions } from "./engine/batch.ts";
export * from "./dashboards/index.ts";
export { AnalysisError } from "./errors.ts";
export { modelHash, saeHash } from "./identity.ts";
export * from "./ops/index.ts";
export * from "./review/index.ts";
export * from "./store/index.ts";
