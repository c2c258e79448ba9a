/** @file Training of sparse autoencoders. */
export { parseTrainedSae, type TrainedSaeConfig } from "./config.ts";
export { evaluateSae, type SaeEvaluation } from "./evaluate.ts";
export { parseSaeTrainingOptions, type SaeOfRunInput, type SaeTrainingOptions } from "./options.ts";
export { type SaeHistory } from "./page.ts";
export { trainSae, type SaeProgress, type TrainedSae, type TrainSaeOptions } from "./run.ts";
export { cacheActivations, type CacheActivationsOptions, type CacheSummary } from "./source/cached.ts";
export { type Document, type Documents } from "./source/packing.ts";
export { type SaeMetrics } from "./trainer.ts";
export { trainableArchitectures, type TrainableArchitecture } from "./kinds.ts";
