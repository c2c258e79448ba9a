import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { modelMetadata } from "../src/cli/loading.ts";
import { trainSaeOptionNames } from "../src/cli/trainSaeFlags.ts";
import { writeSafetensors } from "../src/formats/index.ts";
import { HookedModel, saveModel } from "../src/model/index.ts";
import { Runtime } from "../src/runtime/index.ts";
import { Sae } from "../src/sae/index.ts";
import { saeOptions } from "../src/train/sae/config.ts";
import { runOptionNames } from "../src/train/sae/options.ts";
import { cli, document, start } from "./support/cli.ts";
import { sharedPath } from "./support/goldens.ts";
import { hubFixture, laidOut } from "./support/hubFixture.ts";

const hook = "blocks.0.hook_resid_post";
let folder: string;
let base: readonly string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "interpretune-train-sae-"));
  const sizes = {
    n_layers: 1,
    d_model: 16,
    n_ctx: 32,
    n_heads: 2,
    d_head: 8,
    d_mlp: 32,
    d_vocab: 50257,
    d_vocab_out: 50257,
  };
  const config = {
    ...sizes,
    original_architecture: "GPT2LMHeadModel",
    act_fn: "gelu_new",
    tie_word_embeddings: true,
  } as const;
  await saveModel(join(folder, "model"), HookedModel.fromConfig(config));
  await copyFile(sharedPath("goldens/text/gpt2-words.tokenizer.json"), join(folder, "model/tokenizer.json"));
  const special = { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>", tokenizer_class: "GPT2Tokenizer" };
  await writeFile(join(folder, "model/tokenizer_config.json"), JSON.stringify(special));
  const texts = ["The Eiffel Tower is in", "Once upon a time", "Hello world", "a b c"];
  await writeFile(join(folder, "texts.jsonl"), texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  base = [
    "train-sae",
    "--model",
    join(folder, "model"),
    "--data",
    join(folder, "texts.jsonl"),
    "--hook-name",
    hook,
    "--context-size",
    "8",
    "--train-batch-size-tokens",
    "16",
    "--store-batch-size-prompts",
    "2",
    "--n-eval-batches",
    "1",
    "--d-sae",
    "32",
    "--log-every-n-steps",
    "5",
    "--threads",
    "1",
  ];
});
afterAll(() => rm(folder, { recursive: true }));

