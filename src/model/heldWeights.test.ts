import { expect, test } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { memory } from "../runtime/index.ts";
import { HookedModel } from "./hookedModel.ts";

const sizes = { n_layers: 1, d_model: 8, n_ctx: 4, d_head: 4, n_heads: 2, d_vocab: 10, d_vocab_out: 10 };
const made = (model_name: string): HookedModel => HookedModel.fromConfig({ ...sizes, attn_only: true, model_name });
const bytesOf = (name: string): number =>
  memory
    .entries()
    .filter(({ owner }) => owner === name)
    .reduce((sum, { bytes }) => sum + bytes, 0);

test("a model from a configuration is in the ledger until it is disposed", () => {
  const model = made("from a configuration");
  const numbers = [...model.weights.values()].reduce((sum, { storage }) => sum + storage!.data!.length, 0);
  expect(bytesOf("from a configuration")).toBe(4 * numbers);
  expect(memory.rows().find(({ name }) => name === "from a configuration")).toMatchObject({ object: "HookedModel" });
  model.dispose();
  expect(bytesOf("from a configuration")).toBe(0);
  expect(() => model.weights.get("embed.W_E")!.data).toThrow(/disposed/);
  model.dispose();
});

test("a tied embedding counts once", () => {
  const config = { ...sizes, attn_only: true, model_name: "tied", tie_word_embeddings: true };
  const tied = HookedModel.fromConfig(config);
  const untied = HookedModel.fromConfig({ ...config, model_name: "untied", tie_word_embeddings: false });
  expect(bytesOf("untied") - bytesOf("tied")).toBe(4 * 80);
  for (const model of [tied, untied]) model.dispose();
});

test("it leaves the ledger when nobody holds it any more", async () => {
  made("forgotten");
  expect(bytesOf("forgotten")).toBeGreaterThan(0);
  await collect(() => bytesOf("forgotten") === 0);
  expect(bytesOf("forgotten")).toBe(0);
});
