/** @file Direct logit attribution: what parts of the residual stream add to the logits of tokens. */
import { gather, mul, sub, sum, transpose, unsqueeze } from "../../graph/index.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import { ModelError } from "../errors.ts";
import type { ModelParameters } from "../weights/processing.ts";
import type { Activations, PositionSlice } from "./stack.ts";
import { applyLnToStack, type StackNormOptions } from "./stackNorm.ts";

/** One id for all rows, or one for each row of the batch. */
export type TokenIds = number | readonly number[];

export interface LogitAttrsOptions extends Pick<StackNormOptions, "normWeights"> {
  readonly tokens: TokenIds;
  /** Subtracted: the attribution is of the difference of two logits. */
  readonly incorrectTokens?: TokenIds;
  /** The positions that the components are of, where they are not of all. */
  readonly pos?: PositionSlice;
}

/**
 * What each component adds to a logit, or to the difference of two, through the final norm with the scale that it had in
 * the run: TransformerLens' `logit_attrs`. Biases of the final norm and of the unembedding are nobody's.
 * @param values [component, batch, pos, d_model], before the final norm; without `pos` where one position was taken
 * @returns [component, batch, pos], or [component, batch]
 * @throws ModelError when there is not one id or one for each row
 * @example
 * const attributed = await model.run(batch, ({ hooks }) => {
 *   const { values, labels } = stackHeadResults(model, hooks, { pos: -1 });
 *   return { labels, diffs: logitAttrs(model, hooks, values, { tokens: 6342, incorrectTokens: 2031, pos: -1 }) };
 * });
 * attributed.diffs; // [48, 2]
 */
export function logitAttrs(
  model: ModelParameters,
  activations: Activations,
  values: Tensor,
  { tokens, incorrectTokens, pos, normWeights }: LogitAttrsOptions,
): Tensor {
  const towards = residualDirections(model, values, tokens);
  const direction =
    incorrectTokens === undefined ? towards : sub(towards, residualDirections(model, values, incorrectTokens));
  const through = applyLnToStack(model, activations, values, { pos, normWeights });
  return sum(mul(through, through.rank === 4 ? unsqueeze(direction, 1) : direction), -1);
}

/** The unembedding's columns of tokens, [batch or 1, d_model]. */
function residualDirections({ cfg, weights }: ModelParameters, values: Tensor, tokens: TokenIds): Tensor {
  const ids = typeof tokens === "number" ? [tokens] : tokens;
  const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= cfg.d_vocab_out);
  if (wrong !== undefined || ids.length === 0)
    throw new ModelError("a token id is outside the vocabulary", {
      code: "model/vocabulary",
      expected: `ids from 0 to ${cfg.d_vocab_out - 1}`,
      received: String(wrong ?? "none"),
    });
  const shape = ids.length === 1 ? [1] : [values.shape[1]!];
  const rows = leaf(BigInt64Array.from(ids, BigInt), [ids.length], { shape, name: "tokens" });
  return transpose(gather(weights.get("unembed.W_U")!, rows, 1));
}
