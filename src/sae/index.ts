/** @file Sparse autoencoders: architectures, files, splicing. */
export { saeArchitectures, type SaeArchitecture } from "./latents/architectures.ts";
export type { SaeParamName, SaeParams, TranscoderParams } from "./latents/params.ts";
export { parseSaeConfig, type SaeConfig, type SaeConfigInput, type StoredSaeConfig } from "./config/config.ts";
export { SaeError } from "./errors.ts";
export { saeName, type SaeLoadOptions } from "./files/files.ts";
export { type AblatedLatents, type LatentModel } from "./latentModel.ts";
export { latentModelOf, loadLatentModel } from "./load.ts";
export { saeLoaders, type SaeContent, type SaeLoader, type SaePlace } from "./files/loaders.ts";
export { findSaeRelease, registeredSae, saeReleases, searchSaes, type SaeRelease } from "./registry/registry.ts";
export { type RegisteredSae } from "./registry/unfold.ts";
export type { SaeArray, SaeArrays } from "./weights/arrays.ts";
export { saeHookNames, type SaeFire, type SaeHookName } from "./points.ts";
export type { SaeForwardOptions, SaeRunOptions, SpliceOptions } from "./runOptions.ts";
export { Sae, type SaeContext } from "./sae.ts";
export { type SparseDecode } from "./latents/sparse.ts";
export { spliceHooks } from "./splice.ts";
export { Transcoder, type TranscoderRunOptions } from "./transcoder.ts";
export { type TranscoderArchitecture, type TranscoderConfig } from "./config/transcoderConfig.ts";
