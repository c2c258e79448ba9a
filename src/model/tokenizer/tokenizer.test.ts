import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TokenizerError, tokenizerFromJson } from "./index.ts";
import { Tokenizer } from "./tokenizer.ts";

type Json = { [key: string]: unknown };
const read = (name: string): Json =>
  JSON.parse(
    readFileSync(new URL(`../../../test/goldens/text/${name}.tokenizer.json`, import.meta.url), "utf8"),
  ) as Json;

/** `<s>` (1) before each text, by template; `</s>` is 2. */
const llama = read("bpe-byte-fallback");
/** `</s>` (1) after each text. */
const t5 = read("unigram");
const bert = read("word-piece");
/** A byte-level tokenizer of the 256 bytes, one merge and one special token. */
const BYTES = ["Ā", "ā", "Ġ", "a", "b", "ab", "æ", "Ŀ", "±", "ð", "Ł", "Ļ", "Ĥ"];
const gpt: Json = {
  model: { type: "BPE", vocab: Object.fromEntries([...BYTES, "<|endoftext|>"].map((t, i) => [t, i])), merges: ["a b"] },
  added_tokens: [{ id: 13, content: "<|endoftext|>", special: true, normalized: false }],
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: "ByteLevel" },
};

describe("TransformerLens' rule for BOS", () => {
  it("puts the BOS string before the text where the tokenizer does not", () => {
    const tokenizer = tokenizerFromJson(gpt);
    expect(tokenizer.prependsBos).toBe(false);
    expect([...tokenizer.toTokens("ab").ids]).toEqual([13, 5]);
    expect([...tokenizer.toTokens("ab", { prependBos: false }).ids]).toEqual([5]);
    expect([...tokenizer.toTokens("").ids]).toEqual([13]);
    expect(tokenizer.encode("ab").ids).toEqual([5]);
  });

  it("leaves it to the tokenizer that does, and takes it away where it is not wanted", () => {
    const tokenizer = tokenizerFromJson(llama, { bos_token: "<s>", eos_token: "</s>" });
    const bare = tokenizer.encode("noon", { addSpecialTokens: false }).ids;
    expect(tokenizer.prependsBos).toBe(true);
    expect([...tokenizer.toTokens("noon").ids]).toEqual([1, ...bare]);
    expect([...tokenizer.toTokens("noon", { prependBos: false }).ids]).toEqual(bare);
    expect(tokenizer.encode(["a", "b"], { prependBos: false }).ids.filter((id) => id === 1).length).toBe(1);
  });

  it("does not take a token that ends texts for BOS", () => {
    const tokenizer = tokenizerFromJson(t5, { eos_token: "</s>" });
    const bare = tokenizer.encode("noon", { addSpecialTokens: false }).ids;
    expect(tokenizer.prependsBos).toBe(false);
    expect([...tokenizer.toTokens("noon", { prependBos: false }).ids]).toEqual([...bare, 1]);
  });

  it("takes its default from the tokenizer's own word, else it is true", () => {
    const with_ = (config: Json): boolean => tokenizerFromJson(gpt, config).defaultPrependBos;
    expect([with_({}), with_({ add_bos_token: false }), with_({ add_bos_token: true })]).toEqual([true, false, true]);
    expect(tokenizerFromJson(gpt, { add_bos_token: true }, { defaultPrependBos: false }).defaultPrependBos).toBe(false);
  });

  it("lets add_bos_token and add_eos_token decide what the post-processor does", () => {
    const ids = (config: Json): number[] => tokenizerFromJson(gpt, config).encode("ab").ids;
    expect(ids({ add_bos_token: true })).toEqual([13, 5]);
    expect(ids({ add_bos_token: true, add_eos_token: true })).toEqual([13, 5, 13]);
    const off = tokenizerFromJson(llama, { bos_token: "<s>", add_bos_token: false });
    expect(off.encode("noon").ids).toEqual(off.encode("noon", { addSpecialTokens: false }).ids);
    const on = tokenizerFromJson(llama, { bos_token: "<s>", add_bos_token: true });
    expect(on.encode("noon").ids.filter((id) => id === 1).length).toBe(1);
  });

  it("has offsets in the text as given, not in the text with BOS", () => {
    const { ids, offsets, specialTokensMask } = tokenizerFromJson(gpt).encode("ab a", {
      prependBos: true,
      offsets: true,
    });
    expect(ids).toEqual([13, 5, 2, 3]);
    expect(offsets).toEqual([
      [0, 0],
      [0, 2],
      [2, 3],
      [3, 4],
    ]);
    expect(specialTokensMask).toEqual([1, 0, 0, 0]);
  });

  it("is an error when there is no BOS", () => {
    expect(() => tokenizerFromJson(llama).encode("a", { prependBos: true, addSpecialTokens: false })).toThrow("no BOS");
  });
});

