/** Training on a disk that is full: one clear error, the last good checkpoint stays, and the run goes on from it bit for bit. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { datasetOf, type Dataset } from "../src/data/index.ts";
import { runTraining, Session, type TrainingRun } from "../src/session/index.ts";
import { csvLogger, TrainError, trainSae, type MetricLogger, type TrainSaeOptions } from "../src/train/index.ts";
import { randomModel, shapes } from "./support/random.ts";
import { smallDisk, type SmallDisk } from "./support/smallDisk.ts";
import { failure } from "./support/failure.ts";

const model = randomModel({ ...shapes["gpt2"]!, n_layers: 1 }, 1);
const rows = Array.from({ length: 8 }, (_, i) => ({ input_ids: [5 + i, 9, 4 + i], label: i % 2 }));
let folder: string;
let disk: SmallDisk | undefined;
let data: Dataset;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-train-disk-"));
  disk = smallDisk(join(folder, "disk"), "8m");
  data = await datasetOf(() => rows.map((value, i) => ({ value, where: `row ${i}` })), { name: "ids", length: 8 });
});
afterEach(() => disk?.empty());
afterAll(() => {
  disk?.unmount();
  rmSync(folder, { recursive: true });
});

const leftOvers = (path: string): string[] =>
  (readdirSync(path, { recursive: true }) as string[]).filter((name) => name.endsWith(".tmp"));

describe.each(["core", "lightning"] as const)("a session that trains under %s", (adapter) => {
  type Made = Awaited<ReturnType<typeof make>>;
  const make = (checkpoints: string) => {
    const args = { dirpath: checkpoints, every_n_train_steps: 2 };
    return Session.create({
      model,
      data,
      adapterCtx: [adapter],
      trainBatchSize: 2,
      seedEverything: 5,
      runCfg: { maxEpochs: 2, checkpointDir: checkpoints, checkpointEveryNSteps: 2 },
      trainer: {
        maxEpochs: 2,
        logEveryNSteps: 1,
        logger: [],
        callbacks: [{ classPath: "lightning.pytorch.callbacks.ModelCheckpoint", initArgs: args }],
      },
      logStream: null,
      moduleCfg: {
        coreLogDir: join(folder, "logs"),
        entailmentMapping: [2, 3],
        optimizerInit: { classPath: "torch.optim.AdamW", initArgs: { lr: 0.003 } },
      },
    });
  };
  const weights = async ({ module }: Made): Promise<number[][]> =>
    Promise.all([...module.model.weights.values()].map(async (x) => (await module.model.runtime.realize(x)).toArray()));
  const last = (checkpoints: string): Buffer => readFileSync(join(checkpoints, "last.safetensors"));
  let whole: number[][];
  beforeAll(async () => {
    const session = await make(join(folder, "whole", adapter));
    await runTraining(session);
    whole = await weights(session);
  });

  it("stops at the checkpoint that does not fit, and goes on from the one before", async (context) => {
    if (disk === undefined) return context.skip();
    const checkpoints = join(disk.path, adapter);
    let good: Buffer | undefined;
    const onProgress: TrainingRun["onProgress"] = ({ globalStep }) => {
      if (globalStep !== 3) return;
      good = last(checkpoints);
      disk!.fill();
    };
    const error = await failure(TrainError, runTraining(await make(checkpoints), { onProgress }));
    expect([error.code, error.message]).toEqual([
      "train/checkpoint",
      expect.stringMatching(
        /cannot be written; an earlier one is as it was; in .*safetensors; got ENOSPC: no space left/,
      ),
    ]);
    expect(last(checkpoints).equals(good!)).toBe(true);
    expect(leftOvers(checkpoints)).toEqual([]);
    disk.empty();
    const session = await make(checkpoints);
    const resume = join(checkpoints, "last.safetensors");
    expect(await runTraining(session, { resume })).toMatchObject({ globalStep: 8 });
    expect(await weights(session)).toEqual(whole);
  });

  // The plain loop's log is the session's.
  const logs = adapter === "lightning" ? it : it.skip;
  logs("stops at the log that does not fit, and goes on from the last whole step", async (context) => {
    if (disk === undefined) return context.skip();
    const checkpoints = join(folder, "beside", adapter);
    const log = join(disk.path, "metrics.csv");
    const onProgress: TrainingRun["onProgress"] = ({ globalStep }) => (globalStep === 3 ? disk!.fill() : undefined);
    // A column more than the rest of a page has room for.
    const csv = csvLogger(log);
    const wide = { ["x".repeat(5000)]: 1 };
    const logger: MetricLogger = { ...csv, log: (row, at) => csv.log(at.step > 3 ? { ...row, ...wide } : row, at) };
    const error = await failure(TrainError, runTraining(await make(checkpoints), { onProgress, loggers: [logger] }));
    expect([error.code, error.message]).toEqual(["train/log", expect.stringContaining("ENOSPC")]);
    disk.empty();
    const session = await make(checkpoints);
    await runTraining(session, { resume: join(checkpoints, "last.safetensors"), loggers: [csvLogger(log)] });
    expect(await weights(session)).toEqual(whole);
  });
});

it("SAEs that are trained stop at the checkpoint that does not fit, and go on from the one before", async (context) => {
  if (disk === undefined) return context.skip();
  const train = (out: string, more: Partial<TrainSaeOptions> = {}) =>
    trainSae({
      model,
      data: Array.from({ length: 40 }, (_, i) => Array.from({ length: 8 }, (_, p) => (7 * i + 3 * p) % 30)),
      sae: { architecture: "topk", dSae: 32, k: 4, hookName: "blocks.0.hook_resid_post", name: "sae" },
      contextSize: 8,
      prependBos: false,
      sequenceSeparatorToken: null,
      storeBatchSizePrompts: 4,
      trainBatchSizeTokens: 16,
      trainingTokens: 160,
      nEvalBatches: 1,
      checkpointEveryNSteps: 2,
      logEveryNSteps: 100,
      out,
      ...more,
    });
  const whole = join(folder, "whole", "sae");
  await train(whole);
  const out = join(disk.path, "sae");
  const checkpoint = join(out, "checkpoint.safetensors");
  let good: Buffer | undefined;
  const onProgress: TrainSaeOptions["onProgress"] = ({ step }) => {
    if (step !== 6) return;
    good = readFileSync(checkpoint);
    disk!.fill();
  };
  const error = await failure(TrainError, train(out, { onProgress }));
  expect([error.code, error.message]).toEqual([
    "train/checkpoint",
    expect.stringMatching(/cannot be written; an earlier one is as it was; in .*checkpoint.safetensors; got ENOSPC/),
  ]);
  expect(readFileSync(checkpoint).equals(good!)).toBe(true);
  expect(leftOvers(out)).toEqual([]);
  disk.empty();
  await train(out, { resume: true });
  for (const file of ["sae/sae_weights.safetensors", "sae/cfg.json", "checkpoint.safetensors"])
    expect(readFileSync(join(out, file)).equals(readFileSync(join(whole, file))), file).toBe(true);
});
