/** @file GPT-2: Conv1D weights [in, out], fused q/k/v columns, learned positions, tied unless an lm_head says otherwise. */
import { z } from "zod";
import { holds, parseHf, type Family } from "./family.ts";
import { readActivation, size } from "./hfConfig.ts";
import { fusedBias, fusedColumns, merged, same, transposed } from "./layouts.ts";

const gpt2Keys = z.object({
  vocab_size: size,
  n_positions: size,
  n_embd: size,
  n_layer: size,
  n_head: size,
  n_inner: size.nullish(),
  activation_function: z.string(),
  layer_norm_epsilon: z.number().positive(),
  scale_attn_weights: z.boolean(),
  scale_attn_by_inverse_layer_idx: z.boolean(),
  tie_word_embeddings: z.boolean(),
});

export const gpt2: Family = {
  modelType: "gpt2",
  architecture: "GPT2LMHeadModel",
  prefix: "transformer.",
  ignored: /\.attn\.(masked_)?bias$/,
  tensors: {
    "transformer.wte.weight": holds(same, "embed.W_E"),
    "transformer.wpe.weight": holds(same, "pos_embed.W_pos"),
    "transformer.h.*.ln_1.weight": holds(same, "blocks.*.ln1.w"),
    "transformer.h.*.ln_1.bias": holds(same, "blocks.*.ln1.b"),
    "transformer.h.*.attn.c_attn.weight": holds(fusedColumns, [
      "blocks.*.attn.W_Q",
      "blocks.*.attn.W_K",
      "blocks.*.attn.W_V",
    ]),
    "transformer.h.*.attn.c_attn.bias": holds(
      fusedBias,
      ["blocks.*.attn.b_Q", "blocks.*.attn.b_K", "blocks.*.attn.b_V"],
      "optional",
    ),
    "transformer.h.*.attn.c_proj.weight": holds(merged, "blocks.*.attn.W_O"),
    "transformer.h.*.attn.c_proj.bias": holds(same, "blocks.*.attn.b_O"),
    "transformer.h.*.ln_2.weight": holds(same, "blocks.*.ln2.w"),
    "transformer.h.*.ln_2.bias": holds(same, "blocks.*.ln2.b"),
    "transformer.h.*.mlp.c_fc.weight": holds(same, "blocks.*.mlp.W_in"),
    "transformer.h.*.mlp.c_fc.bias": holds(same, "blocks.*.mlp.b_in"),
    "transformer.h.*.mlp.c_proj.weight": holds(same, "blocks.*.mlp.W_out"),
    "transformer.h.*.mlp.c_proj.bias": holds(same, "blocks.*.mlp.b_out"),
    "transformer.ln_f.weight": holds(same, "ln_final.w"),
    "transformer.ln_f.bias": holds(same, "ln_final.b"),
    "lm_head.weight": holds(transposed, "unembed.W_U"),
  },
  defaults: {
    vocab_size: 50257,
    n_positions: 1024,
    n_embd: 768,
    n_layer: 12,
    n_head: 12,
    activation_function: "gelu_new",
    layer_norm_epsilon: 1e-5,
    scale_attn_weights: true,
    scale_attn_by_inverse_layer_idx: false,
    tie_word_embeddings: true,
  },
  config(hf, where) {
    const keys = parseHf(gpt2Keys, hf, where);
    return {
      n_layers: keys.n_layer,
      d_model: keys.n_embd,
      n_ctx: keys.n_positions,
      d_head: Math.floor(keys.n_embd / keys.n_head),
      n_heads: keys.n_head,
      d_mlp: keys.n_inner ?? 4 * keys.n_embd,
      d_vocab: keys.vocab_size,
      d_vocab_out: keys.vocab_size,
      normalization_type: "LN",
      eps: keys.layer_norm_epsilon,
      act_fn: readActivation(keys.activation_function, where),
      use_attn_scale: keys.scale_attn_weights,
      scale_attn_by_inverse_layer_idx: keys.scale_attn_by_inverse_layer_idx,
      tie_word_embeddings: keys.tie_word_embeddings,
    };
  },
  toHf: (cfg) => ({
    vocab_size: cfg.d_vocab,
    n_positions: cfg.n_ctx,
    n_ctx: cfg.n_ctx,
    n_embd: cfg.d_model,
    n_layer: cfg.n_layers,
    n_head: cfg.n_heads,
    n_inner: cfg.d_mlp === 4 * cfg.d_model ? null : cfg.d_mlp,
    activation_function: cfg.act_fn,
    layer_norm_epsilon: cfg.eps,
    scale_attn_weights: cfg.use_attn_scale,
    scale_attn_by_inverse_layer_idx: cfg.scale_attn_by_inverse_layer_idx,
    tie_word_embeddings: cfg.tie_word_embeddings,
  }),
};
