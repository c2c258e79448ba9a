/** @file The demo that comes with the package: what its card promises, and the main job on it, offline. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { accuracyOf } from "../demo/model.ts";
import { passages, stream, take, type Example } from "../demo/task.ts";
import { tokenize } from "../demo/tokenizer.ts";
import { embedded } from "../src/cli/embedded.ts";
import { taskPrompt } from "../src/data/index.ts";
import { HookedModel } from "../src/model/index.ts";
import { Sae } from "../src/sae/index.ts";
import { evaluateSae, parseSaeTrainingOptions } from "../src/train/index.ts";
import { cli, document } from "./support/cli.ts";

let model: HookedModel;
let saes: Sae[];
let test: Example[];
let folder: string;
beforeAll(async () => {
  model = await HookedModel.load(embedded.model);
  saes = await Promise.all(embedded.saes.map((path) => Sae.load(path)));
  test = (await readFile(embedded.data, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Example);
  folder = await mkdtemp(join(tmpdir(), "demo-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("its task", () => {
  it("is made by rules from a seed: the committed examples come out again", () => {
    const made = take("test", 1, test.length).map((example, idx) => ({ ...example, idx }));
    expect(made).toEqual(test);
  });

  it("is balanced, in every family", () => {
    const shares = new Map<string, number[]>();
    for (const { family, label } of test) shares.set(family, [...(shares.get(family) ?? []), label]);
    expect([...shares.keys()].sort()).toEqual(["event", "member", "quantifier"]);
    for (const labels of shares.values()) {
      expect(labels.length).toBeGreaterThan(300);
      expect(labels.reduce((a, b) => a + b, 0) / labels.length).toBeCloseTo(0.5, 1);
    }
  });

  it("has no example in two splits", () => {
    const seen = (split: "train" | "validation" | "test", n: number): Set<string> => {
      const found = new Set<string>();
      for (const { premise } of stream(split, 1)) if (found.add(premise).size === n) break;
      return found;
    };
    const train = seen("train", 2000);
    for (const { premise } of test) expect(train.has(premise), premise).toBe(false);
    for (const premise of seen("validation", 500)) expect(train.has(premise), premise).toBe(false);
  });

  it("asks of a passage what it implies, and what goes wrong in one place", () => {
    const [first] = passages("train", 3, 20);
    const { implied, questions } = first!;
    for (const { hypothesis, label } of questions) expect(implied.includes(hypothesis), hypothesis).toBe(label === 0);
  });

  it("is read by the model's tokenizer as in training", () => {
    for (const { premise, hypothesis } of test.slice(0, 100)) {
      const prompt = taskPrompt(premise, hypothesis);
      expect(model.tokenizer.encode(prompt).ids).toEqual([model.tokenizer.bosId, ...tokenize(prompt)]);
    }
  });
});

describe("its model and SAEs", () => {
  it("answer at least 97 % of the test split; with SAEs within two points of that", async () => {
    const { all: plain } = await accuracyOf(model, test);
    const { all: spliced } = await accuracyOf(model.splice(saes), test);
    expect(plain).toBeGreaterThanOrEqual(0.97);
    expect(spliced).toBeGreaterThanOrEqual(plain! - 0.02);
  });

  it("explain at least 0.9 of the variance", async () => {
    const prompts = test.map(({ premise, hypothesis }) => taskPrompt(premise, hypothesis));
    const options = parseSaeTrainingOptions({
      promptsOneByOne: true,
      contextSize: 64,
      storeBatchSizePrompts: 64,
      nEvalBatches: 4,
    });
    for (const sae of saes) {
      const { explainedVariance } = await evaluateSae(model, sae, () => prompts, options);
      expect(explainedVariance, sae.hookName).toBeGreaterThanOrEqual(0.9);
    }
  });
});

describe("on the command line", () => {
  it("runs the four analyses, prints their tables and writes the page", async () => {
    const page = join(folder, "page.html");
    const { code, stdout } = await cli(["demo", "--limit", "8", "--report", page]);
    expect(code).toBe(0);
    for (const title of ["Logit differences", "Accuracy per analysis", "Latents by ablation", "Latents by gradient"])
      expect(stdout).toContain(title);
    expect(stdout).toContain(page);
    expect(await readFile(page, "utf8")).toContain("Does the previous passage imply that");
  });

  it("is what analyze takes without a model", async () => {
    const shown = (await document(["analyze", "--limit", "4", "--analyses", "base,sae"])) as {
      examples: number;
      hooks: { name: string }[];
    };
    expect(shown.examples).toBe(4);
    expect(shown.hooks.map(({ name }) => name)).toEqual(saes.map(({ hookName }) => `${hookName}.hook_sae_acts_post`));
  });

  it("can be trained further, and what was saved has its tokenizer", async () => {
    const config = join(folder, "train.yaml");
    const tuned = join(folder, "tuned");
    await writeFile(
      config,
      `adapter_ctx: [core]
shared_config:
  model_name_or_path: ${embedded.model}
registered_cfg:
  datamodule_cfg:
    train_batch_size: 4
    data_files: {train: ${embedded.data}, validation: ${embedded.data}}
  module_cfg:
    core_log_dir: ${join(folder, "logs")}
    optimizer_init: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-4}}
run_cfg: {max_epochs: 1}
`,
    );
    const trained = ["run", "--config", config, "--run-command", "train", "--limit-batches", "2", "--out", tuned];
    expect(await document(trained)).toMatchObject({ globalStep: 2 });
    const shown = await document([
      "analyze",
      "--model",
      tuned,
      "--data",
      embedded.data,
      "--limit",
      "4",
      "--analyses",
      "base",
    ]);
    expect(shown).toMatchObject({ examples: 4 });
  });

  it("does not stand in for data that somebody forgot", async () => {
    const { code, stderr } = await cli(["analyze", "--model", embedded.model]);
    expect(code).not.toBe(0);
    expect(stderr).toContain("--data");
  });
});

it("keeps the package below 15 MB", async () => {
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: new URL("..", import.meta.url),
  });
  const [packed] = JSON.parse(stdout) as [{ unpackedSize: number; files: { path: string }[] }];
  expect(packed.unpackedSize).toBeLessThan(15e6);
  const paths = packed.files.map(({ path }) => path);
  for (const part of [embedded.model, ...embedded.saes, embedded.data]) {
    const relative = part.slice(part.lastIndexOf("/demo/") + 1);
    expect(
      (await stat(part)).isFile() ? paths.includes(relative) : paths.some((path) => path.startsWith(relative)),
    ).toBe(true);
  }
});
