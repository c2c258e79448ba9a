/** @file Normalisation of activations at run time: what is done on the way in, and what undoes it on the way out. */
import { add, div, greater, mean, mul, sqrt, sub, sum, where, type Tensor } from "../../graph/index.ts";

/** How activations are normalised, by SAELens' names. */
export const normalizationModes = ["none", "expected_average_only_in", "constant_norm_rescale", "layer_norm"] as const;
export type NormalizationMode = (typeof normalizationModes)[number];

/** `out = x · scale + shift`, both [..., 1]; absent parts are 1 and 0. */
export interface OutputMap {
  readonly scale?: Tensor;
  readonly shift?: Tensor;
}

interface Normalization {
  /** Each token has a scale of its own, which the way back needs. */
  readonly scales?: true;
  /** From the flattened input [..., d_in] to the normalised one, and the way back. */
  in(x: Tensor, cfg: { readonly d_in: number }): { readonly x: Tensor; readonly out: OutputMap };
}

const last = { keepDims: true } as const;

/** √x whose derivative at 0 is 0: activations at padding may be all zero, and no NaN may come of them. */
function root(x: Tensor): Tensor {
  const some = greater(x, 0);
  return where(some, sqrt(where(some, x, 1)), 0);
}

const unchanged: Normalization = { in: (x) => ({ x, out: {} }) };

/** `expected_average_only_in` is a constant that is folded into the weights, so nothing happens at run time. */
export const normalizations: { readonly [Mode in NormalizationMode]: Normalization } = {
  none: unchanged,
  expected_average_only_in: unchanged,
  constant_norm_rescale: {
    scales: true,
    in: (x, cfg) => {
      const norm = root(sum(mul(x, x), -1, last));
      const rescale = div(Math.sqrt(cfg.d_in), where(greater(norm, 0), norm, 1));
      return { x: mul(x, rescale), out: { scale: div(norm, Math.sqrt(cfg.d_in)) } };
    },
  },
  // The unbiased standard deviation; eps on the way in only.
  layer_norm: {
    scales: true,
    in: (x, cfg) => {
      const mu = mean(x, -1, last);
      const centred = sub(x, mu);
      const std = root(div(sum(mul(centred, centred), -1, last), cfg.d_in - 1));
      return { x: div(centred, add(std, 1e-5)), out: { scale: std, shift: mu } };
    },
  },
};
