/** @file Parameters of a hooked transformer by their TransformerLens names, as views over a file's own tensors. */
import type { Tensor } from "../../graph/tensor.ts";

/**
 * Every parameter under its TransformerLens name and in its TransformerLens shape; an expression over leaves in the
 * file's own layout. Absent entries are absent from the model (a zero bias, a norm without weights).
 *
 * | name | shape |
 * | --- | --- |
 * | `embed.W_E` | [d_vocab, d_model] |
 * | `pos_embed.W_pos` | [n_ctx, d_model] |
 * | `blocks.L.ln1.w`, `.b` (also `ln2`, `ln1_post`, `ln2_post`, `ln_final`) | [d_model] |
 * | `blocks.L.attn.W_Q` | [n_heads, d_model, d_head] |
 * | `blocks.L.attn.W_K`, `W_V` | [n_key_value_heads, d_model, d_head] |
 * | `blocks.L.attn.W_O` | [n_heads, d_head, d_model] |
 * | `blocks.L.attn.b_Q`, `b_K`, `b_V` | [heads, d_head] |
 * | `blocks.L.attn.b_O` | [d_model] |
 * | `blocks.L.mlp.W_in`, `W_gate` | [d_model, d_mlp] |
 * | `blocks.L.mlp.W_out` | [d_mlp, d_model] |
 * | `blocks.L.mlp.b_in`, `b_gate`, `b_up`, `b_out` | [d_mlp], [d_mlp], [d_mlp], [d_model] |
 * | `unembed.W_U`, `b_U` | [d_model, d_vocab_out], [d_vocab_out] |
 *
 * `b_up` is added to a gated MLP's linear branch before the product (Hugging Face); TransformerLens' `b_in` after it.
 */
export type ModelWeights = ReadonlyMap<string, Tensor>;
