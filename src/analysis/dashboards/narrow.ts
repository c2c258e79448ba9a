/** @file The activations of a few latents of an SAE, without computing the others where its architecture allows that. */
import { gather, leaf, type Tensor } from "../../graph/index.ts";
import { architectures } from "../../sae/architectures.ts";
import { Sae } from "../../sae/index.ts";
import type { SaeArrays } from "../../sae/prepare.ts";

/** Activations of some latents: from what stands at the hook point to [batch, pos, n]. */
export interface NarrowSae {
  readonly acts: (value: Tensor) => Tensor;
  /** Numbers per token that encoding makes. */
  readonly width: number;
  dispose(): void;
}

/** Latents of most architectures do not see each other; a topk SAE ranks all of them. */
export function narrowSae(sae: Sae, latents: readonly number[]): NarrowSae {
  if (sae.cfg.architecture === "topk") {
    const index = leaf(BigInt64Array.from(latents, BigInt), [latents.length]);
    return { width: sae.dSae, acts: (value) => gather(sae.encode(value).acts, index, -1), dispose: () => undefined };
  }
  const names = architectures[sae.cfg.architecture].parameters;
  const { params, dIn, dSae } = sae;
  const n = latents.length;
  const data = (x: Tensor | undefined): Float32Array => x!.data as Float32Array;
  const columns = (x: Float32Array, rows: number): Float32Array =>
    Float32Array.from({ length: rows * n }, (_, i) => x[Math.floor(i / n) * dSae + latents[i % n]!]!);
  const decoder = new Float32Array(n * dIn);
  latents.forEach((latent, i) => decoder.set(data(params.W_dec).subarray(latent * dIn, (latent + 1) * dIn), i * dIn));
  const arrays: SaeArrays = {
    W_enc: { dims: [dIn, n], data: columns(data(params.W_enc), dIn) },
    W_dec: { dims: [n, dIn], data: decoder },
    b_dec: { dims: [dIn], data: data(params.b_dec) },
    ...Object.fromEntries(names.map((name) => [name, { dims: [n], data: columns(data(params[name]), 1) }])),
  };
  const narrow = Sae.fromParams({ ...sae.cfg, d_sae: n }, arrays, `some latents of ${sae.hookName}`);
  return { width: n, acts: (value) => narrow.encode(value).acts, dispose: () => narrow.dispose() };
}
