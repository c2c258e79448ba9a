import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { fileSource, openGguf } from "../src/formats/index.ts";
import { renderChat } from "../src/model/tokenizer/chat.ts";
import { loadTokenizer, tokenizerFromGguf, tokenizerFromJson } from "../src/model/tokenizer/index.ts";
import type { ChatMessage, Tokenizer } from "../src/model/tokenizer/index.ts";
import { describeWithShared, readJson, shared } from "./support/shared.ts";

interface Row {
  text: string;
  ids: number[];
  tokens: string[];
  offsets: [number, number][];
  special_tokens_mask: number[];
  ids_without_special: number[];
  decoded: string;
  decoded_with_special: string;
  decoded_each: string[];
}
interface Golden {
  vocab_size: number;
  rows: Row[];
  pair: { ids: number[]; type_ids: number[]; offsets: [number, number][] };
  left_padded_to_16_truncated_to_12: { ids: number[]; attention_mask: number[] }[];
}

const committed = (name: string): string => fileURLToPath(new URL(`goldens/text/${name}`, import.meta.url));

function matchesGolden(tokenizer: Tokenizer, golden: Golden): void {
  expect(tokenizer.vocabSize).toBe(golden.vocab_size);
  for (const row of golden.rows) {
    const e = tokenizer.encode(row.text, { offsets: true });
    expect({ text: row.text, ids: e.ids, tokens: e.tokens, offsets: e.offsets, special: e.specialTokensMask }).toEqual({
      text: row.text,
      ids: row.ids,
      tokens: row.tokens,
      offsets: row.offsets,
      special: row.special_tokens_mask,
    });
    expect(tokenizer.encode(row.text).ids).toEqual(row.ids);
    expect(tokenizer.encode(row.text, { addSpecialTokens: false }).ids).toEqual(row.ids_without_special);
    expect(tokenizer.decode(row.ids, { skipSpecialTokens: true })).toBe(row.decoded);
    expect(tokenizer.decode(row.ids)).toBe(row.decoded_with_special);
    expect(row.ids_without_special.slice(0, 12).map((id) => tokenizer.decode([id]))).toEqual(row.decoded_each);
  }
  const pair = tokenizer.encode([golden.rows[0]!.text, golden.rows[1]!.text], { offsets: true });
  expect({ ids: pair.ids, type_ids: pair.typeIds, offsets: pair.offsets }).toEqual(golden.pair);
  const texts = golden.rows.slice(0, 6).map((row) => row.text);
  const options = { padding: 16, paddingSide: "left", truncation: { maxLength: 12 } } as const;
  const batch = tokenizer.encodeBatch(texts, options);
  expect(batch.dims).toEqual([6, 16]);
  golden.left_padded_to_16_truncated_to_12.forEach((row, r) => {
    const mask = [...batch.mask.subarray(r * 16, r * 16 + 16)];
    expect(mask).toEqual(row.attention_mask);
    const real = (ids: ArrayLike<number>): number[] => Array.from(ids).filter((_, i) => mask[i] === 1);
    expect(real(batch.ids.subarray(r * 16, r * 16 + 16))).toEqual(real(row.ids));
  });
}

describe("trained tokenizers against the Rust tokenizers", () => {
  it.each(["bpe-byte-fallback", "unigram", "word-piece"])("%s", (name) => {
    const tokenizer = tokenizerFromJson(readJson(committed(`${name}.tokenizer.json`)));
    matchesGolden(tokenizer, readJson(committed(`${name}.json`)));
  });
});

describeWithShared("real tokenizers", ["tokenizers", "goldens/text"], () => {
  it.each(["gpt2", "gpt-neox"])("%s", async (name) => {
    const tokenizer = await loadTokenizer(shared(`tokenizers/${name}`));
    matchesGolden(tokenizer, readJson(shared(`goldens/text/${name}.json`)));
  });
});

