/** Models, SAEs and data sets by id, from a server that speaks the hub's protocol. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, test } from "vitest";
import { openDataset, type OpenDatasetOptions } from "../src/data/index.ts";
import {
  hubSnapshot,
  openCheckpoint,
  writeCheckpoint,
  type DownloadPlan,
  type TensorData,
} from "../src/formats/index.ts";
import { HookedModel, knownModels, modelId } from "../src/model/index.ts";
import { loadModelFiles } from "../src/model/files/load.ts";
import { Sae } from "../src/sae/index.ts";
import { cli } from "./support/cli.ts";
import { goldenTensors } from "./support/goldens.ts";
import { hubFixture, laidOut, newFolder } from "./support/hubFixture.ts";
import { folderFiles, type HubContent } from "./support/hubServer.ts";

const golden = (path: string): string => fileURLToPath(new URL(`goldens/${path}`, import.meta.url));
const file = (path: string): HubContent => ({ file: golden(path) });

/** GPT-2 of the goldens as a repository has it: with files that nobody here needs. */
const gpt2Files: Readonly<Record<string, HubContent>> = {
  "config.json": file("families/gpt2/config.json"),
  "model.safetensors": file("families/gpt2/model.safetensors"),
  "tokenizer.json": file("text/gpt2-words.tokenizer.json"),
  "tokenizer_config.json": '{"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>"}',
  "pytorch_model.bin": file("torch/gpt2/pytorch_model.bin"),
  "tf_model.h5": "not for us",
  "README.md": "a model",
};
const prompt = [[5, 6, 7, 8, 9, 10]];

