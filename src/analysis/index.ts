/** @file Analyses of a model with spliced SAEs: runs, stores, review. */
export { analyzeDataset, type AnalysisRun, type AnalyzeOptions } from "./run/analyze.ts";
export type { ArtifactCfg } from "./review/artifacts.ts";
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
} from "./plan/cfg.ts";
export { type AnalyzeTimings } from "./run/loop.ts";
export { type AnalyzeProgress } from "./run/progress.ts";
export { type Reused } from "./run/reuse.ts";
export { AnalysisRunner, type RunFacts, type RunnerSession } from "./run/runner.ts";
export { type AnalysisRunnerOptions } from "./run/runnerOptions.ts";
export { LatentAnalysisTargets, SAEAnalysisTargets, type SaeFqn, type TargetOptions } from "./plan/targets.ts";
export { logitDiff, withAnswers, type AnsweredBatch, type AnswerLeaves, type DiffKind } from "./engine/answers.ts";
export { type AblatedLatent, type AblateLatentFn } from "./engine/generalAblation.ts";
export { analyzeBatch, type AnalysisOptions } from "./run/batch.ts";
export { hooksOf } from "./engine/targets.ts";
export * from "./dashboards/index.ts";
export { AnalysisError } from "./errors.ts";
export { modelHash, saeHash } from "./plan/identity.ts";
export * from "./ops/index.ts";
export * from "./review/index.ts";
export * from "./store/index.ts";
export * from "./tables/index.ts";
export * from "./views/index.ts";
