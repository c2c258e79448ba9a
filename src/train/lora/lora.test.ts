/** @file Low-rank adapters: PEFT's files and numbers, training, merging, what cannot be read. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenTensors, sharedPath } from "../../../test/support/goldens.ts";
import { openSafetensors, fileSource } from "../../formats/index.ts";
import { HookedModel } from "../../model/index.ts";
import { addLora, mergeLora, type LoraOptions } from "./lora.ts";
import { Learner } from "../learner/learner.ts";
import { loadLora, saveLora } from "./peft.ts";

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "interpretune-lora-"))));
afterAll(() => rm(folder, { recursive: true }));

const load = (name: string): Promise<HookedModel> => HookedModel.load(sharedPath(`goldens/families/${name}`));
const peft = (name: string): string => sharedPath(`goldens/peft/${name}`);

/** The largest difference at real tokens from the logits that PEFT gave. */
async function difference(model: HookedModel, name: string): Promise<number> {
  const golden = await goldenTensors(join(peft(name), "golden.safetensors"));
  const [rows, length, vocabulary] = golden.dims("logits") as [number, number, number];
  const grid = (tensor: string): number[][] =>
    Array.from({ length: rows }, (_, b) => golden.numbers(tensor).slice(b * length, (b + 1) * length));
  const mask = grid("attention_mask");
  const logits = (await model.run(model.batch(grid("input_ids"), { attentionMask: mask }))).toArray();
  const expected = golden.numbers("logits");
  let most = 0;
  mask.flat().forEach((real, at) => {
    for (let v = at * vocabulary; real === 1 && v < (at + 1) * vocabulary; v++)
      most = Math.max(most, Math.abs(logits[v]! - expected[v]!));
  });
  return most;
}

describe.each(["gpt2", "llama-gqa", "gpt-neox-parallel"])("PEFT's adapters of %s", (name) => {
  it("give PEFT's logits, merged or not, and again after they were written", async () => {
    const base = await load(name);
    const lora = await loadLora(base, peft(name));
    expect(await difference(base, name)).toBeGreaterThan(0.05);
    expect(await difference(lora.model, name)).toBeLessThan(1e-4);
    expect(await difference(await mergeLora(lora), name)).toBeLessThan(1e-4);
    const again = join(folder, name);
    await saveLora(again, lora);
    expect(await difference((await loadLora(base, again)).model, name)).toBeLessThan(1e-4);
    base.dispose();
  });

  it("are written under the names that PEFT gives them", async () => {
    const base = await load(name);
    await saveLora(join(folder, "names"), await loadLora(base, peft(name)));
    const names = async (where: string): Promise<readonly string[]> => {
      const file = await openSafetensors(await fileSource(join(where, "adapter_model.safetensors")));
      await file.close();
      return [...file.names].sort();
    };
    expect(await names(join(folder, "names"))).toEqual(await names(peft(name)));
    base.dispose();
  });
});

it("PEFT's adapters of a module are one: its projections share their A, and keep its rank when they are written", async () => {
  const base = await load("gpt2");
  const { parameters, aliases } = await loadLora(base, peft("gpt2"));
  const first = [...parameters.keys()].filter((name) => /(h|blocks)\.0\.attn/.test(name));
  expect(first.sort()).toEqual([
    ...["K", "O"].map((part) => `blocks.0.attn.W_${part}.lora_${part === "O" ? "A" : "B"}`),
    "blocks.0.attn.W_O.lora_B",
    "blocks.0.attn.W_Q.lora_B",
    "blocks.0.attn.W_V.lora_B",
    "transformer.h.0.attn.c_attn.lora_A",
  ]);
  expect(aliases.get("transformer.h.0.attn.c_attn.lora_A")).toEqual([
    ...["Q", "K", "V"].map((part) => `blocks.0.attn.W_${part}.lora_A`),
    "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
    "base_model.model.transformer.h.0.attn.c_attn.lora_A.default.weight",
  ]);
  await saveLora(join(folder, "ranks"), await loadLora(base, peft("gpt2")));
  const written: unknown = JSON.parse(await readFile(join(folder, "ranks", "adapter_config.json"), "utf8"));
  expect(written).toMatchObject({ r: 3, lora_alpha: 5, rank_pattern: {}, alpha_pattern: {} });
  base.dispose();
});

