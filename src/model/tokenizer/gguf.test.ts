import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadTokenizer, saveTokenizer, tokenizerFromGguf } from "./index.ts";

type Json = { [key: string]: unknown };
const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../test/goldens/text/${name}`, import.meta.url), "utf8")) as T;
const metadata = (entries: Json): Map<string, unknown> =>
  new Map(Object.entries(entries).map(([key, value]) => [`tokenizer.${key}`, value]));

/** GPT-2's alphabet of bytes as a vocabulary without merges: ids show nothing but the pieces' bytes, offsets the pieces. */
const ALPHABET = Array.from({ length: 256 }, (_, b) => b).map((b, _, all) => {
  const printable = (x: number): boolean => (x >= 33 && x <= 126) || (x >= 161 && x <= 172) || x >= 174;
  return String.fromCodePoint(printable(b) ? b : 256 + all.slice(0, b).filter((x) => !printable(x)).length);
});
/** Pairs of equal characters and of common neighbours are tokens, so that where a piece ends can be seen. */
const CHARS = ["a", "b", "A", "B", "1", "2", "Ġ", "Ċ", "č", ".", ",", "/", "'", "s", "S", "l", "L"];
const PAIRS = CHARS.flatMap((x) => CHARS.map((y): [string, string] => [x, y]));
const tokens = [...ALPHABET, ...PAIRS.map(([x, y]) => x + y), "<|begin|>", "<|end|>"];
const bytePairs = (pre: string, more: Json = {}): Map<string, unknown> =>
  metadata({
    "ggml.model": "gpt2",
    "ggml.pre": pre,
    "ggml.tokens": tokens,
    "ggml.merges": PAIRS.map((pair) => pair.join(" ")),
    "ggml.token_type": Int32Array.from(tokens, (t) => (t.startsWith("<|") ? 3 : 1)),
    "ggml.bos_token_id": tokens.length - 2,
    "ggml.eos_token_id": tokens.length - 1,
    ...more,
  });

const rust = createRequire(import.meta.url)("@anush008/tokenizers") as {
  Tokenizer: { fromString(json: string): { encode(text: string): Promise<{ getIds(): number[] }> } };
};

interface Model {
  model: { vocab: { [token: string]: number }; merges: [string, string][] };
}
const { vocab, merges } = read<Model>("bpe-byte-fallback.tokenizer.json").model;
const pieces = Object.keys(vocab).sort((a, b) => vocab[a]! - vocab[b]!);
const rank = new Map(merges.map((pair, i) => [pair.join(""), i]));
const sentencePiece = (more: Json = {}): Map<string, unknown> =>
  metadata({
    "ggml.model": "llama",
    "ggml.tokens": pieces,
    "ggml.scores": Float32Array.from(pieces, (token) => -(rank.get(token) ?? 1000)),
    "ggml.token_type": pieces.map((t) => (t === "<unk>" ? 2 : /^<\/?s>$/.test(t) ? 3 : t.startsWith("<0x") ? 6 : 1)),
    "ggml.bos_token_id": 1,
    "ggml.eos_token_id": 2,
    ...more,
  });

describe("byte-level BPE", () => {
  // pre_tokenizer of the tokenizer.json that each model's makers publish
  const END = "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  const LLAMA = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
  const UP = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
  const LOW = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
  const HEAD = "[^\\r\\n\\p{L}\\p{N}]?";
  const TAIL = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
  const published: { [pre: string]: string } = {
    "llama-bpe": `${LLAMA}\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*${END}`,
    qwen2: `${LLAMA}\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*${END}`,
    tekken: `${HEAD}${UP}*${LOW}+|${HEAD}${UP}+${LOW}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*${END}`,
    "gpt-4o": `${HEAD}${UP}*${LOW}+${TAIL}|${HEAD}${UP}+${LOW}*${TAIL}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*${END}`,
    "gpt-2": "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    smollm: "",
  };
  const PIECES = [..."abAB12 \n\r.,/'sSlL", "é", "ǅ", "東", "½", "\u0301", "\u00a0", "'ll", "'S", "\n\n", "  "];
  const texts = fc.array(fc.constantFrom(...PIECES), { maxLength: 20 }).map((parts) => parts.join("").normalize("NFC"));
  it.each(Object.keys(published))("%s splits as its published pattern does", async (pre) => {
    const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
    const pattern = { type: "Split", pattern: { Regex: published[pre] }, behavior: "Isolated", invert: false };
    const steps =
      pre === "smollm"
        ? [
            { type: "Digits", individual_digits: true },
            { ...byteLevel, use_regex: true },
          ]
        : [pattern, { ...byteLevel, use_regex: false }];
    const json = {
      version: "1.0",
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: "Sequence", pretokenizers: steps },
      post_processor: null,
      decoder: null,
      model: {
        type: "BPE",
        vocab: Object.fromEntries(tokens.map((t, i) => [t, i])),
        merges: PAIRS.map((p) => p.join(" ")),
      },
    };
    const theirs = rust.Tokenizer.fromString(JSON.stringify(json));
    const ours = tokenizerFromGguf(bytePairs(pre, { "ggml.add_bos_token": false }));
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        expect(ours.encode(text).ids).toEqual((await theirs.encode(text)).getIds());
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it("reads special tokens, flags and the chat template", () => {
    const tokenizer = tokenizerFromGguf(
      bytePairs("gpt-2", {
        "ggml.add_bos_token": true,
        "ggml.eot_token_id": 5,
        chat_template: "{{ bos_token }}{{ messages[0].content }}",
      }),
    );
    const [bos, eos] = [tokens.length - 2, tokens.length - 1];
    expect(tokenizer.special.ids).toEqual({ bos, eos, pad: eos });
    expect(tokenizer.special.eosIds).toEqual([eos, 5]);
    expect(tokenizer.encode("").ids).toEqual([bos]);
    expect(tokenizer.encode("<|end|>", { addSpecialTokens: false }).ids).toEqual([eos]);
    expect(tokenizer.decode([bos, 64, eos], { skipSpecialTokens: true })).toBe("@");
    expect(tokenizer.applyChatTemplate([{ role: "user", content: "hi" }])).toBe("<|begin|>hi");
  });

  it("adds BOS by default where the model's family does", () => {
    expect(tokenizerFromGguf(bytePairs("llama-bpe")).encode("").ids).toEqual([tokens.length - 2]);
    expect(tokenizerFromGguf(bytePairs("smollm")).encode("").ids).toEqual([]);
  });
});

describe("sentencepiece", () => {
  it("equals the BPE tokenizer whose merges are ordered as its scores", () => {
    const tokenizer = tokenizerFromGguf(sentencePiece());
    const { rows } = read<{ rows: { text: string; ids: number[]; decoded: string }[] }>("bpe-byte-fallback.json");
    for (const { text, ids, decoded } of rows) {
      expect({ text, ids: tokenizer.encode(text).ids }).toEqual({ text, ids });
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(decoded);
    }
  });

  it("puts no space before the text where the file says so", () => {
    const tokenizer = tokenizerFromGguf(sentencePiece({ "ggml.add_space_prefix": false, "ggml.add_bos_token": false }));
    expect(tokenizer.encode("noon").tokens[0]).toBe("no");
    expect(tokenizer.decode(tokenizer.encode(" noon").ids)).toBe(" noon");
  });
});

describe("files of a tokenizer from GGUF metadata", () => {
  let root: string;
  beforeAll(() => (root = mkdtempSync(join(tmpdir(), "interpretune-gguf-"))));
  afterAll(() => rmSync(root, { recursive: true }));

  const template = "{{ bos_token }}{{ messages[0].content }}";
  const texts = ["", "abAB12 <|end|>a.", "noon  the\n é", "  'll 12/3"];
  it.each<[string, Map<string, unknown>]>([
    ["llama-bpe", bytePairs("llama-bpe", { chat_template: template, "ggml.eot_token_id": 5 })],
    ["smollm", bytePairs("smollm", { "ggml.add_eos_token": true, "ggml.padding_token_id": 7 })],
    ["gpt-2", bytePairs("gpt-2")],
    ["sentencepiece", sentencePiece()],
    ["sentencepiece without prefix", sentencePiece({ "ggml.add_space_prefix": false, "ggml.add_bos_token": false })],
  ])("%s: say the same, here and to Hugging Face's reader", async (name, entries) => {
    const tokenizer = tokenizerFromGguf(entries);
    const folder = join(root, name);
    expect(await saveTokenizer(folder, tokenizer)).toEqual([
      "tokenizer.json",
      "tokenizer_config.json",
      "generation_config.json",
    ]);
    const again = await loadTokenizer(folder);
    expect(again.special).toEqual(tokenizer.special);
    expect([again.vocabSize, again.defaultPrependBos]).toEqual([tokenizer.vocabSize, tokenizer.defaultPrependBos]);
    const theirs = rust.Tokenizer.fromString(readFileSync(join(folder, "tokenizer.json"), "utf8"));
    for (const text of texts) {
      const { ids } = tokenizer.encode(text);
      expect(again.encode(text).ids, text).toEqual(ids);
      expect((await theirs.encode(text)).getIds(), text).toEqual(ids);
      expect(again.decode(ids, { skipSpecialTokens: true })).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
      expect(again.encode([text, "a"] as const).ids).toEqual(tokenizer.encode([text, "a"] as const).ids);
    }
    if (name === "llama-bpe") expect(again.applyChatTemplate([{ role: "user", content: "hi" }])).toBe("<|begin|>hi");
    const { special } = tokenizer;
    expect(JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8"))).toMatchObject({
      bos_token: tokenizer.tokenOf(special.ids.bos!),
      eos_token: tokenizer.tokenOf(special.ids.eos!),
    });
  });

  it("have the tokens that were added", async () => {
    const grown = tokenizerFromGguf(bytePairs("gpt-2"), { addTokens: ["<pad>"], special: { pad: "<pad>" } });
    await saveTokenizer(join(root, "grown"), grown);
    const again = await loadTokenizer(join(root, "grown"));
    expect([again.special.ids, again.encode("a<pad>").ids]).toEqual([grown.special.ids, grown.encode("a<pad>").ids]);
  });
});

describe("malformed metadata", () => {
  it.each<[string, Map<string, unknown>, string]>([
    ["no model", new Map(), "tokenizer.ggml.model"],
    ["another model", metadata({ "ggml.model": "bert" }), "gpt2 or llama"],
    ["another pre-tokeniser", bytePairs("klingon"), "klingon"],
    ["an inherited pre-tokeniser", bytePairs("constructor"), "unknown pre-tokeniser"],
    ["no tokens", metadata({ "ggml.model": "gpt2", "ggml.pre": "gpt-2" }), "tokenizer.ggml.tokens"],
    ["no merges", bytePairs("gpt-2", { "ggml.merges": undefined }), "tokenizer.ggml.merges"],
    ["tokens of numbers", bytePairs("gpt-2", { "ggml.tokens": [1, 2] }), "list of strings"],
    ["a token twice", bytePairs("gpt-2", { "ggml.tokens": ["a", "b", "a"], "ggml.token_type": null }), "twice"],
    ["too few types", bytePairs("gpt-2", { "ggml.token_type": [1] }), "token_type"],
    ["merges of three", bytePairs("gpt-2", { "ggml.merges": ["a b c"] }), "merges"],
  ])("%s is a clear error", (_, entries, message) => {
    expect(() => tokenizerFromGguf(entries)).toThrow(message);
  });
});
