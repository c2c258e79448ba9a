/** @file The residual stream layer by layer, and what embeddings, attention and MLPs write into it. */
import { stack } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import type { ModelParameters } from "../weights/processing.ts";
import {
  activationOf,
  atPositions,
  nothingBefore,
  residualAt,
  stackLayer,
  type Activations,
  type ResidualStack,
  type StackOptions,
} from "./stack.ts";
import { applyLnToStack } from "./stackNorm.ts";

/**
 * The residual stream before each block, and at the end: TransformerLens' `accumulated_resid`. At the end, with
 * `applyLn`, each state goes through the final norm with a scale of its own, so that a product with `unembed.W_U` is the
 * logit lens (nostalgebraist, 2020).
 * @param model configuration and weights
 * @param activations a cache, or the hooks of a run, which then computes no more than is asked for
 * @param options.inclMid also between attention and MLP, where there is such a place. Default false
 * @throws ModelError for a layer that does not exist, and for activations that were not kept
 * @example
 * const lens = await model.run("The Eiffel Tower is in", ({ hooks }) => {
 *   const { values, labels } = accumulatedResid(model, hooks, { applyLn: true, pos: -1 });
 *   return { labels, logits: matmul(values, model.weight("unembed.W_U")) };
 * });
 * lens.logits; // [13, 1, 50257]
 * lens.labels.at(-1); // "final_post"
 */
export function accumulatedResid(
  model: ModelParameters,
  activations: Activations,
  options: StackOptions & { readonly inclMid?: boolean } = {},
): ResidualStack {
  const { cfg } = model;
  const { mlpInput = false, applyLn = false, inclMid = false, pos } = options;
  const layer = stackLayer(cfg, options);
  const found: [string, Tensor][] = [];
  for (let l = 0; l <= layer; l++) {
    found.push([l === cfg.n_layers ? "final_post" : `${l}_pre`, residualAt(cfg, activations, l)]);
    if (l < layer ? inclMid && hasMiddle(cfg) : mlpInput)
      found.push([`${l}_mid`, activationOf(activations, `blocks.${l}.hook_resid_mid`)]);
  }
  return stacked(found, { pos }, (values) =>
    applyLn
      ? applyLnToStack(model, activations, values, { layer, mlpInput, pos, recompute: layer === cfg.n_layers })
      : values,
  );
}

/** Whether a block has a residual between its attention and its MLP. */
const hasMiddle = ({ attn_only: only, parallel_attn_mlp: parallel }: ModelConfig): boolean => !only && !parallel;

/**
 * What embeddings, attention layers and MLPs write: TransformerLens' `decompose_resid`. The components sum to the
 * residual stream.
 * @param options.mode `attn` or `mlp` alone. Default `all`
 * @param options.inclEmbeds with the embeddings. Default true
 * @throws ModelError as {@link accumulatedResid}
 * @example
 * const { cache } = await model.runWithCache("The Eiffel Tower is in");
 * const { values, labels } = decomposeResid(model, cache, { pos: -1 });
 * labels.slice(0, 4); // ["embed", "pos_embed", "0_attn_out", "0_mlp_out"]
 * await realize(sum(values, 0)); // [1, 32], the last residual
 */
export function decomposeResid(
  model: ModelParameters,
  activations: Activations,
  options: StackOptions & { readonly mode?: "all" | "attn" | "mlp"; readonly inclEmbeds?: boolean } = {},
): ResidualStack {
  const { cfg } = model;
  const { mlpInput = false, applyLn = false, mode = "all", inclEmbeds = true, pos } = options;
  const layer = stackLayer(cfg, options);
  const found = inclEmbeds ? embeddings(cfg, activations) : [];
  const put = (l: number, part: "attn_out" | "mlp_out"): void => {
    found.push([`${l}_${part}`, activationOf(activations, `blocks.${l}.hook_${part}`)]);
  };
  for (let l = 0; l < layer; l++) {
    if (mode !== "mlp") put(l, "attn_out");
    if (mode !== "attn" && !cfg.attn_only) put(l, "mlp_out");
  }
  if (mlpInput && mode !== "mlp") put(layer, "attn_out");
  if (found.length === 0) throw nothingBefore(mode === "mlp" ? "MLPs" : "layers", layer);
  return stacked(found, { pos }, (values) =>
    applyLn ? applyLnToStack(model, activations, values, { layer, mlpInput, pos }) : values,
  );
}

/** What the embeddings write, by label. */
export function embeddings(
  { positional_embedding_type: kind }: ModelConfig,
  activations: Activations,
): [string, Tensor][] {
  const token: [string, Tensor] = ["embed", activationOf(activations, "hook_embed")];
  return kind === "standard" ? [token, ["pos_embed", activationOf(activations, "hook_pos_embed")]] : [token];
}

function stacked(
  found: readonly (readonly [string, Tensor])[],
  { pos }: Pick<StackOptions, "pos">,
  norm: (values: Tensor) => Tensor,
): ResidualStack {
  const values = stack(found.map(([, x]) => atPositions(x, pos)));
  return { values: norm(values), labels: found.map(([label]) => label) };
}
