/** @file What running SAEs and transcoders takes, alone and spliced. */
import type { OptionNames } from "../graph/options.ts";
import type { SparseDecode } from "./latents/sparse.ts";
import type { SaeFire } from "./points.ts";

export interface SaeRunOptions {
  /** Sees and may replace the value at each inner point. */
  fire?: SaeFire;
  /** Whether few active latents are decoded by gathering their rows of W_dec. Default `auto`: by shapes alone. */
  sparseDecode?: SparseDecode;
}

export interface SaeForwardOptions extends SaeRunOptions {
  /** Add what the SAE fails to reconstruct, so that without interventions the output is the input. Default false. */
  useErrorTerm?: boolean;
  /** Let gradients pass through the error term; it is a constant otherwise, as in SAELens. Default false. */
  gradientThroughError?: boolean;
}

/** As for {@link Sae.forward}; they hold for all SAEs of a splice. */
export type SpliceOptions = Omit<SaeForwardOptions, "fire">;

export const spliceOptionNames: OptionNames<SpliceOptions> = {
  useErrorTerm: true,
  gradientThroughError: true,
  sparseDecode: true,
};
