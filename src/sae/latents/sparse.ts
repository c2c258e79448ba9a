/** @file Sparse decode: where few latents can be active, their rows of W_dec are gathered instead of a full product. */
import { gather, matmul, mul, squeeze, unsqueeze, type Tensor } from "../../graph/index.ts";
import type { Operation } from "../../graph/operation.ts";
import { apply } from "../../graph/tensor.ts";
import { decoderShares, denseProduct, type Codes, type LatentSettings } from "./architectures.ts";
import type { SaeParams } from "./params.ts";

/** What a decoder is like. */
interface DecoderSettings extends LatentSettings {
  readonly d_in: number;
}

/** `auto` decides by shapes alone, so a run is the same on every machine. */
export type SparseDecode = "auto" | "always" | "never";

/**
 * Two expressions of one value: computed as the first, differentiated as the second. Nothing of the second is computed
 * unless a derivative needs it.
 */
const computedAs: Operation = {
  name: "ComputedAs",
  infer: ([cheap]) => ({ shape: cheap!.shape, dtype: cheap!.dtype }),
  lower: ({ inputs }) => inputs[0]!,
  gradient: ({ gradient }) => [undefined, gradient],
  evaluate: ({ inputs }) => inputs[0]!.data,
  along: (_node, axis) => [axis, axis],
  transparent: true,
};

/** Σ_j values_j · W_dec[indices_j]: [..., k] → [..., d_in]. */
function sparseProduct(
  { values, indices }: NonNullable<Codes["active"]>,
  params: SaeParams,
  cfg: DecoderSettings,
): Tensor {
  const shares = decoderShares(indices, params, cfg);
  const weights = shares === undefined ? values : mul(values, shares);
  const rows = gather(params.W_dec, indices); // [..., k, d_in]
  return squeeze(matmul(unsqueeze(weights, -2), rows), -2);
}

/**
 * acts·W_dec, sparse where the architecture knows its active latents and nobody has replaced them since.
 * The derivative with respect to the latents is dense either way: inactive ones have one too.
 */
export function decoderProduct(
  acts: Tensor,
  codes: Codes | undefined,
  params: SaeParams,
  cfg: DecoderSettings,
  mode: SparseDecode,
): Tensor {
  const dense = denseProduct(acts, params, cfg);
  const active = codes?.acts === acts ? codes.active : undefined;
  if (active === undefined || mode === "never" || (mode === "auto" && !sparseIsFaster(cfg))) return dense;
  return apply(computedAs, [sparseProduct(active, params, cfg), dense], {});
}

/**
 * Measured on two cores from 1 to 1024 tokens: gathering wins by 1 to 5 times from 64 latents per active one on. The
 * gathered rows are kept to 8 times the size of the latents themselves.
 */
function sparseIsFaster({ d_in, d_sae, k = d_sae }: DecoderSettings): boolean {
  return d_sae >= 64 * k && k * d_in <= 8 * d_sae;
}
