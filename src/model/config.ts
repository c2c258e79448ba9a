/** @file The configuration of a hooked transformer: the keys of TransformerLens' HookedTransformerConfig, resolved. */
import { z } from "zod";
import { activationNames, type ActivationName } from "./activations.ts";
import { ModelError } from "./errors.ts";

/** How rotary frequencies are stretched for longer contexts. */
export type RopeScaling =
  | { rope_type: "linear"; factor: number }
  | {
      rope_type: "llama3";
      factor: number;
      low_freq_factor: number;
      high_freq_factor: number;
      original_max_position_embeddings: number;
    }
  | {
      rope_type: "yarn";
      factor: number;
      attention_factor?: number | undefined;
      beta_fast: number;
      beta_slow: number;
      original_max_position_embeddings: number;
      /** Whether the boundaries between stretched and kept frequencies are whole numbers: true if absent. */
      truncate?: boolean | undefined;
    }
  /** Only the first pairs of each head rotate, at the frequencies that they have in a whole one. */
  | { rope_type: "proportional"; factor: number; partial_rotary_factor: number };

/** A resolved configuration. Names and meanings are those of HookedTransformerConfig. */
export type ModelConfig = {
  model_name: string;
  original_architecture?: string | undefined;
  n_layers: number;
  d_model: number;
  n_ctx: number;
  d_head: number;
  n_heads: number;
  n_key_value_heads: number | null;
  d_mlp: number | null;
  d_vocab: number;
  d_vocab_out: number;
  attn_only: boolean;
  normalization_type: "LN" | "LNPre" | "RMS" | "RMSPre" | null;
  eps: number;
  final_rms: boolean;
  use_normalization_before_and_after: boolean;
  attention_dir: "causal" | "bidirectional";
  use_attn_scale: boolean;
  /** −1: √d_head. */
  attn_scale: number;
  scale_attn_by_inverse_layer_idx: boolean;
  /** −1: off. */
  attn_scores_soft_cap: number;
  use_local_attn: boolean;
  /** One entry per layer when `use_local_attn`. */
  attn_types: ("global" | "local")[] | null;
  /** A local layer's query sees itself and the `window_size − 1` positions before it. */
  window_size: number | null;
  parallel_attn_mlp: boolean;
  positional_embedding_type: "standard" | "rotary" | "shortformer" | "none";
  rotary_dim: number | null;
  rotary_base: number;
  rotary_adjacent_pairs: boolean;
  rope_scaling: RopeScaling | null;
  act_fn: ActivationName | null;
  gated_mlp: boolean;
  /** Embeddings are multiplied by this (Gemma: √d_model). */
  embedding_scale: number;
  /** −1: off. */
  output_logits_soft_cap: number;
  tie_word_embeddings: boolean;
  default_prepend_bos: boolean;
  /** Additive attention masks for each layer, `n_ctx × n_ctx`, null entries are −∞; instead of a causal mask. */
  attention_bias: (number | null)[][][] | null;
  initializer_range: number;
  init_mode: "gpt2" | "xavier_uniform" | "xavier_normal" | "kaiming_uniform" | "kaiming_normal";
};

type RequiredSize = "n_layers" | "d_model" | "n_ctx" | "d_head" | "n_heads" | "d_vocab" | "d_vocab_out";

/** A configuration as it is written: the sizes, and what differs from HookedTransformerConfig's defaults. */
export type ModelConfigInput = Pick<ModelConfig, RequiredSize> & Partial<Omit<ModelConfig, RequiredSize>>;

const count = z.number().int().positive();

export const ropeScalingSchema: z.ZodType<RopeScaling> = z.discriminatedUnion("rope_type", [
  z.object({ rope_type: z.literal("linear"), factor: z.number().positive() }),
  z.object({
    rope_type: z.literal("llama3"),
    factor: z.number().positive(),
    low_freq_factor: z.number().positive(),
    high_freq_factor: z.number().positive(),
    original_max_position_embeddings: z.number().positive(),
  }),
  z.object({
    rope_type: z.literal("yarn"),
    factor: z.number().positive(),
    attention_factor: z.number().positive().optional(),
    beta_fast: z.number().positive().default(32),
    beta_slow: z.number().positive().default(1),
    original_max_position_embeddings: z.number().positive(),
    truncate: z.boolean().optional(),
  }),
  z.object({
    rope_type: z.literal("proportional"),
    factor: z.number().positive().default(1),
    partial_rotary_factor: z.number().positive().max(1).default(1),
  }),
]);

