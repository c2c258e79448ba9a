/** @file Lists of (token, latent) pairs: in the order of their latents, and what they say of the weights. */
import type { HeldSae } from "./held.ts";
import type { Floats, Integers, Kernels } from "./memory.ts";

/** Pairs as they lie in the kernels' memory. */
export interface Pairs {
  readonly count: number;
  readonly latents: Integers;
  /** The row of `missed` that each pair has a part in. */
  readonly places: Integers;
  /** The token of each, a row of the input. */
  readonly tokens: Integers;
  readonly values: Floats;
  /** The loss's derivative by each pre-activation. */
  readonly slopes: Floats;
  /** The loss's derivative by reconstructions, [places, d_in]. */
  readonly missed: Floats;
  /** Room for the pairs' order by latent. */
  readonly order: Integers;
}

/** Sorts pairs by latent, keeping their order within one; returns where the pairs of each latent begin, [d_sae + 1]. */
function byLatent({ latents, count, order }: Pairs, dSae: number): Uint32Array {
  const begins = new Uint32Array(dSae + 1);
  for (let p = 0; p < count; p++) begins[latents.data[p]! + 1]!++;
  for (let j = 0; j < dSae; j++) begins[j + 1]! += begins[j]!;
  const next = begins.slice();
  for (let p = 0; p < count; p++) order.data[next[latents.data[p]!]!++] = p;
  return begins;
}

/**
 * Derivatives by both matrices and biases, latent by latent. That by b_dec holds what comes of reconstructions already.
 * @param byNorm the loss's derivative by the norm of each row of W_dec, [d_sae]
 * @returns the square of their norm
 */
export function weightGradients(kernels: Kernels, held: HeldSae, pairs: Pairs, byNorm?: Float64Array): number {
  const { places, tokens, values, slopes, missed, order } = pairs;
  const { dIn, dSae, applyBDecToInput } = held.cfg;
  const row = 4 * dIn;
  const [W_enc, W_dec] = [held.parameter("W_enc"), held.parameter("W_dec")];
  const [gEnc, gDec] = [held.gradient("W_enc"), held.gradient("W_dec")];
  const [gBias, gOut] = [held.gradient("b_enc"), held.gradient("b_dec")];
  const begins = byLatent(pairs, dSae);
  let total = 0;
  for (let j = 0; j < dSae; j++) {
    const begin = begins[j]!;
    const count = begins[j + 1]! - begin;
    const list = order.at + 4 * begin;
    const own = gDec.at + j * row;
    const squares = kernels.gatherSum(own, missed.at, places.at, values.at, list, count, dIn);
    const more = byNorm?.[j] ?? 0;
    if (more !== 0) kernels.addScaled(own, W_dec.at + j * row, more / held.norms.data[j]!, dIn);
    total += more === 0 ? squares : kernels.squares(own, dIn);
    total += kernels.gatherSum(gEnc.at + j * row, held.input.at, tokens.at, slopes.at, list, count, dIn);
    let slope = 0;
    for (let i = begin; i < begin + count; i++) slope += slopes.data[order.data[i]!]!;
    gBias.data[j] = slope;
    total += slope * slope;
    if (applyBDecToInput && slope !== 0) kernels.addScaled(gOut.at, W_enc.at + j * row, -slope, dIn);
  }
  return total + kernels.squares(gOut.at, dIn);
}
