/** @file Rotary position tables: frequencies, their stretching for long contexts, cosines and sines. */
import { axis } from "../../graph/axis.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import type { ModelConfig, RopeScaling } from "../config.ts";

/** Angular frequency of each rotated pair; RoFormer's base^(−2i/d). */
function baseFrequencies(width: number, base: number): number[] {
  return Array.from({ length: width / 2 }, (_, i) => 1 / Math.pow(base, (2 * i) / width));
}

/** How each kind of scaling changes the frequencies; the factor multiplies cosines and sines. */
const scalings: {
  readonly [K in RopeScaling["rope_type"]]: (
    frequencies: number[],
    scaling: Extract<RopeScaling, { rope_type: K }>,
    context: { width: number; base: number },
  ) => { frequencies: number[]; factor: number };
} = {
  linear: (frequencies, { factor }) => ({ frequencies: frequencies.map((w) => w / factor), factor: 1 }),
  llama3: (frequencies, { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings }) => ({
    frequencies: frequencies.map((w) => {
      const wavelength = (2 * Math.PI) / w;
      if (wavelength > original_max_position_embeddings / low_freq_factor) return w / factor;
      if (wavelength < original_max_position_embeddings / high_freq_factor) return w;
      const smooth =
        (original_max_position_embeddings / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
      return ((1 - smooth) * w) / factor + smooth * w;
    }),
    factor: 1,
  }),
  yarn: (frequencies, scaling, { width, base }) => {
    const { factor, beta_fast, beta_slow, original_max_position_embeddings: context } = scaling;
    const boundary = (turns: number): number =>
      (width * Math.log(context / (turns * 2 * Math.PI))) / (2 * Math.log(base));
    const whole = scaling.truncate ?? true;
    const low = Math.max(whole ? Math.floor(boundary(beta_fast)) : boundary(beta_fast), 0);
    const high = Math.min(whole ? Math.ceil(boundary(beta_slow)) : boundary(beta_slow), width - 1);
    return {
      frequencies: frequencies.map((w, i) => {
        const ramp = Math.min(Math.max((i - low) / (high - low || 0.001), 0), 1);
        return (w / factor) * ramp + w * (1 - ramp);
      }),
      factor: scaling.attention_factor ?? (factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1),
    };
  },
  proportional: (frequencies, { factor, partial_rotary_factor }, { width }) => ({
    frequencies: frequencies.map((w, i) => (i < Math.floor((partial_rotary_factor * width) / 2) ? w / factor : 0)),
    factor: 1,
  }),
};

function scaledFrequencies(cfg: ModelConfig): { frequencies: number[]; factor: number } {
  const width = cfg.rotary_dim ?? cfg.d_head;
  const frequencies = baseFrequencies(width, cfg.rotary_base);
  const scaling = cfg.rope_scaling;
  if (scaling === null) return { frequencies, factor: 1 };
  const context = { width, base: cfg.rotary_base };
  switch (scaling.rope_type) {
    case "linear":
      return scalings.linear(frequencies, scaling, context);
    case "llama3":
      return scalings.llama3(frequencies, scaling, context);
    case "yarn":
      return scalings.yarn(frequencies, scaling, context);
    case "proportional":
      return scalings.proportional(frequencies, scaling, context);
  }
}

/**
 * Cosines and sines of all positions below `length`, in float32 as the reference implementations compute them.
 * @returns two leaves [position, rotary_dim / 2]
 */
export function rotaryTables(cfg: ModelConfig, length: number): { cos: Tensor; sin: Tensor } {
  const { frequencies, factor } = scaledFrequencies(cfg);
  const half = frequencies.length;
  const angles = frequencies.map(Math.fround);
  const cos = new Float32Array(length * half);
  const sin = new Float32Array(length * half);
  for (let p = 0; p < length; p++)
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(p * angles[i]!);
      cos[p * half + i] = Math.cos(angle) * factor;
      sin[p * half + i] = Math.sin(angle) * factor;
    }
  const positions = axis("rotary positions", length);
  const table = (data: Float32Array, name: string): Tensor =>
    leaf(data, [length, half], { shape: [positions, half], name });
  return { cos: table(cos, "rotary cos"), sin: table(sin, "rotary sin") };
}
