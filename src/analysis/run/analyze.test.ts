import { describe, expect, it } from "vitest";
import { datasetOf } from "../../data/index.ts";
import { HookedModel, type ModelConfigInput } from "../../model/index.ts";
import { analyzeDataset } from "./analyze.ts";
import { batchesPerShard } from "./loop.ts";
import { modelHash } from "../plan/identity.ts";

const cfg: ModelConfigInput = {
  n_layers: 1,
  d_model: 8,
  n_ctx: 8,
  d_head: 4,
  n_heads: 2,
  d_vocab: 12,
  d_vocab_out: 12,
  attn_only: true,
};

it("shards hold about 16 examples, and there are at most 512", () => {
  expect([1, 2, 8, 16, 64].map((size) => batchesPerShard(35, size))).toEqual([16, 8, 2, 1, 1]);
  expect(batchesPerShard(100_000, 8)).toBe(196);
  expect(Math.ceil(100_000 / 196)).toBeLessThanOrEqual(512);
});

describe("a model's hash", () => {
  it("is of its content, not of its name", () => {
    const hash = modelHash(HookedModel.fromConfig({ ...cfg, model_name: "a" }, { seed: 1 }));
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(modelHash(HookedModel.fromConfig({ ...cfg, model_name: "b" }, { seed: 1 }))).toBe(hash);
    expect(modelHash(HookedModel.fromConfig(cfg, { seed: 2 }))).not.toBe(hash);
    expect(modelHash(HookedModel.fromConfig({ ...cfg, eps: 1e-6 }, { seed: 1 }))).not.toBe(hash);
  });

  it("knows one number from another", () => {
    const model = HookedModel.fromConfig(cfg, { seed: 1 });
    const before = modelHash(model);
    model.weight("blocks.0.attn.W_O").data[5] = 0.25;
    expect(modelHash(model)).not.toBe(before);
  });
});

it("tells how far it is, and what it took", async () => {
  const model = HookedModel.fromConfig(cfg, { seed: 1 });
  const rows = [3, 1, 2].map((length, i) => ({
    value: { input_ids: Array.from({ length }, (_, p) => 2 + p), label: i % 2, answers: [1, 5] },
    where: `row ${i}`,
  }));
  const data = await datasetOf(() => rows, { name: "three rows" });
  const seen: [number, number][] = [];
  const { results, timings } = await analyzeDataset({
    model,
    data,
    analyses: ["logit_diffs_base"],
    batchSize: 2,
    onProgress: ({ done, total }) => seen.push([done, total]),
  });
  expect(results.logit_diffs_base!.examples.map((row) => row.batch)).toEqual([0, 0, 1]);
  expect(seen.at(0)).toEqual([0, 3]);
  expect(seen.at(-1)).toEqual([3, 3]);
  expect(timings).toMatchObject({ examples: 3, ablated_pairs: 0 });
  await expect(analyzeDataset({ model, data })).rejects.toThrow(/need at least one SAE/);
});
