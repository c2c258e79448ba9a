/** @file Small random models of three families' shapes, and SAEs for any of their hook points. */
import { leaf } from "../../src/graph/index.ts";
import { HookedModel, parseModelConfig, type ModelConfigInput } from "../../src/model/index.ts";
import { parametersOf } from "../../src/model/weights/parameters.ts";
import { Sae, Transcoder, type TranscoderArchitecture } from "../../src/sae/index.ts";

/** Numbers in [−1, 1), a function of the seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * 2 - 1;
  };
}

const base = { n_layers: 3, d_model: 16, d_head: 4, n_heads: 4, n_ctx: 40, d_vocab: 30, d_vocab_out: 30, d_mlp: 24 };

/** Configurations that differ as the families do. */
export const shapes: { readonly [name: string]: ModelConfigInput } = {
  gpt2: { ...base, act_fn: "gelu_new" },
  llama: {
    ...base,
    n_key_value_heads: 2,
    normalization_type: "RMS",
    positional_embedding_type: "rotary",
    act_fn: "silu",
    gated_mlp: true,
  },
  gemma2: {
    ...base,
    n_key_value_heads: 2,
    normalization_type: "RMS",
    positional_embedding_type: "rotary",
    act_fn: "gelu_pytorch_tanh",
    gated_mlp: true,
    use_normalization_before_and_after: true,
    use_local_attn: true,
    attn_types: ["local", "global", "local"],
    window_size: 4,
    attn_scores_soft_cap: 3,
    output_logits_soft_cap: 4,
    attn_scale: 2.5,
    embedding_scale: 4,
  },
};

/** Models whose tokens also see later ones: all of them, or the next one by masks of their own. */
export const notCausal: { readonly [name: string]: ModelConfigInput } = {
  bidirectional: { ...shapes["gpt2"]!, attention_dir: "bidirectional" },
  "own masks": {
    ...shapes["gpt2"]!,
    attention_bias: Array.from({ length: base.n_layers }, () =>
      Array.from({ length: base.n_ctx }, (_, q) =>
        Array.from({ length: base.n_ctx }, (_, k) => (k <= q + 1 ? 0 : null)),
      ),
    ),
  },
};

/** A model with random weights and biases, large enough that attention is far from uniform. */
export function randomModel(config: ModelConfigInput, seed: number): HookedModel {
  const cfg = parseModelConfig(config);
  const next = randomNumbers(seed);
  const weights = new Map(
    [...parametersOf(cfg)].map(([name, { kind, shape }]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const data = Float32Array.from({ length: size }, () => (kind === "norm" ? 1 : 0) + next() * 0.6);
      return [name, leaf(data, shape, { role: "weight", name })] as const;
    }),
  );
  return new HookedModel({ cfg, weights });
}

export const saeKinds = [
  "standard",
  "gated",
  "jumprelu",
  "topk",
  "topk-rescaled",
  "batchtopk",
  "standard-layer-norm",
  "standard-constant-norm",
] as const;
export type SaeKind = (typeof saeKinds)[number];

/** Keys of cfg.json by kind; the rest is the same for all. */
const kindConfigs: { readonly [K in SaeKind]: object } = {
  standard: { architecture: "standard" },
  gated: { architecture: "gated" },
  jumprelu: { architecture: "jumprelu", apply_b_dec_to_input: false },
  topk: { architecture: "topk", k: 5 },
  "topk-rescaled": { architecture: "topk", k: 5, rescale_acts_by_decoder_norm: true },
  batchtopk: { architecture: "batchtopk", k: 4.5 },
  "standard-layer-norm": { architecture: "standard", normalize_activations: "layer_norm" },
  "standard-constant-norm": { architecture: "standard", normalize_activations: "constant_norm_rescale" },
};

/** A random SAE for a hook point of a model. */
export function randomSae(model: HookedModel, hook: string, kind: SaeKind, dSae: number, seed: number): Sae {
  const { d_model, d_head, n_heads, n_key_value_heads } = model.cfg;
  const head = /attn\.hook_([qkvz])$/.exec(hook)?.[1];
  const heads = head === "k" || head === "v" ? (n_key_value_heads ?? n_heads) : n_heads;
  const dIn = head === undefined ? d_model : heads * d_head;
  const next = randomNumbers(seed);
  const array = (dims: number[], scale: number, shift = 0): { dims: number[]; data: Float32Array } => {
    const size = dims.reduce((a, b) => a * b, 1);
    return { dims, data: Float32Array.from({ length: size }, () => shift + scale * next()) };
  };
  const { architecture } = kindConfigs[kind] as { architecture: string };
  const own: { readonly [name: string]: Record<string, ReturnType<typeof array>> } = {
    standard: { b_enc: array([dSae], 0.3) },
    topk: { b_enc: array([dSae], 0.3) },
    gated: { b_gate: array([dSae], 0.3), b_mag: array([dSae], 0.3), r_mag: array([dSae], 0.3) },
    jumprelu: { b_enc: array([dSae], 0.3), threshold: array([dSae], 0.1, 0.2) },
    batchtopk: { b_enc: array([dSae], 0.3), topk_threshold: array([], 0, 0.25) },
  };
  return Sae.fromParams(
    {
      ...kindConfigs[kind],
      d_in: dIn,
      d_sae: dSae,
      reshape_activations: head === undefined ? "none" : "hook_z",
      metadata: { hook_name: hook },
    },
    {
      W_enc: array([dIn, dSae], 0.5),
      W_dec: array([dSae, dIn], 0.5),
      b_dec: array([dIn], 0.3),
      ...own[architecture],
    },
  );
}

/** Width of what stands at a hook point, heads merged. */
function widthAt(model: HookedModel, hook: string): number {
  const { shape } = model.describeHooks().find(({ name }) => name === hook)!;
  const own = shape.slice(1, -1).split(", ").slice(2);
  return own.reduce((product, size) => product * Number(size), 1);
}

/** A random transcoder from one hook point of a model to another. */
export function randomTranscoder(
  model: HookedModel,
  [from, to]: readonly [string, string],
  architecture: TranscoderArchitecture,
  dSae: number,
  seed: number,
): Transcoder {
  const [dIn, dOut] = [widthAt(model, from), widthAt(model, to)];
  const next = randomNumbers(seed);
  const array = (dims: number[], scale: number, shift = 0): { dims: number[]; data: Float32Array } => {
    const size = dims.reduce((a, b) => a * b, 1);
    return { dims, data: Float32Array.from({ length: size }, () => shift + scale * next()) };
  };
  return Transcoder.fromParams(
    { architecture, d_in: dIn, d_out: dOut, d_sae: dSae, metadata: { hook_name: from, hook_name_out: to } },
    {
      W_enc: array([dIn, dSae], 0.5),
      b_enc: array([dSae], 0.3),
      W_dec: array([dSae, dOut], 0.5),
      b_dec: array([dOut], 0.3),
      ...(architecture.includes("skip") && { W_skip: array([dOut, dIn], 0.3) }),
      ...(architecture.includes("jumprelu") && { threshold: array([dSae], 0.1, 0.2) }),
    },
  );
}

/** Rows of random ids. */
export function randomRows(lengths: readonly number[], vocabulary: number, seed: number): number[][] {
  const next = randomNumbers(seed);
  return lengths.map((n) => Array.from({ length: n }, () => Math.floor(((next() + 1) / 2) * vocabulary)));
}
