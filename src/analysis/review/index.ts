/** @file Review of analyses: the published tables and numbers. */
export { AttributionTables, attributionTables, type AttributionTableOptions } from "./attributionTables.ts";
export { baseVsSaeLogitDiffs, type BaseVsSaeOptions } from "./baseVsSae.ts";
export { accuracyTable, computeCorrect, type AccuracyOptions, type CorrectSummary } from "./correct.ts";
export {
  calcActivationSummary,
  LatentMetrics,
  latentMetrics,
  metricFields,
  type ActivationSummary,
  type HookActivations,
  type HookMetrics,
  type LatentMetricsOptions,
  type MetricField,
} from "./metrics.ts";
