/** @file Limits of gradients, as PyTorch's `clip_grad_norm_` and `clip_grad_value_` set them. */
import { abs, add, div, max, maximum, minimum, mul, sqrt, stack, sum, type Tensor } from "../../graph/index.ts";
import type { OptionNames } from "../../graph/options.ts";
import { checkTrainOptions } from "../errors.ts";

/** How gradients are limited before the optimiser sees them. */
export interface Clip {
  /** The largest norm of all gradients together. */
  readonly norm?: number;
  /** Of which kind. Default 2. */
  readonly normType?: 1 | 2 | "inf";
  /** The largest absolute value of an entry. */
  readonly value?: number;
}

const clipNames: OptionNames<Clip> = { norm: true, normType: true, value: true };

/** @throws TrainError for a limit that does not exist */
export function checkedClip(clip: Clip): Clip {
  checkTrainOptions(clip, clipNames, "clip");
  return clip;
}

/** The norm of everything together. */
function normOf(gradients: readonly Tensor[], type: 1 | 2 | "inf"): Tensor {
  if (type === "inf")
    return max(
      stack(
        gradients.map((g) => max(abs(g))),
        0,
      ),
    );
  const total = gradients.map((g) => sum(type === 1 ? abs(g) : mul(g, g))).reduce((a, b) => add(a, b));
  return type === 1 ? total : sqrt(total);
}

/**
 * Gradients within their limits, and their norm before that where it was needed.
 * @example
 * const g = leaf(Float32Array.of(3, 4), [2]);
 * const { gradients, norm } = clipGradients([g], { norm: 1 });
 * (await realize(norm!)).item(); // 5
 */
export function clipGradients(
  gradients: readonly Tensor[],
  { norm: limit, normType = 2, value }: Clip,
): { gradients: readonly Tensor[]; norm: Tensor | undefined } {
  const norm = limit === undefined ? undefined : normOf(gradients, normType);
  const factor = norm && minimum(div(limit!, add(norm, 1e-6)), 1);
  const scaled = factor === undefined ? gradients : gradients.map((g) => mul(g, factor));
  const within = value === undefined ? scaled : scaled.map((g) => minimum(maximum(g, -value), value));
  return { gradients: within, norm };
}
