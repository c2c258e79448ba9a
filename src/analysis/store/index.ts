/** @file The store of analyses: its writer, reader, exports. */
export { exportBatches } from "./batchLayout.ts";
export { exportCsv, exportJson, type StoreExport } from "./export.ts";
export type { Manifest } from "./manifest.ts";
export { mergeStores } from "./merge.ts";
export type { AnalysisProvenance, StoreProvenance } from "./provenance.ts";
export type { PushOptions } from "./push.ts";
export { AnalysisStore, type StoredExample, type StoredResult } from "./store.ts";
export { StoreWriter, type ShardTables, type StoreOptions } from "./writer.ts";
