/** @file An SAE or a transcoder, whichever its files are. */
import { isTranscoderKind } from "./config/transcoderConfig.ts";
import { upgradeConfig } from "./config/upgrade.ts";
import { readSaeFiles, type SaeLoadOptions } from "./files/files.ts";
import type { LatentModel } from "./latentModel.ts";
import { Sae } from "./sae.ts";
import { Transcoder } from "./transcoder.ts";
import type { SaeArrays } from "./weights/arrays.ts";

/**
 * Loads an SAE or a transcoder: the architecture in its configuration says which.
 * @param name as {@link Sae.load} takes it: a path, `release/id`, or `owner/repository/folder`
 * @throws SaeError or FormatError as {@link Sae.load} and {@link Transcoder.load} do
 * @example
 * const loaded = await loadLatentModel("transcoders/blocks.9.mlp");
 * loaded instanceof Transcoder; // true
 */
export async function loadLatentModel(name: string, options: SaeLoadOptions = {}): Promise<LatentModel> {
  const { config, arrays, where } = await readSaeFiles(name, options);
  return latentModelOf(config, arrays, where);
}

/**
 * An SAE or a transcoder over arrays in memory, which are used as they are.
 * @param config keys of SAELens' cfg.json
 * @throws SaeError as `fromParams` of either
 * @example
 * const same = latentModelOf(
 *   { architecture: "skip_transcoder", d_in: 2, d_sae: 4, metadata: {} },
 *   {
 *     W_enc: { dims: [2, 4], data: new Float32Array(8).fill(0.5) },
 *     b_enc: { dims: [4], data: new Float32Array(4) },
 *     W_dec: { dims: [4, 2], data: new Float32Array(8).fill(0.5) },
 *     b_dec: { dims: [2], data: new Float32Array(2) },
 *     W_skip: { dims: [2, 2], data: new Float32Array(4) },
 *   },
 * );
 * same instanceof Transcoder; // true
 */
export function latentModelOf(config: object, arrays: SaeArrays, where?: string): LatentModel {
  const { architecture } = upgradeConfig(config, where ?? "the configuration");
  return (isTranscoderKind(architecture) ? Transcoder : Sae).fromParams(config, arrays, where);
}
