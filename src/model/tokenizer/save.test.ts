/** Tokenizers saved: what was added stands in the files, and everything else is as it was. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as huggingface from "@huggingface/tokenizers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadTokenizer, saveTokenizer, tokenizerFromJson } from "./index.ts";

let root: string;
const at = (...path: string[]): string => join(root, ...path);
const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
const files = {
  "tokenizer.json": {
    version: "1.0",
    model: { type: "WordLevel", vocab: { "?": 0, hello: 1, world: 2 }, unk_token: "?" },
    added_tokens: [{ id: 3, content: "<end>", special: true, ...flags }],
    pre_tokenizer: { type: "Whitespace" },
  },
  "tokenizer_config.json": {
    eos_token: { __type: "AddedToken", content: "<end>", ...flags },
    added_tokens_decoder: { 3: { content: "<end>", special: true, ...flags } },
    model_max_length: 64,
  },
};
const json = (...path: string[]): Record<string, unknown> =>
  JSON.parse(readFileSync(at(...path), "utf8")) as Record<string, unknown>;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "interpretune-tokenizer-"));
  mkdirSync(at("plain"));
  for (const [name, value] of Object.entries(files)) writeFileSync(at("plain", name), `${JSON.stringify(value)}  `);
  writeFileSync(at("plain", "chat_template.jinja"), "{{ messages }}");
});
afterAll(() => rmSync(root, { recursive: true }));

test("are the files they were read from where nothing was added", async () => {
  expect(await saveTokenizer(at("copy"), await loadTokenizer(at("plain")))).toEqual([
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
  ]);
  for (const name of readdirSync(at("plain")))
    expect(readFileSync(at("copy", name))).toEqual(readFileSync(at("plain", name)));
});

test("say what a tokenizer says that was made of parsed files", async () => {
  const options = { addTokens: ["<sep>"], special: { sep: "<sep>" } };
  const made = tokenizerFromJson(files["tokenizer.json"], files["tokenizer_config.json"], options);
  expect(await saveTokenizer(at("made"), made)).toEqual([
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
  ]);
  const again = await loadTokenizer(at("made"));
  expect([again.special, again.maxLength]).toEqual([made.special, 64]);
  expect(again.encode("hello <sep>").ids).toEqual([1, 4]);
});

test("have the tokens that were added, under their ids, here and for another reader", async () => {
  const special = { pad: "<pad>", bos: "hello", mask: 9 };
  const grown = await loadTokenizer(at("plain"), {
    addTokens: ["<pad>", "<end>", "<sep>"],
    special,
    paddingSide: "left",
  });
  await saveTokenizer(at("grown"), grown);
  const again = await loadTokenizer(at("grown"));
  expect(again.special.ids).toEqual({ ...grown.special.ids, pad: 4, bos: 1, mask: 9, eos: 3 });
  expect([again.paddingSide, again.maxLength, again.vocabSize]).toEqual(["left", 64, 6]);
  const text = "hello<sep> world <pad><end>";
  expect(again.encode(text).ids).toEqual([1, 5, 2, 4, 3]);
  expect(again.decode([4, 2, 5], { skipSpecialTokens: true })).toBe("world");

  expect(json("grown", "tokenizer_config.json")).toMatchObject({
    eos_token: { content: "<end>" },
    pad_token: "<pad>",
    bos_token: "hello",
    added_tokens_decoder: {
      3: { content: "<end>", special: true, ...flags },
      4: { content: "<pad>", special: true, ...flags },
      5: { content: "<sep>", special: true, ...flags },
    },
  });
  expect(json("grown", "special_tokens_map.json")).toEqual({ pad_token: "<pad>", bos_token: "hello" });
  type Reader = new (json: object, config: object) => { encode(text: string): { ids: number[] } };
  const { Tokenizer } = huggingface as object as { Tokenizer: Reader };
  const other = new Tokenizer(
    { normalizer: null, post_processor: null, decoder: null, ...json("grown", "tokenizer.json") },
    json("grown", "tokenizer_config.json"),
  );
  expect(other.encode("<sep><pad><end>").ids).toEqual([5, 4, 3]);

  // Once more, on top of it, and into its own folder.
  const more = await loadTokenizer(at("grown"), { addTokens: ["<pad>", "<more>"], special: { sep: "<sep>" } });
  await saveTokenizer(at("grown"), more);
  const last = await loadTokenizer(at("grown"));
  expect([last.idOf("<more>"), last.special.ids]).toEqual([6, { ...again.special.ids, sep: 5 }]);
});
