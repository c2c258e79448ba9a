/** @file What a family of models is: how its files say a configuration and lay out the parameters. Data, no code paths. */
import { z } from "zod";
import type { ModelConfig, ModelConfigInput } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { Layout } from "./layouts.ts";

/** A parsed config.json. */
export type HfConfig = Readonly<Record<string, unknown>>;

/** `optional`: used where the file has it. A function of config.json: required where it holds, not read elsewhere. */
export type Need = "required" | "optional" | ((hf: HfConfig) => boolean);

/** One tensor of a file and the parameters it holds. */
export interface Mapping {
  readonly layout: Layout;
  /** TransformerLens names, `*` for the layer. */
  readonly params: readonly string[];
  readonly need: Need;
}

/** File names (`*` for the layer) to what they hold. */
export type TensorTable = Readonly<Record<string, Mapping>>;

/** A line of a tensor table. */
export function holds(layout: Layout, params: string | readonly string[], need: Need = "required"): Mapping {
  return { layout, params: typeof params === "string" ? [params] : params, need };
}

/** A family of Hugging Face models. */
export interface Family {
  readonly modelType: string;
  /** The class that config.json names in `architectures`. */
  readonly architecture: string;
  readonly tensors: TensorTable;
  /** The beginning of tensor names that some checkpoints leave out. */
  readonly prefix: string;
  /** Buffers that old checkpoints carry along. */
  readonly ignored: RegExp;
  /** What transformers' configuration class assumes where config.json is silent. */
  readonly defaults: HfConfig;
  /** Of a config.json with all that it leaves out; use {@link readFamilyConfig}. */
  readonly config: (hf: HfConfig, where: string) => ModelConfigInput;
  /** The inverse of `config`; `has` tells which parameters the model has. */
  readonly toHf: (cfg: ModelConfig, has: (param: string) => boolean) => HfConfig;
}

/**
 * The configuration that a config.json means to transformers.
 * @throws ModelError naming the keys that are malformed
 */
export const readFamilyConfig = (family: Family, hf: HfConfig, where: string): ModelConfigInput =>
  family.config({ ...family.defaults, ...hf }, where);

/** Checks the keys of a config.json that a family reads. */
export function parseHf<S extends z.ZodType>(schema: S, hf: HfConfig, where: string): z.output<S> {
  const parsed = schema.safeParse(hf);
  if (parsed.success) return parsed.data;
  throw new ModelError("the model's config.json is not valid", {
    code: "model/config",
    where,
    received: z.prettifyError(parsed.error),
  });
}
