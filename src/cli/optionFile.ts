/** @file Options of a command from its flags and a YAML file, under the names of SAELens' runners. */
import { parse, YAMLError } from "yaml";
import { fileSource } from "../formats/index.ts";
import { camelCase } from "../session/index.ts";
import { CliError } from "./failure.ts";
import { optionValue, trainSaeOptionNames } from "./trainSaeFlags.ts";

export type Options = Readonly<Record<string, unknown>>;

/** Keys that SAELens' runner has by another name. */
const otherNames: Readonly<Record<string, string>> = {
  modelName: "model",
  modelNameOrPath: "model",
  datasetPath: "data",
  outputPath: "out",
  cachedActivationsPath: "activations",
  topK: "k",
};
const isOption = (name: string): boolean => (trainSaeOptionNames as readonly string[]).includes(name);

/** What flags say: options as values, the rest as text. */
export const flagOptions = (flags: object): Options =>
  Object.fromEntries(
    Object.entries(flags).flatMap(([name, value]: [string, unknown]) => {
      if (typeof value !== "string" || name === "config") return [];
      return [[otherNames[name] ?? name, isOption(name) ? optionValue(value) : value]];
    }),
  );

/** Options by the names they have here. */
export const named = (options: object): Options =>
  Object.fromEntries(
    Object.entries(options).map(([name, value]: [string, unknown]) => {
      const own = camelCase(name);
      return [otherNames[own] ?? own, value];
    }),
  );

/** @throws CliError for what is no YAML object */
export async function readConfig(path: string): Promise<Options> {
  const source = await fileSource(path);
  const text = new TextDecoder().decode(await source.slice(0).finally(() => source.close()));
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new CliError("the configuration is not YAML", {
      code: "cli/train-sae",
      where: path,
      received: cause instanceof YAMLError ? cause.message.split("\n")[0] : undefined,
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new CliError("the configuration is not an object", { code: "cli/train-sae", where: path });
  return named(value);
}