it("rank-stabilised scales are alpha / √r: the same adapters with alphas that make the same scales", async () => {
  const stabilised = join(folder, "rslora");
  await cp(peft("llama-gqa"), stabilised, { recursive: true });
  const file = join(stabilised, "adapter_config.json");
  const config = JSON.parse(await readFile(file, "utf8")) as object;
  await rm(file);
  // r 4 (v_proj 2), alpha 6 (o_proj 9) there.
  const scaled = { use_rslora: true, lora_alpha: 3, alpha_pattern: { o_proj: 4.5, v_proj: 3 * Math.SQRT2 } };
  await writeFile(file, JSON.stringify({ ...config, ...scaled }));
  const base = await load("llama-gqa");
  expect(await difference((await loadLora(base, stabilised)).model, "llama-gqa")).toBeLessThan(1e-4);
  const { adapters } = addLora(base, { rank: 4, alpha: 6, rankStabilized: true, rankPattern: { v_proj: 9 } });
  expect(["Q", "V"].map((part) => adapters.get(`blocks.0.attn.W_${part}`)!.scale)).toEqual([3, 2]);
  base.dispose();
});

describe("projections are named", () => {
  const named = (model: HookedModel, options: LoraOptions): string[] =>
    [...addLora(model, options).adapters.keys()].filter((name) => name.startsWith("blocks.0."));
  const all = ["attn.W_Q", "attn.W_K", "attn.W_V", "attn.W_O", "mlp.W_gate", "mlp.W_in", "mlp.W_out"];
  const [Q, K, V, O, gate, up, down] = all.map((name) => `blocks.0.${name}`);
  let llama: HookedModel;
  let gpt2: HookedModel;
  beforeAll(async () => {
    llama = await load("llama-gqa");
    gpt2 = await load("gpt2");
  });
  afterAll(() => {
    llama.dispose();
    gpt2.dispose();
  });

  it.each<[string, LoraOptions, (string | undefined)[]]>([
    ["the ends of modules' names", { targets: ["q_proj", "mlp.down_proj"] }, [Q, down]],
    ["a regular expression for whole ones", { targets: String.raw`.*\.(q|k)_proj` }, [Q, K]],
    ["all-linear", { targets: "all-linear" }, [Q, K, V, O, gate, up, down]],
    ["all-linear but some", { targets: "all-linear", exclude: ["v_proj", "*.W_O"] }, [Q, K, gate, up, down]],
    ["globs", { targets: ["blocks.*.attn.W_K", "*.W_in"] }, [K, up]],
    ["one glob", { targets: "*.W_in" }, [up]],
    ["what PEFT takes", { targets: null }, [Q, V]],
    ["the layers of some", { targets: ["q_proj"], layers: [1] }, []],
  ])("by %s", (_, options, expected) => {
    expect(new Set(named(llama, options))).toEqual(new Set(expected));
  });

  it("and a module goes before its projections", () => {
    expect(named(gpt2, { targets: null })).toEqual([Q, K, V]);
    const both = addLora(gpt2, { targets: ["*.W_Q", "c_attn"], layers: [0] });
    expect([...both.parameters.keys()].filter((name) => name.endsWith("A"))).toEqual([
      "transformer.h.0.attn.c_attn.lora_A",
    ]);
    expect(named(gpt2, { targets: ["*.W_Q"], layers: [0] })).toEqual([Q]);
  });

  it("or are not there", () => {
    expect(() => addLora(gpt2, { targets: ["c_attn", "q_proj"] })).toThrow(/\(c_attn, c_proj, c_fc\).*got q_proj/);
    expect(() => addLora(gpt2, { targets: ["c_attn"], exclude: ["c_attn"] })).toThrow("no projection");
    expect(() => addLora(gpt2, { targets: ["c_attn"], layers: [9] })).toThrow("layers 9");
  });
});

/** What PEFT's LoraConfig adapts. */
interface PeftTargets {
  readonly model: string;
  readonly config: {
    readonly target_modules?: string | string[];
    readonly exclude_modules?: string[];
    readonly layers_to_transform?: number[];
    readonly rank_pattern?: Record<string, number>;
  };
  readonly ranks: Readonly<Record<string, number>>;
}

it.each(JSON.parse(readFileSync(peft("targets.json"), "utf8")) as PeftTargets[])(
  "are on the modules that PEFT takes for $model and $config",
  async ({ model, config, ranks }) => {
    const base = await load(model);
    const { target_modules: targets = null, exclude_modules: exclude, layers_to_transform: layers } = config;
    const given = { targets, rankPattern: config.rank_pattern ?? {}, ...(exclude && { exclude }) };
    const where = await mkdtemp(join(folder, "targets-"));
    await saveLora(where, addLora(base, { ...given, ...(layers && { layers }) }));
    const file = await openSafetensors(await fileSource(join(where, "adapter_model.safetensors")));
    const parts = file.names.filter((name) => name.endsWith(".lora_A.weight"));
    const name = (part: string): string => part.replace("base_model.model.", "").replace(".lora_A.weight", "");
    expect(Object.fromEntries(parts.map((part) => [name(part), file.info(part).shape[0]]))).toEqual(ranks);
    await file.close();
    base.dispose();
  },
);

