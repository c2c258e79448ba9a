/** @file The norms that read the residual stream, applied to its parts with the scale that they had in a run. */
import { add, div, mean, mul, pow, select, sqrt, sub } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import type { ModelParameters } from "../weights/processing.ts";
import {
  activationOf,
  atPositions,
  stackLayer,
  type Activations,
  type PositionSlice,
  type StackPlace,
} from "./stack.ts";

export interface StackNormOptions extends StackPlace {
  /** Each component by a scale of its own, as if it were all that the norm reads. Default false. */
  readonly recompute?: boolean;
  /**
   * Whether the norm's own weight is applied. Default true; false leaves it out, as TransformerLens does, whose models
   * mostly have it folded into what reads them.
   */
  readonly normWeights?: boolean;
}

/**
 * Components through the norm that reads the residual stream at a layer: TransformerLens' `apply_ln_to_stack`. The
 * scale is that of the run, so the components still sum to what the norm gave (but for its bias).
 * @param values [component, batch, pos, d_model], or without `pos`
 * @throws ModelError when the scale (`blocks.L.ln1.hook_scale`, `ln_final.hook_scale`) was not kept
 * @example
 * const { cache } = await model.runWithCache("The Eiffel Tower is in");
 * const parts = decomposeResid(model, cache, { pos: -1 });
 * applyLnToStack(model, cache, parts.values, { pos: -1 }); // [26, batch, d_model]
 */
export function applyLnToStack(
  { cfg, weights }: ModelParameters,
  activations: Activations,
  values: Tensor,
  options: StackNormOptions = {},
): Tensor {
  const { recompute = false, normWeights = true, pos } = options;
  const norm = normBefore(cfg, options);
  if (norm === undefined) return values;
  const centred = norm.centres ? sub(values, mean(values, -1, { keepDims: true })) : values;
  const scale = recompute
    ? sqrt(add(mean(pow(centred, 2), -1, { keepDims: true }), cfg.eps))
    : scaleOf(activations, norm.name, pos);
  const weight = normWeights ? weights.get(`${norm.name}.w`) : undefined;
  const bias = normWeights && recompute ? weights.get(`${norm.name}.b`) : undefined;
  const scaled = weight === undefined ? div(centred, scale) : mul(div(centred, scale), weight);
  return bias === undefined ? scaled : add(scaled, bias);
}

/** Products with a direction behind the norm, of values that are products with the direction that it is given. */
export interface DirectionThroughNorm {
  /** [d_model]: the direction before the norm. */
  readonly direction: Tensor;
  /** Divides by the run's scale: x [component, batch, pos]. */
  readonly scaled: (x: Tensor) => Tensor;
}

/** What is along a direction behind a norm is along this one before it: centring is a projection, scales are numbers. */
export function directionThroughNorm(
  { cfg, weights }: ModelParameters,
  activations: Activations,
  direction: Tensor,
  place: StackPlace,
): DirectionThroughNorm {
  const norm = normBefore(cfg, place);
  if (norm === undefined) return { direction, scaled: (x) => x };
  const weight = weights.get(`${norm.name}.w`);
  const weighted = weight === undefined ? direction : mul(direction, weight);
  return {
    direction: norm.centres ? sub(weighted, mean(weighted, -1, { keepDims: true })) : weighted,
    scaled: (x) => div(x, select(scaleOf(activations, norm.name, place.pos), -1, 0)),
  };
}

/** [batch, pos, 1], or without `pos`. */
export const scaleOf = (activations: Activations, norm: string, pos: PositionSlice | undefined): Tensor =>
  atPositions(activationOf(activations, `${norm}.hook_scale`), pos);

/** The norm that reads the residual stream at a place; undefined in models without. */
function normBefore(cfg: ModelConfig, place: StackPlace): { name: string; centres: boolean } | undefined {
  const layer = stackLayer(cfg, place);
  const end = layer === cfg.n_layers;
  const kind = end && cfg.final_rms ? "RMS" : cfg.normalization_type;
  if (kind === null) return undefined;
  const name = end ? "ln_final" : `blocks.${layer}.ln${place.mlpInput ? 2 : 1}`;
  return { name, centres: kind.startsWith("LN") };
}
