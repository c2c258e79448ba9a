/** @file GPT-NeoX and Pythia: fused q/k/v rows by head, partial rotation, attention and MLP side by side. */
import { z } from "zod";
import { holds, parseHf, type Family, type HfConfig } from "./family.ts";
import { readActivation, readRope, size, writeRope } from "./hfConfig.ts";
import { fromHeads, fusedRows, fusedRowsBias, same, transposed } from "./layouts.ts";

const neoxKeys = z.object({
  vocab_size: size,
  hidden_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  intermediate_size: size,
  max_position_embeddings: size,
  hidden_act: z.string(),
  layer_norm_eps: z.number().positive(),
  rotary_pct: z.number().positive().max(1).nullish(),
  use_parallel_residual: z.boolean(),
  tie_word_embeddings: z.boolean(),
});

const attentionBias = (hf: HfConfig): boolean => hf.attention_bias !== false;

export const gptNeox: Family = {
  modelType: "gpt_neox",
  architecture: "GPTNeoXForCausalLM",
  prefix: "gpt_neox.",
  ignored: /\.attention\.((masked_)?bias|rotary_emb\.inv_freq)$/,
  tensors: {
    "gpt_neox.embed_in.weight": holds(same, "embed.W_E"),
    "gpt_neox.layers.*.input_layernorm.weight": holds(same, "blocks.*.ln1.w"),
    "gpt_neox.layers.*.input_layernorm.bias": holds(same, "blocks.*.ln1.b"),
    "gpt_neox.layers.*.attention.query_key_value.weight": holds(fusedRows, [
      "blocks.*.attn.W_Q",
      "blocks.*.attn.W_K",
      "blocks.*.attn.W_V",
    ]),
    "gpt_neox.layers.*.attention.query_key_value.bias": holds(
      fusedRowsBias,
      ["blocks.*.attn.b_Q", "blocks.*.attn.b_K", "blocks.*.attn.b_V"],
      attentionBias,
    ),
    "gpt_neox.layers.*.attention.dense.weight": holds(fromHeads, "blocks.*.attn.W_O"),
    "gpt_neox.layers.*.attention.dense.bias": holds(same, "blocks.*.attn.b_O", attentionBias),
    "gpt_neox.layers.*.post_attention_layernorm.weight": holds(same, "blocks.*.ln2.w"),
    "gpt_neox.layers.*.post_attention_layernorm.bias": holds(same, "blocks.*.ln2.b"),
    "gpt_neox.layers.*.mlp.dense_h_to_4h.weight": holds(transposed, "blocks.*.mlp.W_in"),
    "gpt_neox.layers.*.mlp.dense_h_to_4h.bias": holds(same, "blocks.*.mlp.b_in"),
    "gpt_neox.layers.*.mlp.dense_4h_to_h.weight": holds(transposed, "blocks.*.mlp.W_out"),
    "gpt_neox.layers.*.mlp.dense_4h_to_h.bias": holds(same, "blocks.*.mlp.b_out"),
    "gpt_neox.final_layer_norm.weight": holds(same, "ln_final.w"),
    "gpt_neox.final_layer_norm.bias": holds(same, "ln_final.b"),
    "embed_out.weight": holds(transposed, "unembed.W_U"),
  },
  defaults: {
    vocab_size: 50432,
    hidden_size: 6144,
    num_hidden_layers: 44,
    num_attention_heads: 64,
    intermediate_size: 24576,
    max_position_embeddings: 2048,
    hidden_act: "gelu",
    layer_norm_eps: 1e-5,
    use_parallel_residual: true,
    tie_word_embeddings: false,
  },
  config(hf, where) {
    const keys = parseHf(neoxKeys, hf, where);
    const { base, fraction = keys.rotary_pct ?? 0.25, scaling } = readRope(hf, where, "rotary_emb_base");
    const d_head = Math.floor(keys.hidden_size / keys.num_attention_heads);
    return {
      n_layers: keys.num_hidden_layers,
      d_model: keys.hidden_size,
      n_ctx: keys.max_position_embeddings,
      d_head,
      n_heads: keys.num_attention_heads,
      d_mlp: keys.intermediate_size,
      d_vocab: keys.vocab_size,
      d_vocab_out: keys.vocab_size,
      normalization_type: "LN",
      eps: keys.layer_norm_eps,
      parallel_attn_mlp: keys.use_parallel_residual,
      positional_embedding_type: "rotary",
      rotary_dim: Math.floor(d_head * fraction),
      rotary_base: base,
      rope_scaling: scaling,
      act_fn: readActivation(keys.hidden_act, where),
      tie_word_embeddings: keys.tie_word_embeddings,
      default_prepend_bos: false,
    };
  },
  toHf: (cfg, has) => ({
    vocab_size: cfg.d_vocab,
    hidden_size: cfg.d_model,
    num_hidden_layers: cfg.n_layers,
    num_attention_heads: cfg.n_heads,
    intermediate_size: cfg.d_mlp,
    max_position_embeddings: cfg.n_ctx,
    hidden_act: cfg.act_fn,
    layer_norm_eps: cfg.eps,
    use_parallel_residual: cfg.parallel_attn_mlp,
    tie_word_embeddings: cfg.tie_word_embeddings,
    attention_bias: ["b_Q", "b_K", "b_V", "b_O"].some((bias) => has(`blocks.0.attn.${bias}`)),
    ...writeRope(cfg),
    rotary_pct: (cfg.rotary_dim ?? cfg.d_head) / cfg.d_head,
    rotary_emb_base: cfg.rotary_base,
  }),
};
