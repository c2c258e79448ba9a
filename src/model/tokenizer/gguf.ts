/** @file The tokenizer inside a GGUF file, said as a tokenizer.json: byte-level BPE and sentencepiece BPE. */
import { TokenizerError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import { Tokenizer, type TokenizerFiles, type TokenizerOptions } from "./tokenizer.ts";

/** Whatever finds a metadata value by its key: a Map, or a reader of GGUF headers. */
export interface GgufMetadata {
  get(key: string): unknown;
}

const byteLevel = (use_regex: boolean): JsonObject => ({
  ...{ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex },
});
const isolated = (regex: string): JsonObject => ({
  ...{ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
});
const sequence = (...pretokenizers: JsonObject[]): JsonObject => ({ type: "Sequence", pretokenizers });
const pattern = (...regexes: string[]): JsonObject => sequence(...regexes.map(isolated), byteLevel(false));

const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const REST = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const WORD = "[^\\r\\n\\p{L}\\p{N}]?";
const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const CASED = (ending: string): string => `${WORD}${UPPER}*${LOWER}+${ending}|${WORD}${UPPER}+${LOWER}*${ending}`;
const SLASHED = REST.replace("[\\r\\n]*", "[\\r\\n/]*");
const GPT2_WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";

interface PreTokenizerKind {
  /** Values of `tokenizer.ggml.pre` that mean this one. */
  readonly names: readonly string[];
  readonly pre_tokenizer: JsonObject;
  readonly normalizer?: JsonObject;
  /** A piece that is a token is that token, whatever the merges say. */
  readonly ignore_merges?: true;
  readonly add_bos?: true;
}

/** Pre-tokenisers by the name that llama.cpp gives them. */
const KINDS: readonly PreTokenizerKind[] = [
  {
    names: ["gpt-2", "phi-2", "mpt", "olmo", "jais", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "mellum"],
    pre_tokenizer: byteLevel(true),
  },
  {
    names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
    pre_tokenizer: sequence({ type: "Digits", individual_digits: true }, byteLevel(true)),
  },
  {
    names: ["llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe"],
    pre_tokenizer: pattern(`${CONTRACTION}|${WORD}\\p{L}+|\\p{N}{1,3}${REST}`),
    ignore_merges: true,
    add_bos: true,
  },
  {
    names: ["qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan"],
    pre_tokenizer: pattern(`${CONTRACTION}|${WORD}\\p{L}+|\\p{N}${REST}`),
    normalizer: { type: "NFC" },
  },
  { names: ["tekken"], pre_tokenizer: pattern(`${CASED("")}|\\p{N}${SLASHED}`), ignore_merges: true, add_bos: true },
  { names: ["gpt-4o", "llama4"], pre_tokenizer: pattern(`${CASED(`${CONTRACTION}?`)}|\\p{N}{1,3}${SLASHED}`) },
  { names: ["default"], pre_tokenizer: pattern("[\\p{P}$+<=>^~|]+", GPT2_WORDS, "\\p{N}+", "[0-9][0-9][0-9]") },
];

const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;

/**
 * Builds the tokenizer that a GGUF file carries in its metadata (`tokenizer.ggml.*`, `tokenizer.chat_template`).
 * Models `gpt2` (byte-level BPE with the pre-tokenisers of a table) and `llama` (sentencepiece BPE by scores) are known.
 *
 * @throws TokenizerError when a key is missing or malformed, or the model or pre-tokeniser is not known
 * @example
 * ```ts
 * const file = await openGguf(await fileSource("model.Q4_1.gguf"));
 * const { ids } = tokenizerFromGguf(file.metadata).encode("In 2024");
 * ```
 */
export function tokenizerFromGguf(metadata: GgufMetadata, options: TokenizerOptions = {}): Tokenizer {
  const model = metadata.get("tokenizer.ggml.model");
  const parts = model === "gpt2" ? bytePairs(metadata) : model === "llama" ? sentencePiece(metadata) : null;
  if (parts === null)
    throw new TokenizerError("unknown tokenizer model", {
      code: "tokenizer/unsupported",
      where: "tokenizer.ggml.model",
      expected: "gpt2 or llama",
      received: typeof model === "string" ? model : typeof model,
    });
  const tokens = list(metadata, "tokens", "string");
  const types = optionalList(metadata, "token_type", "number", tokens.length) ?? tokens.map(() => 1);
  const added_tokens = tokens.flatMap((content, id) =>
    [UNKNOWN, CONTROL, USER_DEFINED].includes(types[id]!) && content !== ""
      ? [{ id, content, ...plainToken, special: types[id] !== USER_DEFINED }]
      : [],
  );
  const id = (name: string): unknown => metadata.get(`tokenizer.ggml.${name}_token_id`);
  const flag = (name: string, fallback: boolean): boolean => {
    const value = metadata.get(`tokenizer.ggml.${name}`);
    return typeof value === "boolean" ? value : fallback;
  };
  const template = metadata.get("tokenizer.chat_template");
  const ends = [id("eos"), id("eot"), id("eom")].filter((v) => v !== undefined);
  const ids: Readonly<Record<string, unknown>> = {
    bos: id("bos"),
    eos: ends,
    pad: id("padding"),
    unk: id("unknown"),
    sep: id("seperator") ?? id("separator"),
    cls: id("cls"),
    mask: id("mask"),
  };
  const rule = { add_bos_token: flag("add_bos_token", parts.addBos), add_eos_token: flag("add_eos_token", false) };
  const generationConfig = Object.fromEntries(Object.entries(ids).map(([name, value]) => [`${name}_token_id`, value]));
  const chat = typeof template === "string" ? { chat_template: template } : {};
  const files = (): TokenizerFiles => {
    const texts = Object.entries(ids).flatMap(([name, value]) => {
      const text = tokens[Number(Array.isArray(value) ? value[0] : (value ?? -1))];
      return text === undefined ? [] : [[`${name}_token`, text] as const];
    });
    const said = Object.fromEntries(texts);
    const around = {
      bos: rule.add_bos_token ? said["bos_token"] : undefined,
      eos: rule.add_eos_token ? said["eos_token"] : undefined,
    };
    return {
      "tokenizer.json": {
        ...{ version: "1.0", truncation: null, padding: null },
        ...{ ...parts.json, added_tokens, post_processor: templateAround(around, (text) => tokens.indexOf(text)) },
      },
      "tokenizer_config.json": { tokenizer_class: "PreTrainedTokenizerFast", ...rule, ...said, ...chat },
      "generation_config.json": generationConfig,
    };
  };
  return new Tokenizer(
    { ...parts.json, added_tokens, post_processor: null },
    {
      ...options,
      config: { ...rule, ...chat },
      generationConfig,
      where: "GGUF metadata",
      files,
    },
  );
}

/** Flags of added tokens that GGUF files do not have. */
const plainToken = { single_word: false, lstrip: false, rstrip: false, normalized: false } as const;

/** The post-processor that puts tokens around each text; null where there are none. */
function templateAround(
  { bos, eos }: { readonly bos: string | undefined; readonly eos: string | undefined },
  idOf: (token: string) => number,
): JsonObject | null {
  const token = (text: string | undefined, type_id: number): JsonObject[] =>
    text === undefined ? [] : [{ SpecialToken: { id: text, type_id } }];
  const around = (id: string, type_id: number): JsonObject[] => [
    ...token(bos, type_id),
    { Sequence: { id, type_id } },
    ...token(eos, type_id),
  ];
  const texts = [bos, eos].filter((text) => text !== undefined);
  if (texts.length === 0) return null;
  const special_tokens = Object.fromEntries(texts.map((id) => [id, { id, ids: [idOf(id)], tokens: [id] }]));
  const single = around("A", 0);
  return { type: "TemplateProcessing", single, pair: [...single, ...around("B", 1)], special_tokens };
}

interface Parts {
  readonly json: JsonObject;
  readonly addBos: boolean;
}

function bytePairs(metadata: GgufMetadata): Parts {
  const pre = metadata.get("tokenizer.ggml.pre") ?? "default";
  const kind = KINDS.find(({ names }) => names.some((name) => name === pre));
  if (kind === undefined)
    throw new TokenizerError("unknown pre-tokeniser", {
      code: "tokenizer/unsupported",
      where: "tokenizer.ggml.pre",
      expected: `one of ${KINDS.flatMap(({ names }) => names).join(", ")}`,
      received: JSON.stringify(pre),
      hint: "load the model's tokenizer.json instead",
    });
  const { pre_tokenizer, normalizer = null, ignore_merges = false, add_bos = false } = kind;
  const model = { type: "BPE", vocab: vocabulary(metadata), merges: list(metadata, "merges", "string"), ignore_merges };
  return { json: { model, normalizer, pre_tokenizer, decoder: byteLevel(true) }, addBos: add_bos };
}

function sentencePiece(metadata: GgufMetadata): Parts {
  const tokens = list(metadata, "tokens", "string");
  const scores = list(metadata, "scores", "number");
  const types = optionalList(metadata, "token_type", "number", tokens.length) ?? tokens.map(() => 1);
  const vocab = vocabulary(metadata);
  const plain = (id: number): boolean => types[id] === 1 || types[id] === USER_DEFINED;
  const merges = tokens.flatMap((token, id) =>
    plain(id) ? splits(token, vocab, plain).map((pair) => ({ pair, score: scores[id] ?? 0 })) : [],
  );
  const length = (text: string): number => Array.from(text).length;
  merges.sort(
    (a, b) => b.score - a.score || length(b.pair[0]) - length(a.pair[0]) || length(b.pair[1]) - length(a.pair[1]),
  );
  const unk = types.indexOf(UNKNOWN);
  const space = "\u2581";
  const prefix = metadata.get("tokenizer.ggml.add_space_prefix") !== false;
  const replace = { type: "Replace", pattern: { String: " " }, content: space };
  return {
    addBos: true,
    json: {
      model: {
        type: "BPE",
        vocab,
        merges: merges.map(({ pair }) => pair),
        byte_fallback: true,
        fuse_unk: true,
        unk_token: unk < 0 ? null : tokens[unk],
      },
      normalizer: {
        type: "Sequence",
        normalizers: [...(prefix ? [{ type: "Prepend", prepend: space }] : []), replace],
      },
      pre_tokenizer: null,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: space }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          ...(prefix ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
        ],
      },
    },
  };
}

