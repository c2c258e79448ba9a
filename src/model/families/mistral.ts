/** @file Mistral: llama with a sliding window on every layer. */
import { decoderBuffers, decoderConfig, decoderDefaults, decoderTensors, decoderToHf } from "./decoder.ts";
import type { Family } from "./family.ts";
import { readWindow, writeWindow } from "./hfConfig.ts";

export const mistral: Family = {
  modelType: "mistral",
  architecture: "MistralForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: decoderTensors,
  defaults: {
    ...decoderDefaults,
    intermediate_size: 14336,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    sliding_window: 4096,
  },
  config(hf, where) {
    const base = decoderConfig(hf, where);
    return { ...base, ...readWindow(hf, where, base.n_layers, () => true) };
  },
  toHf: (cfg) => ({ ...decoderToHf(cfg), ...writeWindow(cfg) }),
};
