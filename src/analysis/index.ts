/** @file Analyses of a model with spliced SAEs: runs, stores, review. */
export {
  analyzeDataset,
  type AnalysisRun,
  type AnalyzeOptions,
  type AnalyzeProgress,
  type AnalyzeTimings,
} from "./analyze.ts";
export { logitDiff, withAnswers, type AnsweredBatch, type AnswerLeaves, type DiffKind } from "./engine/answers.ts";
export { analyzeBatch, hooksOf, type AnalysisBatch, type AnalysisOptions } from "./engine/batch.ts";
export * from "./dashboards/index.ts";
export { AnalysisError } from "./errors.ts";
export { modelHash, saeHash } from "./identity.ts";
export * from "./review/index.ts";
export * from "./store/index.ts";
