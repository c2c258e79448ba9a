/** @file Llama 1, 2 and 3, and whatever has their layout (SmolLM, TinyLlama, …). */
import {
  attentionBiases,
  decoderBuffers,
  decoderConfig,
  decoderDefaults,
  decoderTensors,
  decoderToHf,
  mlpBiases,
} from "./decoder.ts";
import type { Family } from "./family.ts";

export const llama: Family = {
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: { ...decoderTensors, ...attentionBiases, ...mlpBiases },
  defaults: { ...decoderDefaults, intermediate_size: 11008, max_position_embeddings: 2048 },
  config: (hf, where) => decoderConfig(hf, where),
  toHf: (cfg, has) => ({
    ...decoderToHf(cfg),
    attention_bias: ["b_Q", "b_K", "b_V", "b_O"].some((bias) => has(`blocks.0.attn.${bias}`)),
    mlp_bias: ["b_gate", "b_up", "b_out"].some((bias) => has(`blocks.0.mlp.${bias}`)),
  }),
};
