import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { full } from "../../../test/support/full.ts";
import { randomModel, randomSae, shapes } from "../../../test/support/random.ts";
import { tokenData, tokenRows } from "../../../test/support/tokenRows.ts";
import { AnalysisRunner } from "../../analysis/index.ts";
import type { Batch, Dataset } from "../../data/index.ts";
import type { TrainerCallback } from "../../train/index.ts";
import type { Adapter } from "../adapters.ts";
import type { SessionOptions } from "../compose/overrides.ts";
import { Session } from "../session.ts";
import { defineModule } from "../sides/module.ts";
import { runSteps } from "./steps.ts";
import { runTraining } from "./training.ts";

const model = randomModel({ ...shapes["gpt2"]!, n_layers: 2 }, 1);
const saes = [randomSae(model, "blocks.1.attn.hook_z", "topk", 32, 1)];
let folder: string;
let data: Dataset;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-training-"));
  data = await tokenData();
});
afterAll(() => rmSync(folder, { recursive: true }));

const optimizerInit = { classPath: "torch.optim.AdamW", initArgs: { lr: 0.003, weight_decay: 0.01 } } as const;
const lrSchedulerInit = {
  classPath: "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts",
  initArgs: { T_0: 1, T_mult: 2, eta_min: 1e-6 },
} as const;

type Options = SessionOptions<readonly Adapter[], object, object>;
const make = async (adapterCtx: readonly Adapter[], options: Partial<Options> = {}, lines: string[] = []) => {
  const session = await Session.create({
    model,
    data,
    trainBatchSize: 2,
    evalBatchSize: 4,
    seedEverything: 5,
    runCfg: { maxEpochs: 2 },
    logStream: { write: (line) => lines.push(line.replace(/^\S+ /, "").trimEnd()) },
    adapterCtx,
    ...options,
    moduleCfg: { coreLogDir: folder, entailmentMapping: [2, 3], optimizerInit, lrSchedulerInit, ...options.moduleCfg },
  });
  return session;
};
type Made = Awaited<ReturnType<typeof make>>;

/** Every weight, as its view shows it. */
const weights = async ({ module }: Made): Promise<number[][]> =>
  Promise.all(
    [...module.model.weights.values()].map(async (view) => (await module.model.runtime.realize(view)).toArray()),
  );

describe.each([[["core"]], [["lightning"]]] as const)("training under %j", (adapters) => {
  it("learns the rows of train and leaves the given model as it was", async () => {
    const before = (await model.run([tokenRows[0]!])).toArray();
    const lines: string[] = [];
    const session = await make(adapters, { runCfg: { maxEpochs: 8 } }, lines);
    const untrained = await runSteps(session, "validation");
    const { globalStep, metrics, reason } = await runTraining(session);
    expect([globalStep, reason]).toEqual([24, "max epochs"]);
    expect(metrics["val_loss"]).toBeLessThan(0.5 * untrained.metrics["val_loss"]!);
    expect((await runSteps(session, "test")).metrics["accuracy"]).toBeGreaterThanOrEqual(5 / 6);
    expect((await model.run([tokenRows[0]!])).toArray()).toEqual(before);
    expect(session.module.state).toMatchObject({ currentEpoch: 7 });
    expect(lines.join("\n")).toMatch(/INFO Train e.*'train_loss': \d/);
    await session.end();
  });

  it("the analyses see what was learnt", async () => {
    const session = await make([...adapters, "sae_lens"], { saes, runCfg: { maxSteps: 2, maxEpochs: -1 } });
    const diffs = async (): Promise<number[]> => {
      const results = await new AnalysisRunner(session, {}).run(["logit_diffs_sae", "logit_diffs_attr_ablation"]);
      expect(results.logit_diffs_attr_ablation.examples).toHaveLength(tokenRows.length);
      return results.logit_diffs_sae.examples.flatMap((row) => row.logit_diffs);
    };
    const before = await diffs();
    expect((await runTraining(session)).reason).toBe("max steps");
    expect(await diffs()).not.toEqual(before);
  });

  it("keeps the batch whose loss is not finite", async () => {
    const Broken = defineModule("Broken", (module) => ({
      trainingStep: (batch: Batch) => module.trace(batch).loss.mul(batch.index === 1 ? Infinity : 1),
    }));
    const session = await make(adapters, { moduleCls: Broken });
    await expect(runTraining(session)).rejects.toThrow(`in the batch in ${session.experimentFolder}`);
    const [file] = readdirSync(session.experimentFolder).filter((name) => name.startsWith("not-finite"));
    const saved = JSON.parse(readFileSync(join(session.experimentFolder, file!), "utf8")) as { batch: Batch };
    expect(saved.batch.dims[0]).toBe(2);
  });

  it("says what is missing or does not fit", async () => {
    await expect(runTraining(await make(adapters, { moduleCfg: { optimizerInit: null } }))).rejects.toThrow(
      "training needs an optimiser",
    );
    await expect(runTraining(await make(adapters, { trainBatchSize: 7 }))).rejects.toThrow(
      "a training batch is larger than the training data; expected at least 7 rows; got 6",
    );
    const Nothing = defineModule("Nothing", () => ({}));
    await expect(runTraining(await make(adapters, { moduleCls: Nothing }))).rejects.toThrow("no trainingStep");
    const given = await make(adapters);
    const session = await make(adapters, { module: given.module });
    await expect(runTraining(session)).rejects.toThrow("keeps its model");
  });
});

