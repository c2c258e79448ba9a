/** TransformerLens' refactoring of attention heads: its factors, the same logits. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { datasetOf } from "../src/data/index.ts";
import type { Tensor } from "../src/graph/index.ts";
import { factorAttention, HookedModel, processWeights, type ModelConfigInput } from "../src/model/index.ts";
import { memory } from "../src/runtime/index.ts";
import { Session } from "../src/session/index.ts";
import { describeWithGoldens, goldenTensors, sharedPath } from "./support/goldens.ts";
import { numbersOf } from "./support/model.ts";

const tokens = [
  [5, 6, 7, 8, 9, 10, 11, 12],
  [20, 19, 18, 17, 16, 15, 14, 13],
];
const tiny: ModelConfigInput = {
  ...{ n_layers: 2, d_model: 16, n_ctx: 8, d_head: 4, n_heads: 3, d_mlp: 24, d_vocab: 30, d_vocab_out: 30 },
  ...{ act_fn: "gelu", normalization_type: "LN" },
};
const numbers = async (model: HookedModel, x: Tensor): Promise<number[]> => numbersOf(await model.runtime.realize(x));
const logits = async (model: HookedModel): Promise<number[]> => numbersOf(await model.run(tokens));

/** Biases that are not 0, and queries that are large enough for the scores to count. */
function withBiases(model: HookedModel): HookedModel {
  for (const [name, { storage }] of model.weights) {
    const data = storage?.data as Float32Array | undefined;
    if (/\.b_/.test(name)) for (const i of data!.keys()) data![i] = Math.sin(i + name.length);
    if (/W_[QK]$/.test(name)) for (const i of data!.keys()) data![i]! *= 4;
  }
  return model;
}

const folder = "goldens/families/gpt2";
const golden = "goldens/hooked/gpt2/refactored.weights.safetensors";
describeWithGoldens("as TransformerLens", [folder, golden], () => {
  test("up to the sign of each direction", async () => {
    const model = await HookedModel.load(sharedPath(folder));
    const { weights } = await factorAttention(processWeights(model));
    const expected = await goldenTensors(sharedPath(golden));
    const { n_layers, n_heads, d_head, d_model } = model.cfg;
    for (let layer = 0; layer < n_layers; layer++) {
      const at = (part: string): string => `blocks.${layer}.attn.${part}`;
      const ours = (part: string): Promise<number[]> => numbers(model, weights.get(at(part))!);
      expect(await ours("b_O")).toBeAllClose(expected.numbers(at("b_O")));
      expect(weights.has(at("b_V"))).toBe(false);
      expect(new Set(expected.numbers(at("b_V")))).toEqual(new Set([0]));
      // [head, rows, direction]; W_O is [head, direction, d_model]
      for (const pair of [
        ["W_Q", "b_Q", "W_K", "b_K"],
        ["W_V", "W_O"],
      ]) {
        const signs = new Map<number, number>();
        for (const part of pair) {
          const [mine, theirs] = [await ours(part), expected.numbers(at(part))];
          const perHead = theirs.length / n_heads;
          const direction = (i: number): number => {
            const head = Math.floor(i / perHead);
            return head * d_head + (part === "W_O" ? Math.floor((i % perHead) / d_model) : i % d_head);
          };
          for (const [i, value] of theirs.entries())
            if (!signs.has(direction(i)) && Math.abs(value) > 0.05)
              signs.set(direction(i), Math.sign(value) * Math.sign(mine[i]!));
          expect(
            mine.map((x, i) => x * signs.get(direction(i))!),
            at(part),
          ).toBeAllClose(theirs);
        }
        expect(signs.size).toBe(n_heads * d_head);
      }
    }
    model.dispose();
  });
});

