/** @file The kinds of SAE that can be trained, and what is true of each: what code asks for instead of a name. */

/** Architectures that can be trained. */
export const trainableArchitectures = [
  "standard",
  "gated",
  "jumprelu",
  "topk",
  "batchtopk",
  "matryoshka_batchtopk",
  "transcoder",
  "skip_transcoder",
  "jumprelu_transcoder",
  "jumprelu_skip_transcoder",
] as const;
export type TrainableArchitecture = (typeof trainableArchitectures)[number];

export interface Kind {
  /** The largest latents are active: so many of each token, or so many of a batch. */
  readonly ranks?: "token" | "batch";
  /** Latents jump from 0 at a threshold that is learnt. */
  readonly jumps?: true;
  /** Another path decides which latents are active. */
  readonly gates?: true;
  /** The first latents reconstruct by themselves as well. */
  readonly nests?: true;
  /** What comes out is not what goes in. */
  readonly transcodes?: true;
  /** A linear map from input to output stands beside the latents. */
  readonly skips?: true;
}

export const kinds: { readonly [Name in TrainableArchitecture]: Kind } = {
  standard: {},
  gated: { gates: true },
  jumprelu: { jumps: true },
  topk: { ranks: "token" },
  batchtopk: { ranks: "batch" },
  matryoshka_batchtopk: { ranks: "batch", nests: true },
  transcoder: { transcodes: true },
  skip_transcoder: { transcodes: true, skips: true },
  jumprelu_transcoder: { transcodes: true, jumps: true },
  jumprelu_skip_transcoder: { transcodes: true, jumps: true, skips: true },
};
