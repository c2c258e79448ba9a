/** @file The store of analyses: its tables, writer, reader, views and exports. */
export { exportCsv, exportJson, type StoreExport } from "./export.ts";
export type { Manifest } from "./manifest.ts";
export {
  analyses,
  analysisNames,
  analysisResult,
  concatLatents,
  emptyLatents,
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
export { AnalysisStore } from "./store.ts";
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
