/** @file Other shapes of the tables: per batch, dense, by hook, as published. */
export { AnalysisView, type BatchColumns, type Stacked, type ViewOptions } from "./analysisView.ts";
export { ByLatentModel, type HookValues } from "./byLatentModel.ts";
export { type NdArray, type Reduction } from "./ndArray.ts";
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
} from "./shapes.ts";
