/** @file The families of models that Hugging Face folders can hold. */
import { ModelError } from "../errors.ts";
import type { Family, HfConfig } from "./family.ts";
import { gemma2 } from "./gemma2.ts";
import { gpt2 } from "./gpt2.ts";
import { gptNeox } from "./gptNeox.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { qwen2 } from "./qwen2.ts";

export type { Family, HfConfig } from "./family.ts";

/** A `model_type` that can be loaded. */
export type ModelType = "gemma2" | "gpt2" | "gpt_neox" | "llama" | "mistral" | "qwen2";

/** Every family, by the `model_type` of config.json. */
export const families: { readonly [M in ModelType]: Family } = {
  gemma2,
  gpt2,
  gpt_neox: gptNeox,
  llama,
  mistral,
  qwen2,
};

/**
 * The family of a config.json, by `model_type`, else by `architectures`.
 * @throws ModelError listing the supported families
 * @example
 * familyOf({ model_type: "gpt2" }, "config.json").architecture; // "GPT2LMHeadModel"
 */
export function familyOf(hf: HfConfig, where: string): Family {
  const all: readonly Family[] = Object.values(families);
  const classes: readonly unknown[] = Array.isArray(hf.architectures) ? hf.architectures : [];
  const found = all.find((family) =>
    hf.model_type === undefined ? classes.includes(family.architecture) : family.modelType === hf.model_type,
  );
  if (found !== undefined) return found;
  throw new ModelError("the model's family is not supported", {
    code: "model/family",
    where,
    expected: `model_type ${Object.keys(families).join(", ")}`,
    received: JSON.stringify(hf.model_type ?? hf.architectures),
  });
}

/** The family whose Hugging Face class is `architecture`. */
export function familyByArchitecture(architecture: string | undefined): Family | undefined {
  return Object.values<Family>(families).find((family) => family.architecture === architecture);
}
