/** @file Configurations written before SAELens 6: flat keys and older names, brought into today's shape. */
import { SaeError } from "../errors.ts";

type Json = { readonly [key: string]: unknown };

/** Old name → new name. */
const renamed: Readonly<Record<string, string>> = {
  hook_point: "hook_name",
  hook_point_layer: "hook_layer",
  hook_point_head_index: "hook_head_index",
  activation_fn_str: "activation_fn",
};

/** Keys that older versions kept at top level and that are metadata now. */
export const metadataKeys: readonly string[] = [
  "sae_lens_version",
  "sae_lens_training_version",
  "model_name",
  "model_class_name",
  "hook_name",
  "hook_name_out",
  "hook_layer",
  "hook_head_index",
  "context_size",
  "prepend_bos",
  "seqpos_slice",
  "exclude_special_tokens",
  "dataset_path",
  "sequence_separator_token",
  "disable_concat_sequences",
  "model_from_pretrained_kwargs",
  "neuronpedia_id",
];

const isObject = (x: unknown): x is Json => typeof x === "object" && x !== null && !Array.isArray(x);

/** Today's spelling of `normalize_activations`, which has been a boolean and null. */
function normalization(value: unknown): unknown {
  if (value === true) return "expected_average_only_in";
  return value === false || value === null ? undefined : value;
}

/** The architecture an old config spells through its activation function; relu is what they all start from. */
function fromActivation(activation: unknown, kwargs: unknown, where: string): Json {
  if (activation === undefined || activation === null || activation === "relu") return {};
  if (activation === "topk") return { architecture: "topk", ...(isObject(kwargs) ? { k: kwargs["k"] } : {}) };
  throw new SaeError("this SAE activation function is not supported", {
    code: "sae/config",
    where,
    expected: "relu or topk",
    received: JSON.stringify(activation),
  });
}

/**
 * A configuration of any age with today's keys. Current ones pass unchanged but for a `torch.` prefix of the dtype.
 * Values are not checked here.
 */
export function upgradeConfig(config: unknown, where: string): Json {
  if (!isObject(config))
    throw new SaeError("the SAE configuration is not an object", {
      code: "sae/config",
      where,
      received: Array.isArray(config) ? "an array" : config === null ? "null" : typeof config,
    });
  // The newer name wins where a file carries both.
  const flat = new Map<string, unknown>();
  for (const [key, value] of Object.entries(config)) if (Object.hasOwn(renamed, key)) flat.set(renamed[key]!, value);
  for (const [key, value] of Object.entries(config)) if (!Object.hasOwn(renamed, key)) flat.set(key, value);

  const metadata = new Map<string, unknown>();
  for (const key of metadataKeys) if (flat.has(key)) metadata.set(key, flat.get(key));
  const own = flat.get("metadata");
  if (isObject(own)) for (const [key, value] of Object.entries(own)) if (value !== null) metadata.set(key, value);
  if (metadata.get("prepend_bos") === null) metadata.delete("prepend_bos");

  const hook = metadata.get("hook_name");
  const dtype = flat.get("dtype");
  return {
    ...Object.fromEntries([...flat].filter(([key, value]) => !metadataKeys.includes(key) && value !== null)),
    architecture: flat.get("architecture") ?? "standard",
    ...fromActivation(flat.get("activation_fn"), flat.get("activation_fn_kwargs"), where),
    ...(typeof dtype === "string" && { dtype: dtype.replace(/^torch\./, "") }),
    normalize_activations: normalization(flat.get("normalize_activations")),
    reshape_activations:
      flat.get("reshape_activations") ?? (typeof hook === "string" && hook.includes("hook_z") ? "hook_z" : undefined),
    metadata: Object.fromEntries(metadata),
  };
}
