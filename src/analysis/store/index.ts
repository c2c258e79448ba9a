/** @file The store of analyses: its tables, writer, reader, views and exports. */
export { exportCsv, exportJson, type StoreExport } from "./export.ts";
export { AnalysisView, type BatchColumns, type Stacked, type ViewOptions } from "./analysisView.ts";
export { exportBatches } from "./batchLayout.ts";
export { ByLatentModel, type HookValues } from "./byLatentModel.ts";
export { opResult, type AnalysisEntry, type BatchRow, type OpResult, type StoredRow } from "./entry.ts";
export { latentColumn } from "./latents.ts";
export { mergeStores } from "./merge.ts";
export { type NdArray, type Reduction } from "./ndArray.ts";
export { joinResults } from "./join.ts";
export type { Manifest } from "./manifest.ts";
export type { AnalysisProvenance, StoreProvenance } from "./provenance.ts";
export type { PushOptions } from "./push.ts";
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
  sliceLatents,
  takeLatents,
  type AnalysisName,
  type AnalysisResult,
  type ExampleRow,
  type HookInfo,
  type LatentColumns,
  type LatentRow,
  type LatentValue,
} from "./schema.ts";
export { AnalysisStore, type StoredExample, type StoredResult } from "./store.ts";
export {
  batchRanges,
  batchView,
  effectsOf,
  exampleOf,
  hookView,
  type BatchRange,
  type BatchView,
  type Dense,
  type Effects,
  type PerLatent,
} from "./views.ts";
export { StoreWriter, type ShardTables, type StoreOptions } from "./writer.ts";