it("three steps of AdamW change them as they change PEFT's", async () => {
  const golden = await goldenTensors(join(peft("gpt2"), "trained.safetensors"));
  const base = await load("gpt2");
  const lora = await loadLora(base, peft("gpt2"));
  const { model, parameters } = lora;
  const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 0.01, weightDecay: 0.1 } });
  const batch = model.batch([
    [5, 6, 7, 8, 9, 10],
    [11, 12, 13, 14, 15, 16],
  ]);
  const losses: number[] = [];
  for (let i = 0; i < 3; i++) losses.push((await learner.step({ loss: model.trace(batch).loss })).loss);
  golden.numbers("losses").forEach((loss, i) => expect(Math.abs(losses[i]! / loss - 1)).toBeLessThan(1e-5));
  await saveLora(join(folder, "trained"), lora);
  const ours = await goldenTensors(join(folder, "trained", "adapter_model.safetensors"));
  expect([...ours.names, "losses"].sort()).toEqual([...golden.names].sort());
  for (const name of ours.names) {
    const expected = golden.numbers(name);
    ours.numbers(name).forEach((x, i) => expect(Math.abs(x - expected[i]!)).toBeLessThan(1e-4));
  }
  learner.dispose();
  base.dispose();
});

describe("adapters", () => {
  const rows = [
    [5, 6, 7, 8, 9, 10],
    [11, 12, 13, 14, 15, 16],
  ];

  it("change nothing at first, learn, and leave the weights alone", async () => {
    const model = await load("gpt2");
    const lora = addLora(model, {
      rank: 4,
      targets: ["blocks.*.attn.W_*", "*.W_out"],
      seed: 1,
    });
    const { model: adapted, parameters } = lora;
    const before = (await model.run(rows)).toArray();
    expect((await adapted.run(rows)).toArray()).toEqual(before);
    const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 0.02 } });
    const batch = adapted.batch(rows);
    const losses: number[] = [];
    for (let i = 0; i < 30; i++) losses.push((await learner.step({ loss: adapted.trace(batch).loss })).loss);
    expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
    expect((await model.run(rows)).toArray()).toEqual(before);
    const [own, merged] = [await adapted.run(rows), await (await mergeLora(lora)).run(rows)];
    merged.toArray().forEach((x, i) => expect(Math.abs(x - own.toArray()[i]!)).toBeLessThan(1e-4));
    learner.dispose();
  });

  it("say which projections there are", async () => {
    const model = await load("gpt2");
    expect(() => addLora(model, { targets: ["*.W_E"] })).toThrow(/blocks\.0\.attn\.W_Q.*\*\.W_E/);
    expect(() => addLora(model, { rank: 0 })).toThrow("rank");
    for (const rank of [129, 1_000_000])
      expect(() => addLora(model, { rank, targets: ["*.W_in"] })).toThrow(
        `rank of an adapter is larger than its projection; in blocks.0.mlp.W_in; expected at most 128; got ${rank}`,
      );
    expect(addLora(model, { rank: 128, targets: ["*.W_in"] }).adapters.size).toBe(model.cfg.n_layers);
    const own = HookedModel.fromConfig({
      n_layers: 1,
      d_model: 8,
      n_ctx: 4,
      d_head: 4,
      n_heads: 2,
      d_vocab: 10,
      d_vocab_out: 10,
      attn_only: true,
    });
    await expect(saveLora(folder, addLora(own))).rejects.toThrow("needs a model of a Hugging Face family");
  });

  it.each<[string, (text: string) => string, RegExp]>([
    ["another kind of adapter", (text) => text.replace('"LORA"', '"IA3"'), /peft_type/],
    ["adapters that also hold biases", (text) => text.replace('"bias": "none"', '"bias": "all"'), /bias/],
    ["another rank", (text) => text.replace('"r": 3', '"r": 5'), /c_attn: A \[5, 32\].*A \[3, 32\]/],
    ["damaged JSON", (text) => text.slice(1), /JSON/],
  ])("refuse %s", async (_name, change, message) => {
    const bad = await mkdtemp(join(folder, "bad-"));
    await cp(peft("gpt2"), bad, { recursive: true });
    const config = join(bad, "adapter_config.json");
    await rm(config);
    await writeFile(config, change(await readFile(join(peft("gpt2"), "adapter_config.json"), "utf8")));
    await expect(loadLora(await load("gpt2"), bad)).rejects.toThrow(message);
  });
});
