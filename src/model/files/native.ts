/** @file Small models as TransformerLens has them: its configuration keys, its parameter names. */
import { z } from "zod";
import { modelConfigKeys, type ModelConfig, type ModelConfigInput, type RopeScaling } from "../config.ts";
import { ModelError } from "../errors.ts";
import { holds, parseHf, type HfConfig, type TensorTable } from "../families/family.ts";
import { same } from "../families/layouts.ts";
import { parametersOf } from "../weights/parameters.ts";

/** Keys of older code for today's. */
const aliases: Readonly<Record<string, string>> = {
  num_layers: "n_layers",
  num_heads: "n_heads",
  act_type: "act_fn",
  pos_embed_type: "positional_embedding_type",
};

/** Switches that change what a model computes and that we do not have. */
const unsupported = [
  "use_qk_norm",
  "num_experts",
  "post_embedding_ln",
  "use_attention_sinks",
  "clip_qkv",
  "use_logn_attn",
  "use_dynamic_ntk_rope",
  "rotary_base_local",
] as const;

const given = z.number().int().positive();
/** −1, null and absence say "derive it". */
const derived = z
  .union([given, z.literal(-1)])
  .nullish()
  .transform((value) => (value === null || value === -1 ? undefined : value));
const mask = z.array(z.array(z.number().nullable()));
const factor = z.number().positive().default(1);

const nativeKeys = z.object({
  n_layers: z.number().int().nonnegative(),
  d_model: given,
  n_ctx: given,
  n_heads: derived,
  d_head: derived,
  d_mlp: derived,
  d_vocab: derived,
  d_vocab_out: derived,
  attn_only: z.boolean().default(false),
  act_fn: z.string().nullish(),
  positional_embedding_type: z.string().default("standard"),
  mask_bias_layer0: mask.nullish(),
  mask_bias_other: mask.nullish(),
  rotary_scaling_factor: factor,
  use_NTK_by_parts_rope: z.boolean().default(false),
  NTK_by_parts_low_freq_factor: factor,
  NTK_by_parts_high_freq_factor: z.number().positive().default(4),
  NTK_by_parts_factor: z.number().positive().default(8),
  NTK_original_ctx_len: z.number().positive().default(8192),
  use_yarn_rope: z.boolean().default(false),
  yarn_factor: factor,
  yarn_attention_factor: factor,
  yarn_beta_fast: z.number().positive().default(32),
  yarn_beta_slow: factor,
  yarn_original_max_position_embeddings: z.number().positive().default(4096),
});

type NativeKeys = z.output<typeof nativeKeys>;

/** Whether a config.json is TransformerLens' and not Hugging Face's. */
export function isNativeConfig(config: HfConfig): boolean {
  return !("model_type" in config) && "d_model" in config && ("n_layers" in config || "num_layers" in config);
}

/**
 * Reads a HookedTransformerConfig with its defaults. Keys that are not part of it are ignored.
 * @param shapeOf the shape of a tensor of the model's file, for vocabularies the configuration does not say
 * @throws ModelError for malformed keys and for switches that are not supported
 */