describe("a model", () => {
  test("by alias, by id, with a revision: the folder's numbers, and only files that are needed", async () => {
    const { hub, options } = await hubFixture();
    const commit = hub.add({ id: "openai-community/gpt2", files: gpt2Files, refs: ["main", "v1.0"] });
    const local = await (await HookedModel.load(golden("families/gpt2"))).run(prompt);
    for (const name of [
      "gpt2",
      "gpt2-small",
      "openai-community/gpt2",
      `gpt2@${commit}`,
      "openai-community/gpt2@v1.0",
    ]) {
      const model = await HookedModel.load(name, { hub: options });
      expect(model.cfg.model_name).toBe("gpt2");
      expect(model.tokenizer.vocabSize).toBeGreaterThan(100);
      const { data } = await model.run(prompt);
      expect(Array.from(data, Number)).toEqual(Array.from(local.data, Number));
      model.dispose();
    }
    const asked = hub.recent().map((line) => line.split("/").at(-1));
    expect(asked).toContain("model.safetensors");
    for (const name of ["pytorch_model.bin", "tf_model.h5", "README.md"]) expect(asked).not.toContain(name);
    await HookedModel.load("gpt2", { hub: { ...options, offline: true } });
    expect(hub.recent()).toEqual([]);
  });

  test("shipped only in PyTorch's format", async () => {
    const { hub, options } = await hubFixture();
    const { "model.safetensors": _, ...files } = gpt2Files;
    hub.add({ id: "openai-community/gpt2", files });
    const local = await (await HookedModel.load(golden("families/gpt2"))).run(prompt);
    const weights = await openCheckpoint(golden("torch/gpt2"));
    const shard = "pytorch_model-00001-of-00001.bin";
    const weight_map = Object.fromEntries(weights.names.map((name) => [name, shard]));
    await weights.close();
    const { "pytorch_model.bin": bytes, ...rest } = files;
    const index = JSON.stringify({ metadata: {}, weight_map });
    hub.add({ id: "owner/shards", files: { ...rest, [shard]: bytes!, "pytorch_model.bin.index.json": index } });
    for (const name of ["gpt2", "owner/shards"]) {
      const { cfg } = await loadModelFiles(name, { hub: options, headersOnly: true });
      expect(cfg.n_layers).toBe(3);
      const model = await HookedModel.load(name, { hub: options });
      expect(Array.from((await model.run(prompt)).data, Number)).toEqual(Array.from(local.data, Number));
    }
  });

  test("of shards brings those that a run needs which stops early", async () => {
    const { hub, options } = await hubFixture();
    const folder = newFolder();
    const whole = await openCheckpoint(golden("families/gpt2"));
    const tensors: Record<string, TensorData> = {};
    for (const name of whole.names)
      tensors[name] = { dtype: "float32", shape: whole.info(name).shape, data: await whole.readFloat32(name) };
    await whole.close();
    const shards = (await writeCheckpoint(folder, tensors, { maxShardBytes: 30_000 })).filter((name) =>
      name.endsWith(".safetensors"),
    );
    expect(shards.length).toBeGreaterThan(4);
    const config = readFileSync(golden("families/gpt2/config.json"));
    hub.add({ id: "owner/sharded", files: { ...folderFiles(folder), "config.json": config } });

    const described = await loadModelFiles("owner/sharded", { hub: options, headersOnly: true });
    expect(described.cfg.n_layers).toBe(3);
    const sent = hub.requests.filter(({ path }) => path.endsWith(".safetensors")).reduce((sum, r) => sum + r.sent, 0);
    expect(sent).toBeLessThan(60_000); // headers, of 180 kB
    hub.recent();

    const plans: DownloadPlan[] = [];
    const hubOptions = { ...options, onPlan: (plan: DownloadPlan) => void plans.push(plan) };
    const model = await HookedModel.load("owner/sharded", { hub: hubOptions, stopAtLayer: 1 });
    const brought = plans.flatMap(({ files }) => files.map(({ path }) => path)).filter((path) => shards.includes(path));
    expect(brought.length).toBeLessThan(shards.length);
    expect(brought.length).toBeGreaterThan(0);
    const names = ["blocks.0.hook_resid_post"];
    const part = await model.runWithCache(prompt, { names, stopAtLayer: 1 });
    const full = await (await HookedModel.load(golden("families/gpt2"))).runWithCache(prompt, { names });
    expect(part.cache.get(names[0]!).data).toEqual(full.cache.get(names[0]!).data);
    await expect(model.run(prompt)).rejects.toThrow(/has not been read.*stopAtLayer/s);

    const out = join(newFolder(), "part.safetensors");
    const tokens = join(newFolder(), "tokens.json");
    writeFileSync(tokens, JSON.stringify({ input_ids: prompt }));
    const cacheDir = newFolder();
    const env = { HF_ENDPOINT: options.endpoint, HF_HUB_CACHE: cacheDir };
    hub.recent();
    const args = ["activations", "--model", "owner/sharded", "--tokens", tokens, "--names", names[0]!, "--out", out];
    expect(await cli(args, { env })).toMatchObject({ code: 0 });
    const asked = new Set(hub.recent().map((line) => line.split("/").at(-1)!));
    expect(shards.filter((name) => asked.has(name))).toEqual(shards.filter((name) => brought.includes(name)));
    expect((await goldenTensors(out)).numbers(names[0]!)).toEqual(Array.from(full.cache.get(names[0]!).data, Number));

    const all = await HookedModel.load("owner/sharded", { hub: options });
    expect(await all.run(prompt)).toBeDefined();
  });

  test("as one GGUF file of a repository; a repository of GGUF files alone says how", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/quantised", files: { "a.Q4_0.gguf": "no model", "b.Q8_0.gguf": "none either" } });
    await expect(HookedModel.load("owner/quantised", { hub: options })).rejects.toThrow(
      /no config\.json.*name one of its files: owner\/quantised\/a\.Q4_0\.gguf/s,
    );
    await expect(HookedModel.load("owner/quantised/a.Q4_0.gguf", { hub: options })).rejects.toMatchObject({
      name: "FormatError",
      where: expect.stringContaining("a.Q4_0.gguf") as string,
    });
  });

  test("a path that exists wins; what is neither says what was tried", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "openai-community/gpt2", files: gpt2Files });
    const load = (name: string) => HookedModel.load(name, { hub: options });
    const home = process.cwd();
    const folder = newFolder();
    mkdirSync(join(folder, "gpt2"));
    writeFileSync(join(folder, "gpt2/config.json"), "{}");
    try {
      process.chdir(folder);
      await expect(load("gpt2")).rejects.toMatchObject({ code: expect.not.stringContaining("hub/") as string });
    } finally {
      process.chdir(home);
    }
    expect(hub.recent()).toEqual([]);
    await expect(load("gpt2-smal")).rejects.toThrow(/no such file or folder.*near names: gpt2-small/s);
    expect(hub.recent()).toEqual([]);
    await expect(load("openai-comunity/gpt2")).rejects.toThrow(
      /no model of this name.*near names: openai-community\/gpt2/s,
    );
    await expect(load("./models/none")).rejects.toThrow(/no model at this path/);
    await expect(load("gpt2@nope")).rejects.toMatchObject({ code: "hub/revision-not-found" });
    const offline = { ...options, offline: true, cacheDir: newFolder() };
    await expect(HookedModel.load("gpt2", { hub: offline })).rejects.toThrow(/offline/);
  });

  test("gated: where to accept, and no token in sight", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "google/gemma-2-2b", files: gpt2Files, gated: "hf_right" });
    const refused = await HookedModel.load("gemma-2-2b", { hub: { ...options, token: "hf_wrong" } }).catch(String);
    expect(refused).toMatch(/google\/gemma-2-2b/);
    expect(refused).not.toContain("hf_wrong");
    await HookedModel.load("gemma-2-2b", { hub: { ...options, token: "hf_right" } });
  });

  test("that the cache has under its old name does not come again", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "openai-community/gpt2", files: gpt2Files, aliases: ["gpt2"] });
    await hubSnapshot({ type: "model", repo: "gpt2" }, { ...options, patterns: ["*.json", "*.safetensors"] });
    hub.recent();
    (await HookedModel.load("gpt2", { hub: options })).dispose();
    expect(hub.recent().filter((line) => /cdn|resolve/.test(line) && !line.includes("HEAD"))).toEqual([]);
    (await HookedModel.load("gpt2", { hub: { ...options, offline: true } })).dispose();
  });

  test("of which the hub cannot be asked: no other name for it is tried", async () => {
    const { options } = await hubFixture();
    const asked: string[] = [];
    const fetch = (url: unknown): Promise<Response> => {
      asked.push(String(url));
      return Promise.reject(new TypeError("no line"));
    };
    await expect(HookedModel.load("gpt2", { hub: { ...options, fetch } })).rejects.toThrow(
      /could not be asked.*openai-community\/gpt2; got no line/s,
    );
    expect(new Set(asked).size).toBe(1);
  });

  test("without weights that are read says what there is", async () => {
    const { hub, options } = await hubFixture();
    const { "config.json": config, "tf_model.h5": other } = gpt2Files;
    const files = { "config.json": config!, "tf_model.h5": other!, "q/a.gguf": "not read" };
    hub.add({ id: "owner/other", files });
    for (const headersOnly of [true, false])
      await expect(loadModelFiles("owner/other", { hub: options, headersOnly })).rejects.toThrow(
        /no model\.safetensors or pytorch_model\.bin.*owner\/other.*tf_model\.h5.*name one of its files: owner\/other\/q\/a\.gguf/s,
      );
  });

  test("aliases are TransformerLens'", () => {
    expect(modelId("pythia-70m-deduped")).toBe("EleutherAI/pythia-70m-deduped");
    expect(modelId("somebody/own")).toBe("somebody/own");
    expect(knownModels().length).toBe(249);
  });
});

