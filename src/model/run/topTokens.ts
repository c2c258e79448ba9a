/** @file The likeliest tokens of realized logits. */
import type { OptionNames } from "../../graph/options.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { checkModelOptions } from "../errors.ts";

/** One of the likeliest next tokens. */
export interface TopToken {
  readonly id: number;
  readonly token: string;
  readonly logit: number;
  readonly probability: number;
}

export interface TopTokensOptions {
  /** How many. Default 10. */
  k?: number;
  /** Which row of the batch. Default 0. */
  row?: number;
  /** After which position; negative counts from the end. Default −1. */
  position?: number;
}

const topTokensNames: OptionNames<TopTokensOptions> = { k: true, row: true, position: true };

/** See {@link HookedModel.topTokens}. @internal */
export function topTokens(logits: Tensor, options: TopTokensOptions, text: (id: number) => string): TopToken[] {
  checkModelOptions(options, topTokensNames, "topTokens");
  const { k = 10, row = 0, position = -1 } = options;
  const width = logits.dims.at(-1)!;
  const length = logits.dims.length === 3 ? logits.dims[1]! : 1;
  const at = (row * length + (position < 0 ? length + position : position)) * width;
  const values = (logits.data as Float32Array).subarray(at, at + width);
  const top = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = values.reduce((sum, x) => sum + Math.exp(x - top), 0);
  return Array.from(values.keys())
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, k)
    .map((id) => ({
      id,
      token: text(id),
      logit: values[id]!,
      probability: Math.exp(values[id]! - top) / total,
    }));
}
