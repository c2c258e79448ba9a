/** @file The architectures: for each, its parameters and the way from a projection to latents. */
import {
  add,
  div,
  exp,
  gather,
  greater,
  matmul,
  mul,
  reciprocal,
  relu,
  scatterAdd,
  sqrt,
  sum,
  topK,
  where,
  type Tensor,
} from "../../graph/index.ts";
import type { SaeParamName, SaeParams } from "./params.ts";

/** Architectures that run. */
export const saeArchitectures = ["standard", "gated", "jumprelu", "topk"] as const;
export type SaeArchitecture = (typeof saeArchitectures)[number];

/** What saved weights run as: batchtopk and its relatives have a fixed threshold when they do not train, as SAELens saves them. */
export const runsAs = {
  standard: "standard",
  gated: "gated",
  jumprelu: "jumprelu",
  topk: "topk",
  batchtopk: "jumprelu",
  matryoshka_batchtopk: "jumprelu",
} as const;
/** Architectures as files name them. */
export type StoredArchitecture = keyof typeof runsAs;

/** What latents are computed with, beside parameters. */
export interface LatentSettings {
  readonly d_sae: number;
  /** Latents kept per token, where they are ranked. */
  readonly k?: number | undefined;
  /** Whether latents are ranked and stored times their decoder norm, and decoded divided by it. Default false. */
  readonly rescale_acts_by_decoder_norm?: boolean;
}

/** The latents that may be non-zero, where an architecture knows them: `k` per token. */
export interface ActiveLatents {
  /** [..., k], in no particular order beyond the largest first. */
  readonly values: Tensor;
  /** int64 [..., k] */
  readonly indices: Tensor;
}

/** Latents of every token. */
export interface Codes {
  /** [..., d_sae] */
  readonly acts: Tensor;
  readonly active?: ActiveLatents;
}

export interface Architecture {
  /** The largest latents of a token are active, so each depends on all: `k` of them. */
  readonly ranks?: true;
  /** Beside W_enc, W_dec and b_dec; each [d_sae]. */
  readonly parameters: readonly SaeParamName[];
  /** From the projection x·W_enc to the pre-activation that `hook_sae_acts_pre` sees. */
  pre(projection: Tensor, params: SaeParams): Tensor;
  /** From the (hooked) pre-activation to latents. */
  post(pre: Tensor, projection: Tensor, params: SaeParams, cfg: LatentSettings): Codes;
}

const biased = (projection: Tensor, params: SaeParams): Tensor => add(projection, params.b_enc!);

export const architectures: { readonly [Name in SaeArchitecture]: Architecture } = {
  standard: {
    parameters: ["b_enc"],
    pre: biased,
    post: (pre) => ({ acts: relu(pre) }),
  },
  // One projection serves both paths: x·(W_enc·exp(r_mag)) = (x·W_enc)·exp(r_mag).
  gated: {
    parameters: ["b_gate", "b_mag", "r_mag"],
    pre: (projection, p) => add(mul(projection, exp(p.r_mag!)), p.b_mag!),
    post: (pre, projection, p) => ({ acts: where(greater(add(projection, p.b_gate!), 0), relu(pre), 0) }),
  },
  jumprelu: {
    parameters: ["b_enc", "threshold"],
    pre: biased,
    post: (pre, _projection, p) => ({ acts: where(greater(pre, p.threshold!), relu(pre), 0) }),
  },
  topk: {
    ranks: true,
    parameters: ["b_enc"],
    pre: biased,
    post: (pre, _projection, p, cfg) => {
      const ranked = cfg.rescale_acts_by_decoder_norm ? mul(pre, decoderNorms(p)) : pre;
      const { values, indices } = topK(ranked, cfg.k!);
      const kept = relu(values);
      return { acts: scatterAdd(kept, indices, -1, cfg.d_sae), active: { values: kept, indices } };
    },
  },
};

/** ‖W_dec[i]‖ for every latent, [d_sae]; a weight view, computed once. */
export function decoderNorms(params: Pick<SaeParams, "W_dec">): Tensor {
  return sqrt(sum(mul(params.W_dec, params.W_dec), 1));
}

/** What an activation is multiplied by before it meets its row of W_dec: int64 [...] → [...], or undefined for 1. */
export function decoderShares(
  latents: Tensor,
  params: Pick<SaeParams, "W_dec">,
  cfg: LatentSettings,
): Tensor | undefined {
  return cfg.rescale_acts_by_decoder_norm ? gather(reciprocal(decoderNorms(params)), latents) : undefined;
}

/** acts·W_dec over all latents: [..., d_sae] → [..., d_in]. */
export function denseProduct(acts: Tensor, params: SaeParams, cfg: LatentSettings): Tensor {
  return matmul(cfg.rescale_acts_by_decoder_norm ? div(acts, decoderNorms(params)) : acts, params.W_dec);
}
