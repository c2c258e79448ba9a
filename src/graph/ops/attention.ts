/** @file Causal attention as one operation: what `rewrite/fuseAttention.ts` makes of scores, mask, softmax and product. */
import { divideDims, sameDim, sameShape, type Dim } from "../axis.ts";
import { dtypes } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import { notDifferentiable, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";

export interface AttentionAttributes {
  readonly heads: number;
  /** Heads of keys and values, each shared by `heads / kvHeads` query heads. */
  readonly kvHeads: number;
  /** Scores are multiplied by it. */
  readonly scale: number;
  /** Scaled scores `x` become `softCap · tanh(x / softCap)`; 0: they stay. */
  readonly softCap: number;
  /** A query sees itself and the `window − 1` positions before it; 0: all before it. */
  readonly window: number;
  readonly [name: string]: number;
}

const wrong = (inputs: readonly Tensor[], attributes: AttentionAttributes): GraphError =>
  new GraphError(`CausalAttention: operands do not fit ${attributes.heads} and ${attributes.kvHeads} heads`, {
    code: "graph/attention",
    received: inputs.map((x) => namedShape(x)).join(", "),
    expected: "[batch, pos, head·d] and twice [batch, pos, kv_head·d]",
  });

const causalAttentionOperation: Operation<AttentionAttributes> = {
  name: "CausalAttention",
  infer: (inputs, attributes) => {
    const [q, k, v, bias] = inputs as [Tensor, Tensor, Tensor, Tensor | undefined];
    if (inputs.some((x) => x.dtype !== "float32"))
      throw new GraphError(`CausalAttention: needs float32, got ${q.label}`, { code: "graph/dtype" });
    const [batch, pos, width] = q.shape as [Dim, Dim, Dim];
    const size = divideDims(width, attributes.heads);
    const kvSize = divideDims(k.shape[2]!, attributes.kvHeads);
    const fits =
      size !== undefined &&
      kvSize !== undefined &&
      sameDim(size, kvSize) &&
      attributes.heads % attributes.kvHeads === 0 &&
      sameShape(k.shape, v.shape) &&
      sameShape(k.shape.slice(0, 2), [batch, pos]) &&
      (bias === undefined || sameShape(bias.shape.slice(2), [pos, pos]));
    if (!fits) throw wrong(inputs, attributes);
    return { shape: q.shape, dtype: "float32" };
  },
  /** Without its optional outputs (keys and values joined with a past) the operator copies nothing. */
  lower: ({ emit, inputs: [q, k, v, bias], node, attributes: { heads, kvHeads, scale, softCap, window } }) => {
    const [batch, pos] = node.shape as [Dim, Dim];
    const once = (type: string, of: readonly string[], attributes: { [name: string]: number } = {}): string =>
      emit.nodes(type, of, attributes, 1)[0]!;
    const total = once("Cast", [emit.int64([pos])], { to: dtypes.int32.onnx });
    const last = once("Expand", [once("Sub", [total, emit.scalar(1, "int32")]), emit.int64([batch])]);
    return emit.node(
      "GroupQueryAttention",
      [q!, k!, v!, "", "", last, total, ...(bias === undefined ? [] : ["", "", "", bias])],
      {
        num_heads: heads,
        kv_num_heads: kvHeads,
        scale: { float: scale },
        softcap: { float: softCap },
        local_window_size: window === 0 ? -1 : window,
      },
      "com.microsoft",
    );
  },
  gradient: notDifferentiable("attention is fused after differentiation"),
  evaluate: ({ inputs: [q, k, v, bias], attributes: { heads, kvHeads, scale, softCap, window } }) => {
    const [batch, pos, width] = q!.dims as [number, number, number];
    const size = width / heads;
    const kvWidth = size * kvHeads;
    const out = new Float64Array(q!.data.length);
    const biasAt = (b: number, h: number, query: number, key: number): number => {
      if (bias === undefined) return 0;
      const [batches, biasHeads] = bias.dims as [number, number];
      return bias.data[(((batches === 1 ? 0 : b) * biasHeads + (biasHeads === 1 ? 0 : h)) * pos + query) * pos + key]!;
    };
    for (let b = 0; b < batch; b++)
      for (let h = 0; h < heads; h++)
        for (let query = 0; query < pos; query++) {
          const shared = Math.floor(h / (heads / kvHeads)) * size;
          const rowOf = (key: number): number => (b * pos + key) * kvWidth + shared;
          const at = (b * pos + query) * width + h * size;
          const first = window === 0 ? 0 : Math.max(0, query - window + 1);
          const scores = Array.from({ length: query + 1 - first }, (_, i) => {
            let score = 0;
            for (let e = 0; e < size; e++) score += q!.data[at + e]! * k!.data[rowOf(first + i) + e]!;
            score *= scale;
            return (softCap === 0 ? score : softCap * Math.tanh(score / softCap)) + biasAt(b, h, query, first + i);
          });
          const top = Math.max(...scores);
          const weights = scores.map((score) => Math.exp(score - top));
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          weights.forEach((weight, i) => {
            for (let e = 0; e < size; e++) out[at + e]! += (weight / total) * v!.data[rowOf(first + i) + e]!;
          });
        }
    return out;
  },
  along: () => undefined,
  /** Scores of all heads, and its operands with heads before positions. */
  scratch: (node, dimsOf) => {
    const [batch, pos, width] = dimsOf(node) as [number, number, number];
    return batch * pos * (node.attributes["heads"] as number) * pos + 3 * batch * pos * width;
  },
};

export const attentionOperations: { readonly CausalAttention: typeof causalAttentionOperation } = {
  CausalAttention: causalAttentionOperation,
};

/**
 * Softmax attention of every position over itself and those before it.
 * @param q [batch, pos, head·d]
 * @param k [batch, pos, kv_head·d]
 * @param v [batch, pos, kv_head·d]
 * @param bias added to the scores, [batch or 1, head or 1, pos, pos]
 * @returns [batch, pos, head·d]
 */
export function causalAttention(
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  bias: Tensor | undefined,
  attributes: AttentionAttributes,
): Tensor {
  return apply(causalAttentionOperation, bias === undefined ? [q, k, v] : [q, k, v, bias], attributes);
}