describe("interpretune train-sae", () => {
  test("has a flag for every option", () => {
    const names = [
      ...Object.keys(saeOptions).map((name) => (name === "k" ? "topK" : name)),
      ...runOptionNames,
      "hookName",
      "hookNameOut",
      "name",
    ];
    expect([...trainSaeOptionNames].sort()).toEqual([...names].sort());
  });

  test("trains what a file describes, flags win", async () => {
    const config = join(folder, "sae.yaml");
    const out = join(folder, "both");
    await writeFile(
      config,
      `model_name: ${join(folder, "model")}\ndataset_path: ${join(folder, "texts.jsonl")}\nhook_name: ${hook}
d_sae: 32\ncontext_size: 8\ntrain_batch_size_tokens: 16\nstore_batch_size_prompts: 2\nn_eval_batches: 1\ntraining_tokens: 1600
saes:\n  - {architecture: topk, k: 4, name: four}\n  - {architecture: standard, l1_coefficient: 0.1, name: plain}\n`,
    );
    const trained = (await document([
      "train-sae",
      "--config",
      config,
      "--out",
      out,
      "--training-tokens",
      "160",
      "--threads",
      "1",
    ])) as {
      name: string;
      folder: string;
      explainedVariance: number;
    }[];
    expect(trained.map(({ name }) => name)).toEqual(["four", "plain"]);
    expect((await readFile(join(out, "metrics.jsonl"), "utf8")).trim().split("\n").at(-1)).toContain('"step":10');
    expect((await Sae.load(trained[0]!.folder)).cfg.k).toBe(4);
    expect((await readdir(trained[1]!.folder)).sort()).toEqual([
      "cfg.json",
      "runner_cfg.json",
      "sae_weights.safetensors",
      "sparsity.safetensors",
    ]);
  });

  test("a data set by its id: downloaded once, offline after it, or streamed", async () => {
    const { hub, cacheDir } = await hubFixture();
    const texts = ["The Eiffel Tower is in", "Once upon a time", "Hello world", "a b c"];
    const parquet = (data: readonly string[]): Uint8Array =>
      new Uint8Array(parquetWriteBuffer({ columnData: [{ name: "text", data: [...data], type: "STRING" }] }));
    const files = {
      "data/train-00000-of-00001.parquet": parquet(texts),
      "data/held-00000-of-00001.parquet": parquet(texts.slice(1)),
    };
    hub.add({ type: "dataset", id: "owner/texts", files });
    const env = { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cacheDir, HF_HUB_OFFLINE: "0" };
    const run = async (name: string, ...more: readonly string[]) => {
      const args = base.map((arg) => (arg === join(folder, "texts.jsonl") ? "owner/texts" : arg));
      const out = join(folder, name);
      const ran = await cli([...args, "--out", out, "--training-tokens", "160", ...more], { env });
      expect(ran).toMatchObject({ code: 0 });
      const asked = hub.recent().filter((line) => line.includes(".parquet"));
      return { asked, metrics: await readFile(join(out, "metrics.jsonl"), "utf8") };
    };
    const lossOf = (metrics: string): unknown[] =>
      metrics
        .split("\n")
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as Record<string, number>)["losses/overall_loss"] ?? NaN);
    const streamed = await run("ids-streamed", "--streaming");
    expect(streamed.asked.join()).toContain("train-00000");
    expect(laidOut(cacheDir).join()).not.toContain(".parquet");
    const downloaded = await run("ids");
    expect(downloaded.asked.join()).toContain("train-00000");
    expect(downloaded.asked.join()).not.toContain("held-00000");
    const offline = await run("ids-offline", "--offline");
    expect(offline.asked).toEqual([]);
    const local = await document([...base, "--out", join(folder, "ids-local"), "--training-tokens", "160"]);
    expect(local).toBeDefined();
    const expected = lossOf(await readFile(join(folder, "ids-local/metrics.jsonl"), "utf8"));
    expect(expected.length).toBeGreaterThan(1);
    for (const { metrics } of [streamed, downloaded, offline]) expect(lossOf(metrics)).toEqual(expected);
    const cached = join(folder, "ids-cached");
    const options = base.slice(base.indexOf("--hook-name"), base.indexOf("--train-batch-size-tokens"));
    const data = ["--model", join(folder, "model"), "--data", "owner/texts", "--split", "held"];
    const args = ["cache-activations", ...data, ...options, "--training-tokens", "64", "--out", cached];
    expect(await cli(args, { env })).toMatchObject({ code: 0 });
    expect(hub.recent().join()).toContain("held-00000");
    const written = JSON.parse(await readFile(join(cached, "activations.json"), "utf8")) as { metadata: object };
    expect(written.metadata).toMatchObject({ dataset_path: "owner/texts", dataset_split: "held" });
    const wrong = base.map((arg) => (arg === join(folder, "texts.jsonl") ? "owner/texts" : arg));
    const absent = await cli([...wrong, "--split", "absent", "--out", join(folder, "x")], { env });
    expect(absent).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/absent[^]*held|held[^]*absent/) as unknown,
    });
  });

  test("evaluations have texts and a split of their own", async () => {
    const data = join(folder, "splits");
    await mkdir(data);
    await copyFile(join(folder, "texts.jsonl"), join(data, "train.jsonl"));
    const held = join(data, "held.jsonl");
    await writeFile(
      held,
      Array.from({ length: 8 }, (_, i) => ["b a c", "in time upon"][i % 2])
        .map((text) => `${JSON.stringify({ text })}\n`)
        .join(""),
    );
    const args = base.map((arg) => (arg === join(folder, "texts.jsonl") ? data : arg));
    const run = async (...more: readonly string[]): Promise<unknown> =>
      document([...args, "--training-tokens", "32", "--out", join(folder, "splits-out"), ...more]);
    const plain = await run();
    const own = await run("--eval-split", "held");
    expect(own).not.toEqual(plain);
    expect(await run("--eval-data", held)).toEqual(own);
    // The split of the training's data is not that of the evaluations'.
    expect(await run("--split", "held", "--eval-data", data)).not.toEqual(await run("--split", "held"));
  });

  test("faults are sentences", async () => {
    const without = await cli(["train-sae", "--out", join(folder, "x")]);
    expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining("--model, --data and --out") as unknown });
    const wrong = await cli([...base, "--out", join(folder, "x"), "--architecture", "topk", "--top-k", "64"]);
    expect(wrong.stderr).toContain("at most d_sae = 32");
    const unknown = await cli([...base, "--out", join(folder, "x"), "--architecture", "topkk"]);
    expect(unknown.stderr.trim().split("\n")).toHaveLength(1);
    const data = join(folder, "texts.jsonl");
    const cache = ["cache-activations", ...base.slice(1, base.indexOf("--train-batch-size-tokens"))];
    for (const args of [base, cache]) {
      const out = join(folder, "mistyped");
      const hookless = await cli([...args, "--out", out, "--hook-name", "blocks.0.hook_resid_pots"]);
      expect(hookless.stderr).toContain("blocks.0.hook_resid_post");
      expect(await readdir(folder)).not.toContain("mistyped");
      expect((await cli([...args, "--out", data])).stderr).toMatch(
        /no folder to write to; in .*texts\.jsonl; got EEXIST/,
      );
    }
  });

  test("a killed training goes on to the same bits", async () => {
    const options = [
      "--architecture",
      "batchtopk",
      "--top-k",
      "3",
      "--training-tokens",
      "240",
      "--checkpoint-every-n-steps",
      "1",
    ];
    const whole = join(folder, "whole");
    const killed = join(folder, "killed");
    expect((await cli([...base, ...options, "--out", whole])).code).toBe(0);
    const { process: child, finished } = start([...base, ...options, "--out", killed]);
    for (let written = false; !written;) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      written = (await readdir(killed).catch((): string[] => [])).includes("checkpoint.safetensors");
    }
    child.kill("SIGKILL");
    expect((await finished).code).toBe("SIGKILL");
    expect((await cli([...base, ...options, "--out", killed, "--resume"])).code).toBe(0);
    const weights = join(hook, "sae_weights.safetensors");
    expect(await readFile(join(killed, weights))).toEqual(await readFile(join(whole, weights)));
    expect(await readFile(join(killed, "metrics.jsonl"))).toEqual(await readFile(join(whole, "metrics.jsonl")));
  });

  test("names the model so that others find it, and keeps where it came from", async () => {
    const out = join(folder, "named");
    expect((await cli([...base, "--architecture", "standard", "--training-tokens", "32", "--out", out])).code).toBe(0);
    const read = async (name: string): Promise<Record<string, unknown>> =>
      JSON.parse(await readFile(join(out, hook, name), "utf8")) as Record<string, unknown>;
    expect((await read("cfg.json"))["metadata"]).toMatchObject({ model_name: "model", hook_name: hook });
    expect(await readFile(join(out, hook, "cfg.json"), "utf8")).not.toContain(join(folder, "model"));
    expect(await read("runner_cfg.json")).toMatchObject({
      model_name: join(folder, "model"),
      dataset_path: join(folder, "texts.jsonl"),
    });
    // Names of the hub stay ids that TransformerLens knows.
    const model = await HookedModel.load(join(folder, "model"));
    expect(await modelMetadata("gpt2-small@v1", model)).toEqual({
      model_name: "openai-community/gpt2",
      model_from_pretrained_kwargs: { revision: "v1" },
    });
    expect(await modelMetadata("owner/name/file.gguf", model)).toEqual({ model_name: "owner/name" });
  });

  test("activations are cached, in one go or after Ctrl-C, and trained from", async () => {
    const cache = (out: string, context = "8"): string[] => {
      const own = [...base.slice(1, base.indexOf("--context-size")), "--context-size", context];
      const sizes = ["--store-batch-size-prompts", "128", "--training-tokens", "50000", "--shard-mb", "1"];
      return ["cache-activations", ...own, ...sizes, "--out", out];
    };
    const whole = join(folder, "activations");
    const summary = (await document(cache(whole))) as { rows: number; shards: number; widths: object };
    expect(summary).toMatchObject({ widths: { [hook]: 16 } });
    expect(summary.rows).toBeGreaterThanOrEqual(50_000);
    expect(summary.shards).toBeGreaterThan(3);
    const stopped = join(folder, "stopped");
    const { process: child, finished } = start(cache(stopped));
    for (let written = false; !written;) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      written = (await readdir(stopped).catch((): string[] => [])).includes("activations.json");
    }
    child.kill("SIGINT");
    const { code, stderr } = await finished;
    expect([code, stderr.trim().split("\n").at(-1)]).toEqual([
      130,
      expect.stringContaining("the same command goes on after them") as string,
    ]);
    const begun = (await readdir(stopped)).filter((name) => name.startsWith("shard_")).length;
    expect(begun).toBeLessThan(summary.shards);
    expect(await document(cache(stopped))).toEqual({ ...summary, out: stopped });
    for (const name of await readdir(whole))
      expect((await readFile(join(stopped, name))).equals(await readFile(join(whole, name))), name).toBe(true);
    const other = await cli(cache(stopped, "6"));
    expect(other.stderr).toMatch(/activations of other options.*context_size: 8 there, 6 here/);

    const train = [...base.filter((flag, i) => flag !== "--context-size" && base[i - 1] !== "--context-size")];
    const rest = ["--activations", whole, "--architecture", "topk", "--top-k", "4", "--training-tokens", "1600"];
    const out = join(folder, "cached");
    const [trained] = (await document([...train, ...rest, "--out", out])) as { folder: string }[];
    const sae = await Sae.load(trained!.folder);
    expect([sae.cfg.metadata.context_size, sae.cfg.k]).toEqual([8, 4]);
    const misfit = await cli([...train, ...rest, "--context-size", "6", "--out", out]);
    expect(misfit.stderr).toMatch(/cached activations are of other options.*expected contextSize 8; got 6/);
    const without = await cli(["cache-activations", "--out", out]);
    expect(without.stderr).toContain("--hook-name");
  }, 60_000);

  // With PEERS_PYTHON=<a Python that has sae_lens>: what SAELens makes of the same files.
  const python = process.env["PEERS_PYTHON"];
  test.skipIf(python === undefined)("SAELens loads what is trained here and gives the same activations", async () => {
    const out = join(folder, "peers");
    const model = await HookedModel.load(join(folder, "model"));
    const runtime = new Runtime({ threads: 1 });
    const input = await model.run("The Eiffel Tower is in", ({ hooks }) => hooks[hook]!);
    for (const architecture of ["standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka_batchtopk"]) {
      const own = [
        "--name",
        architecture,
        "--architecture",
        architecture,
        "--top-k",
        "4",
        "--matryoshka-widths",
        "8,32",
        "--normalize-activations",
        "expected_average_only_in",
        "--n-batches-for-norm-estimate",
        "2",
        "--l1-coefficient",
        "0.01",
      ];
      expect(await cli([...base, ...own, "--training-tokens", "800", "--out", out])).toMatchObject({ code: 0 });
      const sae = await Sae.load(join(out, architecture));
      const { latents, output } = await runtime.realize({
        latents: sae.encode(input).acts,
        output: sae.forward(input),
      });
      const tensors = Object.entries({ input, latents, output }).map(
        ([name, { dims, data }]) => [name, { dtype: "float32", shape: dims, data }] as const,
      );
      await writeSafetensors(join(out, architecture, "activations.safetensors"), Object.fromEntries(tensors));
    }
    const script = join(import.meta.dirname, "../bench/peers/saeTraining.py");
    const { status, stdout, stderr } = spawnSync(python!, [script, "load", out], { encoding: "utf8" });
    expect(status, stdout + stderr).toBe(0);
    console.log(stdout);
  });
});
