/** @file Names of models: hub ids, and the short names that TransformerLens has for them. */
import { nearest } from "../../graph/nearest.ts";
import { modelNames } from "./names.table.ts";

/** A model by its id on the hub, and other names for it. */
export interface ModelName {
  readonly id: string;
  readonly aliases: readonly string[];
}

/** Ids that moved; the hub redirects from the old name, a cache does not. */
const moved: Readonly<Record<string, string>> = Object.fromEntries(
  ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"].map((name) => [name, `openai-community/${name}`]),
);

/**
 * The models that TransformerLens names.
 * @example
 * knownModels().find(({ aliases }) => aliases.includes("gpt2-small"))?.id; // "openai-community/gpt2"
 */
export function knownModels(): readonly ModelName[] {
  return Object.entries(modelNames).map(([name, aliases]) => {
    const id = moved[name] ?? name;
    return { id, aliases: [...(id === name ? [] : [name]), ...aliases.split(" ").filter((alias) => alias !== "")] };
  });
}

/**
 * The hub id that a name stands for: that of an alias, else the name itself.
 * @example
 * modelId("gpt2-small"); // "openai-community/gpt2"
 * modelId("HuggingFaceTB/SmolLM2-135M"); // itself
 */
export function modelId(name: string): string {
  const lower = name.toLowerCase();
  const known = knownModels();
  const found =
    known.find(({ id, aliases }) => id === name || aliases.includes(name)) ??
    known.find(({ aliases }) => aliases.some((alias) => alias.toLowerCase() === lower));
  return found?.id ?? name;
}

/** Known names near to one, for hints. */
export function modelsNear(name: string): string[] {
  return nearest(
    name,
    knownModels().flatMap(({ id, aliases }) => [id, ...aliases]),
    3,
    0.5,
  );
}
