/** @file The ids that end a generation, where a folder has no tokenizer to say so. */
import { isObject, parseJson } from "../../formats/json.ts";

/** `eos_token_id` of generation_config.json, else of config.json, as in transformers; none where neither says it. */
export async function endIdsIn(folder: string): Promise<readonly number[]> {
  const [{ readFile }, { default: paths }] = await Promise.all([import("node:fs/promises"), import("node:path")]);
  for (const name of ["generation_config.json", "config.json"]) {
    const path = paths.join(folder, name);
    const bytes = await readFile(path).catch(() => undefined);
    const config = bytes === undefined ? undefined : parseJson(bytes, path);
    if (!isObject(config)) continue;
    const said: unknown = config["eos_token_id"];
    return (Array.isArray(said) ? said : [said]).filter((id): id is number => Number.isInteger(id));
  }
  return [];
}