it("both loops give the same parameters, bit for bit, and call the same hooks", async () => {
  const hooks: Record<string, string[]> = {};
  const made = await Promise.all(
    (["core", "lightning"] as const).map(async (adapter) => {
      const called: string[] = (hooks[adapter] = []);
      const names = ["Start", "EpochStart", "BatchStart", "BatchEnd", "EpochEnd", "End"].flatMap((moment) => [
        `onTrain${moment}`,
        `onValidation${moment}`,
      ]);
      const watch = {
        name: "watch",
        hooks: Object.fromEntries(names.map((name) => [name, () => void called.push(name)])),
      };
      const trainer = { numSanityValSteps: 0 };
      return make([adapter], { extensions: [watch], trainer });
    }),
  );
  const results = await Promise.all(made.map((session) => runTraining(session)));
  expect(results[0]!.metrics["val_loss"]).toBe(results[1]!.metrics["val_loss"]);
  const [a, b] = await Promise.all(made.map(weights));
  expect(a).toEqual(b);
  expect(hooks["core"]).toEqual(hooks["lightning"]);
  expect(hooks["core"]!.length).toBe(2 + 2 * (2 + 3 * 2 + 4 + 2 * 2));
});

it("rows are shuffled by seed and epoch, or not at all", async () => {
  const seen = async (options: Partial<Options>): Promise<number[]> => {
    const order: number[] = [];
    const Watching = defineModule("Watching", (module) => ({
      trainingStep(batch: Batch) {
        order.push(...batch.examples);
        return module.trace(batch).loss;
      },
    }));
    await runTraining(await make(["core"], { moduleCls: Watching, ...options }));
    return order;
  };
  const plain = await seen({ datamoduleCfg: { shuffle: false } });
  expect(plain).toEqual([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
  const [a, again, other] = [await seen({}), await seen({}), await seen({ seedEverything: 6 })];
  expect(a).toEqual(again);
  expect(a).not.toEqual(other);
  expect(a.slice(0, 6)).not.toEqual(a.slice(6));
  expect(a.slice(0, 6).sort()).toEqual([0, 1, 2, 3, 4, 5]);
});

describe.each(["core", "lightning"] as const)("a training under %s that stops", (adapter) => {
  const lrPlateau = { classPath: "torch.optim.lr_scheduler.ReduceLROnPlateau", initArgs: { patience: 0, factor: 0.5 } };
  const moduleCfg = { lrSchedulerInit: lrPlateau, plLrsCfg: { monitor: "val_loss" } } as const;
  const where = { core: "runCfg", lightning: "trainer" } as const;
  const lastOf = ({ experimentFolder }: Made): string => join(experimentFolder, "checkpoints", "last.safetensors");
  const build = (options: Partial<Options> = {}): Promise<Made> =>
    make([adapter], { runCfg: { maxEpochs: 3 }, moduleCfg, ...options });
  const resumed = (file: string): Promise<Made> =>
    build(
      adapter === "core"
        ? { runCfg: { maxEpochs: 3, resume: file } }
        : { runCfg: { maxEpochs: 3 }, trainer: { resume: file } },
    );
  let whole: { weights: number[][]; metrics: object };
  beforeAll(async () => {
    const session = await build();
    const { metrics } = await runTraining(session);
    whole = { weights: await weights(session), metrics };
  });

  it.each(full ? [1, 2, 3, 4] : [2, 3])("after step %i goes on bit for bit", async (steps) => {
    const session = await build();
    const abort = new AbortController();
    const stop = { onProgress: ({ globalStep }: { globalStep: number }) => globalStep === steps && abort.abort() };
    const first = await runTraining(session, { signal: abort.signal, onProgress: (at) => void stop.onProgress(at) });
    expect(first).toMatchObject({ reason: "interrupted", globalStep: steps, epochs: Math.ceil(steps / 3) });
    const next = await resumed(lastOf(session));
    expect(await runTraining(next)).toMatchObject({ reason: "max epochs", globalStep: 9, metrics: whole.metrics });
    expect(await weights(next)).toEqual(whole.weights);
    // There is nothing left to do.
    expect(await runTraining(await resumed(lastOf(next)))).toMatchObject({ globalStep: 9, metrics: whole.metrics });
  });

  it("at its last step goes on to more of them, bit for bit", async () => {
    const session = await build({ runCfg: { maxEpochs: 3, maxSteps: 4 } });
    expect(await runTraining(session)).toMatchObject({ reason: "max steps", globalStep: 4, epochs: 2 });
    const next = await resumed(lastOf(session));
    await runTraining(next);
    expect(await weights(next)).toEqual(whole.weights);
  });

  it("by a failure keeps the last step that was finished", async () => {
    let evaluations = 0;
    const failing = {
      name: "failing",
      hooks: {
        onValidationStart: () => {
          if (++evaluations === 2) throw new Error("the power is gone");
        },
      },
    };
    // In the middle of what is due after step 6: the checkpoint of step 3, where that epoch ended, is the last good one.
    const session = await build({ extensions: [failing], trainer: { numSanityValSteps: 0 } });
    await expect(runTraining(session)).rejects.toThrow("the power is gone");
    const next = await resumed(lastOf(session));
    expect(next.cfg[where[adapter]].resume).toBe(lastOf(session));
    await runTraining(next);
    expect(await weights(next)).toEqual(whole.weights);
  });

  it("is told apart from others", async () => {
    const session = await build({ runCfg: { maxSteps: 1 } });
    await runTraining(session);
    const last = lastOf(session);
    const bytes = readFileSync(last);
    const fails = async (message: string, options: Partial<Options>, file: string = last): Promise<void> => {
      await expect(runTraining(await build(options), { resume: file })).rejects.toThrow(message);
    };
    await fails(`the checkpoint is of another training; in ${last}; expected seed_everything: 6`, {
      seedEverything: 6,
    });
    await fails("datamodule_cfg.shuffle: false", { datamoduleCfg: { shuffle: false } });
    await fails("module_cfg.optimizer_init", {
      moduleCfg: { ...moduleCfg, optimizerInit: { classPath: "SGD", initArgs: { lr: 0.1 } } },
    });
    await fails("limitTrainBatches: 2", { runCfg: { limitTrainBatches: 2 } });
    const other = await make([adapter === "core" ? "lightning" : "core"], { moduleCfg });
    await expect(runTraining(other, { resume: last })).rejects.toThrow(
      /the checkpoint is of something else; .*; expected the .* loop's|expected the trainer's/,
    );
    writeFileSync(join(folder, "cut.safetensors"), bytes.subarray(0, bytes.length - 8));
    await fails("cut.safetensors", {}, join(folder, "cut.safetensors"));
    await fails("none.safetensors", {}, join(folder, "none.safetensors"));
    expect(readFileSync(last).equals(bytes)).toBe(true);
  });
});

it("the plain loop keeps its checkpoint where and when it is told", async () => {
  const checkpointDir = join(folder, "own");
  const file = join(checkpointDir, "last.safetensors");
  const seen: boolean[] = [];
  const onProgress = (): void => void seen.push(existsSync(file));
  await runTraining(await make(["core"], { runCfg: { checkpointDir, checkpointEveryNSteps: 2 } }), { onProgress });
  expect(seen).toEqual([false, true, true]);
  expect(readdirSync(checkpointDir)).toEqual(["last.safetensors"]);
  const before = readFileSync(file);
  await runTraining(await make(["core"], { runCfg: { checkpointDir, enableCheckpointing: false, maxEpochs: 2 } }));
  // Whoever fails before a first step has nothing to keep.
  const refused = { runCfg: { checkpointDir, resume: join(folder, "none.safetensors") } };
  await expect(runTraining(await make(["core"], refused))).rejects.toThrow("none.safetensors");
  const Broken = defineModule("Broken", (module) => ({
    trainingStep: (batch: Batch) => module.trace(batch).loss.mul(Infinity),
  }));
  await expect(runTraining(await make(["core"], { runCfg: { checkpointDir }, moduleCls: Broken }))).rejects.toThrow();
  expect(readFileSync(file).equals(before)).toBe(true);
});

describe("the trainer of a session", () => {
  const trainer = {
    logEveryNSteps: 1,
    accumulateGradBatches: 2,
    gradientClipVal: 1,
    callbacks: [
      { classPath: "lightning.pytorch.callbacks.ModelCheckpoint", initArgs: { monitor: "val_loss", save_top_k: 2 } },
      { classPath: "EarlyStopping", initArgs: { monitor: "val_loss", patience: 9 } },
      { classPath: "pytorch_lightning.callbacks.LearningRateMonitor", initArgs: {} },
      { classPath: "TQDMProgressBar", initArgs: {} },
    ],
    logger: [
      { classPath: "lightning.pytorch.loggers.CSVLogger", initArgs: {} },
      { classPath: "TensorBoardLogger", initArgs: {} },
      { classPath: "JSONLLogger", initArgs: {} },
    ],
  } as const;

  it("is made of its section, and goes on from a checkpoint bit for bit", async () => {
    const whole = await make(["lightning"], { trainer });
    await runTraining(whole);
    const files = (readdirSync(whole.experimentFolder, { recursive: true }) as string[]).map((name) =>
      name.replace(/events\.out.*/, "events"),
    );
    expect(files).toEqual(expect.arrayContaining(["metrics.csv", "metrics.jsonl", "checkpoints/last.safetensors"]));
    expect(files.filter((name) => name.includes("events"))).toHaveLength(1);
    expect(readFileSync(join(whole.experimentFolder, "metrics.csv"), "utf8")).toContain("lr");
    const stopped = await make(["lightning"], { trainer });
    const abort = new AbortController();
    const aborter: TrainerCallback = { name: "aborter", onStep: () => abort.abort() };
    const { reason, globalStep } = await runTraining(stopped, { signal: abort.signal, callbacks: [aborter] });
    expect([reason, globalStep]).toEqual(["interrupted", 1]);
    const last = join(stopped.experimentFolder, "checkpoints", "last.safetensors");
    expect(existsSync(last)).toBe(true);
    const resumed = await make(["lightning"], { trainer: { ...trainer, resume: last } });
    expect((await runTraining(resumed)).globalStep).toBe(4);
    expect(await weights(resumed)).toEqual(await weights(whole));
    const other = await make(["lightning"], { trainer, datamoduleCfg: { shuffle: false } });
    await expect(runTraining(other, { resume: last })).rejects.toThrow(
      "the checkpoint is of another training; in " + last + "; expected datamodule_cfg.shuffle: false",
    );
  });

  it("thaws phase after phase of the published form, from a file or in place", async () => {
    const phases = {
      "0": { params: ["unembed.*", "ln_final.*"], max_transition_epoch: 1 },
      "1": {
        params: ["blocks.1.mlp.*"],
        lr: 0.001,
        new_lr_scheduler: {
          lr_scheduler_init: { class_path: "torch.optim.lr_scheduler.ExponentialLR", init_args: { gamma: 0.5 } },
          pl_lrs_cfg: { interval: "step" },
        },
      },
    };
    const file = join(folder, "phases.yaml");
    writeFileSync(file, JSON.stringify(phases));
    const seen: string[] = [];
    const callbacks: TrainerCallback[] = [
      {
        name: "watch",
        onEpochStart: ({ learner }) => void seen.push(learner.trained.join(" ")),
        onFitEnd: ({ learner }) => void seen.push(String(learner.learningRates["phase1"])),
      },
    ];
    const made = async (ft_schedule: string | typeof phases): Promise<Made> => {
      const classPath = "finetuning_scheduler.FinetuningScheduler";
      return make(["lightning"], { trainer: { callbacks: [{ classPath, initArgs: { ft_schedule } }] } });
    };
    for (const given of [file, phases]) await runTraining(await made(given), { callbacks });
    const [first, second, rates] = seen;
    expect(first).toContain("unembed");
    expect(first).not.toContain("mlp");
    expect(second).toContain("blocks.1.mlp");
    expect(second).not.toContain("blocks.0");
    expect(Number(rates)).toBeCloseTo(0.001 / 8, 12);
    expect(seen.slice(3)).toEqual([first, second, rates]);
    const typo = { "0": { params: ["unenbed.*"] } } as object as typeof phases;
    await expect(made(typo).then((session) => runTraining(session))).rejects.toThrow(
      "no parameter has a name like this",
    );
    await expect(made("nowhere.yaml").then((session) => runTraining(session))).rejects.toThrow("nowhere.yaml");
  });
});