const hookZ = folderFiles(golden("torch/hook-z"));
const kissane = "ckkissane/attn-saes-gpt2-small-all-layers";

describe("SAEs", () => {
  test("of a release, by ids: its loader, its Neuronpedia ids, its files and no others", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: kissane, files: { ...hookZ, "README.md": "SAEs" }, refs: ["main", "refs/pr/7"] });
    const saes = await Sae.load("gpt2-small-hook-z-kk", ["blocks.9.hook_z", "blocks.10.hook_z"], { hub: options });
    expect(saes.map((sae) => sae.hookName)).toEqual(["blocks.9.attn.hook_z", "blocks.10.attn.hook_z"]);
    expect(saes.map((sae) => sae.cfg.metadata.neuronpedia_id)).toEqual(["gpt2-small/9-att-kk", "gpt2-small/10-att-kk"]);
    expect(hub.recent().join()).not.toContain("README");
    const local = await Sae.load(golden(`torch/hook-z/${Object.keys(hookZ).find((name) => /L9_.*pt$/.test(name))!}`));
    expect(saes[0]!.params.W_enc.data).toEqual(local.params.W_enc.data);
    const offline = { ...options, offline: true };
    for (const name of ["gpt2-small-hook-z-kk/blocks.9.hook_z@main", "gpt2-small-hook-z-kk@main/blocks.9.hook_z"])
      expect((await Sae.load(name, { hub: offline })).cfg).toEqual(saes[0]!.cfg);
    const [pulled] = await Sae.load("gpt2-small-hook-z-kk@refs/pr/7", ["blocks.9.hook_z"], { hub: options });
    expect(pulled!.cfg).toEqual(saes[0]!.cfg);
    expect(hub.recent().join()).toContain("revision/refs/pr/7");
    expect(hub.recent()).toEqual([]);
  });

  test("SAELens' folders: a release with overrides, any repository, a revision", async () => {
    const { hub, options } = await hubFixture();
    const folder = golden("saes/foreign/legacy-resid/source");
    const files = Object.fromEntries(
      Object.entries(folderFiles(folder)).map(([name, content]) => [`blocks.8.hook_resid_pre/${name}`, content]),
    );
    hub.add({ id: "jbloom/GPT2-Small-SAEs-Reformatted", files });
    const sae = await Sae.load("gpt2-small-res-jb/blocks.8.hook_resid_pre", { hub: options });
    expect(sae.cfg.metadata).toMatchObject({
      neuronpedia_id: "gpt2-small/8-res-jb",
      model_from_pretrained_kwargs: { center_writing_weights: true },
    });
    const other = hub.add({ id: "owner/saes", files, refs: ["v2"] });
    for (const name of ["owner/saes/blocks.8.hook_resid_pre@v2", `owner/saes/blocks.8.hook_resid_pre@${other}`])
      expect((await Sae.load(name, { hub: options })).dSae).toBe(sae.dSae);
    hub.add({ id: "owner/one", files: folderFiles(folder) });
    expect((await Sae.load("owner/one", { hub: options })).dIn).toBe(sae.dIn);
  });

  test("Gemma Scope: the archive of a canonical id, its hook point from where it lies", async () => {
    const { hub, options } = await hubFixture();
    const archive = file("saes/foreign/npz-resid/source/layer_4/width_16k/average_l0_20/params.npz");
    hub.add({ id: "google/gemma-scope-2b-pt-res", files: { "layer_4/width_16k/average_l0_124/params.npz": archive } });
    const sae = await Sae.load("gemma-scope-2b-pt-res-canonical/layer_4/width_16k/canonical", { hub: options });
    expect(sae.hookName).toBe("blocks.4.hook_resid_post");
    expect(sae.cfg.metadata.neuronpedia_id).toBe("gemma-2-2b/4-gemmascope-res-16k");
  });

  test("unknown ids name near ones; layouts that are not read are named", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/saes", files: { "x/y.txt": "no SAE" } });
    const load = (name: string): Promise<Sae> => Sae.load(name, { hub: options });
    await expect(load("gpt2-small-hook-z-kk/blocks.12.hook_z")).rejects.toThrow(/near ones: blocks\.1/);
    await expect(load("gpt2-small-hook-z-kk")).rejects.toThrow(/one of its 12 ids.*such as blocks/s);
    expect(hub.recent()).toEqual([]);
    await expect(load("gpt2-small-hook-z-k/blocks.9.hook_z")).rejects.toThrow(/near releases: gpt2-small-hook-z-kk/);
    const absent: unknown = await load("gpt2-small-res-jb/blocks.8.hook_resid_pre").catch(String);
    expect(absent).toMatch(/no SAE of this name/);
    expect(absent).not.toContain("near releases"); // the name is right
    await expect(load("owner/saes/x")).rejects.toThrow(/no SAE at this place.*x\/y\.txt/s);
    await expect(load("llama_scope_lxr_8x/l0r_8x")).rejects.toThrow(/layout that is not read.*llama_scope/s);
    await expect(load("./saes/none")).rejects.toThrow(/path does not exist/);
  });
});

