/** @file Review of analyses: the published tables, numbers and plots, and what they leave out. */
export { calcActivationSummary, type ActivationSummary, type HookActivations } from "./activations.ts";
export { attributionAgreement, type AttributionAgreement, type HookAgreement } from "./agreement.ts";
export {
  AttributionTables,
  attributionTables,
  attributionTables as createAttributionTables,
  type AttributionTableOptions,
} from "./attributionTables.ts";
export {
  baseVsSaeLogitDiffs,
  baseVsSaeLogitDiffs as displayRefVsSaeLogitDiffs,
  type BaseVsSaeOptions,
} from "./baseVsSae.ts";
export { accuracyTable, computeCorrect, type AccuracyOptions, type CorrectSummary } from "./correct.ts";
export { saeDamage, type OutcomeCount, type SaeDamage, type SaeOutcome } from "./damage.ts";
export {
  LatentMetrics,
  latentMetrics,
  latentMetrics as calculateLatentMetrics,
  metricFields,
  metricLabels,
  type HookMetrics,
  type LatentMetricsOptions,
  type MetricField,
} from "./metrics.ts";
export {
  latentMetricsScatter,
  plotLatentEffects,
  type LatentEffectsOptions,
  type LatentScatterOptions,
} from "./plots.ts";
export type { BootstrapOptions } from "./statistics.ts";
export { timingTable, type RunTimings } from "./timing.ts";
export { effectUncertainty, type UncertaintyOptions } from "./uncertainty.ts";
