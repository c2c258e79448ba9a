/** @file Random weights, as TransformerLens starts its models. */
import { leaf, transpose, uniformAt } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { ModelConfig } from "../config.ts";
import { parametersOf } from "./parameters.ts";
import type { ModelWeights } from "./weights.ts";

/** Spread of a weight whose input and output have these widths; `gain` is `initializer_range`. */
type Spread = (gain: number, fanIn: number, fanOut: number) => number;

interface InitMode {
  readonly distribution: "normal" | "uniform";
  /** A standard deviation, or the half-width of the interval. */
  readonly spread: Spread;
  readonly defaultGain: (cfg: ModelConfig) => number;
}

const one = (): number => 1;
const modes: { readonly [M in ModelConfig["init_mode"]]: InitMode } = {
  gpt2: { distribution: "normal", spread: (gain) => gain, defaultGain: (cfg) => 0.8 / Math.sqrt(cfg.d_model) },
  xavier_uniform: {
    distribution: "uniform",
    spread: (gain, fanIn, fanOut) => gain * Math.sqrt(6 / (fanIn + fanOut)),
    defaultGain: one,
  },
  xavier_normal: {
    distribution: "normal",
    spread: (gain, fanIn, fanOut) => gain * Math.sqrt(2 / (fanIn + fanOut)),
    defaultGain: one,
  },
  kaiming_uniform: {
    distribution: "uniform",
    spread: (gain, fanIn) => gain * Math.SQRT2 * Math.sqrt(3 / fanIn),
    defaultGain: one,
  },
  kaiming_normal: {
    distribution: "normal",
    spread: (gain, fanIn) => gain * Math.SQRT2 * Math.sqrt(1 / fanIn),
    defaultGain: one,
  },
};

/** A matrix maps its first axis to its second; a per-head weight its middle axis to the other two. */
function fans(shape: readonly number[]): [fanIn: number, fanOut: number] {
  return shape.length === 3 ? [shape[1]!, shape[0]! * shape[2]!] : [shape[0]!, shape[1]!];
}

/**
 * Random parameters for a configuration, a function of the seed only: every `W_*` by `cfg.init_mode` (gpt2: normal with
 * standard deviation `initializer_range`, 0.8/√d_model if that is negative; xavier and kaiming as in PyTorch, relu gain for
 * kaiming, `initializer_range` as gain), biases 0, norm weights 1. Tied models share their embedding.
 * @returns float32 leaves under TransformerLens names
 * @example
 * const sizes = { n_layers: 1, d_model: 8, n_ctx: 4, d_head: 4, n_heads: 2, d_vocab: 10, d_vocab_out: 10 };
 * const weights = initWeights(parseModelConfig({ ...sizes, attn_only: true }), 0);
 * weights.get("blocks.0.attn.W_Q")!; // [2, 8, 4]
 */
export function initWeights(cfg: ModelConfig, seed: number): ModelWeights {
  const { distribution, spread, defaultGain } = modes[cfg.init_mode];
  const gain = cfg.initializer_range < 0 ? defaultGain(cfg) : cfg.initializer_range;
  const fill = distribution === "normal" ? fillNormal : fillUniform;
  const weights = new Map<string, Tensor>();
  let counter = 0;
  for (const [name, { kind, shape, sizes }] of parametersOf(cfg)) {
    if (kind === "extra" || (cfg.tie_word_embeddings && name === "unembed.W_U")) continue;
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    if (kind === "norm") data.fill(1);
    if (kind === "weight") {
      fill(data, spread(gain, ...fans(shape)), seed, counter);
      counter += data.length + (data.length % 2);
    }
    weights.set(name, leaf(data, shape, { role: "weight", name, sizes }));
  }
  if (cfg.tie_word_embeddings) weights.set("unembed.W_U", transpose(weights.get("embed.W_E")!));
  return weights;
}

/** Two uniform numbers make two normal ones (Box and Muller). */
function fillNormal(data: Float32Array, deviation: number, seed: number, counter: number): void {
  for (let i = 0; i < data.length; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - uniformAt(seed, counter + i)));
    const angle = 2 * Math.PI * uniformAt(seed, counter + i + 1);
    data[i] = radius * Math.cos(angle);
    if (i + 1 < data.length) data[i + 1] = radius * Math.sin(angle);
  }
}

function fillUniform(data: Float32Array, halfWidth: number, seed: number, counter: number): void {
  for (let i = 0; i < data.length; i++) data[i] = halfWidth * (2 * uniformAt(seed, counter + i) - 1);
}
