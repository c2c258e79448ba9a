/** @file Llama 1, 2 and 3, and whatever has their layout (SmolLM, TinyLlama, …). */
import { decoderBuffers, decoderConfig, decoderKeys, decoderTensors, decoderToHf } from "./decoder.ts";
import { parseHf, type Family } from "./family.ts";
import { readActivation } from "./hfConfig.ts";

export const llama: Family = {
  modelType: "llama",
  architecture: "LlamaForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: decoderTensors,
  config(hf, where) {
    const keys = parseHf(decoderKeys, hf, where);
    return {
      ...decoderConfig(keys, hf, where),
      act_fn: readActivation(keys.hidden_act ?? "silu", where),
      tie_word_embeddings: keys.tie_word_embeddings ?? false,
    };
  },
  toHf: (cfg, has) => ({
    ...decoderToHf(cfg),
    hidden_act: cfg.act_fn,
    tie_word_embeddings: cfg.tie_word_embeddings,
    attention_bias: ["b_Q", "b_K", "b_V", "b_O"].some((bias) => has(`blocks.0.attn.${bias}`)),
    mlp_bias: ["b_gate", "b_up", "b_out"].some((bias) => has(`blocks.0.mlp.${bias}`)),
  }),
};