describe("chat templates against transformers", () => {
  interface Chats {
    templates: { [name: string]: string };
    tools: unknown[];
    bos_token: string;
    eos_token: string;
    conversations: { [name: string]: ChatMessage[] };
    renderings: {
      template: string;
      conversation: string;
      add_generation_prompt: boolean;
      tools: boolean;
      rendered?: string;
      error?: string;
    }[];
  }
  const golden = readJson<Chats>(committed("chat_templates.json"));
  it.each(golden.renderings)(
    "$template, $conversation, prompt $add_generation_prompt, tools $tools",
    ({ template, conversation, add_generation_prompt, tools, rendered, error }) => {
      const render = (): string =>
        renderChat(
          new Map(),
          { bos_token: golden.bos_token, eos_token: golden.eos_token },
          golden.conversations[conversation]!,
          {
            template: golden.templates[template]!,
            tools: tools ? golden.tools : null,
            addGenerationPrompt: add_generation_prompt,
          },
        );
      if (rendered === undefined) expect(render).toThrow(error!.replace("TemplateError: ", ""));
      else expect(render()).toBe(rendered);
    },
  );
});

const smol = "models/smollm2-135m-instruct";
const gguf = `${smol}/SmolLM2-135M-Instruct.Q4_1.gguf`;
describeWithShared("SmolLM2", [`${smol}/tokenizer.json`, gguf], () => {
  interface Smol {
    answer_ids: { [token: string]: number };
    texts: { text: string; ids: number[] }[];
    chat: { messages: ChatMessage[]; add_generation_prompt: boolean; text: string; ids: number[] }[];
  }
  const golden = readJson<Smol>(shared(`${smol}/golden-tokenizer.json`));
  const sources: { [name: string]: () => Promise<Tokenizer> } = {
    folder: () => loadTokenizer(shared(smol)),
    gguf: async () => {
      const file = await openGguf(await fileSource(shared(gguf)));
      try {
        return tokenizerFromGguf(file.metadata);
      } finally {
        await file.close();
      }
    },
  };
  describe.each(Object.keys(sources))("from the %s", (name) => {
    let tokenizer: Tokenizer;
    beforeAll(async () => {
      tokenizer = await sources[name]!();
    });
    it("encodes 281 texts and back", () => {
      expect(golden.texts.length).toBe(281);
      for (const { text, ids } of golden.texts) {
        expect({ text, ids: tokenizer.encode(text).ids }).toEqual({ text, ids });
        expect(tokenizer.decode(ids)).toBe(text);
      }
    });
    it("renders chats", () => {
      for (const chat of golden.chat) {
        const text = tokenizer.applyChatTemplate(chat.messages, { addGenerationPrompt: chat.add_generation_prompt });
        expect(text).toBe(chat.text);
        expect(tokenizer.encode(text, { addSpecialTokens: false }).ids).toEqual(chat.ids);
      }
    });
    it("knows its special tokens and answers", () => {
      expect(tokenizer.special.ids).toMatchObject({ bos: 1, eos: 2, pad: 2, unk: 0 });
      expect(tokenizer.prependsBos).toBe(false);
      for (const [token, id] of Object.entries(golden.answer_ids)) expect(tokenizer.idOf(token)).toBe(id);
    });
  });
});

interface RustEncoding {
  getIds(): number[];
  getOffsets(): number[][];
}
interface Rust {
  Tokenizer: {
    fromString(json: string): {
      encode(text: string): Promise<RustEncoding>;
      decode(ids: number[], skipSpecialTokens: boolean): Promise<string>;
    };
  };
}

const PIECES = [
  ..."ab Z9 1\n\t.'-  0½²٣一🙂é\r,!?$+<>^`~|_/\\#@",
  ..."ßİǅ가ﬁÅΩⅧ▁\u2028\u00a0\u0301\u0327\u200d\ufeff\u0085\u3000\0\x7f",
  ...["<|endoftext|>", "<s>", "[MASK]", " the", "'ll", "'LL", "\n\n", "  ", "\r\n", "각", "🇫🇷", "한국어", "नमस्ते"],
  ...["Hello", " lighthouse", "123", "ΑΣ", "ｶﾞ", "\u1100\u1161"],
];
const texts = fc.array(fc.constantFrom(...PIECES), { maxLength: 24 }).map((parts) => parts.join(""));

