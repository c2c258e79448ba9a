/** @file A tokenizer's files written again, with what was added to it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder } from "../../formats/disk/folder.ts";
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
 * Writes a tokenizer's files into a folder: those it was read from, byte for byte where nothing was added; of one from a GGUF
 * file or from JSON, files that say the same. Tokens that were added stand in tokenizer.json under their ids, special tokens that the user named in tokenizer_config.json and
 * special_tokens_map.json, as `save_pretrained` of transformers writes them.
 * @returns the names of the files
 * @throws TokenizerError when its own files are not there any more, or are malformed
 * @example
 * const grown = await loadTokenizer("models/gpt2", { addTokens: ["<pad>"], special: { pad: "<pad>" } });
 * await saveTokenizer("my-tokenizer", grown);
 * (await loadTokenizer("my-tokenizer")).padId === grown.padId; // true
 */
export async function saveTokenizer(folder: string, tokenizer: Tokenizer): Promise<string[]> {
  const { folder: from, files, beside } = tokenizer;
  if (from !== undefined) return copyTokenizer(folder, from, beside);
  const made = files?.() ?? {};
  const text = (name: string): string | undefined => made[name] && `${JSON.stringify(made[name], null, 2)}\n`;
  return write(folder, (name) => Promise.resolve(text(name)), beside);
}

type Beside = Tokenizer["beside"];

/** The files of a folder, with what was added. */
export async function copyTokenizer(folder: string, from: string, beside?: Beside): Promise<string[]> {
  return write(folder, (name) => readFile(join(from, name)).catch(absent), beside);
}

/** @param contentOf what a file was; undefined where there is none */
async function write(
  folder: string,
  contentOf: (name: string) => Promise<Uint8Array | string | undefined>,
  beside: Beside | undefined,
): Promise<string[]> {
  await makeFolder(folder);
  const special = Object.entries(beside?.special ?? {});
  const written: string[] = [];
  for (const name of tokenizerFiles) {
    const before = await contentOf(name);
    const after = beside && changes[name]?.(before === undefined ? undefined : parsed(before, name), beside, special);
    const content = after === undefined ? before : `${JSON.stringify(after, null, 2)}\n`;
    if (content === undefined) continue;
    await writeFileAtomic(join(folder, name), content);
    written.push(name);
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

function parsed(content: Uint8Array | string, where: string): JsonObject | undefined {
  const value = parseJson(typeof content === "string" ? content : new TextDecoder().decode(content), where);
  return isObject(value) ? value : undefined;
}

function absent(cause: unknown): undefined {
  if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
  throw cause;
}