describe("special tokens", () => {
  it("default to <|endoftext|> for end, and the end for the rest", () => {
    expect(tokenizerFromJson(gpt).special.ids).toEqual({ eos: 13, bos: 13, pad: 13 });
    expect(tokenizerFromJson(gpt).special.named).toEqual({});
  });
  it("come from the files, as strings or objects", () => {
    const sources = {
      config: { bos_token: { content: "<s>" } },
      specialTokensMap: { bos_token: "<unk>", pad_token: "<unk>" },
      generationConfig: { eos_token_id: [2, 0], bos_token_id: 0 },
    };
    const { ids, eosIds, named } = new Tokenizer(llama, sources).special;
    expect(ids).toEqual({ bos: 1, pad: 0, eos: 2, unk: 0 });
    expect(eosIds).toEqual([2, 0]);
    expect(named).toEqual({ bos_token: "<s>", pad_token: "<unk>", eos_token: "</s>" });
  });
  it("can be given by the user, as ids or strings", () => {
    const tokenizer = tokenizerFromJson(gpt, { eos_token: "<|endoftext|>" }, { special: { pad: 4, bos: "ab" } });
    expect(tokenizer.special.ids).toEqual({ bos: 5, eos: 13, pad: 4 });
    expect(() => tokenizerFromJson(gpt, {}, { special: { pad: "[PAD]" } })).toThrow(
      /pad token is not in the vocabulary/,
    );
  });
  it("are ids that a batch can hold", () => {
    expect(() => tokenizerFromJson(gpt, {}, { special: { pad: 2 ** 31 } })).toThrow(
      /pad token is not in the vocabulary.*override pad; got 2147483648/,
    );
    const withPad = (pad_token_id: number): Tokenizer => new Tokenizer(gpt, { generationConfig: { pad_token_id } });
    expect(() => withPad(2 ** 40)).toThrow(/no id of a vocabulary.*generation_config.json, pad_token_id/);
    expect(withPad(-1).special.ids.pad).toBe(13);
  });
});

