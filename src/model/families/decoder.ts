/** @file What llama, mistral, qwen2 and gemma2 share: rotary, grouped queries, RMS norms, gated MLP. */
import { z } from "zod";
import { kvHeads, type ModelConfig, type ModelConfigInput } from "../config.ts";
import { holds, parseHf, type HfConfig, type Need, type TensorTable } from "./family.ts";
import { readActivation, readRope, size, writeRope } from "./hfConfig.ts";
import { fromHeads, merged, same, toHeads, transposed } from "./layouts.ts";

const decoderKeys = z.object({
  vocab_size: size,
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  max_position_embeddings: size,
  rms_norm_eps: z.number().positive(),
  hidden_act: z.string().nullish(),
  tie_word_embeddings: z.boolean(),
});

/** What most of them assume. */
export const decoderDefaults: HfConfig = {
  vocab_size: 32000,
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
};

/** The configuration of a llama without windows. */
export function decoderConfig(hf: HfConfig, where: string): ModelConfigInput {
  const keys = parseHf(decoderKeys, hf, where);
  const { base, scaling } = readRope(hf, where);
  const heads = keys.num_attention_heads;
  const d_head = keys.head_dim ?? Math.floor(keys.hidden_size / heads);
  const grouped = keys.num_key_value_heads ?? heads;
  return {
    n_layers: keys.num_hidden_layers,
    d_model: keys.hidden_size,
    n_ctx: keys.max_position_embeddings,
    d_head,
    n_heads: heads,
    n_key_value_heads: grouped === heads ? null : grouped,
    d_mlp: keys.intermediate_size,
    d_vocab: keys.vocab_size,
    d_vocab_out: keys.vocab_size,
    normalization_type: "RMS",
    eps: keys.rms_norm_eps,
    final_rms: true,
    positional_embedding_type: "rotary",
    rotary_dim: d_head,
    rotary_base: base,
    rope_scaling: scaling,
    act_fn: readActivation(keys.hidden_act ?? "silu", where),
    gated_mlp: true,
    tie_word_embeddings: keys.tie_word_embeddings,
  };
}

/** The inverse of `decoderConfig`. */
export function decoderToHf(cfg: ModelConfig): HfConfig {
  return {
    vocab_size: cfg.d_vocab,
    hidden_size: cfg.d_model,
    intermediate_size: cfg.d_mlp,
    num_hidden_layers: cfg.n_layers,
    num_attention_heads: cfg.n_heads,
    num_key_value_heads: kvHeads(cfg),
    head_dim: cfg.d_head,
    max_position_embeddings: cfg.n_ctx,
    rms_norm_eps: cfg.eps,
    hidden_act: cfg.act_fn,
    tie_word_embeddings: cfg.tie_word_embeddings,
    ...writeRope(cfg),
  };
}

/** Tensors of a llama model without biases: all of them Linear, [out, in]. */
export const decoderTensors: TensorTable = {
  "model.embed_tokens.weight": holds(same, "embed.W_E"),
  "model.layers.*.input_layernorm.weight": holds(same, "blocks.*.ln1.w"),
  "model.layers.*.self_attn.q_proj.weight": holds(toHeads, "blocks.*.attn.W_Q"),
  "model.layers.*.self_attn.k_proj.weight": holds(toHeads, "blocks.*.attn.W_K"),
  "model.layers.*.self_attn.v_proj.weight": holds(toHeads, "blocks.*.attn.W_V"),
  "model.layers.*.self_attn.o_proj.weight": holds(fromHeads, "blocks.*.attn.W_O"),
  "model.layers.*.post_attention_layernorm.weight": holds(same, "blocks.*.ln2.w"),
  "model.layers.*.mlp.gate_proj.weight": holds(transposed, "blocks.*.mlp.W_gate"),
  "model.layers.*.mlp.up_proj.weight": holds(transposed, "blocks.*.mlp.W_in"),
  "model.layers.*.mlp.down_proj.weight": holds(transposed, "blocks.*.mlp.W_out"),
  "model.norm.weight": holds(same, "ln_final.w"),
  "lm_head.weight": holds(transposed, "unembed.W_U"),
};

const attentionBias = (hf: HfConfig): boolean => hf.attention_bias === true;
const mlpBias = (hf: HfConfig): boolean => hf.mlp_bias === true;

/** Biases of queries, keys and values. */
export const queryBiases = (need: Need): TensorTable => ({
  "model.layers.*.self_attn.q_proj.bias": holds(merged, "blocks.*.attn.b_Q", need),
  "model.layers.*.self_attn.k_proj.bias": holds(merged, "blocks.*.attn.b_K", need),
  "model.layers.*.self_attn.v_proj.bias": holds(merged, "blocks.*.attn.b_V", need),
});

/** Biases that models with `attention_bias` have. */
export const attentionBiases: TensorTable = {
  ...queryBiases(attentionBias),
  "model.layers.*.self_attn.o_proj.bias": holds(same, "blocks.*.attn.b_O", attentionBias),
};

/** Biases that models with `mlp_bias` have. */
export const mlpBiases: TensorTable = {
  "model.layers.*.mlp.gate_proj.bias": holds(same, "blocks.*.mlp.b_gate", mlpBias),
  "model.layers.*.mlp.up_proj.bias": holds(same, "blocks.*.mlp.b_up", mlpBias),
  "model.layers.*.mlp.down_proj.bias": holds(same, "blocks.*.mlp.b_out", mlpBias),
};

/** Buffers of old llama checkpoints. */
export const decoderBuffers: RegExp = /rotary_emb\.inv_freq$/;
