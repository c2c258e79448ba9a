/** @file Special tokens that a user adds to a vocabulary. */
import type { checkTokenizerJson } from "./json.ts";

type TokenizerJson = ReturnType<typeof checkTokenizerJson>;

/** The tokenizer with those of some tokens that it lacks, numbered from the end of its vocabulary on. */
export function withAddedTokens(json: TokenizerJson, contents: readonly string[]): TokenizerJson {
  const vocab: unknown = json.model["vocab"];
  const known = new Map(json.added_tokens.map(({ content, id }) => [content, id]));
  if (Array.isArray(vocab))
    vocab.forEach((entry: unknown, id) => known.set(String(Array.isArray(entry) ? entry[0] : entry), id));
  else for (const [content, id] of Object.entries(vocab ?? {})) known.set(content, Number(id));
  const lacking = [...new Set(contents)].filter((content) => !known.has(content));
  if (lacking.length === 0) return json;
  let last = -1;
  for (const id of known.values()) last = Math.max(last, id);
  const flags = { special: true, normalized: false, single_word: false, lstrip: false, rstrip: false };
  const added = lacking.map((content, i) => ({ id: last + 1 + i, content, ...flags }));
  return { ...json, added_tokens: [...json.added_tokens, ...added] };
}
