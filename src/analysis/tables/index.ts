/** @file The tidy tables of analyses: their columns, rows and results. */
export { opResult, type AnalysisEntry, type BatchRow, type OpResult, type StoredRow } from "./entry.ts";
export {
  analyses,
  analysisEntry,
  analysisNames,
  analysisResult,
  concatLatents,
  emptyLatents,
  isAnalysisName,
  isAnalysisResult,
  latentColumns,
  latentRows,
  type AnalysisName,
  type AnalysisResult,
  type ExampleRow,
  type LatentRow,
  type LatentValue,
} from "./four.ts";
export type { HookInfo } from "./hookInfo.ts";
export { joinResults } from "./join.ts";
export { latentColumn, sliceLatents, takeLatents, type LatentColumns } from "./latents.ts";
