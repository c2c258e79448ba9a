/** @file A model with room for tokens that its vocabulary lacks. */
import { broadcastTo, concat, mean, transpose, type Tensor } from "../../graph/index.ts";
import type { HookedModel } from "../../model/index.ts";
import { SessionError } from "../errors.ts";

/** Parameters with an entry for each token: the axis of the tokens. */
const perToken = { "embed.W_E": 0, "unembed.W_U": 1, "unembed.b_U": 0 } as const;

/** New tokens at most, beside as many as there are: an id far outside the vocabulary is a mistake, and takes memory. */
const room = 2 ** 16;

/**
 * The parameters with at least so many tokens. As in Hugging Face's `resize_token_embeddings`, a new token's embedding is
 * the mean of all others, and so is its unembedding; there the noise of a billionth of their covariance is added. What was
 * tied stays tied.
 * @throws SessionError when the new tokens are far outside the vocabulary
 */
export function withVocabulary(
  { cfg, weights }: Pick<HookedModel, "cfg" | "weights">,
  tokens: number,
): Pick<HookedModel, "cfg" | "weights"> {
  const more = tokens - cfg.d_vocab;
  if (more <= 0) return { cfg, weights };
  const most = cfg.d_vocab + Math.max(cfg.d_vocab, room);
  if (tokens > most)
    throw new SessionError("the id of a special token is far outside the vocabulary", {
      code: "session/vocabulary",
      where: "tokenizer_id_overrides, special_tokens_dict",
      expected: `an id below ${cfg.d_vocab}, or new tokens below ${most}`,
      received: String(tokens - 1),
    });
  const grown = new Map(weights);
  for (const [name, axis] of Object.entries(perToken)) {
    const x = weights.get(name);
    if (x !== undefined) grown.set(name, withMeans(x, axis, more));
  }
  if (weights.get("unembed.W_U") === transpose(weights.get("embed.W_E")!))
    grown.set("unembed.W_U", transpose(grown.get("embed.W_E")!));
  return { cfg: { ...cfg, d_vocab: tokens, d_vocab_out: cfg.d_vocab_out + more }, weights: grown };
}

function withMeans(x: Tensor, axis: number, more: number): Tensor {
  const means = mean(x, axis, { keepDims: true });
  return concat(
    [
      x,
      broadcastTo(
        means,
        means.shape.map((size, i) => (i === axis ? more : size)),
      ),
    ],
    axis,
  );
}
