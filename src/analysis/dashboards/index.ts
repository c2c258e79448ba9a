/** @file Dashboards of latents: computed from data, or links to published ones. */
export { Dashboard, Dashboards } from "./dashboard.ts";
export type { ResultsByName } from "./effects.ts";
export { latentDashboards, type LatentDashboardsOptions } from "./latentDashboards.ts";
export {
  DashboardLinks,
  displayLatentDashboards,
  type DashboardLink,
  type RankedMetrics,
  type DisplayDashboardsOptions,
} from "./links.ts";
export { neuronpediaLinks } from "./neuronpedia.ts";
export type {
  DashboardData,
  ExampleEffect,
  ExampleGroup,
  Histogram,
  LatentRef,
  LogitWeights,
  TokenExample,
  TokenWeight,
} from "./types.ts";