async function agrees(json: unknown, runs: number): Promise<void> {
  const rust = createRequire(import.meta.url)("@anush008/tokenizers") as Rust;
  const theirs = rust.Tokenizer.fromString(JSON.stringify(json));
  const ours = tokenizerFromJson(json);
  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      const expected = await theirs.encode(text);
      const { ids, offsets } = ours.encode(text, { offsets: true });
      expect(ids).toEqual(expected.getIds());
      expect(offsets).toEqual(expected.getOffsets());
      expect(ours.decode(ids, { skipSpecialTokens: true })).toBe(await theirs.decode(ids, true));
    }),
    { numRuns: runs, seed: 1 },
  );
}

type Json = { [key: string]: unknown };
const step = (type: string, rest: Json = {}): Json => ({ type, ...rest });

describe("the Rust tokenizers on random texts", () => {
  it.each(["bpe-byte-fallback", "unigram", "word-piece"])("%s", async (name) => {
    await agrees(readJson(committed(`${name}.tokenizer.json`)), 300);
  });
  it.each(["always", "first", "never"])("Metaspace that prepends %s", async (prepend_scheme) => {
    const json = readJson<Json>(committed("unigram.tokenizer.json"));
    await agrees({ ...json, pre_tokenizer: step("Metaspace", { replacement: "▁", prepend_scheme, split: true }) }, 200);
  });
});

describeWithShared("the Rust tokenizers on random texts, GPT-2's vocabulary", ["tokenizers/gpt2"], () => {
  const gpt2 = readJson<Json>(shared("tokenizers/gpt2/tokenizer.json"));
  // What changes around the merges is as right with the first of them, which are built in no time.
  const { vocab, merges, ...bpe } = gpt2["model"] as { vocab: Record<string, number>; merges: unknown[] };
  const kept = Object.entries(vocab).filter(([, id]) => id < 256 + 4000 || id === 50256);
  const small = { ...gpt2, model: { ...bpe, vocab: Object.fromEntries(kept), merges: merges.slice(0, 4000) } };
  const byteLevel = (use_regex: boolean, add_prefix_space = false): Json =>
    step("ByteLevel", { add_prefix_space, trim_offsets: true, use_regex });
  const splits: { [name: string]: Json } = {
    "digits apart": step("Digits", { individual_digits: true }),
    "digits together": step("Digits", { individual_digits: false }),
    "punctuation apart": step("Punctuation", { behavior: "Isolated" }),
    "punctuation together": step("Punctuation", { behavior: "Contiguous" }),
    words: step("Whitespace"),
    "white space": step("WhitespaceSplit"),
    "spaces to the left": step("Split", { pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false }),
    "spaces to the right": step("Split", { pattern: { Regex: "\\s" }, behavior: "MergedWithNext", invert: false }),
    "runs of digits": step("Split", { pattern: { Regex: "\\d" }, behavior: "Contiguous", invert: false }),
    "letters removed": step("Split", { pattern: { String: "a" }, behavior: "Removed", invert: false }),
  };
  it("as it is", async () => {
    await agrees(gpt2, 400);
  });
  it("with a space before and trimmed offsets", async () => {
    await agrees({ ...small, pre_tokenizer: byteLevel(true, true), post_processor: byteLevel(true, true) }, 150);
  });
  it.each(Object.keys(splits))("split: %s", async (name) => {
    const pre_tokenizer = step("Sequence", { pretokenizers: [splits[name], byteLevel(false)] });
    await agrees({ ...small, pre_tokenizer }, 100);
  });
  it.each(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"])("normaliser %s", async (type) => {
    await agrees({ ...small, normalizer: step(type) }, 100);
  });
  it("normaliser Replace", async () => {
    await agrees({ ...small, normalizer: step("Replace", { pattern: { Regex: "\\s+" }, content: "__" }) }, 100);
  });
  it("added tokens that are single words or take white space along", async () => {
    const token = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false };
    const added_tokens = [
      ...(gpt2["added_tokens"] as unknown[]),
      { ...token, id: 50257, content: "lighthouse", single_word: true, normalized: true },
      { ...token, id: 50258, content: "[MASK]", lstrip: true, rstrip: true, special: true },
    ];
    await agrees({ ...gpt2, added_tokens }, 200);
  });
});
