/** @file Mistral: llama with a sliding window on every layer. */
import { decoderBuffers, decoderConfig, decoderKeys, decoderTensors, decoderToHf } from "./decoder.ts";
import { parseHf, type Family } from "./family.ts";
import { layerTypes, readActivation, readWindow, size, writeWindow } from "./hfConfig.ts";

const mistralKeys = decoderKeys.extend({ sliding_window: size.nullable().default(4096), layer_types: layerTypes });

export const mistral: Family = {
  modelType: "mistral",
  architecture: "MistralForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: decoderTensors,
  config(hf, where) {
    const keys = parseHf(mistralKeys, hf, where);
    return {
      ...decoderConfig(keys, hf, where),
      ...readWindow(keys.sliding_window, keys.layer_types, keys.num_hidden_layers, () => true),
      act_fn: readActivation(keys.hidden_act ?? "silu", where),
      tie_word_embeddings: keys.tie_word_embeddings ?? false,
    };
  },
  toHf: (cfg) => ({
    ...decoderToHf(cfg),
    ...writeWindow(cfg),
    hidden_act: cfg.act_fn,
    tie_word_embeddings: cfg.tie_word_embeddings,
  }),
};
