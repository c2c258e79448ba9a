/** Loading models: TransformerLens' own, checkpoints as they are found, damaged and missing files. */
import { appendFileSync, cpSync, mkdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FormatError, writeSafetensors, type TensorData } from "../src/formats/index.ts";
import { parseModelConfig } from "../src/model/config.ts";
import { ModelError } from "../src/model/errors.ts";
import { initWeights } from "../src/model/weights/init.ts";
import { loadModelFiles, type LoadedModel } from "../src/model/files/load.ts";
import { processWeights } from "../src/model/weights/processing.ts";
import { saveModel } from "../src/model/files/save.ts";
import type { ModelWeights } from "../src/model/weights/weights.ts";
import { memory } from "../src/runtime/index.ts";
import { describeWithGoldens, sharedPath } from "./support/goldens.ts";
import { changed, failure, familyPath, numbers, small, stored, useFolder } from "./support/modelFiles.ts";

const folder = useFolder();

describe("native models", () => {
  const write = async (config: object, rename: (name: string) => string = (name) => name): Promise<ModelWeights> => {
    const cfg = parseModelConfig(small);
    const weights = initWeights(cfg, 7);
    const tensors = new Map(
      [...weights].map(([name, x]): [string, TensorData] => [
        rename(name),
        { dtype: "float32", shape: x.dims, data: x.data },
      ]),
    );
    tensors.set("blocks.0.attn.mask", { dtype: "bool", shape: [9, 9], data: new Uint8Array(81) });
    tensors.set("blocks.0.attn.IGNORE", { dtype: "float32", shape: [], data: new Float32Array(1) });
    await writeSafetensors(join(folder(), "model.safetensors"), tensors);
    writeFileSync(join(folder(), "config.json"), JSON.stringify(config));
    return weights;
  };

  test("old names, sizes left out, unknown keys; grouped names; buffers do not count as unused", async () => {
    const config = {
      num_layers: 2,
      d_model: 12,
      num_heads: 3,
      n_ctx: 9,
      d_mlp: 20,
      act_type: "ReLU",
      pos_embed_type: "orig",
      task: "any",
      pad_token: 1,
    };
    const weights = await write(config, (name) => name.replace(/attn\.([Wb]_[KV])$/, "attn._$1"));
    const model = await loadModelFiles(folder());
    expect(model.kind).toBe("native");
    expect(model.cfg).toEqual({ ...parseModelConfig(small), model_name: model.cfg.model_name });
    expect(model.hfConfig).toEqual(config);
    expect(model.unused).toEqual([]);
    expect(await numbers(model.weights)).toEqual(await numbers(weights));
  });

  test("TransformerLens' defaults: d_mlp 4 d_model, LayerNorm with eps 1e-5", async () => {
    await write({ ...small, d_mlp: undefined });
    const error = await failure(loadModelFiles(folder()));
    expect(error.message).toMatch(/shape.*blocks\.0\.mlp\.W_in; expected \[12, 48\]; got \[12, 20\]/);
    await write(small);
    expect((await loadModelFiles(folder())).cfg).toMatchObject({
      normalization_type: "LN",
      eps: 1e-5,
      attn_only: false,
    });
  });

  test("rope of TransformerLens under our keys", async () => {
    await write({
      ...small,
      positional_embedding_type: "rotary",
      use_NTK_by_parts_rope: true,
      NTK_by_parts_factor: 32,
    });
    const scaling = {
      rope_type: "llama3",
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    const model = await loadModelFiles(folder());
    expect(model.cfg.rope_scaling).toEqual(scaling);
    expect(model.unused).toEqual(["pos_embed.W_pos"]);
  });

  test("parts we do not have are refused", async () => {
    await write({ ...small, use_qk_norm: true });
    await expect(loadModelFiles(folder())).rejects.toThrow(/not supported.*use_qk_norm/);
  });

  test("masks of its own: a later query that sees only itself sees nothing", async () => {
    const open = Array.from({ length: 9 }, () => Array.from({ length: 9 }, () => 0));
    const first = open.map((row, q) => row.map((_, k) => (k === q ? 0 : null)));
    await write({ ...small, mask_bias_layer0: first, mask_bias_other: open });
    const masks = (await loadModelFiles(folder())).cfg.attention_bias!;
    expect(masks[0]![0]).toEqual(first[0]);
    expect(
      masks[0]!
        .slice(1)
        .flat()
        .every((x) => x === null),
    ).toBe(true);
    expect(masks[1]).toEqual(open);
    await write({ ...small, mask_bias_layer0: first.slice(1), mask_bias_other: open });
    await expect(loadModelFiles(folder())).rejects.toThrow(/mask_bias_layer0; expected \[9, 9\]; got \[8, 9\]/);
  });
});

describe.each(["arena-brackets", "grokking-mod113-add", "induction-2L-attn-only", "list-comp-2L"])("%s", (name) => {
  describeWithGoldens("native model", [`models/${name}`], () => {
    test("loads whole, and saves to the same tensors", async () => {
      const model = await loadModelFiles(sharedPath(`models/${name}`));
      expect(model.unused).toEqual([]);
      expect((await saveModel(folder(), model)).layout).toBe("native");
      const file = join(sharedPath(`models/${name}`), "model.safetensors");
      expect(await stored(join(folder(), "model.safetensors"))).toEqual(await stored(file));
      expect((await loadModelFiles(folder())).cfg).toEqual(model.cfg);
      model.dispose();
    });
  });
});

describe("checkpoints as they are found", () => {
  const gpt2 = familyPath("gpt2");

  test("a tied model whose file has a head is tied where that is its embedding, as in transformers", async () => {
    const withHead = (factor: number): Promise<string> =>
      changed(folder(), "gpt2", (tensors) => {
        const embedding = tensors.get("transformer.wte.weight")!;
        tensors.set("lm_head.weight", {
          ...embedding,
          data: Float32Array.from(embedding.data as Float32Array, (x) => x * factor),
        });
      });
    const loaded = async (factor: number): Promise<LoadedModel> => {
      const path = await withHead(factor);
      const whole = await loadModelFiles(path);
      const { cfg, unused } = await loadModelFiles(path, { headersOnly: true });
      expect({ cfg, unused }).toEqual({ cfg: whole.cfg, unused: whole.unused });
      return whole;
    };
    const [tied, own] = [await loaded(1), await loaded(2)];
    expect([tied.cfg.tie_word_embeddings, own.cfg.tie_word_embeddings]).toEqual([true, false]);
    const [first, second] = [await numbers(tied.weights), await numbers(own.weights)];
    expect(second.get("unembed.W_U")).toEqual(first.get("unembed.W_U")!.map((x) => 2 * x));
    expect(second.get("embed.W_E")).toEqual(first.get("embed.W_E"));
    tied.dispose();
    own.dispose();
  });

  test("names without prefix, buffers, tensors of other parts", async () => {
    const path = await changed(folder(), "gpt2", (tensors) => {
      for (const [name, tensor] of [...tensors]) {
        tensors.delete(name);
        tensors.set(name.replace("transformer.", ""), tensor);
      }
      tensors.set("h.0.attn.bias", { dtype: "bool", shape: [1, 1, 2, 2], data: new Uint8Array(4) });
      tensors.set("h.0.attn.masked_bias", { dtype: "float32", shape: [], data: new Float32Array(1) });
      tensors.set("score.weight", { dtype: "float32", shape: [2], data: new Float32Array(2) });
    });
    const [model, plain] = [await loadModelFiles(path), await loadModelFiles(gpt2)];
    expect(model.unused).toEqual(["score.weight"]);
    expect(await numbers(model.weights)).toEqual(await numbers(plain.weights));
  });

  test("attention without bias", async () => {
    const path = await changed(folder(), "gpt2", (tensors) => {
      for (const name of [...tensors.keys()]) if (name.endsWith("c_attn.bias")) tensors.delete(name);
    });
    const model = await loadModelFiles(path);
    expect([...model.weights.keys()].filter((name) => /b_[QKV]$/.test(name))).toEqual([]);
    const processed = await numbers(processWeights(model).weights);
    expect(processed.get("blocks.0.attn.b_Q")!.some((x) => x !== 0)).toBe(true); // the norm's bias
  });

  test("half precision is widened exactly", async () => {
    const path = await changed(folder(), "gpt2", (tensors) => {
      tensors.set("transformer.ln_f.weight", {
        dtype: "bfloat16",
        shape: [32],
        data: Uint16Array.from({ length: 32 }, () => 0x3fc0),
      });
    });
    const model = await loadModelFiles(path);
    const { data, dtype } = model.weights.get("ln_final.w")!;
    expect([dtype, ...(data as Float32Array).slice(0, 2)]).toEqual(["float32", 1.5, 1.5]);
  });

  test("shards", async () => {
    const model = await loadModelFiles(gpt2);
    const { files } = await saveModel(folder(), model, { maxShardBytes: 60_000 });
    expect(files.length).toBeGreaterThan(3);
    expect(await numbers((await loadModelFiles(folder())).weights)).toEqual(await numbers(model.weights));
  });
});

describe("damaged models", () => {
  const spoil = async (change: (tensors: Map<string, TensorData>) => void): Promise<Error> =>
    failure(loadModelFiles(await changed(folder(), "gpt2", change)));

  test("missing tensors are named, with file and shape", async () => {
    const error = await spoil((tensors) => tensors.delete("transformer.h.1.mlp.c_fc.weight"));
    expect(error).toBeInstanceOf(ModelError);
    expect(error.message).toMatch(
      /lacks a tensor.*model\.safetensors; expected transformer\.h\.1\.mlp\.c_fc\.weight \[32, 128\]/,
    );
    const many = await spoil((tensors) => tensors.clear());
    expect(many.message).toMatch(/lacks 37 tensors.*transformer\.wte\.weight \[112, 32\].*…; got 0 tensors/);
    const head = await changed(folder(), "llama-gqa", (tensors) => tensors.delete("lm_head.weight"));
    expect((await failure(loadModelFiles(head))).message).toMatch(/lm_head\.weight.*tie_word_embeddings/);
  });

  test("a wrong shape is named, with file and both shapes", async () => {
    const error = await spoil((tensors) =>
      tensors.set("transformer.h.0.attn.c_attn.weight", {
        dtype: "float32",
        shape: [96, 32],
        data: new Float32Array(96 * 32),
      }),
    );
    expect(error.message).toMatch(
      /model\.safetensors, tensor transformer\.h\.0\.attn\.c_attn\.weight; expected \[32, 96\]; got \[96, 32\]/,
    );
  });

  test("integers are no weights", async () => {
    const error = await spoil((tensors) =>
      tensors.set("transformer.ln_f.bias", { dtype: "int32", shape: [32], data: new Int32Array(32) }),
    );
    expect(error.message).toMatch(/transformer\.ln_f\.bias; expected F32, F16, BF16.*got I32/);
  });

  test("a file cut short, a file with junk, no file", async () => {
    cpSync(familyPath("gpt2"), folder(), { recursive: true });
    const file = join(folder(), "model.safetensors");
    appendFileSync(file, "x");
    expect(await failure(loadModelFiles(folder()))).toBeInstanceOf(FormatError);
    truncateSync(file, 100_000);
    expect((await failure(loadModelFiles(folder()))).message).toMatch(/truncated/);
    rmSync(file);
    expect((await failure(loadModelFiles(folder()))).message).toMatch(/has no weights.*model\.safetensors/);
  });

  test("a config that is not one", async () => {
    cpSync(familyPath("gpt2"), folder(), { recursive: true });
    const config = join(folder(), "config.json");
    for (const [text, message] of [
      ["{", /not valid JSON/],
      ["[1]", /not a JSON object/],
      ['{"model_type": "bert"}', /family is not supported.*gpt2/],
      ['{"model_type": "gpt2", "n_embd": -1}', /n_embd/],
      ["{}", /family is not supported/],
    ] as const) {
      writeFileSync(config, text);
      expect((await failure(loadModelFiles(folder()))).message).toMatch(message);
    }
  });
});

describe("paths that are no models", () => {
  test("say what was looked for", async () => {
    const missing = await failure(loadModelFiles(join(folder(), "nothing")));
    expect(missing.message).toMatch(
      /no model at this path.*nothing; expected a folder with config\.json and model\.safetensors.*\.gguf file/,
    );
    expect((await failure(loadModelFiles(folder()))).message).toMatch(/no config\.json.*an empty folder/);
    mkdirSync(join(folder(), "sub"));
    writeFileSync(join(folder(), "m.gguf"), "");
    expect((await failure(loadModelFiles(folder()))).message).toMatch(
      /got m\.gguf, sub.*give the path of m\.gguf itself/,
    );
    writeFileSync(join(folder(), "w.safetensors"), "");
    expect((await failure(loadModelFiles(join(folder(), "w.safetensors")))).message).toMatch(
      /not a model.*give the folder/,
    );
    expect(await failure(loadModelFiles(join(folder(), "m.gguf")))).toBeInstanceOf(FormatError);
  });
});

describe("while loading", () => {
  test("progress ends at the size of the weights; an aborted signal stops", async () => {
    const seen: { bytes: number; totalBytes: number }[] = [];
    const model = await loadModelFiles(familyPath("gpt2"), { onProgress: (p) => seen.push(p) });
    const elements = [...model.weights]
      .filter(([name]) => name !== "unembed.W_U")
      .reduce((sum, [, x]) => sum + x.shape.reduce<number>((a, b) => a * (b as number), 1), 0);
    expect(seen.at(-1)).toEqual({ bytes: 4 * elements, totalBytes: 4 * elements });
    const reason = new Error("enough");
    expect(await failure(loadModelFiles(familyPath("gpt2"), { signal: AbortSignal.abort(reason) }))).toBe(reason);
  });

  test("the ledger holds the weights until they are disposed", async () => {
    const owned = (): number =>
      memory
        .entries()
        .filter((entry) => entry.owner === "gpt2")
        .reduce((sum, entry) => sum + entry.bytes, 0);
    const before = owned();
    const model = await loadModelFiles(familyPath("gpt2"));
    const bytes = [...(await stored(join(familyPath("gpt2"), "model.safetensors"))).values()].reduce(
      (sum, { data }) => sum + data.byteLength,
      0,
    );
    expect(owned() - before).toBe(bytes);
    model.dispose();
    model.dispose();
    expect(owned()).toBe(before);
    expect(() => model.weights.get("ln_final.w")!.data).toThrow(/disposed/);
  });
});