describe("data sets", () => {
  const rte = [
    { premise: "It rained all day.", hypothesis: "The ground is wet.", idx: 0, label: 0 },
    { premise: "The cat sat on the mat.", hypothesis: "Nobody slept.", idx: 1, label: 1 },
    { premise: "Anna paid.", hypothesis: "Somebody paid.", idx: 2, label: 0 },
  ];
  /** As SuperGLUE lies on the hub: text columns, 32-bit and 64-bit integers, here in row groups of one row. */
  const parquet = (rows: typeof rte, rowGroupSize = 1): Uint8Array =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: "premise", data: rows.map(({ premise }) => premise), type: "STRING" },
          { name: "hypothesis", data: rows.map(({ hypothesis }) => hypothesis), type: "STRING" },
          { name: "idx", data: rows.map(({ idx }) => idx), type: "INT32" },
          { name: "label", data: rows.map(({ label }) => BigInt(label)), type: "INT64" },
        ],
        rowGroupSize,
      }),
    );
  const superGlue = {
    "README.md": "SuperGLUE",
    "boolq/validation-00000-of-00001.parquet": parquet(rte),
    "rte/train-00000-of-00002.parquet": parquet(rte.slice(0, 1)),
    "rte/train-00001-of-00002.parquet": parquet(rte.slice(1)),
    "rte/validation-00000-of-00001.parquet": parquet(rte.slice(0, 2)),
  };
  const read = async (name: string, options: OpenDatasetOptions): Promise<[number | null, string[]]> => {
    const data = await openDataset(name, options);
    const texts: string[] = [];
    for await (const row of data) if (row.kind === "rte") texts.push(row.second);
    return [data.length, texts];
  };
  const texts = rte.map(({ hypothesis }) => hypothesis);

  test("rte by its alias and its id, splits of several files, a limit; offline the second time", async () => {
    const { hub, options } = await hubFixture();
    const commit = hub.add({ type: "dataset", id: "aps/super_glue", files: superGlue, refs: ["main", "v1"] });
    for (const name of ["rte", "aps/super_glue:rte", "aps/super_glue:rte@v1", `rte@${commit}`])
      expect(await read(name, { hub: options })).toEqual([2, texts.slice(0, 2)]);
    expect(await read("rte", { hub: options, split: "train" })).toEqual([3, texts]);
    expect(await read("rte", { hub: options, split: "train", limit: 2 })).toEqual([2, texts.slice(0, 2)]);
    expect(hub.recent().join()).not.toMatch(/boolq|README/);
    expect(await read("rte", { hub: { ...options, offline: true }, split: "train" })).toEqual([3, texts]);
    expect(hub.recent()).toEqual([]);
  });

  test("streamed: row groups that are read, and nothing kept", async () => {
    const { hub, options, cacheDir } = await hubFixture();
    const many = Array.from({ length: 1600 }, (_, i) => ({
      ...{ premise: createHash("sha512").update(String(i)).digest("hex"), hypothesis: `row ${i}` },
      ...{ idx: i, label: i % 2 },
    }));
    const file = parquet(many, 100);
    hub.add({ type: "dataset", id: "owner/large", files: { "data/validation-00000-of-00001.parquet": file } });
    const [length, rows] = await read("owner/large", { hub: options, stream: true, limit: 30 });
    expect([length, rows.at(-1)]).toEqual([30, "row 29"]);
    const sent = hub.requests.filter(({ path }) => path.endsWith(".parquet")).reduce((sum, r) => sum + r.sent, 0);
    expect(sent).toBeLessThan(file.length / 2);
    expect(laidOut(cacheDir).join()).not.toContain("parquet");
    expect((await read("owner/large", { hub: options, stream: true }))[1]).toHaveLength(1600);
  });

  test("as the hub converts them, and as JSON Lines", async () => {
    const { hub, options } = await hubFixture();
    hub.add({
      ...{ type: "dataset", id: "owner/old", files: { "old.py": "a script" } },
    });
    hub.add({
      ...{ type: "dataset", id: "owner/lines" },
      files: { "validation.jsonl": rte.map((row) => `${JSON.stringify(row)}\n`).join("") },
    });
    expect(await read("owner/lines", { hub: options })).toEqual([null, texts]);
    await expect(read("owner/old", { hub: options })).rejects.toThrow(/no files that are read.*Parquet.*old\.py/s);
    hub.add({
      ...{ type: "dataset", id: "owner/converted", refs: ["main", "refs/convert/parquet"] },
      files: { "default/validation/0000.parquet": parquet(rte) },
    });
    expect(await read("owner/converted", { hub: options })).toEqual([3, texts]);
  });

  test("splits and names that are not there", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ type: "dataset", id: "aps/super_glue", files: superGlue });
    const open = (name: string, split = "validation"): Promise<unknown> => openDataset(name, { hub: options, split });
    await expect(open("rte", "dev")).rejects.toThrow(/no such split.*rte, split train.*rte, split validation/s);
    await expect(open("aps/super_glue")).rejects.toThrow(/name a configuration: aps\/super_glue:boolq/);
    await expect(open("aps/super_glue:rtee@main")).rejects.toThrow(/name a configuration: aps\/super_glue:rte@main/);
    const parts = { "data/train-00000-of-00001-a09b74b3ef9c3b56.parquet": parquet(rte), "data/rte/dev.jsonl": "{}" };
    hub.add({ type: "dataset", id: "owner/parts", files: parts });
    await expect(open("owner/parts")).rejects.toThrow(/data\/rte, split dev; split train.*such as train/s);
    await expect(open("owner/parts:x", "train")).rejects.toThrow(/name a configuration: owner\/parts\b/);
    expect(await read("owner/parts", { hub: options, split: "train" })).toEqual([3, texts]);
    await expect(open("owner/none:x")).rejects.toThrow(/no data set of this name/);
    hub.recent();
    await expect(open("rt")).rejects.toThrow(/no file at this path.*did you mean rte/s);
    await expect(open("rte/validation.jsonl")).rejects.toThrow(/no file at this path/);
    expect(hub.recent()).toEqual([]);
  });
});
