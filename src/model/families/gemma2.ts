/** @file Gemma 2: norms on both sides of each layer stored as w − 1, soft caps, windows on even layers, scaled embedding. */
import { z } from "zod";
import { attentionBiases, decoderBuffers, decoderConfig, decoderTensors, decoderToHf } from "./decoder.ts";
import { holds, parseHf, type Family } from "./family.ts";
import { readActivation, readWindow, writeWindow } from "./hfConfig.ts";
import { onePlus } from "./layouts.ts";

const cap = z.number().positive().nullable();
const gemmaKeys = z.object({
  /** The activation; older files also have a `hidden_act` that says "gelu" and means this. */
  hidden_activation: z.string().nullish(),
  query_pre_attn_scalar: z.number().positive(),
  attn_logit_softcapping: cap,
  final_logit_softcapping: cap,
});

export const gemma2: Family = {
  modelType: "gemma2",
  architecture: "Gemma2ForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: {
    ...decoderTensors,
    ...attentionBiases,
    "model.layers.*.input_layernorm.weight": holds(onePlus, "blocks.*.ln1.w"),
    "model.layers.*.post_attention_layernorm.weight": holds(onePlus, "blocks.*.ln1_post.w"),
    "model.layers.*.pre_feedforward_layernorm.weight": holds(onePlus, "blocks.*.ln2.w"),
    "model.layers.*.post_feedforward_layernorm.weight": holds(onePlus, "blocks.*.ln2_post.w"),
    "model.norm.weight": holds(onePlus, "ln_final.w"),
  },
  defaults: {
    vocab_size: 256000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
    query_pre_attn_scalar: 256,
    sliding_window: 4096,
    attn_logit_softcapping: 50,
    final_logit_softcapping: 30,
  },
  config(hf, where) {
    const keys = parseHf(gemmaKeys, hf, where);
    const base = decoderConfig(hf, where);
    return {
      ...base,
      ...readWindow(hf, where, base.n_layers, (layer) => layer % 2 === 0),
      act_fn: readActivation(keys.hidden_activation ?? "gelu_pytorch_tanh", where),
      use_normalization_before_and_after: true,
      attn_scale: Math.sqrt(keys.query_pre_attn_scalar),
      attn_scores_soft_cap: keys.attn_logit_softcapping ?? -1,
      output_logits_soft_cap: keys.final_logit_softcapping ?? -1,
      embedding_scale: Math.fround(Math.sqrt(base.d_model)),
    };
  },
  toHf: (cfg, has) => ({
    ...decoderToHf(cfg),
    ...writeWindow(cfg),
    hidden_activation: cfg.act_fn,
    query_pre_attn_scalar: nearSquare(cfg.attn_scale),
    attn_logit_softcapping: cfg.attn_scores_soft_cap > 0 ? cfg.attn_scores_soft_cap : null,
    final_logit_softcapping: cfg.output_logits_soft_cap > 0 ? cfg.output_logits_soft_cap : null,
    attention_bias: ["b_Q", "b_K", "b_V", "b_O"].some((bias) => has(`blocks.0.attn.${bias}`)),
  }),
};

/** The number whose square root is `root`: an integer where one is. */
function nearSquare(root: number): number {
  const integer = Math.round(root * root);
  return Math.sqrt(integer) === root ? integer : root * root;
}
