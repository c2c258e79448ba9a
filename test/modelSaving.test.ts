/** Models saved, processed and made from a seed: what is written is what is read again. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { leaf, type Tensor } from "../src/graph/index.ts";
import { parseModelConfig } from "../src/model/config.ts";
import { initWeights } from "../src/model/weights/init.ts";
import { loadModelFiles } from "../src/model/files/load.ts";
import { parametersOf } from "../src/model/weights/parameters.ts";
import { processWeights } from "../src/model/weights/processing.ts";
import { saveModel } from "../src/model/files/save.ts";
import { describeWithGoldens, goldenTensors, sharedPath } from "./support/goldens.ts";
import { families, familyPath, numbers, small, stored, useFolder } from "./support/modelFiles.ts";

const folder = useFolder();
const more = ["gpt2-inverse-layer", "gpt-neox-sequential", "llama-biases", "llama-tied-rope-scaled"];

describe.each([...families, ...more])("saving %s", (family) => {
  describeWithGoldens("as its family", [`goldens/families/${family}`], () => {
    test("loads again bit for bit, with the same tensors under the same names", async () => {
      const model = await loadModelFiles(familyPath(family));
      const { layout, files } = await saveModel(folder(), model, { hfConfig: model.hfConfig });
      expect({ layout, files }).toEqual({ layout: "huggingface", files: ["config.json", "model.safetensors"] });
      const again = await loadModelFiles(folder());
      expect({ ...again.cfg, model_name: "" }).toEqual({ ...model.cfg, model_name: "" });
      expect(await numbers(again.weights)).toEqual(await numbers(model.weights));
      const [before, after] = [
        await stored(join(familyPath(family), "model.safetensors")),
        await stored(join(folder(), "model.safetensors")),
      ];
      expect(new Set(after.keys())).toEqual(new Set(before.keys()));
      for (const [name, { shape, data }] of before) {
        expect(after.get(name)!.shape, name).toEqual(shape);
        // Gemma's norms are rounded when 1 is added; everything else is only moved.
        if (family !== "gemma2" || !name.includes("norm")) expect(after.get(name)!.data, name).toEqual(data);
      }
      const said = JSON.parse(readFileSync(join(folder(), "config.json"), "utf8")) as Record<string, unknown>;
      expect(said).toMatchObject({ bos_token_id: 1, eos_token_id: 2, model_type: model.hfConfig.model_type });
      model.dispose();
      again.dispose();
    });
  });
});

describe.each(families)("processing %s", (family) => {
  const processed = `goldens/hooked/${family}/processed.weights.safetensors`;
  describeWithGoldens("as TransformerLens", [`goldens/families/${family}`, processed], () => {
    test("gives its parameters", async () => {
      const model = await loadModelFiles(familyPath(family));
      const golden = await goldenTensors(sharedPath(processed));
      const { cfg, weights } = processWeights(model);
      const values = await numbers(weights);
      const expected = new Map(golden.names.map((name) => [name.replace("attn._", "attn."), golden.numbers(name)]));
      for (const [name, wanted] of expected) {
        const value = values.get(name);
        // TransformerLens keeps biases that are zero, and Gemma's factor √d_model inside the embedding.
        if (value === undefined) expect(wanted, name).toEqual(wanted.map(() => 0));
        else
          expect(name === "embed.W_E" ? value.map((x) => x * cfg.embedding_scale) : value, name).toBeAllClose(
            wanted,
            2e-6,
          );
      }
      expect([...values.keys()].filter((name) => !expected.has(name))).toEqual([]);
      expect(cfg.normalization_type).toBe(model.cfg.normalization_type === "LN" ? "LNPre" : "RMSPre");
      expect(cfg.tie_word_embeddings).toBe(false);
      model.dispose();
    });

    test("saves in the native layout, which loads again bit for bit", async () => {
      const model = await loadModelFiles(familyPath(family));
      const processed = processWeights(model);
      expect((await saveModel(folder(), processed)).layout).toBe("native");
      await expect(saveModel(folder(), processed, { layout: "huggingface" })).rejects.toThrow(
        /does not fit the layout/,
      );
      const again = await loadModelFiles(folder());
      expect(again.cfg).toEqual(processed.cfg);
      const [before, after] = [await numbers(processed.weights), await numbers(again.weights)];
      for (const [name, value] of before) expect(after.get(name), name).toEqual(value);
      for (const [name, value] of after) if (!before.has(name)) expect(value, name).toEqual(value.map(() => 0));
      model.dispose();
      again.dispose();
    });
  });
});

describe("processing", () => {
  test("nothing asked for, nothing changed", async () => {
    const model = await loadModelFiles(familyPath("gpt2"));
    const off = { foldLn: false, centerWritingWeights: false, centerUnembed: false, foldValueBiases: false };
    const processed = processWeights(model, off);
    expect(processed.cfg).toEqual(model.cfg);
    expect([...processed.weights]).toEqual([...model.weights]);
    model.dispose();
  });

  test("a model whose masks leave rows empty keeps its value biases", () => {
    const cfg = parseModelConfig({
      ...small,
      attention_bias: [
        [
          [0, null],
          [null, null],
        ],
      ],
      n_ctx: 2,
      n_layers: 1,
    });
    expect(() => processWeights({ cfg, weights: initWeights(cfg, 0) })).toThrow(/value biases.*foldValueBiases/);
  });
});

describe("random weights", () => {
  const big = { ...small, d_model: 96, d_head: 32, d_mlp: 400, d_vocab: 500, d_vocab_out: 500 };
  const spread = (x: Tensor): { mean: number; deviation: number; largest: number } => {
    const values = x.toArray();
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
    return { mean, deviation, largest: Math.max(...values.map(Math.abs)) };
  };

  test.each([
    ["gpt2", 0.8 / Math.sqrt(96), 0.8 / Math.sqrt(96)],
    ["xavier_normal", Math.sqrt(2 / (96 + 400)), Math.sqrt(2 / (96 + 3 * 32))],
    ["xavier_uniform", Math.sqrt(2 / (96 + 400)), Math.sqrt(2 / (96 + 3 * 32))],
    ["kaiming_normal", Math.SQRT2 / Math.sqrt(96), Math.SQRT2 / Math.sqrt(96)],
    ["kaiming_uniform", Math.SQRT2 / Math.sqrt(96), Math.SQRT2 / Math.sqrt(96)],
  ] as const)("%s has its spread; biases are 0, norms 1", (init_mode, mlp, attention) => {
    const cfg = parseModelConfig({ ...big, init_mode });
    const weights = initWeights(cfg, 3);
    for (const [name, deviation] of [
      ["blocks.0.mlp.W_in", mlp],
      ["blocks.1.attn.W_Q", attention],
    ] as const) {
      const found = spread(weights.get(name)!);
      expect(found.deviation / deviation, name).toBeCloseTo(1, 1);
      expect(Math.abs(found.mean), name).toBeLessThan(0.05 * deviation);
      if (init_mode.endsWith("uniform")) expect(found.largest).toBeLessThanOrEqual(deviation * Math.sqrt(3) * 1.0001);
      else expect(found.largest).toBeGreaterThan(3 * deviation);
    }
    for (const [name, { kind, shape }] of parametersOf(cfg)) {
      expect(weights.get(name)!.dims, name).toEqual(shape);
      if (kind !== "weight")
        expect(new Set(weights.get(name)!.toArray()), name).toEqual(new Set([kind === "norm" ? 1 : 0]));
    }
  });

  test("are a function of the seed, and differ between parameters", () => {
    const cfg = parseModelConfig({ ...big, initializer_range: 0.02 });
    const values = (seed: number, name: string): number[] => initWeights(cfg, seed).get(name)!.toArray();
    expect(values(1, "blocks.0.attn.W_Q")).toEqual(values(1, "blocks.0.attn.W_Q"));
    expect(values(1, "blocks.0.attn.W_Q")).not.toEqual(values(2, "blocks.0.attn.W_Q"));
    expect(values(1, "blocks.0.attn.W_Q")).not.toEqual(values(1, "blocks.0.attn.W_K"));
    expect(spread(initWeights(cfg, 1).get("embed.W_E")!).deviation).toBeCloseTo(0.02, 3);
  });

  test.each(["gpt2", "llama-gqa"])("a new %s fits its family's layout", async (family) => {
    const model = await loadModelFiles(familyPath(family));
    model.dispose();
    const { cfg } = model;
    const weights = initWeights(cfg, 5);
    expect((await saveModel(folder(), { cfg, weights })).layout).toBe("huggingface");
    const again = await loadModelFiles(folder());
    const before = await numbers(weights);
    for (const [name, value] of await numbers(again.weights)) expect(before.get(name), name).toEqual(value);
  });
});

test("a model made by hand saves and loads; without its unembedding it does not", async () => {
  const cfg = parseModelConfig({ ...small, n_layers: 0, normalization_type: null });
  const made = (name: string, shape: number[]): [string, Tensor] => [
    name,
    leaf(
      Float32Array.from({ length: shape[0]! * (shape[1] ?? 1) }, (_, i) => i),
      shape,
      { role: "weight", name },
    ),
  ];
  const weights = new Map([
    made("embed.W_E", [11, 12]),
    made("pos_embed.W_pos", [9, 12]),
    made("unembed.W_U", [12, 7]),
  ]);
  await saveModel(folder(), { cfg, weights });
  const again = await loadModelFiles(folder());
  expect(again.cfg).toEqual(cfg);
  expect(again.weights.get("unembed.W_U")!.toArray()).toEqual(weights.get("unembed.W_U")!.toArray());
  weights.delete("unembed.W_U");
  await expect(saveModel(folder(), { cfg, weights })).rejects.toThrow(/lacks a parameter.*unembed\.W_U/);
});
