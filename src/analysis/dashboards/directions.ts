/** @file Where a latent's decoder direction points: tokens it promotes and suppresses, neighbours in its SAE. */
import { div, gather, leaf, matmul, mean, mul, reshape, sub, topK, transpose, type Tensor } from "../../graph/index.ts";
import type { HookedModel } from "../../model/index.ts";
import { decoderNorms, decoderShares } from "../../sae/latents/architectures.ts";
import type { LatentModel } from "../../sae/index.ts";
import { Best, histogramOf } from "./collect.ts";
import type { DashboardData, LogitWeights, TokenWeight } from "./types.ts";

/** A way from a hook point into the residual stream. */
interface Writer {
  readonly point: RegExp;
  /** Parameter of the block that maps the point's values to the residual stream; absent where they are in it. */
  readonly weight?: string;
  /** Norm of the block that what was written passes through, where a model has it. */
  readonly norm?: string;
}

const writers: readonly Writer[] = [
  { point: /^hook_(embed|pos_embed)$|^blocks\.\d+\.hook_(resid_pre|resid_mid|resid_post|attn_out|mlp_out)$/ },
  { point: /^blocks\.\d+\.attn\.hook_z$/, weight: "attn.W_O", norm: "ln1_post.w" },
  { point: /^blocks\.\d+\.mlp\.hook_post$/, weight: "mlp.W_out", norm: "ln2_post.w" },
];

/** Rows of W_dec, [n, d_out], as one unit of activation adds them. */
function decoderRows(sae: LatentModel, latents: readonly number[]): Tensor {
  const index = leaf(BigInt64Array.from(latents, BigInt), [latents.length]);
  const rows = gather(sae.params.W_dec, index);
  const shares = decoderShares(index, sae.params, sae.cfg);
  return shares === undefined ? rows : mul(rows, reshape(shares, [latents.length, 1]));
}

/**
 * Directions [n, d_out] as logits [n, d_vocab_out], and the way there in words. As SAEDashboard does on TransformerLens'
 * processed weights: through the writing weight into the residual stream, past all later blocks, the final norm without
 * its scale, the unembedding without its bias, centred over the vocabulary.
 */
function toLogits(model: HookedModel, hook: string, rows: Tensor): { logits: Tensor; through: string } | null {
  const { cfg, weights } = model;
  const writer = writers.find(({ point }) => point.test(hook));
  if (writer === undefined) return null;
  const block = /^blocks\.\d+/.exec(hook)?.[0] ?? "";
  const steps: string[] = [];
  const weight = (name: string | undefined): Tensor | undefined => {
    const full = name && `${block}.${name}`;
    const found = full === undefined ? undefined : weights.get(full);
    if (found !== undefined) steps.push(full!);
    return found;
  };
  let x = rows;
  const out = weight(writer.weight);
  if (out !== undefined) x = matmul(x, reshape(out, [rows.shape[1]!, cfg.d_model]));
  const post = weight(writer.norm);
  if (post !== undefined) x = mul(x, post);
  const kind = cfg.final_rms ? "RMS" : cfg.normalization_type;
  if (kind?.startsWith("LN")) x = sub(x, mean(x, -1, { keepDims: true }));
  const scale = kind === null ? undefined : weights.get("ln_final.w");
  if (scale !== undefined) x = mul(x, scale);
  if (kind !== null) steps.push("ln_final without its scale");
  const logits = matmul(x, weights.get("unembed.W_U")!);
  steps.push("W_U, centred over the vocabulary");
  return { logits: sub(logits, mean(logits, -1, { keepDims: true })), through: steps.join(" → ") };
}

export interface DirectionOptions {
  /** Tokens promoted and suppressed. */
  readonly topTokens: number;
  readonly neighbours: number;
}

/** What the decoder says of each of some latents of an SAE. */
export type Directions = Pick<DashboardData, "logits" | "neighbours">;

/** Latents whose logits over the vocabulary are held at once. */
const chunk = 64;
const weightBins = 50;

/** Directions of latents of one SAE, in their order. */
export async function directionsOf(
  model: HookedModel,
  sae: LatentModel,
  latents: readonly number[],
  options: DirectionOptions,
  token: (id: number) => string,
): Promise<Directions[]> {
  const all: Directions[] = [];
  for (let start = 0; start < latents.length; start += chunk) {
    const part = latents.slice(start, start + chunk);
    const rows = decoderRows(sae, part);
    const way = toLogits(model, sae.hookNameOut, rows);
    const k = Math.min(options.neighbours + 1, sae.dSae);
    const { logits, near } = await model.runtime.realize(
      { logits: way?.logits, near: topK(cosines(sae, part), k) },
      { weights: "fed" },
    );
    part.forEach((latent, i) => {
      const at = Array.from({ length: k }, (_, j) => i * k + j);
      all.push({
        neighbours: at
          .map((j) => ({ latent: Number(near.indices.data[j]), cosine: Number(near.values.data[j]) }))
          .filter((other) => other.latent !== latent)
          .slice(0, options.neighbours),
        logits: way && logits ? logitWeights(rowOf(logits, i), way.through, options.topTokens, token) : null,
      });
    });
  }
  return all;
}

/** Cosines between decoder rows of some latents and all, [n, d_sae]. */
function cosines(sae: LatentModel, latents: readonly number[]): Tensor {
  const { W_dec } = sae.params;
  const index = leaf(BigInt64Array.from(latents, BigInt), [latents.length]);
  const norms = decoderNorms(sae.params); // [d_sae]
  const products = matmul(gather(W_dec, index), transpose(W_dec)); // [n, d_sae]
  return div(div(products, norms), reshape(gather(norms, index), [latents.length, 1]));
}

function rowOf(x: Tensor, row: number): Float32Array {
  const width = x.dims[1]!;
  return (x.data as Float32Array).subarray(row * width, (row + 1) * width);
}

function logitWeights(weights: Float32Array, through: string, k: number, token: (id: number) => string): LogitWeights {
  const [promoted, suppressed] = [new Best<TokenWeight>(k), new Best<TokenWeight>(k)];
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id]!;
    const make = (): TokenWeight => ({ id, token: token(id), weight });
    promoted.offer(weight, id, make);
    suppressed.offer(-weight, id, make);
  }
  const histogram = histogramOf(weights, weightBins);
  return { through, promoted: promoted.items, suppressed: suppressed.items, histogram };
}