test.each<[string, ModelConfigInput]>([
  ["learned positions", tiny],
  ["positions in queries and keys", { ...tiny, positional_embedding_type: "shortformer" }],
  ["heads wider than the model", { ...tiny, d_head: 20 }],
])("logits and value biases of a raw model, %s", async (_, config) => {
  const model = withBiases(HookedModel.fromConfig(config, { seed: 3 }));
  const layers: number[] = [];
  const factored = await factorAttention(model, { onProgress: ({ layers: done }) => layers.push(done) });
  expect(layers).toEqual([1, 2]);
  const other = new HookedModel({ ...factored, runtime: model.runtime });
  expect(await logits(other)).toBeAllClose(await logits(model));
  const { cache } = await other.runWithCache(tokens, {
    names: ["blocks.0.attn.hook_q", "blocks.0.attn.hook_attn_scores"],
  });
  const { cache: before } = await model.runWithCache(tokens, {
    names: ["blocks.0.attn.hook_q", "blocks.0.attn.hook_attn_scores"],
  });
  expect(numbersOf(cache.get("blocks.0.attn.hook_attn_scores")).filter(Number.isFinite)).toBeAllClose(
    numbersOf(before.get("blocks.0.attn.hook_attn_scores")).filter(Number.isFinite),
  );
  expect(numbersOf(cache.get("blocks.0.attn.hook_q"))).not.toBeAllClose(numbersOf(before.get("blocks.0.attn.hook_q")));
});

test("a session whose tl_cfg asks for it", async () => {
  const model = sharedPath(folder);
  const data = await datasetOf(() => [{ value: { input_ids: tokens[0], label: 1 }, where: "row 0" }], { name: "ids" });
  const coreLogDir = mkdtempSync(join(tmpdir(), "interpretune-factored-"));
  onTestFinished(() => rmSync(coreLogDir, { recursive: true }));
  const tlCfg = { preset: "no_processing", foldLn: true, refactorFactoredAttnMatrices: true } as const;
  const session = await Session.create({
    ...{ model, data, logStream: null, adapterCtx: ["core", "transformer_lens"] },
    moduleCfg: { coreLogDir, tlCfg, classificationMapping: [2, 3], positions: "explicit" },
  });
  await session.init();
  const made = session.module.model;
  const plain = await HookedModel.load(model);
  const steps = { centerWritingWeights: false, centerUnembed: false, foldValueBiases: false };
  const factored = await factorAttention(processWeights(plain, steps));
  for (const part of ["W_Q", "b_K", "W_O", "b_O"].map((name) => `blocks.1.attn.${name}`))
    expect(await numbers(made, made.weights.get(part)!), part).toEqual(
      await numbers(plain, factored.weights.get(part)!),
    );
  expect(await logits(made)).toBeAllClose(await logits(plain));
  await session.end();
});

test("what is computed is in the ledger until it is given back", async () => {
  const model = HookedModel.fromConfig({ ...tiny, model_name: "factored" });
  const own = (): number => memory.entries().filter(({ owner }) => owner === "factored").length;
  const raw = own();
  const factored = await factorAttention(model);
  expect(own()).toBe(raw + 2 * 6);
  factored.dispose();
  expect(own()).toBe(raw);
  expect(() => factored.weights.get("blocks.0.attn.W_Q")!.data).toThrow(/disposed/);
  model.dispose();
  expect(own()).toBe(0);
});

test("rotary positions, shared keys and an abort are told", async () => {
  const rotary = HookedModel.fromConfig({ ...tiny, positional_embedding_type: "rotary", rotary_dim: 4 });
  await expect(factorAttention(rotary)).rejects.toThrow(/rotary positions.*refactor_factored_attn_matrices/s);
  const shared = HookedModel.fromConfig({ ...tiny, n_key_value_heads: 1 });
  await expect(factorAttention(shared)).rejects.toMatchObject({ code: "model/processing" });
  const signal = AbortSignal.abort(new Error("enough"));
  await expect(factorAttention(HookedModel.fromConfig(tiny), { signal })).rejects.toThrow("enough");
});