describe("batches", () => {
  const tokenizer = tokenizerFromJson(gpt);
  it("are padded on either side, with the mask saying what is real", () => {
    const texts = ["ab", "a b", ""];
    const left = tokenizer.encodeBatch(texts, { paddingSide: "left", prependBos: true });
    expect(left.dims).toEqual([3, 4]);
    expect([...left.ids]).toEqual([13, 13, 13, 5, 13, 3, 2, 4, 13, 13, 13, 13]);
    expect([...left.mask]).toEqual([0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1]);
    const right = tokenizer.encodeBatch(texts, { paddingSide: "right", padding: 5 });
    expect(right.dims).toEqual([3, 5]);
    expect([...right.mask]).toEqual([1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
  });
  it("are truncated on either side, special tokens included", () => {
    const t = tokenizerFromJson(gpt, { add_bos_token: true });
    expect(t.encode("abab a", { truncation: { maxLength: 3 } }).ids).toEqual([13, 5, 5]);
    expect(t.encode("abab a", { truncation: { maxLength: 3, side: "left" } }).ids).toEqual([13, 2, 3]);
    expect(() => t.encode("ab", { truncation: { maxLength: 0 } })).toThrow("no room");
  });
  it("refuse rows that do not fit", () => {
    expect(() => tokenizer.encodeBatch(["a", "ab a"], { padding: false })).toThrow(/row 0.*ask for padding/);
    expect(() => tokenizer.encodeBatch(["a", "ab a"], { padding: 2 })).toThrow(/row 1.*at most 2/);
  });
  it("refuse a text longer than the context, or cut it", () => {
    expect(() => tokenizer.toTokens(["a", "abab"], { maxLength: 2 })).toThrow(/longer than the context.*text 1/);
    expect([...tokenizer.toTokens("abab", { maxLength: 2, truncate: true }).ids]).toEqual([13, 5]);
  });
});

describe("truncation of pairs", () => {
  interface RustTokenizer {
    setTruncation(length: number, options: { direction: string }): void;
    encode(a: string, b: string): Promise<{ getIds(): number[]; getTypeIds(): number[]; getOffsets(): number[][] }>;
  }
  const rust = createRequire(import.meta.url)("@anush008/tokenizers") as {
    Tokenizer: { fromString(json: string): RustTokenizer };
  };
  it.each(["left", "right"] as const)("at the %s, as the Rust tokenizers do", async (side) => {
    const theirs = rust.Tokenizer.fromString(JSON.stringify(bert));
    const ours = tokenizerFromJson(bert);
    const text = fc.array(fc.constantFrom("the", "ferry", "noon", "quiet,"), { maxLength: 6 }).map((w) => w.join(" "));
    await fc.assert(
      fc.asyncProperty(text, text, fc.integer({ min: 4, max: 24 }), async (a, b, maxLength) => {
        theirs.setTruncation(maxLength, { direction: side });
        const expected = await theirs.encode(a, b);
        const found = ours.encode([a, b], { truncation: { maxLength, side }, offsets: true });
        expect(found.ids).toEqual(expected.getIds());
        expect(found.typeIds).toEqual(expected.getTypeIds());
        expect(found.offsets).toEqual(expected.getOffsets());
      }),
      { numRuns: 200, seed: 1 },
    );
  });
});

describe("tokens as text", () => {
  it("shows every byte: characters as they are, parts of characters as <0xNN>", () => {
    const tokenizer = tokenizerFromJson(gpt);
    const { ids } = tokenizer.encode("ab 東a"); // 東 is E6 9D B1
    expect(tokenizer.tokenStrings(ids)).toEqual(["ab", " ", "<0xE6>", "<0x9D>", "<0xB1>", "a"]);
    expect(tokenizer.tokenStrings([13, 99])).toEqual(["<|endoftext|>", "<id 99>"]);
    expect(ids.flatMap((id) => [...tokenizer.tokenBytes(id)])).toEqual([...new TextEncoder().encode("ab 東a")]);
    expect(() => tokenizer.tokenBytes(99)).toThrow("no such token");
  });
  it("joins to the text for byte fallback and word pieces alike", () => {
    const sp = tokenizerFromJson(llama);
    expect(sp.tokenStrings(sp.encode("naïve 🙂", { addSpecialTokens: false }).ids).slice(-4)).toEqual([
      "<0xF0>",
      "<0x9F>",
      "<0x99>",
      "<0x82>",
    ]);
    const wp = tokenizerFromJson(bert);
    expect(wp.tokenStrings(wp.encode("ferry", { addSpecialTokens: false }).ids)).toEqual(["fer", "ry"]);
  });
  it("decodes what it can and refuses what is no id", () => {
    const tokenizer = tokenizerFromJson(gpt);
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.decode([5, 999, 13, 3])).toBe("ab<|endoftext|>a");
    expect(tokenizer.decode([5, 999, 13, 3], { skipSpecialTokens: true })).toBe("aba");
    expect(tokenizer.decode(Int32Array.of(5, 3))).toBe("aba");
    expect(() => tokenizer.decode([1, -2])).toThrow(/index 1/);
    expect(() => tokenizer.decode([0.5])).toThrow(TokenizerError);
  });
  it("keeps a byte order mark and single invalid bytes of byte fallback", () => {
    const tokenizer = tokenizerFromJson(llama);
    const byte = (hex: string): number => tokenizer.idOf(`<0x${hex}>`)!;
    expect(tokenizer.decode([byte("EF"), byte("BB"), byte("BF")])).toBe("\ufeff");
    expect(tokenizer.decode([byte("E6"), byte("9D")])).toBe("\ufffd\ufffd");
  });
});

describe("single tokens", () => {
  const tokenizer = tokenizerFromJson(gpt);
  it("are found by text and by vocabulary string", () => {
    expect(tokenizer.singleToken("ab")).toBe(5);
    expect(tokenizer.singleToken(" ")).toBe(2);
    expect([tokenizer.idOf("Ġ"), tokenizer.idOf(" "), tokenizer.tokenOf(2)]).toEqual([2, undefined, "Ġ"]);
  });
  it("are an error that names the pieces otherwise", () => {
    expect(() => tokenizer.singleToken("ab a")).toThrow(/"ab a" is not a single token.*3: "ab" " " "a"/);
    expect(() => tokenizer.singleToken("")).toThrow("0: none");
  });
});

describe("hostile tokenizer.json", () => {
  const deep = (n: number): Json => (n === 0 ? { type: "NFC" } : { type: "Sequence", normalizers: [deep(n - 1)] });
  const model = gpt["model"] as Json;
  const bad: [string, unknown, string][] = [
    ["a list", [], "not a tokenizer.json"],
    ["null", null, "not a tokenizer.json"],
    ["no model", { ...gpt, model: undefined }, "key model"],
    ["no vocabulary", { ...gpt, model: { type: "BPE", merges: [] } }, "key model.vocab"],
    ["an unknown model", { ...gpt, model: { ...model, type: "Neural" } }, "unknown tokenizer model"],
    ["a negative id", { ...gpt, model: { ...model, vocab: { a: -1 } } }, '"a": -1'],
    ["a huge id", { ...gpt, model: { ...model, vocab: { a: 1e12 } } }, "integers from 0"],
    ["an id twice", { ...gpt, model: { ...model, vocab: { a: 1, b: 1 } } }, "id 1 twice"],
    ["no merges", { ...gpt, model: { ...model, merges: undefined } }, "merges"],
    ["merges of three", { ...gpt, model: { ...model, merges: ["a b c"] } }, "index 0"],
    ["merges of numbers", { ...gpt, model: { ...model, merges: [[1, 2]] } }, "index 0"],
    ["pieces without scores", { ...t5, model: { type: "Unigram", vocab: [["a"]] } }, "[piece, score]"],
    ["no pieces", { ...t5, model: { type: "Unigram", vocab: [] } }, "no piece"],
    ["an added token without content", { ...gpt, added_tokens: [{ id: 1 }] }, "added_tokens.0.content"],
    ["an added token far off", { ...gpt, added_tokens: [{ id: 2 ** 40, content: "x" }] }, "added_tokens.0.id"],
    ["deep nesting", { ...gpt, normalizer: deep(1000) }, "nested deeper"],
    ["an unknown normaliser", { ...gpt, normalizer: { type: "Rot13" } }, "Rot13"],
    ["an inherited normaliser", { ...gpt, normalizer: { type: "constructor" } }, "constructor"],
    ["an unknown pre-tokeniser", { ...gpt, pre_tokenizer: { type: "UnicodeScripts" } }, "UnicodeScripts"],
    ["an inherited pre-tokeniser", { ...gpt, pre_tokenizer: { type: "toString" } }, "toString"],
    ["an unknown decoder", { ...gpt, decoder: { type: "Rot13" } }, "Rot13"],
    ["an unknown post-processor", { ...gpt, post_processor: { type: "Rot13" } }, "malformed post-processor"],
    ["a template of nothing", { ...gpt, post_processor: { type: "TemplateProcessing" } }, "post-processor"],
    ["a broken pattern", { ...gpt, normalizer: { type: "Replace", pattern: { Regex: "(" }, content: "" } }, "pattern"],
    [
      "a broken split",
      { ...gpt, pre_tokenizer: { type: "Split", pattern: { Regex: "[" }, behavior: "Isolated" } },
      "cannot be built",
    ],
  ];
  it.each(bad)("%s is a clear error", (_, json, message) => {
    expect(() => tokenizerFromJson(json)).toThrow(TokenizerError);
    expect(() => tokenizerFromJson(json)).toThrow(message);
  });
  it("keys of the prototype are ordinary tokens", () => {
    const vocab: unknown = JSON.parse('{"__proto__": 0, "constructor": 1, "a": 2}');
    const tokenizer = tokenizerFromJson({
      ...gpt,
      model: { type: "WordLevel", vocab, unk_token: "a" },
      added_tokens: [],
    });
    expect([tokenizer.idOf("__proto__"), tokenizer.idOf("constructor"), tokenizer.idOf("toString")]).toEqual([
      0,
      1,
      undefined,
    ]);
  });
  it("any damage to a real file is a TokenizerError or harmless", () => {
    const text = JSON.stringify(llama);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom("0", "-", "[", "{", "null", '"', "1e9", "}"), (at, junk) => {
        let json: unknown;
        try {
          json = JSON.parse(text.slice(0, at) + junk + text.slice(at + 1));
        } catch {
          return;
        }
        try {
          tokenizerFromJson(json).encode("The ferry left at noon.");
        } catch (error) {
          expect(error).toBeInstanceOf(TokenizerError);
        }
      }),
      { numRuns: 300, seed: 1 },
    );
  });
});
