/** @file Hooked transformers: load, run, hook, differentiate, generate. */
export { ActivationCache, type CacheKey } from "./hooks/activationCache.ts";
export {
  placeholderBatch,
  tokenBatch,
  type PositionPolicy,
  type TokenBatch,
  type TokenBatchOptions,
} from "./run/batch.ts";
export type { CompiledModel, CompileOptions } from "./run/compiled.ts";
export * from "./circuits/index.ts";
export { modelConfigSchema, parseModelConfig, type ModelConfig, type ModelConfigInput } from "./config.ts";
export { ModelError } from "./errors.ts";
export {
  decodingPolicy,
  type GenerateOptions,
  type Generation,
  type GenerationPolicy,
  type GenerationStep,
} from "./generation/generate.ts";
export type { Gradients } from "./run/gradients.ts";
export { HookedModel, type FromConfigOptions, type HookDescription, type ModelOptions } from "./hookedModel.ts";
export { actName } from "./hooks/actName.ts";
export type { NameFilter } from "./hooks/filter.ts";
export type { AsyncHook, Hook, HookEntry, HookPoint, Splice, Spliceable } from "./hooks/hookPoint.ts";
export { lossPerToken, meanLoss } from "./run/loss.ts";
export { knownModels, modelId, type ModelName } from "./hub/names.ts";
export type { Past } from "./run/past.ts";
export { isProjection, projectionFiles, type ProjectionFile } from "./files/projections.ts";
export { factorAttention, type FactoredParameters, type FactoringOptions } from "./weights/factoredAttention.ts";
export { processWeights, type ModelParameters, type ProcessingOptions } from "./weights/processing.ts";
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
} from "./run/runOptions.ts";
export type { SamplingOptions } from "./generation/sampling.ts";
export { saveModel, type SavedModel, type SaveOptions } from "./files/save.ts";
export * from "./tokenizer/index.ts";
export type { TopToken, TopTokensOptions } from "./run/topTokens.ts";
export type { Traced } from "./run/traced.ts";
export type { ModelWeights } from "./weights/weights.ts";
