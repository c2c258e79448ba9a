/** @file The parameters of SAEs and transcoders as tensors. */
import type { Tensor } from "../../graph/index.ts";

/** Parameters in SAELens' names and shapes; leaves of role `weight`, float32. */
export interface SaeParams {
  /** [d_in, d_sae] */
  readonly W_enc: Tensor;
  /** [d_sae, d_in] */
  readonly W_dec: Tensor;
  /** [d_in] */
  readonly b_dec: Tensor;
  /** [d_sae]; absent from a gated SAE. */
  readonly b_enc?: Tensor;
  /** [d_sae], jumprelu. */
  readonly threshold?: Tensor;
  /** [d_sae], gated: bias of the gate. */
  readonly b_gate?: Tensor;
  /** [d_sae], gated: bias of the magnitudes. */
  readonly b_mag?: Tensor;
  /** [d_sae], gated: log of the magnitudes' scale relative to the gate. */
  readonly r_mag?: Tensor;
}
export type SaeParamName = keyof SaeParams;

/** Those of a transcoder. */
export interface TranscoderParams extends Pick<SaeParams, "W_enc" | "W_dec" | "b_dec" | "threshold"> {
  /** [d_sae] */
  readonly b_enc: Tensor;
  /** [d_out, d_in], those with a skip connection. */
  readonly W_skip?: Tensor;
}
