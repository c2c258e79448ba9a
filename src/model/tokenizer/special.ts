/** @file Which tokens begin, end, pad and stand for the unknown: from the files, from the user, by default. */
import { TokenizerError } from "./errors.ts";
import { isObject } from "./json.ts";
import type { JsonObject } from "./json.ts";

export type SpecialName = "bos" | "eos" | "pad" | "unk" | "sep" | "cls" | "mask";
const NAMES: readonly SpecialName[] = ["bos", "eos", "pad", "unk", "sep", "cls", "mask"];

/** Special tokens as the user gives them: an id or the token's exact vocabulary string. */
export type SpecialOverrides = { readonly [name in SpecialName]?: number | string };

export interface SpecialTokens {
  /** Id of each special token; absent when there is none. `bos`, `eos` and `pad` have TransformerLens' defaults. */
  readonly ids: { readonly [name in SpecialName]?: number };
  /** The tokens that files or user name, as strings, for chat templates: `bos_token` and so on, without defaults. */
  readonly named: { readonly [key: string]: string };
  /** Every id that ends a generation: `eos` and those of generation_config.json. */
  readonly eosIds: readonly number[];
}

export interface SpecialSources {
  readonly config: JsonObject;
  readonly map: JsonObject;
  readonly generation: JsonObject;
  readonly overrides: SpecialOverrides;
  readonly unk: string | null | undefined;
}

/** Ids are held as 32-bit integers. */
const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < 2 ** 31;

/** Finds the special tokens: the user's word first, then tokenizer_config, special_tokens_map, generation_config. */
export function specialTokens(
  { config, map, generation, overrides, unk }: SpecialSources,
  idOf: (token: string) => number | undefined,
  tokenOf: (id: number) => string | undefined,
): SpecialTokens {
  const ids: { [name in SpecialName]?: number } = {};
  const named: { [key: string]: string } = {};
  for (const name of NAMES) {
    const override = overrides[name];
    const given = typeof override === "string" ? idOf(override) : override;
    if (override !== undefined && (given === undefined || !isId(given)))
      throw new TokenizerError(`the ${name} token is not in the vocabulary`, {
        code: "tokenizer/special",
        where: `override ${name}`,
        received: JSON.stringify(override),
        hint: "give an id or the exact vocabulary string",
      });
    const content = contentOf(config[`${name}_token`]) ?? contentOf(map[`${name}_token`]);
    const id = given ?? (content === undefined ? undefined : idOf(content)) ?? firstId(generation, `${name}_token_id`);
    const text = id === undefined ? content : (tokenOf(id) ?? content);
    if (id !== undefined) ids[name] = id;
    if (text !== undefined) named[`${name}_token`] = text;
  }
  const unknown = typeof unk === "string" ? idOf(unk) : undefined;
  if (ids.unk === undefined && unknown !== undefined) ids.unk = unknown;
  const end = ids.eos ?? idOf("<|endoftext|>");
  if (end !== undefined) {
    ids.eos = end;
    ids.bos ??= end;
    ids.pad ??= end;
  }
  const listed: unknown = generation["eos_token_id"];
  const more = (Array.isArray(listed) ? listed : [listed]).filter((id): id is number => Number.isInteger(id));
  return { ids, named, eosIds: [...new Set([...(ids.eos === undefined ? [] : [ids.eos]), ...more])] };
}

/** A special token is written as a string or as an object with `content`. */
export function contentOf(value: unknown): string | undefined {
  const content = isObject(value) ? value["content"] : value;
  return typeof content === "string" ? content : undefined;
}

/** An id of generation_config.json, where it says one: a negative one is what some files have for none. */
function firstId(generation: JsonObject, key: string): number | undefined {
  const said = generation[key];
  const id: unknown = Array.isArray(said) ? said[0] : said;
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0) return undefined;
  if (isId(id)) return id;
  throw new TokenizerError("the id of a special token is no id of a vocabulary", {
    code: "tokenizer/special",
    where: `generation_config.json, ${key}`,
    expected: "an integer from 0 to 2147483647",
    received: String(id),
  });
}
