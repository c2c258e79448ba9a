/** @file Lists of (token, latent) pairs in the order of their latents. */
import type { Integers } from "./memory.ts";

/**
 * Sorts pairs by latent, keeping their order within one.
 * @param order where the sorted pairs' places go
 * @returns where the pairs of each latent begin, [d_sae + 1]
 */
export function byLatent(latents: Integers, pairs: number, dSae: number, order: Integers): Uint32Array {
  const begins = new Uint32Array(dSae + 1);
  for (let p = 0; p < pairs; p++) begins[latents.data[p]! + 1]!++;
  for (let j = 0; j < dSae; j++) begins[j + 1]! += begins[j]!;
  const next = begins.slice();
  for (let p = 0; p < pairs; p++) order.data[next[latents.data[p]!]!++] = p;
  return begins;
}
