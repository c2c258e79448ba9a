/** @file Qwen 2 and 2.5: llama with biases on queries, keys and values, and a window on the upper layers if asked for. */
import { z } from "zod";
import { decoderBuffers, decoderConfig, decoderTensors, decoderToHf, queryBiases } from "./decoder.ts";
import { parseHf, type Family } from "./family.ts";
import { readWindow, writeWindow } from "./hfConfig.ts";

const qwenKeys = z.object({
  use_sliding_window: z.boolean().default(false),
  max_window_layers: z.number().int().nonnegative().default(28),
});

export const qwen2: Family = {
  modelType: "qwen2",
  architecture: "Qwen2ForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: { ...decoderTensors, ...queryBiases("required") },
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