export function nativeConfig(
  config: HfConfig,
  where: string,
  shapeOf: (name: string) => readonly number[] | undefined,
): ModelConfigInput {
  const raw = Object.fromEntries(Object.entries(config).map(([key, value]) => [aliases[key] ?? key, value]));
  for (const key of unsupported)
    if (raw[key])
      throw new ModelError("the model has a part that is not supported", {
        code: "model/config",
        where,
        received: `${key}: ${JSON.stringify(raw[key])}`,
      });
  const keys = parseHf(nativeKeys, raw, where);
  const n_heads = keys.n_heads ?? Math.floor(keys.d_model / (keys.d_head ?? keys.d_model));
  const d_vocab = keys.d_vocab ?? shapeOf("embed.W_E")?.[0];
  return {
    ...(Object.fromEntries(
      Object.entries(raw).filter(([key]) => modelConfigKeys.includes(key)),
    ) as Partial<ModelConfigInput>),
    n_layers: keys.n_layers,
    d_model: keys.d_model,
    n_ctx: keys.n_ctx,
    n_heads,
    d_head: keys.d_head ?? Math.floor(keys.d_model / n_heads),
    d_mlp: keys.d_mlp ?? (keys.attn_only ? null : 4 * keys.d_model),
    d_vocab: d_vocab!,
    d_vocab_out: keys.d_vocab_out ?? shapeOf("unembed.W_U")?.[1] ?? d_vocab!,
    act_fn: (keys.act_fn?.toLowerCase() ?? null) as ModelConfigInput["act_fn"],
    positional_embedding_type: (keys.positional_embedding_type === "orig"
      ? "standard"
      : keys.positional_embedding_type) as ModelConfigInput["positional_embedding_type"],
    tie_word_embeddings: raw.tie_word_embeddings === true && shapeOf("unembed.W_U") === undefined,
    ...(raw.rope_scaling === undefined ? { rope_scaling: readScaling(keys) } : {}),
    ...(keys.mask_bias_layer0 && keys.mask_bias_other ? { attention_bias: readMasks(keys, where) } : {}),
  };
}

function readScaling(keys: NativeKeys): RopeScaling | null {
  if (keys.use_NTK_by_parts_rope)
    return {
      rope_type: "llama3",
      factor: keys.NTK_by_parts_factor,
      low_freq_factor: keys.NTK_by_parts_low_freq_factor,
      high_freq_factor: keys.NTK_by_parts_high_freq_factor,
      original_max_position_embeddings: keys.NTK_original_ctx_len,
    };
  if (keys.use_yarn_rope)
    return {
      rope_type: "yarn",
      factor: keys.yarn_factor,
      attention_factor: keys.yarn_attention_factor,
      beta_fast: keys.yarn_beta_fast,
      beta_slow: keys.yarn_beta_slow,
      original_max_position_embeddings: keys.yarn_original_max_position_embeddings,
    };
  return keys.rotary_scaling_factor === 1 ? null : { rope_type: "linear", factor: keys.rotary_scaling_factor };
}

/**
 * The masks of a model that states its own. A query other than the first that may see only itself sees nothing: such
 * models mask the diagonal, leave its entry open where a row would be empty, and zero that row of the pattern.
 */
function readMasks(
  { mask_bias_layer0, mask_bias_other, n_layers, n_ctx }: NativeKeys,
  where: string,
): ModelConfig["attention_bias"] {
  const clean = (key: string, rows: readonly (readonly (number | null)[])[]): (number | null)[][] => {
    if (rows.length !== n_ctx || rows.some((row) => row.length !== n_ctx))
      throw new ModelError("an attention mask does not have the shape of the context", {
        code: "model/config",
        where: `${where}, ${key}`,
        expected: `[${n_ctx}, ${n_ctx}]`,
        received: `[${rows.length}, ${[...new Set(rows.map((row) => row.length))].join(" or ")}]`,
      });
    return rows.map((row, query) =>
      query > 0 && row.every((value, key) => (value !== null) === (key === query)) ? row.map(() => null) : [...row],
    );
  };
  const [first, other] = [clean("mask_bias_layer0", mask_bias_layer0!), clean("mask_bias_other", mask_bias_other!)];
  return Array.from({ length: n_layers }, (_, layer) => (layer === 0 ? first : other));
}

/** Tensors of a TransformerLens state dict: the parameters under their own names. */
export function nativeTensors(cfg: ModelConfig): TensorTable {
  return Object.fromEntries(
    [...parametersOf(cfg)].map(([name, { kind }]) => [
      name,
      holds(same, name, kind === "extra" ? "optional" : "required"),
    ]),
  );
}

/** Grouped keys and values have names of their own in TransformerLens. */
export function nativeOtherNames(name: string): readonly string[] {
  return /\.attn\.[Wb]_[KV]$/.test(name) ? [name.replace(/([Wb]_[KV])$/, "_$1")] : [];
}

/** Buffers of a state dict. */
export const nativeIgnored: RegExp = /\.(mask|IGNORE|rotary_sin|rotary_cos)$/;
