/** @file Qwen 2 and 2.5: llama with biases on queries, keys and values, and a window on the upper layers if asked for. */
import { z } from "zod";
import { decoderBuffers, decoderConfig, decoderKeys, decoderTensors, decoderToHf } from "./decoder.ts";
import { holds, parseHf, type Family } from "./family.ts";
import { layerTypes, readActivation, readWindow, size, writeWindow } from "./hfConfig.ts";
import { merged } from "./layouts.ts";

const qwenKeys = decoderKeys.extend({
  use_sliding_window: z.boolean().default(false),
  sliding_window: size.nullable().default(4096),
  max_window_layers: z.number().int().nonnegative().nullish(),
  layer_types: layerTypes,
});

export const qwen2: Family = {
  modelType: "qwen2",
  architecture: "Qwen2ForCausalLM",
  prefix: "model.",
  ignored: decoderBuffers,
  tensors: {
    ...decoderTensors,
    "model.layers.*.self_attn.q_proj.bias": holds(merged, "blocks.*.attn.b_Q"),
    "model.layers.*.self_attn.k_proj.bias": holds(merged, "blocks.*.attn.b_K"),
    "model.layers.*.self_attn.v_proj.bias": holds(merged, "blocks.*.attn.b_V"),
  },
  config(hf, where) {
    const keys = parseHf(qwenKeys, hf, where);
    const window = keys.use_sliding_window ? keys.sliding_window : null;
    const firstLocal = keys.max_window_layers ?? 28;
    return {
      ...decoderConfig(keys, hf, where),
      ...readWindow(window, keys.layer_types, keys.num_hidden_layers, (layer) => layer >= firstLocal),
      act_fn: readActivation(keys.hidden_act ?? "silu", where),
      tie_word_embeddings: keys.tie_word_embeddings ?? false,
      default_prepend_bos: false,
    };
  },
  toHf: (cfg) => ({
    ...decoderToHf(cfg),
    ...writeWindow(cfg),
    use_sliding_window: cfg.use_local_attn,
    hidden_act: cfg.act_fn,
    tie_word_embeddings: cfg.tie_word_embeddings,
  }),
};
