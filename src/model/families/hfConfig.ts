/** @file What Hugging Face's config.json files share, in the key layout of the hub and in that of transformers 5. */
import { z } from "zod";
import { activationAliases, activationNames, type ActivationName } from "../activations.ts";
import { ropeScalingSchema, type ModelConfig, type RopeScaling } from "../config.ts";
import { ModelError } from "../errors.ts";
import { parseHf, type HfConfig } from "./family.ts";

export const size: z.ZodNumber = z.number().int().positive();

/** @throws ModelError listing the known names */
export function readActivation(name: string, where: string): ActivationName {
  const found = activationNames.find((known) => known === name);
  if (found !== undefined) return found;
  if (Object.hasOwn(activationAliases, name)) return activationAliases[name]!;
  throw new ModelError("the activation function is not supported", {
    code: "model/config",
    where,
    expected: [...activationNames, ...Object.keys(activationAliases)].join(", "),
    received: name,
  });
}

const ropeKeys = z.object({
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: z.number().positive().nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  factor: z.number().positive().nullish(),
  original_max_position_embeddings: size.nullish(),
  attention_factor: z.number().positive().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  truncate: z.boolean().nullish(),
});
type RopeKeys = z.output<typeof ropeKeys>;

export interface Rope {
  readonly base: number;
  /** The part of each head that is rotated, if the rotary settings themselves say so. */
  readonly fraction: number | undefined;
  readonly scaling: RopeScaling | null;
}

const nested = z.record(z.string(), z.unknown()).nullish();
const ropePlaces = z.object({
  rope_scaling: nested,
  rope_parameters: nested,
  original_max_position_embeddings: size.nullish(),
  max_position_embeddings: size,
});

/**
 * Rotary settings: `rope_scaling` as far as it says anything, else `rope_parameters`. The base may stand at the top level
 * too, under a name that depends on the family.
 * @throws ModelError for a kind of scaling that is not supported
 */
export function readRope(hf: HfConfig, where: string, baseKey = "rope_theta"): Rope {
  const { rope_scaling, rope_parameters, ...top } = parseHf(ropePlaces, hf, where);
  const said = rope_scaling && Object.keys(rope_scaling).length > 0 ? rope_scaling : (rope_parameters ?? {});
  const perKind = Object.keys(said).find((key) => key.endsWith("_attention"));
  if (perKind !== undefined) throw notSupported(where, `settings of ${perKind} alone`);
  const keys = parseHf(ropeKeys, said, where);
  const { [baseKey]: base } = parseHf(z.object({ [baseKey]: z.number().positive().nullish() }), hf, where);
  const context = top.max_position_embeddings;
  const original = top.original_max_position_embeddings ?? keys.original_max_position_embeddings ?? context;
  const scaling = readScaling(said, keys, { original, context }, where);
  return {
    base: keys.rope_theta ?? base ?? 10000,
    // Where the frequencies say which part rotates, they are those of the whole head.
    fraction: scaling?.rope_type === "proportional" ? 1 : (keys.partial_rotary_factor ?? undefined),
    scaling,
  };
}

const notSupported = (where: string, received: string): ModelError =>
  new ModelError("the rope scaling is not supported", {
    code: "model/rope",
    where,
    expected: "default, dynamic, linear, llama3, proportional or yarn with their parameters, the same for all layers",
    received,
  });

function readScaling(
  said: HfConfig,
  keys: RopeKeys,
  { original, context }: { original: number; context: number },
  where: string,
): RopeScaling | null {
  const kind = keys.rope_type ?? keys.type ?? "default";
  // Dynamic scaling stretches beyond max_position_embeddings only, where our context ends.
  if (kind === "default" || (kind === "dynamic" && keys.factor)) return null;
  const given = { ...withoutNulls(said), rope_type: kind, original_max_position_embeddings: original };
  const factor = keys.factor ?? context / original;
  const parsed = ropeScalingSchema.safeParse(
    kind === "yarn" ? { ...given, factor, attention_factor: yarnAttention({ ...keys, factor }) } : given,
  );
  if (parsed.success) return parsed.data;
  throw notSupported(
    where,
    ["linear", "llama3", "proportional", "yarn"].includes(kind) ? z.prettifyError(parsed.error) : kind,
  );
}

/** Cosines and sines of YaRN are multiplied by this. */
function yarnAttention({
  attention_factor,
  factor,
  mscale,
  mscale_all_dim,
}: Omit<RopeKeys, "factor"> & { factor: number }): number {
  const scale = (m: number): number => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  if (typeof attention_factor === "number") return attention_factor;
  return mscale && mscale_all_dim ? scale(mscale) / scale(mscale_all_dim) : scale(1);
}

function withoutNulls(hf: HfConfig): HfConfig {
  return Object.fromEntries(Object.entries(hf).filter(([, value]) => value !== null));
}

/** The inverse of `readRope`, for families that rotate whole heads. */
export function writeRope(cfg: ModelConfig): HfConfig {
  return { rope_theta: cfg.rotary_base, rope_scaling: cfg.rope_scaling };
}

const windowKeys = z.object({
  sliding_window: size.nullable(),
  layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).nullish(),
});

/**
 * Which layers see a window only: `layer_types` says, else `isLocal`. Without a window, or where no layer is local, attention
 * is global.
 */
export function readWindow(
  hf: HfConfig,
  where: string,
  layers: number,
  isLocal: (layer: number) => boolean,
): Pick<ModelConfig, "use_local_attn" | "attn_types" | "window_size"> {
  const { sliding_window: window, layer_types: types } = parseHf(windowKeys, hf, where);
  if (types && types.length !== layers)
    throw new ModelError("layer_types does not name the kind of each layer", {
      code: "model/config",
      where,
      expected: `${layers} layers`,
      received: String(types.length),
    });
  const local = Array.from({ length: layers }, (_, i) => (types ? types[i] === "sliding_attention" : isLocal(i)));
  if (window === null || !local.includes(true)) return { use_local_attn: false, attn_types: null, window_size: null };
  return { use_local_attn: true, attn_types: local.map((yes) => (yes ? "local" : "global")), window_size: window };
}

/** The inverse of `readWindow`. */
export function writeWindow(cfg: ModelConfig): HfConfig {
  const types = cfg.attn_types ?? Array.from({ length: cfg.n_layers }, () => "global");
  return {
    sliding_window: cfg.use_local_attn ? cfg.window_size : null,
    layer_types: types.map((type) => (type === "local" ? "sliding_attention" : "full_attention")),
  };
}
