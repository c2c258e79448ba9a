/**
 * @file What is used of `@huggingface/tokenizers`, and where it is brought in line with the Rust tokenizers.
 *
 * Pre-tokenisers, models and decoders are the library's; normalisers, added tokens, post-processing, offsets and padding
 * are ours. The package's declarations do not resolve under "nodenext", so the parts in use are typed here.
 */
import * as huggingface from "@huggingface/tokenizers";
import { TokenizerError } from "./errors.ts";
import { entryOf, escapeRegExp, isObject, stepsOf } from "./json.ts";
import type { JsonObject, TokenizerJson } from "./json.ts";

export interface PreTokenizer {
  pre_tokenize(text: string, options: { section_index: number }): string[];
  pattern?: RegExp;
  tokenizers?: (PreTokenizer | null)[];
}
export interface Model {
  encode(pieces: string[]): string[];
  tokens_to_ids: Map<string, number>;
  vocab: (string | undefined)[];
  unk_token_id?: number | null;
  unk_token?: string | null;
}
export interface Decoder {
  decoders?: Decoder[];
  text_decoder?: { decode(bytes: Uint8Array): string };
}
export interface LibraryTokenizer {
  pre_tokenizer: PreTokenizer | null;
  model: Model;
  decoder: Decoder | null;
  decode(ids: number[], options: { clean_up_tokenization_spaces: boolean }): string;
}

type Class<Instance> = new (...config: unknown[]) => Instance;
interface Package {
  Tokenizer: Class<LibraryTokenizer>;
  ByteLevelPreTokenizer: Class<PreTokenizer>;
  ByteFallbackDecoder: Class<Decoder>;
  ReplaceNormalizer: Class<{ pattern: RegExp | null }>;
  PrecompiledNormalizer: Class<{ normalize(text: string): string }>;
}
const loaded: unknown = huggingface;
const library = loaded as Package;

/** The GPT-2 pattern with the Unicode white space of Rust; JavaScript's `\s` has U+FEFF and lacks U+0085. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
  .replaceAll("\\s", "\\p{White_Space}")
  .replaceAll("\\S", "\\P{White_Space}");

/** Builds the library's tokenizer from checked files; whatever it rejects becomes a `TokenizerError`. */
export function openLibrary(json: TokenizerJson, where: string): LibraryTokenizer {
  const { pre_tokenizer, model, ...rest } = json;
  const adapted = {
    ...rest,
    normalizer: null,
    post_processor: null,
    pre_tokenizer: preTokenizer(pre_tokenizer, where),
    model: modelOf(model),
  };
  const tokenizer = guarded(where, () => new library.Tokenizer(adapted, {}));
  patchPreTokenizer(tokenizer.pre_tokenizer);
  patchDecoder(tokenizer.decoder);
  return tokenizer;
}

/** The compiled pattern of a `{ String }` or `{ Regex }` object of tokenizer.json. */
export function patternOf(pattern: unknown): RegExp | null {
  return guarded("a pattern", () => new library.ReplaceNormalizer({ type: "Replace", pattern, content: "" }).pattern);
}

