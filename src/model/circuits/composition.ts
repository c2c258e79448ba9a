/** @file How strongly heads read what earlier heads write. */
import {
  broadcastTo,
  concat,
  constant,
  div,
  matmul,
  mul,
  pad,
  reshape,
  sqrt,
  stack,
  sum,
  transpose,
  unsqueeze,
} from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { kvHeads } from "../config.ts";
import type { ModelParameters } from "../weights/processing.ts";

/** A product A · B of each head: A [head, d_model, d_head], B [head, d_head, d_model]. */
interface Circuit {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** Which matrix of the later head reads: its queries, its keys, or its values. */
export type CompositionMode = "Q" | "K" | "V";

/**
 * Composition scores of all pairs of heads: ‖W_OV of the earlier · W of the later‖ / (‖W_OV‖ · ‖W‖) in Frobenius norms,
 * where W is W_QK, its transpose or W_OV (Elhage et al., “A Mathematical Framework for Transformer Circuits”, 2021):
 * TransformerLens' `all_composition_scores`. 0 where the first head is not in an earlier layer.
 * @returns [layer, head, layer, head], earlier first
 * @example
 * await realize(compositionScores(model, "K")); // [12, 4, 12, 4]
 */
export function compositionScores({ cfg, weights }: ModelParameters, mode: CompositionMode): Tensor {
  const weight = (layer: number, name: string): Tensor => weights.get(`blocks.${layer}.attn.${name}`)!;
  const shared = cfg.n_heads / kvHeads(cfg);
  const each = (x: Tensor): Tensor =>
    shared === 1
      ? x
      : concat(
          Array.from({ length: cfg.n_heads }, (_, h) => headOf(x, Math.floor(h / shared))),
          0,
        );
  const layers = Array.from({ length: cfg.n_layers }, (_, layer) => {
    const [query, key] = [weight(layer, "W_Q"), each(weight(layer, "W_K"))];
    const ov: Circuit = { a: each(weight(layer, "W_V")), b: weight(layer, "W_O") };
    const qk: Circuit = { a: query, b: transpose(key) };
    const kq: Circuit = { a: key, b: transpose(query) };
    return { ov, reads: { Q: qk, K: kq, V: ov }[mode] };
  });
  const none = broadcastTo(constant(0), [cfg.n_layers, cfg.n_heads, cfg.n_heads]); // nothing before the first layer
  const scores = layers.map(({ reads }, later) => {
    const earlier = layers.slice(0, later).map(({ ov }) => compositionOf(ov, reads)); // [earlier head, head]
    return later === 0 ? none : pad(stack(earlier), 0, 0, cfg.n_layers - later);
  }); // [earlier layer, earlier head, head] of each layer
  return transpose(stack(scores), [1, 2, 0, 3]);
}

const headOf = (x: Tensor, head: number): Tensor => x.slice(0, head, head + 1);

/** [left head, right head]: ‖L · R‖ / (‖L‖ · ‖R‖), through products no larger than d_head. */
function compositionOf(left: Circuit, right: Circuit): Tensor {
  const [heads, , width] = left.a.shape as [number, number, number];
  const middle = matmul(unsqueeze(left.b, 1), unsqueeze(right.a, 0)); // [left, right, d_head, d_head]
  const inner = (x: Tensor): Tensor => reshape(x, [heads, 1, width, width]);
  const joined = matmul(matmul(inner(grams(left).a), middle), unsqueeze(grams(right).b, 0));
  const norms = mul(unsqueeze(normOf(left), 1), unsqueeze(normOf(right), 0));
  return div(sqrt(sum(mul(joined, middle), [-2, -1])), norms);
}

/** AᵀA and BBᵀ of each head, [head, d_head, d_head]. */
const grams = ({ a, b }: Circuit): Circuit => ({
  a: matmul(a, a, { transposeA: true }),
  b: matmul(b, b, { transposeB: true }),
});

/** ‖A · B‖ of each head. */
function normOf(circuit: Circuit): Tensor {
  const { a, b } = grams(circuit);
  return sqrt(sum(mul(a, b), [-2, -1]));
}
