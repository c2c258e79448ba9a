/** @file A tokenizer's files written again, with what was added to it. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../../formats/index.ts";
import { isObject, parseJson, type JsonObject } from "./json.ts";
import { contentOf } from "./special.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The files of a tokenizer, as `loadTokenizer` reads them. */
const tokenizerFiles: readonly string[] = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "generation_config.json",
  "chat_template.jinja",
];

/**
 * Writes a tokenizer's files into a folder: those it was read from, byte for byte where nothing was added. Tokens that were
 * added stand in tokenizer.json under their ids, special tokens that the user named in tokenizer_config.json and
 * special_tokens_map.json, as `save_pretrained` of transformers writes them.
 * @returns the names of the files; none for a tokenizer that was not read from a folder
 * @throws TokenizerError when its own files are not there any more, or are malformed
 * @example
 * const grown = await loadTokenizer("models/gpt2", { addTokens: ["<pad>"], special: { pad: "<pad>" } });
 * await saveTokenizer("my-tokenizer", grown);
 * (await loadTokenizer("my-tokenizer")).padId === grown.padId; // true
 */
export async function saveTokenizer(folder: string, tokenizer: Tokenizer): Promise<string[]> {
  const { folder: from, beside } = tokenizer;
  return from === undefined ? [] : copyTokenizer(folder, from, beside);
}

type Beside = Tokenizer["beside"];

/** The files of a folder, with what was added. */
export async function copyTokenizer(folder: string, from: string, beside?: Beside): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const special = Object.entries(beside?.special ?? {});
  const written: string[] = [];
  for (const name of tokenizerFiles) {
    const change = beside && changes[name];
    const after = change?.(await read(join(from, name)), beside!, special);
    const done = after === undefined ? copied(join(from, name), join(folder, name)) : write(join(folder, name), after);
    if (await done) written.push(name);
  }
  return written;
}

type Special = readonly (readonly [key: string, token: string | number])[];

/** What a file says after what was added; undefined where that is what it says already. */
const changes: {
  readonly [file: string]: (before: JsonObject | undefined, beside: Beside, special: Special) => JsonObject | undefined;
} = {
  "tokenizer.json": (before, { added }) => {
    if (before === undefined || added.length === 0) return undefined;
    const listed: unknown = before["added_tokens"];
    return { ...before, added_tokens: [...(Array.isArray(listed) ? (listed as unknown[]) : []), ...added] };
  },
  "tokenizer_config.json": (before = {}, { added, paddingSide }, special) => {
    const news = saying(before, special);
    const decoder = before["added_tokens_decoder"];
    const decoded = isObject(decoder) && added.length > 0;
    const side = paddingSide !== undefined && paddingSide !== (before["padding_side"] ?? "right");
    if (news.length === 0 && !decoded && !side) return undefined;
    const entries = added.map(({ id, ...token }) => [String(id), token] as const);
    return {
      ...before,
      ...Object.fromEntries(news),
      ...(decoded && { added_tokens_decoder: { ...decoder, ...Object.fromEntries(entries) } }),
      ...(side && { padding_side: paddingSide }),
    };
  },
  "special_tokens_map.json": (before = {}, _beside, special) => {
    const news = saying(before, special);
    return news.length === 0 ? undefined : { ...before, ...Object.fromEntries(news) };
  },
  // Ids that stand for no token of the vocabulary.
  "generation_config.json": (before = {}, _beside, special) => {
    const news = special.filter(([key, id]) => typeof id === "number" && before[key] !== id);
    return news.length === 0 ? undefined : { ...before, ...Object.fromEntries(news) };
  },
};

/** Those of the special tokens that a file does not say, or says otherwise. */
const saying = (file: JsonObject, special: Special): Special =>
  special.filter(([key, token]) => typeof token === "string" && contentOf(file[key]) !== token);

async function read(path: string): Promise<JsonObject | undefined> {
  const text = await readFile(path, "utf8").catch(absent);
  const value = text === undefined ? undefined : parseJson(text, path);
  return isObject(value) ? value : undefined;
}

async function write(path: string, value: JsonObject): Promise<boolean> {
  await writeFileAtomic(path, [new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)]);
  return true;
}

/** Copies a file; false where it is not there. */
async function copied(from: string, to: string): Promise<boolean> {
  const file = await readFile(from).catch(absent);
  if (file === undefined) return false;
  await writeFile(to, file);
  return true;
}

function absent(cause: unknown): undefined {
  if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
  throw cause;
}
