/** @file What single heads and neurons write into the residual stream, and all that it is the sum of. */
import {
  add,
  broadcastTo,
  concat,
  constant,
  div,
  einsum,
  matmul,
  mul,
  reshape,
  select,
  sub,
  sum,
  transpose,
  unsqueeze,
} from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { ModelParameters } from "../weights/processing.ts";
import { decomposeResid, embeddings } from "./residual.ts";
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
import { applyLnToStack, directionThroughNorm, scaleOf } from "./stackNorm.ts";

/**
 * What each attention head writes, z · W_O: TransformerLens' `stack_head_results`. Where a norm follows attention
 * (gemma2) it is what the head contributes through that norm.
 * @param options.inclRemainder one more component: the residual stream without the heads. Default false
 * @throws ModelError for a layer that does not exist or has none before it, and for activations that were not kept
 * @example
 * const { cache } = await model.runWithCache("The Eiffel Tower is in");
 * const { values, labels } = stackHeadResults(model, cache, { layer: 1 });
 * labels; // ["L0H0", "L0H1", "L0H2", "L0H3"]
 * values; // [4, batch, pos, d_model]
 */
export function stackHeadResults(
  model: ModelParameters,
  activations: Activations,
  options: Omit<StackOptions, "mlpInput"> & { readonly inclRemainder?: boolean } = {},
): ResidualStack {
  const { cfg } = model;
  const { applyLn = false, inclRemainder = false, pos } = options;
  const layer = stackLayer(cfg, options);
  const parts: Tensor[] = [];
  const labels: string[] = [];
  for (let l = 0; l < layer; l++) {
    parts.push(headResults(model, activations, l, pos));
    for (let head = 0; head < cfg.n_heads; head++) labels.push(`L${l}H${head}`);
  }
  if (inclRemainder) {
    const residual = atPositions(residualAt(cfg, activations, layer), pos);
    parts.push(
      unsqueeze(
        parts.reduce((left, heads) => sub(left, sum(heads, 0)), residual),
        0,
      ),
    );
    labels.push("remainder");
  }
  if (parts.length === 0) throw nothingBefore("heads", layer);
  const values = concat(parts, 0);
  return { values: applyLn ? applyLnToStack(model, activations, values, { layer, pos }) : values, labels };
}

/** [head, batch, pos, d_model] */
function headResults(
  model: ModelParameters,
  activations: Activations,
  layer: number,
  pos: StackOptions["pos"],
): Tensor {
  const block = `blocks.${layer}`;
  const z = atPositions(activationOf(activations, `${block}.attn.hook_z`), pos); // [batch, pos, head, d_head]
  const rows = z.rank === 4 ? "bp" : "b";
  const written = einsum(`${rows}he,hed->h${rows}d`, z, model.weights.get(`${block}.attn.W_O`)!);
  const norm = postNorm(model, activations, `${block}.ln1_post`, pos);
  if (norm === undefined) return written;
  const scaled = div(written, norm.scale);
  return norm.weight === undefined ? scaled : mul(scaled, norm.weight);
}

/** A norm after attention or MLP, as it was in the run. */
function postNorm(
  { cfg, weights }: ModelParameters,
  activations: Activations,
  name: string,
  pos: StackOptions["pos"],
): { scale: Tensor; weight: Tensor | undefined } | undefined {
  if (!cfg.use_normalization_before_and_after) return undefined;
  return { scale: scaleOf(activations, name, pos), weight: weights.get(`${name}.w`) };
}

/**
 * What each MLP neuron writes, its activation times its row of W_out: TransformerLens' `stack_neuron_results`. All
 * neurons at all positions are d_mlp times the residual stream: take few positions, or what they write along a direction.
 * @param options.onto [d_model]: only the products with a direction, [neuron, batch, pos]; the components are not made
 * @throws ModelError as {@link stackHeadResults}
 * @example
 * const { cache } = await model.runWithCache("The Eiffel Tower is in");
 * stackNeuronResults(model, cache, { layer: 1, pos: -1 }).values; // [64, batch, d_model]
 * const towardsParis = select(model.weight("unembed.W_U"), 1, model.toSingleToken(" Paris"));
 * stackNeuronResults(model, cache, { applyLn: true, onto: towardsParis }).values; // [768, batch, pos]
 */
