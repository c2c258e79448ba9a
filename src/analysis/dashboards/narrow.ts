/** @file The activations of a few latents, without computing the others where their architecture allows that. */
import { gather, leaf, type Tensor } from "../../graph/index.ts";
import { latentModelOf, type LatentModel, type SaeArrays } from "../../sae/index.ts";
import { latentsOf } from "../../sae/latentModel.ts";

/** Activations of some latents: from what stands at the hook point to [batch, pos, n]. */
export interface Narrowed {
  readonly acts: (value: Tensor) => Tensor;
  /** Numbers per token that encoding makes. */
  readonly width: number;
  dispose(): void;
}

/** Where the latents are among the dimensions of a parameter; in all others first, or (undefined) nowhere. */
const latentAxes: Readonly<Record<string, number | undefined>> = { W_enc: 1, b_dec: undefined, W_skip: undefined };

/** Some rows or columns of a parameter. */
function some(x: Tensor, latents: readonly number[], axis: number): Float32Array {
  const data = x.data as Float32Array;
  const [rows = 1, width = 1] = x.dims;
  if (axis === 1)
    return Float32Array.from(
      { length: rows * latents.length },
      (_, i) => data[Math.floor(i / latents.length) * width + latents[i % latents.length]!]!,
    );
  const picked = new Float32Array(latents.length * width);
  latents.forEach((latent, i) => picked.set(data.subarray(latent * width, (latent + 1) * width), i * width));
  return picked;
}

/** Latents of most architectures do not see each other, unless all of them are ranked. */
export function narrowed(sae: LatentModel, latents: readonly number[]): Narrowed {
  if (latentsOf(sae).ranks) {
    const index = leaf(BigInt64Array.from(latents, BigInt), [latents.length]);
    return { width: sae.dSae, acts: (value) => gather(sae.encode(value).acts, index, -1), dispose: () => undefined };
  }
  const arrays = (Object.entries(sae.params) as [string, Tensor][]).map(([name, x]) => {
    const axis = name in latentAxes ? latentAxes[name] : 0;
    if (axis === undefined) return [name, { dims: x.dims, data: x.data }] as const;
    const dims = x.dims.map((size, i) => (i === axis ? latents.length : size));
    return [name, { dims, data: some(x, latents, axis) }] as const;
  });
  const cfg = { ...sae.cfg, d_sae: latents.length };
  const narrow = latentModelOf(cfg, Object.fromEntries(arrays) as SaeArrays, `some latents of ${sae.hookNameOut}`);
  return { width: latents.length, acts: (value) => narrow.encode(value).acts, dispose: () => narrow.dispose() };
}
