/** @file Analyses of a model with spliced SAEs: runs, stores, review. */
export { analyzeDataset, type AnalysisRun, type AnalyzeOptions } from "./analyze.ts";
export { type AnalyzeTimings } from "./loop.ts";
export { type AnalyzeProgress } from "./progress.ts";
export { type Reused } from "./reuse.ts";
export { logitDiff, withAnswers, type AnsweredBatch, type AnswerLeaves, type DiffKind } from "./engine/answers.ts";
export { analyzeBatch, hooksOf, type AnalysisOptions } from "./engine/batch.ts";
export * from "./dashboards/index.ts";
export { AnalysisError } from "./errors.ts";
export { modelHash, saeHash } from "./identity.ts";
export * from "./ops/index.ts";
export * from "./review/index.ts";
export * from "./store/index.ts";