export function stackNeuronResults(
  model: ModelParameters,
  activations: Activations,
  options: Omit<StackOptions, "mlpInput"> & { readonly onto?: Tensor } = {},
): ResidualStack {
  const { cfg, weights } = model;
  const { applyLn = false, onto, pos } = options;
  const layer = stackLayer(cfg, options);
  if (layer === 0 || cfg.attn_only) throw nothingBefore("neurons", layer);
  const along = onto && applyLn ? directionThroughNorm(model, activations, onto, { layer, pos }) : undefined;
  const direction = along?.direction ?? onto;
  const parts: Tensor[] = [];
  const labels: string[] = [];
  for (let l = 0; l < layer; l++) {
    const block = `blocks.${l}`;
    const active = atPositions(activationOf(activations, `${block}.mlp.hook_post`), pos); // [batch, pos, neuron]
    const last = active.rank - 1;
    const post = transpose(active, [last, ...Array(last).keys()]); // [neuron, batch, pos]
    const norm = postNorm(model, activations, `${block}.ln2_post`, pos);
    const written = weights.get(`${block}.mlp.W_out`)!; // [neuron, d_model]
    const rows = norm?.weight === undefined ? written : mul(written, norm.weight);
    const beside = post.shape.slice(1).map(() => 1);
    if (direction === undefined) {
      const each = mul(unsqueeze(post, -1), reshape(rows, [cfg.d_mlp!, ...beside, cfg.d_model]));
      parts.push(norm === undefined ? each : div(each, norm.scale));
    } else {
      const each = mul(post, reshape(matmul(rows, reshape(direction, [cfg.d_model, 1])), [cfg.d_mlp!, ...beside]));
      parts.push(norm === undefined ? each : div(each, select(norm.scale, -1, 0)));
    }
    for (let neuron = 0; neuron < cfg.d_mlp!; neuron++) labels.push(`L${l}N${neuron}`);
  }
  const values = concat(parts, 0);
  if (along !== undefined) return { values: along.scaled(values), labels };
  return { values: applyLn ? applyLnToStack(model, activations, values, { layer, pos }) : values, labels };
}

/**
 * All that the residual stream is the sum of: heads, neurons (or whole MLPs), embeddings, biases. TransformerLens'
 * `get_full_resid_decomposition`.
 * @param options.expandNeurons single neurons instead of MLP layers. Default true
 * @throws ModelError as {@link stackHeadResults}
 * @example
 * const { cache } = await model.runWithCache("The Eiffel Tower is in");
 * const { values } = fullResidDecomposition(model, cache, { expandNeurons: false, pos: -1 });
 * values; // [63, batch, d_model]: 48 heads, 12 MLPs, two embeddings, the biases
 */
export function fullResidDecomposition(
  model: ModelParameters,
  activations: Activations,
  options: StackOptions & { readonly expandNeurons?: boolean } = {},
): ResidualStack {
  const { cfg } = model;
  const { applyLn = false, expandNeurons = true, mlpInput = false, pos } = options;
  const layer = stackLayer(cfg, options);
  const stacks: ResidualStack[] = [];
  const headLayers = layer + Number(mlpInput);
  if (headLayers > 0) stacks.push(stackHeadResults(model, activations, { layer: headLayers, pos }));
  if (layer > 0 && !cfg.attn_only)
    stacks.push(
      expandNeurons
        ? stackNeuronResults(model, activations, { layer, pos })
        : decomposeResid(model, activations, { layer, pos, mode: "mlp", inclEmbeds: false }),
    );
  for (const [label, x] of embeddings(cfg, activations))
    stacks.push({ values: unsqueeze(atPositions(x, pos), 0), labels: [label] });
  const embed = atPositions(activationOf(activations, "hook_embed"), pos);
  const bias = accumulatedBias(model, { layer, mlpInput, includeMlpBiases: expandNeurons });
  stacks.push({ values: unsqueeze(broadcastTo(bias, embed.shape), 0), labels: ["bias"] });
  const values = concat(
    stacks.map((part) => part.values),
    0,
  );
  return {
    values: applyLn ? applyLnToStack(model, activations, values, { layer, mlpInput, pos }) : values,
    labels: stacks.flatMap((part) => part.labels),
  };
}

/**
 * The biases that attention layers (and MLPs) have written before a layer: TransformerLens' `accumulated_bias`.
 * @param options.includeMlpBiases Default true
 * @returns [d_model]
 * @example
 * accumulatedBias(model, { layer: 1, includeMlpBiases: false }) === model.weight("blocks.0.attn.b_O"); // true
 */
export function accumulatedBias(
  { cfg, weights }: ModelParameters,
  options: Pick<StackOptions, "layer" | "mlpInput"> & { readonly includeMlpBiases?: boolean } = {},
): Tensor {
  const { mlpInput = false, includeMlpBiases = true } = options;
  const layer = stackLayer(cfg, options);
  const biases: (Tensor | undefined)[] = [];
  for (let l = 0; l < layer; l++) {
    biases.push(weights.get(`blocks.${l}.attn.b_O`));
    if (includeMlpBiases) biases.push(weights.get(`blocks.${l}.mlp.b_out`));
  }
  if (mlpInput) biases.push(weights.get(`blocks.${layer}.attn.b_O`));
  const found = biases.filter((bias) => bias !== undefined);
  return found.length === 0 ? broadcastTo(constant(0), [cfg.d_model]) : found.reduce((a, b) => add(a, b));
}
