/** `interpretune run --run-command train`, end to end on a small model; a run that is killed goes on bit for bit. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HookedModel, saveModel } from "../src/model/index.ts";
import { loadLora } from "../src/train/index.ts";
import { cli, document, start } from "./support/cli.ts";
import { full } from "./support/full.ts";
import { randomModel, shapes } from "./support/random.ts";

let folder: string;
const at = (...path: string[]): string => join(folder, ...path);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-train-"));
  const config = { ...shapes["gpt2"]!, n_layers: 1, original_architecture: "GPT2LMHeadModel" };
  await saveModel(at("model"), randomModel(config, 1));
  const line = (i: number): string =>
    JSON.stringify({ input_ids: [5 + (i % 7), 9, 4 + (i % 11)], label: i % 2, answers: [2, 3] });
  const lines = (from: number, to: number): string =>
    Array.from({ length: to - from }, (_, i) => line(from + i)).join("\n");
  writeFileSync(at("train.jsonl"), lines(0, 8));
  writeFileSync(at("validation.jsonl"), lines(8, 12));
  writeFileSync(
    at("train.yaml"),
    `adapter_ctx: [lightning]
seed_everything: 3
shared_config:
  model_name_or_path: ${at("model")}
registered_cfg:
  datamodule_cfg:
    train_batch_size: 2
    data_files: {train: ${at("train.jsonl")}, validation: ${at("validation.jsonl")}}
  module_cfg:
    core_log_dir: ${at("logs")}
    optimizer_init: {class_path: torch.optim.AdamW, init_args: {lr: 3.0e-3}}
    lr_scheduler_init:
      class_path: torch.optim.lr_scheduler.SequentialLR
      init_args:
        schedulers:
          - {class_path: torch.optim.lr_scheduler.LinearLR, init_args: {start_factor: 0.1, total_iters: 3}}
          - {class_path: transformers.get_cosine_schedule_with_warmup, init_args: {num_warmup_steps: 0, num_training_steps: 30}}
        milestones: [3]
    pl_lrs_cfg: {interval: step}
trainer:
  max_epochs: 3
  log_every_n_steps: 1
  callbacks:
    - {class_path: pytorch_lightning.callbacks.ModelCheckpoint, init_args: {every_n_train_steps: 1, save_top_k: 0, save_last: true, dirpath: ${at("checkpoints")}}}
    - {class_path: pytorch_lightning.callbacks.LearningRateMonitor}
  default_root_dir: ${at("run")}
`,
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

const args = (...more: string[]): string[] => ["run", "--config", at("train.yaml"), "--run-command", "train", ...more];
const weights = async (path: string): Promise<number[]> =>
  (await (await HookedModel.load(path)).run([[5, 9, 4]])).toArray();

describe("interpretune run --run-command train", () => {
  it("trains, logs, keeps checkpoints and saves the model", async () => {
    const found = (await document(args("--out", at("tuned")))) as { reason: string; metrics: Record<string, number> };
    expect(found).toMatchObject({ phase: "train", reason: "max epochs", epochs: 3, globalStep: 12 });
    expect(found.metrics["val_loss"]).toBeGreaterThan(0);
    const [head, ...logged] = readFileSync(at("run", "metrics.csv"), "utf8").trim().split("\n");
    const column = head!.split(",").indexOf("lr");
    const rates = logged.map((line) => line.split(",")[column]!).filter((cell) => cell !== "");
    expect(rates.slice(0, 3).map(Number)).toEqual([0.1, 0.4, 0.7].map((x) => expect.closeTo(x * 3e-3, 10) as number));
    expect(readdirSync(at("checkpoints"))).toEqual(["last.safetensors"]);
    expect(await weights(at("tuned"))).not.toEqual(await weights(at("model")));
    rmSync(at("run"), { recursive: true });
  });

  it.each(["core", "lightning"])("trains adapters under %s, which load again, by flags alone", async (adapters) => {
    const lora = ["--set", "lora-cfg.r=2", "--set", "target-modules=[c_attn]", "--set", "save-merged=true"];
    const epochs = adapters === "core" ? "run-cfg.max-epochs=1" : "trainer.max-epochs=1";
    const out = at(`adapter-${adapters}`);
    const found = await document(args("--adapters", adapters, "--set", epochs, ...lora, "--out", out));
    const { adapters: saved } = found as { adapters: { last: string } };
    expect(readdirSync(out).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors", "merged"]);
    const tuned = await weights(join(out, "merged"));
    expect(tuned).not.toEqual(await weights(at("model")));
    for (const each of [out, saved.last]) {
      const { model } = await loadLora(await HookedModel.load(at("model")), each);
      expect((await model.run([[5, 9, 4]])).toArray()).toBeAllClose(tuned);
    }
    rmSync(at(adapters === "core" ? "logs" : "run"), { recursive: true });
  });

  it("runs the plain loop under core, from run_cfg", async () => {
    const core = ["--adapters", "core", "--set", "run-cfg.max-epochs=1"];
    expect(await document(args(...core))).toMatchObject({ phase: "train", globalStep: 4, epochs: 1 });
    // Interrupted in its second epoch it goes on, from the flag or from the file, as if it had not been.
    const more = ["--adapters", "core", "--set", "run-cfg.max-epochs=2", "--set", `checkpoint-dir=${at("core")}`];
    const last = at("core", "last.safetensors");
    await document(args(...more));
    const whole = readFileSync(last);
    for (const resume of [
      ["--resume", last],
      ["--set", `run-cfg.resume=${last}`],
    ]) {
      rmSync(at("core"), { recursive: true });
      await document(args(...more, "--set", "run-cfg.max-steps=5"));
      expect(readFileSync(last).equals(whole)).toBe(false);
      expect(await document(args(...more, ...resume))).toMatchObject({ globalStep: 8, epochs: 2 });
      expect(readFileSync(last).equals(whole)).toBe(true);
    }
  });

  it("ends with one line that points at the fault", async () => {
    const fails = async (...more: string[]): Promise<string> => {
      const { code, stderr } = await cli(args(...more));
      expect(code).toBe(1);
      return stderr.trim().split("\n").at(-1)!;
    };
    expect(await fails("--resume", at("none.safetensors"))).toContain("none.safetensors");
    expect(await fails("--out", at("train.jsonl"))).toMatch(/no folder to write to; in .*train\.jsonl; got EEXIST/);
    expect(await fails("--set", "train-batch-size=9")).toContain("a training batch is larger than the training data");
    expect(await fails("--set", "gradient-clip-val=-1")).toContain("gradientClipVal");
    expect(await fails("--set", "lora-dropout=1.5")).toMatch(/lora_dropout .*--set lora-dropout; .*1; got 1.5/);
    writeFileSync(at("bad.yaml"), "trainer:\n  callbacks: [{class_path: EarlyStoping}]\n");
    expect(await fails("--config", at("bad.yaml"))).toMatch(/bad\.yaml:2:28.*EarlyStopping/);
    writeFileSync(at("bad.yaml"), "trainer:\n  callbacks: [{class_path: EarlyStopping, init_args: {patience: 1}}]\n");
    expect(await fails("--config", at("bad.yaml"))).toMatch(/callbacks\.0\.init_args\.monitor .*bad\.yaml:2:54/);
  });

  it.each([
    ["core", ["--set", "run-cfg.max-epochs=3", "--set", "checkpoint-every-n-steps=1"]],
    ["lightning", []],
  ] as const)("goes on bit for bit after kill -9 at any moment, under %s", async (adapters, options) => {
    const folder = at(`killed-${adapters}`);
    // The plain loop keeps its checkpoints where run_cfg says.
    const own = adapters === "core" ? ["--adapters", "core", "--set", `checkpoint-dir=${folder}`] : [];
    const all = (...more: string[]): string[] => args(...own, ...options, ...more);
    await document(all());
    const last = adapters === "core" ? join(folder, "last.safetensors") : at("checkpoints", "last.safetensors");
    const logged = (): string | undefined =>
      adapters === "core" ? undefined : readFileSync(at("run", "metrics.csv"), "utf8");
    const [whole, log] = [readFileSync(last), logged()];
    rmSync(join(last, ".."), { recursive: true });
    const wanted = full ? 20 : 1;
    for (let kills = 0; ;) {
      const resume = existsSync(last) ? ["--resume", last] : [];
      const child = start(all(...resume));
      const before = existsSync(last) ? readFileSync(last) : undefined;
      // Killed a moment after it has written: while it steps, or while it writes the next one.
      const changed = (): boolean => existsSync(last) && (before === undefined || !readFileSync(last).equals(before));
      const timer = setInterval(() => {
        if (kills < wanted && changed()) {
          clearInterval(timer);
          setTimeout(() => child.process.kill("SIGKILL"), Math.random() * 60);
        }
      }, 5);
      const { code, stderr } = await child.finished;
      clearInterval(timer);
      if (code === "SIGKILL") kills++;
      else {
        expect(code, stderr).toBe(0);
        if (kills >= wanted || !full) break;
        // One that got to its end is as good as any other; the next kills hit a new one.
        expect(readFileSync(last).equals(whole)).toBe(true);
        rmSync(last);
      }
    }
    expect(readFileSync(last).equals(whole)).toBe(true);
    expect(logged()).toBe(log);
  });
});
