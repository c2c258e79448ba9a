/** @file What SAEs and transcoders have in common: latents of what they read, and an output that stands at a hook point. */
import { mul, reshape, sub, unsqueeze, type Tensor } from "../graph/index.ts";
import type { Splice } from "../model/hooks/hookPoint.ts";
import type { SaeConfig } from "./config/config.ts";
import { isTranscoderKind, transcoderKinds, type TranscoderConfig } from "./config/transcoderConfig.ts";
import { architectures, type Architecture } from "./latents/architectures.ts";
import type { SaeParams, TranscoderParams } from "./latents/params.ts";
import type { SaeForwardOptions, SaeRunOptions, SpliceOptions } from "./runOptions.ts";

/** Latents whose activations at a token are set to 0 one at a time. */
export interface AblatedLatents {
  /** int64 [batch, n] */
  readonly latents: Tensor;
  /** Values of `hook_sae_acts_post`, [batch, n]. */
  readonly activations: Tensor;
  /** `hook_sae_input` at the tokens concerned, [batch, n or 1, d_in]; only SAEs that normalise at run time need it. */
  readonly input?: Tensor;
}

/**
 * An SAE or a transcoder: what can be spliced into a model and has latents. Analyses, dashboards and sessions take either.
 * An SAE stands where it reads; a transcoder reads at one hook point and stands at another.
 * @example
 * const latentModels = [...saes, transcoder];
 * const { cache } = await model.splice(latentModels).runWithCache("Once", { names: "*.hook_sae_acts_post" });
 * cache.get(`${transcoder.hookNameOut}.hook_sae_acts_post`); // [batch, pos, d_sae]
 */
export interface LatentModel {
  readonly cfg: SaeConfig | TranscoderConfig;
  readonly params: SaeParams | TranscoderParams;
  /** Where it reads. */
  readonly hookName: string;
  /** Where its output stands; the names of its own points start with it. */
  readonly hookNameOut: string;
  /** Width of what it reads (heads merged). */
  readonly dIn: number;
  /** Width of its output (heads merged). */
  readonly dOut: number;
  /** Number of latents. */
  readonly dSae: number;
  /** Latents [..., d_sae] of what stands at {@link hookName}. */
  encode(x: Tensor, options?: SaeRunOptions): { readonly acts: Tensor };
  /** The output for what stands at {@link hookName}. */
  forward(x: Tensor, options?: SaeForwardOptions): Tensor;
  /** What stands at {@link hookNameOut} in a spliced model. */
  splice(options?: SpliceOptions): Splice;
  /** Its spliced output [batch, n or 1, …] without single latents, [batch, n, …]. */
  ablate(output: Tensor, pairs: AblatedLatents): Tensor;
  save(folder: string): Promise<void>;
  dispose(): void;
}

/** How the latents of an SAE or a transcoder come about. */
export const latentsOf = ({ cfg: { architecture } }: Pick<LatentModel, "cfg">): Architecture =>
  architectures[isTranscoderKind(architecture) ? transcoderKinds[architecture].latents : architecture];

/**
 * `output − activation · direction` for many (token, latent) pairs at once.
 * @param output [batch, n or 1, …shape of the hook point]
 * @param activations [batch, n]
 * @param directions [batch, n, width], heads merged
 */
export function withoutLatents(output: Tensor, activations: Tensor, directions: Tensor): Tensor {
  const change = mul(directions, unsqueeze(activations, -1)); // [batch, n, width]
  return sub(output, reshape(change, [...activations.shape, ...output.shape.slice(activations.rank)]));
}
