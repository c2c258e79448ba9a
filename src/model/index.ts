/** @file Hooked transformers: load, run, hook, differentiate, generate. */
export { ActivationCache, type CacheKey } from "./activationCache.ts";
export { placeholderBatch, tokenBatch, type PositionPolicy, type TokenBatch, type TokenBatchOptions } from "./batch.ts";
export type { CompiledModel, CompileOptions } from "./compiled.ts";
export { modelConfigSchema, parseModelConfig, type ModelConfig, type ModelConfigInput } from "./config.ts";
export { ModelError } from "./errors.ts";
export {
  decodingPolicy,
  type GenerateOptions,
  type Generation,
  type GenerationPolicy,
  type GenerationStep,
} from "./generate.ts";
export type { Gradients } from "./gradients.ts";
export { HookedModel, type FromConfigOptions, type HookDescription, type ModelOptions } from "./hookedModel.ts";
export {
  actName,
  type AsyncHook,
  type Hook,
  type HookEntry,
  type HookPoint,
  type NameFilter,
  type Splice,
  type Spliceable,
} from "./hooks.ts";
export { lossPerToken, meanLoss } from "./loss.ts";
export { knownModels, modelId, type ModelName } from "./names.ts";
export type { Past } from "./past.ts";
export { isProjection, projectionFiles, type ProjectionFile } from "./projections.ts";
export { factorAttention, type FactoredParameters, type FactoringOptions } from "./factoredAttention.ts";
export { processWeights, type ModelParameters, type ProcessingOptions } from "./processing.ts";
export type {
  AddHookOptions,
  BatchOptions,
  CacheOptions,
  GradientTargets,
  HookSpec,
  LossOptions,
  ModelInput,
  RunOptions,
  TokenOptions,
} from "./runOptions.ts";
export type { SamplingOptions } from "./sampling.ts";
export { saveModel, type SavedModel, type SaveOptions } from "./save.ts";
export * from "./tokenizer/index.ts";
export type { TopToken, TopTokensOptions } from "./topTokens.ts";
export type { Traced } from "./traced.ts";
export type { ModelWeights } from "./weights.ts";
