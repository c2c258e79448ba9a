/** @file Sparse autoencoders: architectures, files, splicing. */
export { type SaeParamName, type SaeParams } from "./latents/architectures.ts";
export {
  parseSaeConfig,
  saeArchitectures,
  type SaeArchitecture,
  type SaeConfig,
  type SaeConfigInput,
  type StoredSaeConfig,
} from "./config/config.ts";
export { SaeError } from "./errors.ts";
export { saeName, type SaeLoadOptions } from "./files/files.ts";
export { type AblatedLatents, type LatentModel } from "./latentModel.ts";
export { latentModelOf, loadLatentModel } from "./load.ts";
export { saeLoaders, type SaeContent, type SaeLoader, type SaePlace } from "./files/loaders.ts";
export { findSaeRelease, registeredSae, saeReleases, searchSaes, type SaeRelease } from "./registry/registry.ts";
export { type RegisteredSae } from "./registry/unfold.ts";
export { type SaeArray, type SaeArrays } from "./weights/prepare.ts";
export {
  Sae,
  saeHookNames,
  type SaeContext,
  type SaeFire,
  type SaeForwardOptions,
  type SaeHookName,
  type SaeRunOptions,
} from "./sae.ts";
export { type SparseDecode } from "./latents/sparse.ts";
export { spliceHooks, type SpliceOptions } from "./splice.ts";
export { Transcoder, type TranscoderParams, type TranscoderRunOptions } from "./transcoder.ts";
export { type TranscoderArchitecture, type TranscoderConfig } from "./config/transcoderConfig.ts";
