/** @file The configuration of a sparse autoencoder: SAELens' cfg.json (version 6), and what older files become. */
import { z } from "zod";
import { SaeError } from "../errors.ts";
import { architectures, runsAs, type SaeArchitecture, type StoredArchitecture } from "../latents/architectures.ts";
import { normalizationModes, type NormalizationMode } from "../latents/normalize.ts";
import { upgradeConfig } from "./upgrade.ts";

const count = z.number().int().positive();
const text = z.string().nullish();
const stored = Object.keys(runsAs) as StoredArchitecture[];

/** What an SAE says about itself; other keys are kept as they are. */
export interface SaeMetadata {
  model_name?: string | null | undefined;
  hook_name?: string | null | undefined;
  hook_head_index?: number | null | undefined;
  context_size?: number | null | undefined;
  prepend_bos: boolean;
  neuronpedia_id?: string | null | undefined;
  [key: string]: unknown;
}

/** A configuration as files hold it, before training forms have become inference forms. */
export interface StoredSaeConfig {
  architecture: StoredArchitecture;
  d_in: number;
  d_sae: number;
  dtype: string;
  device: string;
  apply_b_dec_to_input: boolean;
  normalize_activations: NormalizationMode;
  reshape_activations: "none" | "hook_z";
  /** topk: latents kept per token. A batchtopk's average may be fractional. */
  k?: number | undefined;
  rescale_acts_by_decoder_norm: boolean;
  metadata: SaeMetadata;
}

/** Keys and meanings of SAELens' cfg.json; where the SAE hooks in stands in `metadata`. */
export interface SaeConfig extends Omit<StoredSaeConfig, "architecture"> {
  readonly architecture: SaeArchitecture;
}

type RequiredKey = "architecture" | "d_in" | "d_sae";

/** A configuration as it is written, with SAELens' defaults for what is left out. */
export type SaeConfigInput = Pick<StoredSaeConfig, RequiredKey> &
  Partial<Omit<StoredSaeConfig, RequiredKey | "metadata">> & { metadata?: Partial<SaeMetadata> };

const metadataSchema = z.looseObject({
  model_name: text,
  hook_name: text,
  hook_head_index: z.number().int().nullish(),
  context_size: z.number().int().nullish(),
  prepend_bos: z.boolean().default(true),
  neuronpedia_id: text,
});

const schema: z.ZodType<StoredSaeConfig> = z.object({
  architecture: z.enum(stored),
  d_in: count,
  d_sae: count,
  dtype: z.string().default("float32"),
  device: z.string().default("cpu"),
  apply_b_dec_to_input: z.boolean().default(true),
  normalize_activations: z.enum(normalizationModes).default("none"),
  reshape_activations: z.enum(["none", "hook_z"]).default("none"),
  k: z.number().positive().optional(),
  rescale_acts_by_decoder_norm: z.boolean().default(false),
  metadata: metadataSchema.prefault({}),
});

/**
 * Checks a configuration of any SAELens version and fills in its defaults.
 * @param config the parsed cfg.json
 * @param where the file it came from, for the error
 * @throws SaeError naming the wrong keys; for an unknown architecture it lists those that are supported
 * @example
 * const cfg = parseSaeConfig({ hook_point: "blocks.9.attn.hook_z", d_in: 768, d_sae: 24576 });
 * console.log(cfg.architecture, cfg.reshape_activations); // standard hook_z
 */
export function parseSaeConfig(config: unknown, where = "the SAE configuration"): StoredSaeConfig {
  const upgraded = upgradeConfig(config, where);
  if (typeof upgraded["architecture"] !== "string" || !Object.hasOwn(runsAs, upgraded["architecture"]))
    throw new SaeError("this SAE architecture is not supported", {
      code: "sae/architecture",
      where,
      expected: `one of ${stored.join(", ")}`,
      received: JSON.stringify(upgraded["architecture"]),
      hint: String(upgraded["architecture"]).endsWith("transcoder")
        ? "it is loaded with Transcoder.load, or with loadLatentModel"
        : undefined,
    });
  const parsed = schema.safeParse(upgraded);
  if (!parsed.success)
    throw new SaeError("the SAE configuration is not valid", {
      code: "sae/config",
      where,
      received: z.prettifyError(parsed.error),
    });
  const cfg = parsed.data;
  if (architectures[runsAs[cfg.architecture]].ranks && !(Number.isInteger(cfg.k) && cfg.k! <= cfg.d_sae))
    throw new SaeError(`a ${cfg.architecture} SAE needs k, the number of latents it keeps`, {
      code: "sae/config",
      where,
      expected: `an integer in 1 … d_sae = ${cfg.d_sae}`,
      received: String(cfg.k),
    });
  return cfg;
}