const configObject = z.object({
  model_name: z.string().default("custom"),
  original_architecture: z.string().optional(),
  n_layers: z.number().int().nonnegative(),
  d_model: count,
  n_ctx: count,
  d_head: count,
  n_heads: count,
  n_key_value_heads: count.nullable().default(null),
  d_mlp: count.nullable().default(null),
  d_vocab: count,
  d_vocab_out: count,
  attn_only: z.boolean().default(false),
  normalization_type: z.enum(["LN", "LNPre", "RMS", "RMSPre"]).nullable().default("LN"),
  eps: z.number().positive().default(1e-5),
  final_rms: z.boolean().default(false),
  use_normalization_before_and_after: z.boolean().default(false),
  attention_dir: z.enum(["causal", "bidirectional"]).default("causal"),
  use_attn_scale: z.boolean().default(true),
  attn_scale: z.number().default(-1),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  attn_scores_soft_cap: z.number().default(-1),
  use_local_attn: z.boolean().default(false),
  attn_types: z
    .array(z.enum(["global", "local"]))
    .nullable()
    .default(null),
  window_size: count.nullable().default(null),
  parallel_attn_mlp: z.boolean().default(false),
  positional_embedding_type: z.enum(["standard", "rotary", "shortformer", "none"]).default("standard"),
  rotary_dim: count.nullable().default(null),
  rotary_base: z.number().positive().default(10000),
  rotary_adjacent_pairs: z.boolean().default(false),
  rope_scaling: ropeScalingSchema.nullable().default(null),
  act_fn: z.enum(activationNames).nullable().default(null),
  gated_mlp: z.boolean().default(false),
  embedding_scale: z.number().default(1),
  output_logits_soft_cap: z.number().default(-1),
  tie_word_embeddings: z.boolean().default(false),
  default_prepend_bos: z.boolean().default(true),
  attention_bias: z
    .array(z.array(z.array(z.number().nullable())))
    .nullable()
    .default(null),
  initializer_range: z.number().default(-1),
  init_mode: z.enum(["gpt2", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"]).default("gpt2"),
});

/** One schema for every model: a family fills it from a Hugging Face config, a small model states it itself. */
export const modelConfigSchema: z.ZodType<ModelConfig> = configObject;

/** Every key of a configuration. */
export const modelConfigKeys: readonly string[] = Object.keys(configObject.shape);

/**
 * Checks a configuration and fills in its defaults.
 * @param where the file it came from, for the error
 * @throws ModelError naming each wrong key
 * @example
 * const sizes = { n_layers: 1, d_model: 8, n_ctx: 4, d_head: 4, n_heads: 2, d_vocab: 10, d_vocab_out: 10 };
 * parseModelConfig({ ...sizes, attn_only: true }).normalization_type; // "LN"
 */
export function parseModelConfig(config: unknown, where = "the model configuration"): ModelConfig {
  const parsed = modelConfigSchema.safeParse(config);
  if (!parsed.success)
    throw new ModelError("the model configuration is not valid", {
      code: "model/config",
      where,
      received: z.prettifyError(parsed.error),
    });
  const cfg = parsed.data;
  const problem = inconsistency(cfg);
  if (problem !== undefined) throw new ModelError(problem, { code: "model/config", where });
  return cfg;
}

function inconsistency(cfg: ModelConfig): string | undefined {
  if (cfg.n_heads % kvHeads(cfg) !== 0)
    return `n_heads ${cfg.n_heads} is not a multiple of n_key_value_heads ${kvHeads(cfg)}`;
  if (!cfg.attn_only && (cfg.d_mlp === null || cfg.act_fn === null)) return "a model with MLPs needs d_mlp and act_fn";
  if (cfg.use_local_attn && (cfg.window_size === null || cfg.attn_types?.length !== cfg.n_layers))
    return "local attention needs window_size and one entry of attn_types per layer";
  if (cfg.positional_embedding_type === "rotary" && (cfg.rotary_dim ?? cfg.d_head) > cfg.d_head)
    return `rotary_dim ${cfg.rotary_dim} is larger than d_head ${cfg.d_head}`;
  if (cfg.positional_embedding_type === "rotary" && (cfg.rotary_dim ?? cfg.d_head) % 2 !== 0)
    return `rotary_dim ${cfg.rotary_dim ?? cfg.d_head} is odd: entries of a head are rotated in pairs`;
  return undefined;
}

/** Heads that keys and values have. */
export function kvHeads(cfg: ModelConfig): number {
  return cfg.n_key_value_heads ?? cfg.n_heads;
}