function guarded<T>(where: string, build: () => T): T {
  try {
    return build();
  } catch (cause) {
    throw new TokenizerError("this tokenizer cannot be built", {
      code: "tokenizer/unsupported",
      where,
      received: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

/** The library's approximation of a sentencepiece character map. */
export const precompiled = (config: JsonObject): { normalize(text: string): string } =>
  new library.PrecompiledNormalizer(config);

function patchPreTokenizer(step: PreTokenizer | null): void {
  if (step instanceof library.ByteLevelPreTokenizer) step.pattern = new RegExp(GPT2, "gu");
  for (const child of step?.tokenizers ?? []) patchPreTokenizer(child);
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A run of byte tokens that is not UTF-8 becomes one replacement character per byte; a leading BOM stays. */
function patchDecoder(step: Decoder | null): void {
  if (step instanceof library.ByteFallbackDecoder)
    step.text_decoder = {
      decode: (bytes) => {
        try {
          return strictUtf8.decode(bytes);
        } catch {
          return "\ufffd".repeat(bytes.length);
        }
      },
    };
  for (const child of step?.decoders ?? []) patchDecoder(child);
}

/** A word-level model is a word-piece model none of whose words continue. */
function modelOf(model: TokenizerJson["model"]): JsonObject {
  if (model.type !== "WordLevel") return model;
  return { ...model, type: "WordPiece", continuing_subword_prefix: "\0\0", max_input_chars_per_word: Infinity };
}

const split = (pattern: string, behavior: string): JsonObject => splitStep({ pattern: { Regex: pattern }, behavior });
const matches = (pattern: string): JsonObject => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Removed",
  invert: true,
});

/** The library knows the behaviours `Isolated` and `Removed`; the others are these two with another pattern. */
function splitStep(config: JsonObject): JsonObject {
  const { behavior, invert } = config;
  const pattern = isObject(config["pattern"]) ? config["pattern"] : {};
  const source = typeof pattern["Regex"] === "string" ? pattern["Regex"] : escapeRegExp(String(pattern["String"]));
  if (behavior === "Isolated") return { type: "Split", pattern: { Regex: source }, behavior };
  if (behavior === "Removed") return invert === true ? matches(source) : { type: "Split", pattern, behavior };
  if (behavior === "Contiguous") return { type: "Split", pattern: { Regex: `(?:${source})+` }, behavior: "Isolated" };
  const other = `(?:(?!${source})[\\s\\S])`;
  if (behavior === "MergedWithPrevious" && invert !== true) return matches(`${other}*(?:${source})|${other}+`);
  if (behavior === "MergedWithNext" && invert !== true) return matches(`(?:${source})${other}*|${other}+`);
  throw new TokenizerError("unsupported way to split", {
    code: "tokenizer/unsupported",
    expected: "Isolated, Removed, Contiguous, or MergedWithPrevious/MergedWithNext without invert",
    received: JSON.stringify({ behavior, invert }),
  });
}

const PUNCTUATION = "\\p{P}!-\\/:-@\\[-`{-~";

/** Steps that the library reads with ASCII classes or without an option are said in terms of those it reads right. */
const PRE_TOKENIZERS: { readonly [type: string]: (config: JsonObject) => JsonObject } = {
  Split: splitStep,
  Digits: (c) => split("\\p{N}", c["individual_digits"] === true ? "Isolated" : "Contiguous"),
  Punctuation: (c) => split(`[${PUNCTUATION}]`, typeof c["behavior"] === "string" ? c["behavior"] : "Isolated"),
  BertPreTokenizer: () => matches(`[^\\s${PUNCTUATION}]+|[${PUNCTUATION}]`),
  WhitespaceSplit: () => matches("\\S+"),
  Whitespace: () => matches("[\\w\\u200c\\u200d]+|[^\\w\\u200c\\u200d\\s]+"),
  CharDelimiterSplit: (c) => ({ type: "Split", pattern: { String: c["delimiter"] }, behavior: "Removed" }),
  Metaspace: (c) => {
    const replacement = typeof c["replacement"] === "string" ? c["replacement"] : "\u2581";
    const prepend_scheme = c["prepend_scheme"] ?? (c["add_prefix_space"] === false ? "never" : "always");
    const space = { type: "Metaspace", replacement, prepend_scheme };
    if (c["split"] === false) return space;
    return { type: "Sequence", pretokenizers: [space, split(escapeRegExp(replacement), "MergedWithNext")] };
  },
};

function preTokenizer(config: JsonObject | null, where: string): JsonObject | null {
  if (config === null) return null;
  if (config["type"] === "Sequence")
    return { type: "Sequence", pretokenizers: stepsOf(config).map((c) => preTokenizer(c, where)) };
  return entryOf(PRE_TOKENIZERS, config["type"])?.(config) ?? config;
}