/** The ways to make a token of two others, the parts with the lower ids first. */
function splits(
  token: string,
  vocab: { readonly [token: string]: number },
  plain: (id: number) => boolean,
): [string, string][] {
  const chars = Array.from(token);
  const idOf = (text: string): number => (Object.hasOwn(vocab, text) && plain(vocab[text]!) ? vocab[text]! : -1);
  return chars
    .slice(1)
    .map((_, i): [string, string] => [chars.slice(0, i + 1).join(""), chars.slice(i + 1).join("")])
    .filter(([a, b]) => idOf(a) >= 0 && idOf(b) >= 0)
    .sort(([a, b], [c, d]) => idOf(a) - idOf(c) || idOf(b) - idOf(d));
}

function vocabulary(metadata: GgufMetadata): { [token: string]: number } {
  const tokens = list(metadata, "tokens", "string");
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  if (Object.keys(vocab).length === tokens.length) return vocab;
  const id = tokens.findIndex((token, i) => vocab[token] !== i);
  throw new TokenizerError("a token occurs twice", {
    code: "tokenizer/vocab",
    where: `tokenizer.ggml.tokens, index ${id}`,
    received: JSON.stringify(tokens[id]),
  });
}

type Elements = { string: string; number: number };

function optionalList<T extends keyof Elements>(
  metadata: GgufMetadata,
  name: string,
  type: T,
  length?: number,
): Elements[T][] | null {
  const value = metadata.get(`tokenizer.ggml.${name}`);
  if (value === undefined || value === null) return null;
  const items: unknown[] = Array.isArray(value)
    ? value
    : ArrayBuffer.isView(value)
      ? Array.from(value as Float32Array)
      : [value];
  if (
    (length === undefined || items.length === length) &&
    items.every((item): item is Elements[T] => typeof item === type)
  )
    return items;
  throw new TokenizerError("malformed tokenizer metadata", {
    code: "tokenizer/gguf",
    where: `tokenizer.ggml.${name}`,
    expected: `a list of ${length === undefined ? "" : `${length} `}${type}s`,
    received: `${items.length} items`,
  });
}

function list<T extends keyof Elements>(metadata: GgufMetadata, name: string, type: T): Elements[T][] {
  const items = optionalList(metadata, name, type);
  if (items !== null) return items;
  throw new TokenizerError("the tokenizer metadata lacks a key", {
    code: "tokenizer/gguf",
    where: `tokenizer.ggml.${name}`,
  });
}
