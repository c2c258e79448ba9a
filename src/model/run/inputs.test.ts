import { expect, test } from "vitest";
import { HookedModel } from "../hookedModel.ts";
import { tokenizerFromJson } from "../tokenizer/index.ts";

const json = {
  model: { type: "WordLevel", vocab: { hello: 0, world: 1, "?": 2 }, unk_token: "?" },
  added_tokens: [],
  pre_tokenizer: { type: "Whitespace" },
};
const sizes = { n_layers: 1, d_model: 8, n_ctx: 4, d_head: 4, n_heads: 2, d_vocab: 3, d_vocab_out: 3, attn_only: true };

test.each([3, 50_000, 2 ** 31 - 1])("a padding token that the model lacks is named: %d", async (pad) => {
  const tokenizer = tokenizerFromJson(json, undefined, { special: { pad } });
  const model = HookedModel.fromConfig(sizes, { tokenizer });
  await expect(model.run(["hello", "hello world"], { prependBos: false })).rejects.toThrow(
    `a token id is outside the vocabulary; expected ids below 3; got ${pad}`,
  );
  expect((await model.run(["hello world", "world hello"], { prependBos: false })).dims).toEqual([2, 2, 3]);
});

test.each([3, 2 ** 40, 1e300])("so is a token of a row of ids: %d", async (id) => {
  await expect(HookedModel.fromConfig(sizes).run([[0, id]])).rejects.toThrow(`expected ids below 3; got ${id}`);
});
