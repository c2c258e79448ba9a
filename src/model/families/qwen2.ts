/** @file Qwen 2 and 2.5: llama with biases on queries, keys and values, and a window on the upper layers if asked for. */
import { z } from "zod";
import { decoderBuffers, decoderConfig, decoderDefaults, decoderTensors, decoderToHf, queryBiases } from "./decoder.ts";
import { parseHf, type Family } from "./family.ts";
import { readWindow, writeWindow } from "./hfConfig.ts";

const qwenKeys = z.object({
  use_sliding_window: z.boolean(),
  max_window_layers: z.number().int().nonnegative(),
});

export const qwen2: Family = {
  modelType: "qwen2",
  architecture: "Qwen2ForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: { ...decoderTensors, ...queryBiases("required") },
  defaults: {
    ...decoderDefaults,
    vocab_size: 151936,
    intermediate_size: 22016,
    num_key_value_heads: 32,
    max_position_embeddings: 32768,
    use_sliding_window: false,
    sliding_window: 4096,
    max_window_layers: 28,
  },
  config(hf, where) {
    const { use_sliding_window, max_window_layers } = parseHf(qwenKeys, hf, where);
    const base = decoderConfig(hf, where);
    const windowed = use_sliding_window ? hf : { ...hf, sliding_window: null };
    return {
      ...base,
      ...readWindow(windowed, where, base.n_layers, (layer) => layer >= max_window_layers),
      default_prepend_bos: false,
    };
  },
  toHf: (cfg) => ({ ...decoderToHf(cfg), ...writeWindow(cfg), use_sliding_window: cfg.use_local_attn }),
};
