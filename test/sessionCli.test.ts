/** `interpretune run` and `interpretune registry`, end to end on a small model. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { analyzeDataset, AnalysisStore, findOp, listOps } from "../src/analysis/index.ts";
import { Interrupted } from "../src/cli/index.ts";
import { openDataset } from "../src/data/index.ts";
import { HookedModel, saveModel } from "../src/model/index.ts";
import { Sae } from "../src/sae/index.ts";
import { cli, document } from "./support/cli.ts";
import { randomModel, randomSae, shapes } from "./support/random.ts";
import { tokenRows } from "./support/tokenRows.ts";

let folder: string;
const at = (...path: string[]): string => join(folder, ...path);
const rows = tokenRows.slice(0, 5);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-run-"));
  const model = randomModel({ ...shapes["gpt2"]!, original_architecture: "GPT2LMHeadModel" }, 1);
  await saveModel(at("model"), model);
  for (const layer of [1, 2])
    await randomSae(model, `blocks.${layer}.attn.hook_z`, "topk", 32, layer).save(at(`sae${layer}`));
  const line = (input_ids: number[], i: number): string => JSON.stringify({ input_ids, label: i % 2, answers: [2, 3] });
  writeFileSync(at("rows.jsonl"), rows.map(line).join("\n"));
  writeFileSync(
    at("session.yaml"),
    `adapter_ctx: [sae_lens, core]
shared_config:
  model_name_or_path: ${at("model")}
registered_cfg:
  datamodule_cfg:
    eval_batch_size: 2
    data_files: {validation: ${at("rows.jsonl")}}
  module_cfg:
    core_log_dir: ${at("logs")}
    experiment_tag: cli
    sae_cfgs: [{path: ${at("sae1")}}, {path: ${at("sae2")}}]
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const run = (...args: string[]): ReturnType<typeof cli> => cli(["run", "--config", at("session.yaml"), ...args]);

describe("interpretune run", () => {
  it("tests: one step for each batch, metrics over examples, a folder with what it ran on", async () => {
    const found = (await document(["run", "--config", at("session.yaml"), "--run-command", "test"])) as Record<
      string,
      unknown
    >;
    const model = await HookedModel.load(at("model"));
    const right = await Promise.all(
      rows.map(async (row, i) => {
        const [no, yes] = (await model.run([row])).toArray().slice(-30).slice(2, 4);
        return (yes! > no! ? 1 : 0) === i % 2;
      }),
    );
    expect(found).toMatchObject({
      phase: "test",
      batches: 3,
      examples: 5,
      metrics: { accuracy: right.filter(Boolean).length / 5 },
    });
    const [experiment] = readdirSync(at("logs"));
    expect(experiment).toMatch(/_cli$/);
    expect(readdirSync(at("logs", experiment!)).sort()).toEqual(["config.yaml", "environment.json", "session.log"]);
    expect(readFileSync(at("logs", experiment!, "session.log"), "utf8")).toMatch(
      /INFO Test epoch end: \{'accuracy': 0\.\d{4}\}/,
    );
  });

  it("analyses: the same numbers as the runner without a session", async () => {
    const { code, stderr } = await run("--run-command", "analyze", "--out", at("store"), "--set", "positions=padded");
    expect(stderr.includes("error"), stderr).toBe(false);
    expect(code).toBe(0);
    const model = await HookedModel.load(at("model"));
    const saes = await Promise.all([1, 2].map((layer) => Sae.load(at(`sae${layer}`))));
    const data = await openDataset(at("rows.jsonl"));
    const { results } = await analyzeDataset({ model, saes, data, batchSize: 2, positions: "padded" });
    const stored = await (await AnalysisStore.open(at("store"))).load("logit_diffs_attr_ablation");
    expect(stored.examples.length).toBe(5);
    expect(stored.examples.map((row) => row.logit_diffs)).toEqual(
      results.logit_diffs_attr_ablation!.examples.map((row) => row.logit_diffs),
    );
  });

  it("analyses: results of any op are in the document and in the export, as the API has them", async () => {
    writeFileSync(
      at("ops.yaml"),
      `composite_operations:
  push: {composition: model_fwd_intervention, params: {model_fwd_intervention: {mode: add, scale: 2, target_ids: [3], tensor: [1]}}}
  plain_diffs: {composition: labels_to_ids.model_fwd.logit_diffs}
`,
    );
    const names = ["logit_diffs_base", "plain_diffs", "push"];
    const cfgs =
      "[{target_op: logit_diffs_base}, {target_op: plain_diffs}, {target_op: push}, {target_op: logit_diffs_sae, name: clean}]";
    const env = { IT_ANALYSIS_OP_PATHS: at("ops.yaml"), HF_HUB_OFFLINE: "1" };
    const session = ["run", "--config", at("session.yaml"), "--run-command", "analyze"];
    const out = ["--out", at("any"), "--set", `run_cfg.analysis_cfgs=${cfgs}`, "--json"];
    const { code, stdout, stderr } = await cli([...session, ...out], { env });
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/plain_diffs \| +5 \| +0 \| .*logit_diffs/);
    type Rows = Record<string, unknown>[];
    type Results = Record<string, { examples: Rows; latents: Rows; batches?: Rows }>;
    const { results, accuracy } = JSON.parse(stdout) as { results: Results; accuracy: Rows };
    expect(Object.keys(results)).toEqual([...names, "clean"]);
    expect(accuracy).toHaveLength(1);

    // The four analyses' layout; the same numbers by another chain.
    const numbers = (rows: Rows): unknown[] =>
      rows.map(({ logit_diffs, answer_logits }) => [logit_diffs, answer_logits]);
    expect(Object.keys(results["logit_diffs_base"]!)).toEqual(["examples", "latents"]);
    expect(numbers(results["plain_diffs"]!.examples)).toEqual(numbers(results["logit_diffs_base"]!.examples));
    const [first] = results["plain_diffs"]!.examples;
    expect(first!["answer_logits"]).toHaveLength(2);
    // Vectors per batch are arrays: what is added to the logits is the difference.
    expect(results["push"]!.batches).toHaveLength(3);
    for (const batch of results["push"]!.batches!) {
      const [before, after] = ["pre", "post"].map((when) => batch[`${when}_intervention_logits`] as number[]);
      expect(before).toHaveLength(shapes["gpt2"]!.d_vocab);
      expect(batch["logit_diff"]).toBeCloseTo(after![3]! - before![3]!, 4);
      expect(batch["logit_diff"]).not.toBeCloseTo(0, 3);
    }
    // Analyses of the four under another name keep their latents.
    const store = await AnalysisStore.open(at("any"));
    const { latents } = await store.load("clean");
    expect(latents.length).toBeGreaterThan(0);
    expect(results["clean"]!.latents.map((row) => row["activation"])).toEqual([...latents.activation]);

    const exported = await document(["export", at("any")]);
    expect(exported).toEqual(results);
    const perBatch = (await document(["export", at("any"), "--batches", at("dense")])) as { files: string[] };
    expect(perBatch.files).toEqual(names.concat("clean").map((name) => `${name}/data-00000-of-00001.parquet`));
    for (const path of perBatch.files) expect(readFileSync(at("dense", path)).subarray(0, 4).toString()).toBe("PAR1");
    expect((await cli(["export", at("any"), "--batches", at("dense"), "--csv"])).stderr).toContain("choose one");
    const csv = await cli(["export", at("any"), "--csv", "--table", "batches"]);
    expect(csv.stdout.split("\r\n").map((line) => line.split(",")[0])).toEqual([
      "analysis",
      "push",
      "push",
      "push",
      "",
    ]);
  });

  it("analyses: no analysis of the four at all", async () => {
    const op = "--set=run_cfg.ops=[labels_to_ids.model_fwd.logit_diffs]";
    const { code, stdout, stderr } = await run("--run-command", "analyze", op, "--limit-batches", "1", "--json");
    expect(code, stderr).toBe(0);
    expect(stderr).not.toContain("Accuracy");
    const { results, examples } = JSON.parse(stdout) as { results: Record<string, object>; examples: number };
    expect([Object.keys(results), examples]).toEqual([["labels_to_ids.model_fwd.logit_diffs"], 2]);
  });

  it("analyses: a page where one is asked for, and what was stopped goes on where it is", async () => {
    writeFileSync(
      at("stop.mjs"),
      `export const Stops = {
        kind: "module",
        name: "Stops",
        create: () => ({ batches: 0, onAnalysisBatchEnd() { if (++this.batches === 2) globalThis.stopAnalysis?.(); } }),
      };`,
    );
    const more = Array.from({ length: 40 }, (_, i) => ({ input_ids: rows[i % 5], label: i % 2, answers: [2, 3] }));
    writeFileSync(at("more.jsonl"), more.map((row) => JSON.stringify(row)).join("\n"));
    writeFileSync(at("stop.yaml"), "registered_cfg: {module_cls: {class_path: Stops}}\n");
    const args = ["run", "--config", at("session.yaml"), "--config", at("stop.yaml"), "--modules", at("stop.mjs")];
    args.push("--run-command", "analyze", "--data", at("more.jsonl"), "--eval-batch-size", "16");
    const whole = await cli([...args, "--out", at("whole"), "--report"]);
    expect(whole.code, whole.stderr).toBe(0);
    expect(whole.stdout).toContain(`Report: ${at("whole", "report.html")}`);
    expect(readFileSync(at("whole", "report.html"), "utf8")).toContain("blocks.1.attn.hook_z");

    const controller = new AbortController();
    Reflect.set(globalThis, "stopAnalysis", () => controller.abort(new Interrupted("SIGINT", 130)));
    const stopped = await cli([...args, "--out", at("parts")], { signal: controller.signal });
    Reflect.deleteProperty(globalThis, "stopAnalysis");
    expect([stopped.code, stopped.stderr.split("\n").at(-2)]).toEqual([
      130,
      `error: interrupted by SIGINT (what is done is in ${at("parts")}: the same command with --resume goes on)`,
    ]);
    const again = await cli([...args, "--out", at("parts")]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("resume it (--resume)")]);
    const resumed = await cli([...args, "--out", at("parts"), "--resume", "--report", at("page.html")]);
    expect(resumed.code, resumed.stderr).toBe(0);
    const shards = (name: string): Buffer[] =>
      readdirSync(at(name), { recursive: true, encoding: "utf8" })
        .filter((path) => path.endsWith(".parquet"))
        .sort()
        .map((path) => readFileSync(at(name, path)));
    expect(shards("whole").length).toBeGreaterThan(3);
    expect(shards("parts")).toEqual(shards("whole"));
    expect(readFileSync(at("page.html"), "utf8")).toContain("blocks.2.attn.hook_z");
  });

  it.each([
    ["--report", ["--run-command", "test", "--report"], "--report shows analyses"],
    ["--report", ["--run-command", "analyze", "--report=/nowhere/page.html"], "there is no folder /nowhere"],
    ["--resume", ["--run-command", "analyze", "--resume"], "--resume continues the store of analyses"],
    ["--resume", ["--run-command", "analyze", "--out", "x", "--resume=some.ckpt"], "got some.ckpt"],
    ["--resume", ["--run-command", "train", "--resume"], "expected --resume FILE"],
  ])("says what %s is for, %j", async (_flag, args, message) => {
    const { code, stderr } = await run(...args);
    expect([code, stderr]).toEqual([1, expect.stringContaining(message)]);
  });

  it("predicts, validates, limits, and replaces what the file says", async () => {
    const predicted = await run("--run-command", "predict", "--limit-batches", "2", "--json");
    expect((JSON.parse(predicted.stdout) as { outputs: unknown[] }).outputs).toHaveLength(2);
    const validated = await run(
      "--run-command",
      "validate",
      "--eval-batch-size",
      "5",
      "--adapters",
      "lightning,sae_lens",
      "--json",
    );
    expect(JSON.parse(validated.stdout)).toMatchObject({
      batches: 1,
      metrics: { val_loss: expect.any(Number) as number },
    });
  });

  it("only checks, and prints the whole configuration", async () => {
    const { stdout, code } = await run("--dry-run", "--set", "max-new-tokens=3");
    expect(code).toBe(0);
    const config = parse(stdout) as { registered_cfg: { module_cfg: { generative_step_cfg: object } } };
    expect(config.registered_cfg.module_cfg.generative_step_cfg).toMatchObject({
      lm_generation_cfg: { max_new_tokens: 3, top_k: 50 },
    });
    // What it prints is a file of the same session.
    writeFileSync(at("again.yaml"), stdout);
    expect((await cli(["run", "--config", at("again.yaml"), "--dry-run"])).stdout).toBe(stdout);
  });

  it("only checks: flags, the environment and what a prompt refers to have their say, and folders record the same", async () => {
    mkdirSync(at("theirs"));
    writeFileSync(at("theirs", "it_component.yaml"), "promptconfigs: {definitions: {Short: short.yaml}}\n");
    writeFileSync(at("theirs", "short.yaml"), "{chat: gemma-chat, question_suffix: '?'}\n");
    const prompt = (name: string): string => `{compose_ref: "${at("theirs")}#${name}", question_suffix: "!"}`;
    const more = at("prompt.yaml");
    writeFileSync(more, `registered_cfg: {datamodule_cfg: {prompt_cfg: ${prompt("Short")}}}\n`);
    const flags = ["--config", more, "--eval-batch-size", "5", "--data", at("rows.jsonl"), "--saes", at("sae1")];
    const { stdout, stderr } = await run("--dry-run", ...flags, "--adapters", "lightning,sae_lens");
    type Printed = { registered_cfg: { datamodule_cfg: object; module_cfg: object }; shared_config: object };
    const printed = parse(stdout) as Printed;
    expect(printed, stderr).toMatchObject({
      adapter_ctx: ["lightning", "sae_lens"],
      shared_config: { model_name_or_path: at("model") },
      registered_cfg: {
        datamodule_cfg: {
          prompt_cfg: { chat: "gemma-chat", question_suffix: "!", compose_ref: null },
          eval_batch_size: 5,
          dataset_path: at("rows.jsonl"),
        },
        module_cfg: { sae_cfgs: [{ path: at("sae1") }] },
      },
    });
    expect((await run("--dry-run", "--adapters", "core")).stderr).toContain("an SAE needs the adapter sae_lens");
    const before = readdirSync(at("logs")).length;
    const log = ["--set", `core-log-dir=${at("resolved")}`];
    expect((await run(...flags, ...log)).code).toBe(0);
    expect(readdirSync(at("logs"))).toHaveLength(before);
    const [folder] = readdirSync(at("resolved"));
    const dry = (path: string, ...args: string[]): ReturnType<typeof cli> =>
      cli(["run", "--config", path, "--dry-run", ...args]);
    expect((await dry(at("resolved", folder!, "config.yaml"))).stdout).toBe(
      (await run("--dry-run", ...flags, ...log)).stdout,
    );

    writeFileSync(more, `registered_cfg: {datamodule_cfg: {prompt_cfg: ${prompt("Long")}}}\n`);
    expect((await run("--config", more, "--dry-run")).stderr).toContain("expected Short; got Long");
  });

  it("takes modules of one's own where they are listed, and only there", async () => {
    writeFileSync(
      at("own.mjs"),
      `export const Own = { kind: "module", name: "OwnModule", create: (base) => ({ testStep: (batch) => base.log("n", batch.dims[0], 1) }) };`,
    );
    writeFileSync(at("own.yaml"), "registered_cfg: {module_cls: {class_path: OwnModule}}\n");
    const args = ["--config", at("own.yaml"), "--run-command", "test"];
    expect((await run(...args)).stderr).toContain("own.yaml:1:43; got OwnModule");
    const { stdout } = await run(...args, "--modules", at("own.mjs"), "--json");
    expect(JSON.parse(stdout)).toMatchObject({ metrics: { n: 5 / 3 } });
    expect((await run(...args, "--modules", at("none.mjs"))).stderr).toContain("cannot be imported");
  });

  it("ends with one line that points at the fault", async () => {
    writeFileSync(at("bad.yaml"), "run_cfg:\n  max_epoch: 1\n");
    const { code, stderr } = await run("--config", at("bad.yaml"), "--dry-run");
    expect([code, stderr.trim()]).toEqual([
      1,
      `error: there is no option run_cfg.max_epoch; in ${at("bad.yaml")}:2:3 (near ones: max_epochs, max_steps, ops)`,
    ]);
    expect((await cli(["run"])).stderr).toContain("--config FILE");
    expect((await run("--set", "a")).stderr).toContain("NAME=VALUE");
    expect((await run("--adapters", "sae_lens")).stderr).toContain("no valid combination");
    writeFileSync(at("adapters.yaml"), "adapter_ctx: [core, sae_lenz]\n");
    expect((await run("--config", at("adapters.yaml"), "--dry-run")).stderr).toContain(`${at("adapters.yaml")}:1:14`);
    writeFileSync(at("adapters.yaml"), "adapter_ctx: [core]\n");
    expect((await run("--config", at("adapters.yaml"), "--dry-run")).stderr).toMatch(
      /an SAE needs the adapter sae_lens; in .*adapters.yaml:1:14/,
    );
    expect((await run("--set", "max-epochs=-1", "--run-command", "analyze")).stderr).toContain(
      "analyses go through the data at least once; in maxEpochs; got -1",
    );
    expect((await run("--data", at("nowhere"), "--run-command", "test")).stderr).toContain("nowhere");
  });

  it("prints the JSON Schema and every option", async () => {
    const schema = JSON.parse((await cli(["run", "--schema"])).stdout) as {
      $defs: Record<string, { anyOf?: unknown[] }>;
    };
    expect(schema.$defs["TlConfig"]!.anyOf).toHaveLength(2);
    const { stdout } = await cli(["run", "--options"]);
    expect(stdout).toContain("registered-cfg.module-cfg.generative-step-cfg.lm-generation-cfg.max-new-tokens");
  });
});

describe("interpretune ops", () => {
  it("lists the ops there are, and says what one reads, writes and needs", async () => {
    const { ops: all } = (await document(["ops"])) as { ops: { name: string }[] };
    expect(all).toHaveLength(listOps().length);
    const { stdout } = await cli(["ops"]);
    for (const { name } of all) expect(stdout).toContain(`  ${name} `);

    type Info = { name: string; columns: { column: string; role: string }[] };
    const { name, columns } = (await document(["ops", "Logit-Diffs-Latent"])) as Info;
    expect(name).toBe("logit_diffs_sae");
    const stored = columns.filter(({ role }) => role === "out").map(({ column }) => column);
    expect(stored.sort()).toEqual(Object.keys(findOp(name).output).sort());
    const whole = await cli(["ops", "concept_direction"]);
    expect(whole.stdout).toMatch(/aliases: semantic_direction\n.*parameters: .*"mode":"mean_difference"/s);
    expect((await cli(["ops", "logit_dif"])).stderr).toContain("nearest names: logit_diffs");
  });

  it("knows compositions of the environment and of components", async () => {
    mkdirSync(at("shared"));
    writeFileSync(at("shared", "it_component.yaml"), "name: shared\nops: {files: [ops.yaml]}\n");
    const text = (name: string): string =>
      `composite_operations:\n  ${name}: {composition: logit_diffs_base, description: Mine}\n`;
    writeFileSync(at("shared", "ops.yaml"), text("theirs"));
    writeFileSync(at("mine.yaml"), text("mine"));
    const env = { IT_ANALYSIS_OP_PATHS: at("mine.yaml"), HF_HUB_OFFLINE: "1" };
    const { stdout } = await cli(["ops", "--components", at("shared")], { env });
    expect(stdout).toMatch(/ {2}theirs .*shared\.theirs/);
    expect((await cli(["ops", "mine"], { env })).stdout).toMatch(
      new RegExp(`^mine: Mine\nmade of: labels_to_ids . model_fwd . logit_diffs\nwritten in: ${at("mine.yaml")}:2:23`),
    );
  });
});

describe("interpretune registry", () => {
  it("lists and describes entries, one's own included", async () => {
    expect((await cli(["registry"])).stdout).toContain("rte_demo.gpt2.sae_lens");
    mkdirSync(at("registry"));
    writeFileSync(
      at("registry", "ids.small.core.yaml"),
      "reg_info: {model_src_key: small, task_name: ids, adapter_combinations: [[core]], description: Mine}\n",
    );
    const { entries } = (await document(["registry", "list", "--registry", at("registry")])) as {
      entries: { key: string }[];
    };
    expect(entries.map(({ key }) => key)).toContain("ids.small.core");
    const { stdout } = await cli(["registry", "describe", "gpt2.rte_demo.sae_lens"]);
    expect(parse(stdout)).toMatchObject({ shared_config: { model_name_or_path: "openai-community/gpt2" } });
    writeFileSync(at("entry.yaml"), stdout);
    const { stdout: dry, stderr } = await cli(["run", "--config", at("entry.yaml"), "--dry-run"]);
    expect(parse(dry), stderr).toMatchObject({
      adapter_ctx: ["core", "sae_lens"],
      registered_cfg: { module_cfg: { sae_cfgs: [{ sae_id: "blocks.9.hook_z" }, { sae_id: "blocks.10.hook_z" }] } },
    });
    expect((await cli(["registry", "describe", "rte.gpt2"])).stderr).toContain("near ones");
    expect((await cli(["registry", "show"])).stderr).toContain("there is list, and describe");
  });
});
