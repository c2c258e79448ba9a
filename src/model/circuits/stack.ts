/** @file What parts of the residual stream are told by: where their activations come from, which layer, which positions. */
import { select, slice } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import { ActivationCache } from "../hooks/activationCache.ts";

/** Where activations come from: a cache, or the `hooks` of a run. */
export type Activations = ActivationCache | Readonly<Record<string, Tensor>>;

/** Parts of the residual stream, each with its label. */
export interface ResidualStack {
  /** [component, batch, pos, d_model]; without `pos` where one position was asked for. */
  readonly values: Tensor;
  readonly labels: readonly string[];
}

/** A position (negative: from the end), or positions `from` to `to − 1`. */
export type PositionSlice = number | readonly [from: number, to: number];

/** Which residual is taken apart. */
export interface StackPlace {
  /** The block whose input it is; default, and −1: the end of the last block. */
  readonly layer?: number;
  /** What the block's MLP reads, instead of what its attention reads. Default false. */
  readonly mlpInput?: boolean;
  /** Which positions; default all. */
  readonly pos?: PositionSlice;
}

export interface StackOptions extends StackPlace {
  /** Through the norm that reads there, as {@link applyLnToStack}. Default false. */
  readonly applyLn?: boolean;
}

/** The activation of a hook point. */
export const activationOf = (activations: Activations, name: string): Tensor =>
  activations instanceof ActivationCache ? activations.get(name) : activations[name]!;

/** The positions asked for of x [batch, pos, …]. */
export function atPositions(x: Tensor, pos: PositionSlice | undefined): Tensor {
  if (pos === undefined) return x;
  return typeof pos === "number" ? select(x, 1, pos) : slice(x, 1, pos[0], pos[1]);
}

/** A layer from 0 to the number of layers, which is behind the last block. */
export function stackLayer(
  { n_layers: layers }: ModelConfig,
  { layer = layers, mlpInput = false }: StackPlace,
): number {
  const at = layer === -1 ? layers : layer;
  const last = mlpInput ? layers - 1 : layers;
  if (Number.isInteger(at) && at >= 0 && at <= last) return at;
  throw new ModelError(mlpInput ? "there is no MLP in such a layer" : "there is no such layer", {
    code: "model/layer",
    expected: mlpInput ? `a block from 0 to ${last}` : `an integer from 0 to ${last}, or −1 for the end`,
    received: String(layer),
  });
}

/** The residual entering a block, or leaving the last one. */
export function residualAt({ n_layers: layers }: ModelConfig, activations: Activations, layer: number): Tensor {
  const name = layer === layers ? `blocks.${layer - 1}.hook_resid_post` : `blocks.${layer}.hook_resid_pre`;
  return activationOf(activations, name);
}

/** Nothing of the kind that was asked for is written before a layer. */
export const nothingBefore = (kind: string, layer: number): ModelError =>
  new ModelError(`no ${kind} write into the residual stream before block ${layer}`, {
    code: "model/stack",
    hint: "ask for a later layer",
  });
