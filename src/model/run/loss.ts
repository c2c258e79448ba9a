/** @file Next-token losses over expressions. */
import { subDims } from "../../graph/axis.ts";
import { cast, div, logSoftmax, mean, mul, neg, slice, squeeze, sum, takeAlong, unsqueeze } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";

/**
 * Cross entropy of each next token, [batch, pos − 1]: zero where either token is padding.
 * @param logits [batch, pos, d_vocab]
 * @param tokens int64 [batch, pos]
 * @param keyMask bool [batch, pos]
 * @example
 * const { losses } = await model.run("Once upon a time", ({ logits, batch }) => ({
 *   losses: lossPerToken(logits, batch.tokens), // [batch, new]
 * }));
 */
export function lossPerToken(logits: Tensor, tokens: Tensor, keyMask?: Tensor): Tensor {
  const pos = tokens.shape[1]!;
  const last = subDims(pos, 1);
  const targets = unsqueeze(slice(tokens, 1, 1, pos), -1); // [batch, pos − 1, 1]
  const logProbs = logSoftmax(slice(logits, 1, 0, last), -1);
  const losses = neg(squeeze(takeAlong(logProbs, targets, 2), -1)); // [batch, pos − 1]
  return keyMask === undefined ? losses : mul(losses, lossWeight(keyMask));
}

/** 1 where both a token and its target are real, else 0: [batch, pos − 1]. */
function lossWeight(keyMask: Tensor): Tensor {
  const pos = keyMask.shape[1]!;
  const real = cast(keyMask, "float32");
  return mul(slice(real, 1, 0, subDims(pos, 1)), slice(real, 1, 1, pos));
}

/**
 * Mean cross entropy over the counted tokens, a scalar.
 * @example
 * const logits = leaf(new Float32Array(2 * 3 * 4), [2, 3, 4]);
 * const tokens = leaf(new BigInt64Array(6), [2, 3]);
 * Math.exp((await realize(meanLoss(logits, tokens))).item()).toFixed(3); // "4.000": all four are equally likely
 */
export function meanLoss(logits: Tensor, tokens: Tensor, keyMask?: Tensor): Tensor {
  const losses = lossPerToken(logits, tokens, keyMask);
  return keyMask === undefined ? mean(losses) : div(sum(losses), sum(lossWeight(keyMask)));
}
