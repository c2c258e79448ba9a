/** @file tokenizer.json, read defensively: what comes from a stranger is checked before anything is built from it. */
import { z } from "zod";
import { TokenizerError } from "./errors.ts";

export type JsonObject = { readonly [key: string]: unknown };

export interface AddedToken {
  id: number;
  content: string;
  special: boolean;
  normalized: boolean;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
}

export interface TokenizerJson {
  model: JsonObject & { type: ModelType };
  added_tokens: AddedToken[];
  normalizer: JsonObject | null;
  pre_tokenizer: JsonObject | null;
  post_processor: JsonObject | null;
  decoder: JsonObject | null;
}

export type ModelType = "BPE" | "WordPiece" | "Unigram" | "WordLevel";

const MAX_ID = 1 << 24;
const MAX_DEPTH = 32;

export const isObject = (v: unknown): v is JsonObject => typeof v === "object" && v !== null && !Array.isArray(v);

/** The own entry of a table; undefined for a key that only the prototype has. */
export const entryOf = <T>(table: { readonly [key: string]: T }, key: unknown): T | undefined =>
  typeof key === "string" && Object.hasOwn(table, key) ? table[key] : undefined;

/** Text as a pattern that matches just it, for regular expressions with the flag u. */
export const escapeRegExp = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

const id = z.int().min(0).max(MAX_ID);
const step = z
  .looseObject({ type: z.string() })
  .nullish()
  .transform((v) => v ?? null);
const flag = z.boolean().default(false);
const added = z.object({
  id,
  content: z.string().min(1),
  special: flag,
  normalized: flag,
  single_word: flag,
  lstrip: flag,
  rstrip: flag,
});
const shape = z.object({
  model: z.custom<JsonObject>(isObject, "expected an object"),
  added_tokens: z
    .array(added)
    .nullish()
    .transform((v) => v ?? []),
  normalizer: step,
  pre_tokenizer: step,
  post_processor: step,
  decoder: step,
});

/** The sub-steps of a `Sequence`, whatever its list is called; empty for any other step. */
export function stepsOf(config: JsonObject): JsonObject[] {
  const list = config["normalizers"] ?? config["pretokenizers"] ?? config["processors"] ?? config["decoders"];
  return config["type"] === "Sequence" && Array.isArray(list) ? list.filter(isObject) : [];
}

/** Every step of a tree of `Sequence`s, the sequences left out. */
export function flatSteps(config: JsonObject | null): JsonObject[] {
  if (config === null) return [];
  return config["type"] === "Sequence" ? stepsOf(config).flatMap(flatSteps) : [config];
}

/** `text` as JSON, with the file and the place in the error when it is not. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch (cause) {
    throw new TokenizerError("not valid JSON", { code: "tokenizer/json", where, received: String(cause), cause });
  }
}

/** Checks `json` against the shape of tokenizer.json; `where` names the file in errors. */
export function checkTokenizerJson(json: unknown, where: string): TokenizerJson {
  const parsed = shape.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new TokenizerError("this is not a tokenizer.json", {
      code: "tokenizer/shape",
      where: `${where}, key ${issue.path.join(".") || "(root)"}`,
      received: issue.message,
    });
  }
  const { model, ...rest } = parsed.data;
  const vocab = model["vocab"];
  for (const key of ["normalizer", "pre_tokenizer", "post_processor", "decoder"] as const)
    checkDepth(rest[key], `${where}, key ${key}`);
  const type = modelType(model, where);
  if (type === "Unigram") checkPieces(vocab, where);
  else checkVocab(vocab, where);
  if (type === "BPE") checkMerges(model["merges"], where);
  return { ...rest, model: { ...model, type } };
}

function modelType(model: JsonObject, where: string): ModelType {
  const { type, vocab } = model;
  if (type === "BPE" || type === "WordPiece" || type === "Unigram" || type === "WordLevel") return type;
  if (type === undefined) {
    if (Array.isArray(vocab)) return "Unigram";
    if ("merges" in model) return "BPE";
    return "continuing_subword_prefix" in model ? "WordPiece" : "WordLevel";
  }
  throw new TokenizerError("unknown tokenizer model", {
    code: "tokenizer/model",
    where: `${where}, key model.type`,
    expected: "BPE, WordPiece, Unigram or WordLevel",
    received: JSON.stringify(type),
  });
}

function checkDepth(value: unknown, where: string, depth = 0): void {
  if (depth > MAX_DEPTH)
    throw new TokenizerError(`nested deeper than ${MAX_DEPTH} levels`, { code: "tokenizer/depth", where });
  if (typeof value !== "object" || value === null) return;
  for (const child of Object.values(value)) checkDepth(child, where, depth + 1);
}

function checkVocab(vocab: unknown, where: string): void {
  const fault = (received: string): never => {
    throw new TokenizerError("a vocabulary maps each token to an id", {
      code: "tokenizer/vocab",
      where: `${where}, key model.vocab`,
      expected: `integers from 0 to ${MAX_ID}, each once`,
      received,
    });
  };
  if (!isObject(vocab)) return fault(Array.isArray(vocab) ? "a list" : (JSON.stringify(vocab) ?? "nothing"));
  const seen = new Set<unknown>();
  for (const [token, value] of Object.entries(vocab)) {
    if (!Number.isInteger(value) || Number(value) < 0 || Number(value) > MAX_ID)
      fault(`${JSON.stringify(token)}: ${JSON.stringify(value)}`);
    if (seen.has(value)) fault(`id ${Number(value)} twice, the second time for ${JSON.stringify(token)}`);
    seen.add(value);
  }
}

function checkPieces(vocab: unknown, where: string): void {
  const list: unknown[] = Array.isArray(vocab) ? vocab : [];
  const bad = list.findIndex(
    (p) => !(Array.isArray(p) && p.length === 2 && typeof p[0] === "string" && typeof p[1] === "number"),
  );
  if (list.length > 0 && bad < 0) return;
  throw new TokenizerError("a unigram vocabulary is a list of [piece, score]", {
    code: "tokenizer/vocab",
    where: `${where}, key model.vocab`,
    received: list.length === 0 ? "no piece" : `${JSON.stringify(list[bad])} at index ${bad}`,
  });
}

function checkMerges(merges: unknown, where: string): void {
  const list: unknown[] | null = Array.isArray(merges) ? merges : null;
  const pair = (m: unknown): boolean =>
    typeof m === "string"
      ? m.split(" ").length === 2
      : Array.isArray(m) && m.length === 2 && typeof m[0] === "string" && typeof m[1] === "string";
  const bad = list === null ? -1 : list.findIndex((m) => !pair(m) || typeof m !== typeof list[0]);
  if (list !== null && bad < 0) return;
  throw new TokenizerError("merges are a list of pairs of tokens", {
    code: "tokenizer/merges",
    where: `${where}, key model.merges`,
    expected: '"a b" or ["a", "b"], all in one form',
    received: list === null ? typeof merges : `${JSON.stringify(list[bad])} at index ${bad}`,
  });
}
