import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { leaf, matmul, mean, mul, pow, sub, type Tensor } from "../../graph/index.ts";
import { earlyStopping, learningRateMonitor, modelCheckpoint, progressBar, timer } from "../callbacks/index.ts";
import { csvLogger, jsonlLogger } from "../loggers/index.ts";
import { Learner, type ParameterGroup } from "../learner/learner.ts";
import { Metrics } from "../metrics.ts";
import { shuffledOrder } from "../order.ts";
import type { ScheduledRates } from "../schedules/scheduled.ts";
import type { TrainerCallback, TrainerData, TrainerHook, TrainerModule } from "./protocol.ts";
import { Trainer } from "./trainer.ts";

let root: string;
let folders = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "interpretune-trainer-"));
});
afterAll(() => rmSync(root, { recursive: true }));
const folder = (): string => join(root, String(folders++));

interface Rows {
  readonly x: Tensor;
  readonly y: Tensor;
  readonly ids: readonly number[];
}

/** Rows whose targets are a known function of them. */
const rows = Array.from({ length: 10 }, (_, i) => {
  const x = [Math.sin(i), Math.cos(3 * i), 1];
  return { x, y: 2 * x[0]! - x[1]! + 0.5 };
});
function batchOf(ids: readonly number[]): Rows {
  const x = leaf(Float32Array.from(ids.flatMap((i) => rows[i]!.x)), [ids.length, 3]);
  return {
    x,
    y: leaf(
      Float32Array.from(ids, (i) => rows[i]!.y),
      [ids.length, 1],
    ),
    ids,
  };
}
const inBatches = (order: readonly number[], size: number): Rows[] =>
  Array.from({ length: Math.ceil(order.length / size) }, (_, i) => batchOf(order.slice(i * size, (i + 1) * size)));

const data: TrainerData<Rows> = {
  train: (epoch) => inBatches(shuffledOrder(10, { seed: 7, epoch }), 2),
  validation: () => inBatches([0, 1, 2, 3, 4], 2),
  test: () => inBatches([5, 6, 7, 8, 9], 3),
  predict: () => inBatches([0, 1, 2], 1),
  size: ({ ids }) => ids.length,
};

interface Regression extends TrainerModule<Rows> {
  readonly w: Tensor;
  readonly seen: number[][];
  readonly hooks: TrainerHook[];
}

function regression(
  options: { schedule?: ScheduledRates; groups?: readonly ParameterGroup[]; lr?: number } = {},
): Regression {
  const w = leaf(Float32Array.of(0.1, 0.2, 0.3), [3, 1]);
  const b = leaf(Float32Array.of(1), [1, 1]);
  const parameters = new Map([
    ["w", w],
    ["b", b],
  ]);
  const optimizer = { name: "Adam", lr: options.lr ?? 0.05 } as const;
  const learner = new Learner({ parameters, optimizer, groups: options.groups });
  const metrics = new Metrics();
  const loss = ({ x, y }: Rows): Tensor => mean(pow(sub(matmul(x, w).add(b), y), 2));
  const seen: number[][] = [];
  const hooks: TrainerHook[] = [];
  return {
    learner,
    w,
    seen,
    hooks,
    metrics,
    state: { currentEpoch: 0, globalStep: 0 },
    schedule: options.schedule,
    trainingStep(batch) {
      seen.push([...batch.ids]);
      metrics.add("rows", batch.ids.length, 1);
      return loss(batch);
    },
    async validationStep(batch) {
      const value = await learner.runtime.realize(loss(batch));
      metrics.add("val_loss", value.item(), batch.ids.length);
    },
    testStep: (batch) => metrics.add("first", batch.ids[0]!, batch.ids.length),
    predictStep: (batch) => batch.ids[0],
    call: (hook) => void hooks.push(hook),
  };
}

const bits = ({ learner }: TrainerModule<Rows>): unknown =>
  Object.fromEntries(Object.entries(learner.state().tensors).map(([name, x]) => [name, [...x.data]]));

describe("fit", () => {
  it("goes through epochs in the seed's order, with validation and hooks around", async () => {
    const module = regression();
    const result = await new Trainer({ maxEpochs: 2, numSanityValSteps: 0 }).fit(module, data);
    expect(result).toMatchObject({ reason: "max epochs", epochs: 2, globalStep: 10 });
    expect(module.seen.flat().slice(0, 10)).toEqual(shuffledOrder(10, { seed: 7, epoch: 0 }));
    expect(module.seen.flat().slice(10)).toEqual(shuffledOrder(10, { seed: 7, epoch: 1 }));
    expect([...module.seen.flat().slice(10)].sort()).toEqual(rows.map((_, i) => i));
    expect(result.metrics["val_loss"]).toBeGreaterThan(0);
    expect(module.state).toEqual({ currentEpoch: 1, globalStep: 10 });
    const batch = (phase: string): string[] => [`on${phase}BatchStart`, `on${phase}BatchEnd`];
    const validation = [
      "onValidationStart",
      "onValidationEpochStart",
      ...Array.from({ length: 3 }, () => batch("Validation")).flat(),
      "onValidationEpochEnd",
      "onValidationEnd",
    ];
    const epoch = [
      "onTrainEpochStart",
      ...Array.from({ length: 5 }, () => batch("Train")).flat(),
      ...validation,
      "onTrainEpochEnd",
    ];
    expect(module.hooks).toEqual(["onTrainStart", ...epoch, ...epoch, "onTrainEnd"]);
  });

  it("learns", async () => {
    const module = regression();
    const { metrics } = await new Trainer({ maxEpochs: 60 }).fit(module, data);
    expect(metrics["val_loss"]).toBeLessThan(1e-3);
    expect(module.w.toArray()[0]).toBeCloseTo(2, 1);
  });

  it("sums gradients of several batches into the step of one large one", async () => {
    const ordered: TrainerData<Rows> = { ...data, train: () => inBatches([0, 1, 2, 3, 4, 5, 6, 7], 2) };
    const large: TrainerData<Rows> = { ...data, train: () => inBatches([0, 1, 2, 3, 4, 5, 6, 7], 4) };
    const [a, b] = [regression(), regression()];
    const { globalStep } = await new Trainer({ maxEpochs: 3, accumulateGradBatches: 2 }).fit(a, ordered);
    await new Trainer({ maxEpochs: 3 }).fit(b, large);
    expect(globalStep).toBe(6);
    for (const [i, value] of a.w.toArray().entries()) expect(value).toBeCloseTo(b.w.toArray()[i]!, 5);
    // The last batches of an epoch make a step even where they are fewer.
    expect((await new Trainer({ maxEpochs: 1, accumulateGradBatches: 3 }).fit(regression(), data)).globalStep).toBe(2);
  });

  it.each([
    [{ maxSteps: 7 }, { reason: "max steps", globalStep: 7, epochs: 2 }, 7],
    [{ maxEpochs: 1, limitTrainBatches: 3 }, { reason: "max epochs", globalStep: 3 }, 3],
    [{ maxEpochs: 1, limitTrainBatches: 0.5 }, { globalStep: 2 }, 2],
    [{ fastDevRun: true }, { globalStep: 1, epochs: 1 }, 1],
    [{ fastDevRun: 2 }, { globalStep: 2 }, 2],
    [{ maxEpochs: 0 }, { globalStep: 0, epochs: 0 }, 0],
    [{ maxEpochs: 3, limitTrainBatches: 0 }, { globalStep: 0 }, 0],
  ] as const)("keeps to limits: %j", async (options, expected, batches) => {
    const module = regression();
    expect(await new Trainer(options).fit(module, data)).toMatchObject(expected);
    expect(module.seen.length).toBe(batches);
  });

  it("overfits on the first batches of one order, and validates on them", async () => {
    const module = regression();
    await new Trainer({ maxEpochs: 3, overfitBatches: 1, numSanityValSteps: 0 }).fit(module, data);
    const first = shuffledOrder(10, { seed: 7, epoch: 0 }).slice(0, 2);
    expect(module.seen).toEqual([first, first, first]);
  });

  it.each([
    [{ valCheckInterval: 2 }, 2, [2, 4, 7, 9]],
    [{ valCheckInterval: 0.4 }, 2, [2, 4, 7, 9]],
    [{ valCheckInterval: 9 }, 1, [5]],
    [{ checkValEveryNEpoch: 2 }, 4, [10, 20]],
    [{ limitValBatches: 0 }, 2, []],
    [{ valCheckInterval: 3, accumulateGradBatches: 2 }, 1, [2]],
  ] as const)("validates when it is asked to: %j", async (options, maxEpochs, steps) => {
    const file = join(folder(), "metrics.jsonl");
    await new Trainer({ maxEpochs, ...options, loggers: [jsonlLogger(file)] }).fit(regression(), data);
    const lines = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, number>);
    expect(lines.filter((line) => "val_loss" in line).map(({ step }) => step)).toEqual(steps);
  });

  it("clips by norm and by value", async () => {
    const huge: TrainerData<Rows> = { train: () => [batchOf([0, 1])] };
    const file = join(folder(), "metrics.csv");
    const change = async (options: object): Promise<number[]> => {
      const w = leaf(Float32Array.of(0, 0, 0), [3, 1]);
      const learner = new Learner({ parameters: new Map([["w", w]]), optimizer: { name: "SGD", lr: 1 } });
      const module: TrainerModule<Rows> = {
        learner,
        trainingStep: ({ x, y }) => mul(mean(pow(sub(matmul(x, w), y), 2)), 1000),
      };
      await new Trainer({ maxSteps: 1, logEveryNSteps: 1, loggers: [csvLogger(file)], ...options }).fit(module, huge);
      return w.toArray();
    };
    const byNorm = await change({ gradientClipVal: 0.5 });
    expect(Math.hypot(...byNorm)).toBeCloseTo(0.5, 4);
    expect(readFileSync(file, "utf8")).toContain("grad_norm");
    for (const value of await change({ gradientClipVal: 0.25, gradientClipAlgorithm: "value" }))
      expect(Math.abs(value)).toBeCloseTo(0.25, 6);
  });

  it("steps schedules by step, by epoch and by a metric", async () => {
    const rates: number[][] = [];
    const watch: TrainerCallback = {
      name: "watch",
      onStep: ({ learner }) => void rates.push(Object.values(learner.learningRates)),
    };
    const run = async (schedule: ScheduledRates, groups?: readonly ParameterGroup[]): Promise<number[][]> => {
      rates.length = 0;
      await new Trainer({ maxEpochs: 2, callbacks: [watch], limitTrainBatches: 2 }).fit(
        regression({ schedule, groups, lr: 0.5 }),
        data,
      );
      return [...rates];
    };
    const halve = { name: "ExponentialLR", gamma: 0.5 } as const;
    expect(await run({ config: halve, interval: "step" })).toEqual([[0.25], [0.125], [0.0625], [0.03125]]);
    expect(await run({ config: halve })).toEqual([[0.5], [0.25], [0.25], [0.125]]);
    expect(await run({ config: halve, interval: "step", frequency: 2 })).toEqual([[0.5], [0.25], [0.25], [0.125]]);
    const groups: ParameterGroup[] = [{ name: "bias", params: ["b"], optimizer: { name: "SGD", lr: 4 } }];
    expect((await run({ config: halve, interval: "step" }, groups))[0]).toEqual([0.25, 2]);
    const plateau = { name: "ReduceLROnPlateau", mode: "max", patience: 0, factor: 0.5 } as const;
    expect(await run({ config: plateau, monitor: "val_loss" })).toEqual([[0.5], [0.5], [0.5], [0.25]]);
    await expect(run({ config: plateau, monitor: "loss" })).rejects.toThrow(
      "the schedule watches a metric that nobody has logged",
    );
    expect(await run({ config: plateau, monitor: "loss", strict: false })).toHaveLength(4);
    const warm = { name: "get_constant_schedule_with_warmup", numWarmupSteps: 2 } as const;
    const module = regression({ schedule: { config: warm, interval: "step" } });
    const before = module.w.toArray();
    await new Trainer({ maxSteps: 1 }).fit(module, data);
    expect(module.w.toArray()).toEqual(before); // the first rate is 0
  });
});

describe("resume", () => {
  const schedule: ScheduledRates = {
    config: { name: "get_cosine_schedule_with_warmup", numWarmupSteps: 3, numTrainingSteps: 20 },
    interval: "step",
  };
  const settings = {
    maxEpochs: 4,
    accumulateGradBatches: 2,
    gradientClipVal: 1,
    logEveryNSteps: 1,
    valCheckInterval: 2,
  };

  /** A whole run's logs, weights and callbacks' states, with where it stopped on the way. */
  async function run(
    at: string,
    stop?: number,
  ): Promise<{ module: Regression; log: string; state: unknown; best: string | undefined }> {
    const module = regression({ schedule });
    const checkpoint = modelCheckpoint({ folder: join(at, "checkpoints"), monitor: "val_loss", saveTopK: 2 });
    const stopping = earlyStopping({ monitor: "val_loss", patience: 50 });
    const abort = new AbortController();
    const aborter: TrainerCallback = {
      name: "aborter",
      onStep: ({ globalStep }) => {
        if (globalStep === stop) abort.abort();
      },
    };
    const loggers = [jsonlLogger(join(at, "metrics.jsonl")), csvLogger(join(at, "metrics.csv"))];
    const callbacks = [stopping, learningRateMonitor(), checkpoint, aborter];
    const trainer = new Trainer({ ...settings, callbacks, loggers });
    const { reason } = await trainer.fit(module, data, { signal: abort.signal });
    expect(reason).toBe(stop === undefined ? "max epochs" : "interrupted");
    return { module, log: logs(at), state: stopping.state!(), best: checkpoint.best?.split("/").at(-1) };
  }
  const logs = (at: string): string =>
    readFileSync(join(at, "metrics.jsonl"), "utf8") + readFileSync(join(at, "metrics.csv"), "utf8");

  it("goes on bit for bit, wherever it stopped", async () => {
    const whole = await run(folder());
    expect(whole.log.split("\n").length).toBeGreaterThan(40);
    for (const stop of [1, 2, 3, 7, 11]) {
      const at = folder();
      await run(at, stop);
      const module = regression({ schedule });
      const checkpoint = modelCheckpoint({ folder: join(at, "checkpoints"), monitor: "val_loss", saveTopK: 2 });
      const stopping = earlyStopping({ monitor: "val_loss", patience: 50 });
      const loggers = [jsonlLogger(join(at, "metrics.jsonl")), csvLogger(join(at, "metrics.csv"))];
      const callbacks = [stopping, learningRateMonitor(), checkpoint];
      await new Trainer({ ...settings, callbacks, loggers }).fit(module, data, {
        resume: join(at, "checkpoints", "last.safetensors"),
      });
      expect(bits(module)).toEqual(bits(whole.module));
      expect(module.learner.learningRates).toEqual(whole.module.learner.learningRates);
      expect(logs(at)).toBe(whole.log);
      expect(stopping.state!()).toEqual(whole.state);
      expect(checkpoint.best?.split("/").at(-1)).toBe(whole.best);
    }
  });

  it("refuses a checkpoint of another training, and files that are none", async () => {
    const at = folder();
    await run(at, 2);
    const last = join(at, "checkpoints", "last.safetensors");
    const fit = (options: object, module = regression({ schedule }), resume = last): Promise<unknown> =>
      new Trainer({ ...settings, ...options }).fit(module, data, { resume });
    await expect(fit({ accumulateGradBatches: 1 })).rejects.toThrow(
      "the checkpoint is of another training; in " +
        last +
        "; expected accumulateGradBatches: 1; got accumulateGradBatches: 2",
    );
    await expect(fit({}, regression())).rejects.toThrow("schedule");
    const groups = [{ name: "bias", params: ["b"] }];
    await expect(fit({}, regression({ schedule, groups }))).rejects.toThrow("the state is that of another training");
    const other = { ...regression({ schedule }), identity: { model: "other" } };
    await expect(fit({}, other)).rejects.toThrow('model: "other"');
    writeFileSync(join(at, "x.safetensors"), "not at all");
    await expect(fit({}, regression({ schedule }), join(at, "x.safetensors"))).rejects.toThrow();
    await expect(fit({}, regression({ schedule }), join(at, "none.safetensors"))).rejects.toThrow("none.safetensors");
  });
});

describe("what goes wrong", () => {
  it("stops at a loss that is not finite, keeps the batch and the parameters before it", async () => {
    const at = folder();
    const bad = leaf(Float32Array.of(NaN, 1, 1), [1, 3]);
    const broken: TrainerData<Rows> = {
      train: () => [batchOf([0, 1]), batchOf([2, 3]), { ...batchOf([4]), x: bad }],
    };
    const [module, same] = [regression(), regression()];
    const checkpoint = modelCheckpoint({ folder: at });
    const trainer = new Trainer({ maxEpochs: 1, folder: at, callbacks: [checkpoint] });
    const file = join(at, "not-finite-step-2-batch-2.json");
    await expect(trainer.fit(module, broken)).rejects.toThrow(
      `the loss is not finite; in the batch in ${file}; got loss NaN`,
    );
    const saved = JSON.parse(readFileSync(file, "utf8")) as {
      epoch: number;
      index: number;
      batch: { x: object; ids: number[] };
    };
    expect(saved).toMatchObject({ epoch: 0, index: 2, batch: { x: { dims: [1, 3], data: ["NaN", 1, 1] }, ids: [4] } });
    await new Trainer({ maxEpochs: 1 }).fit(same, { train: () => [batchOf([0, 1]), batchOf([2, 3])] });
    expect(module.w.toArray()).toEqual(same.w.toArray());
    expect(checkpoint.last).toBe(join(at, "last.safetensors"));
    const cured: TrainerData<Rows> = { train: () => [batchOf([0, 1]), batchOf([2, 3]), batchOf([4])] };
    const again = regression();
    const { globalStep } = await new Trainer({ maxEpochs: 1 }).fit(again, cured, { resume: checkpoint.last });
    expect(globalStep).toBe(3);
    const uninterrupted = regression();
    await new Trainer({ maxEpochs: 1 }).fit(uninterrupted, cured);
    expect(bits(again)).toEqual(bits(uninterrupted));
  });

  it("says what is missing", async () => {
    const module = regression();
    const { learner } = module;
    await expect(new Trainer().fit({ learner }, data)).rejects.toThrow("the module has no trainingStep");
    await expect(new Trainer().fit(module, {})).rejects.toThrow("there is no data to train on");
    await expect(new Trainer().fit(module, { train: () => [] })).rejects.toThrow("the training data has no batch");
    await expect(new Trainer().test({ learner }, data)).rejects.toThrow("the module has no testStep");
    await expect(new Trainer().validate(module, {})).rejects.toThrow("there is no data for validation");
    for (const [options, message] of [
      [{ limitTrainBatches: 1.5 }, "limitTrainBatches"],
      [{ maxEpoch: 1 }, 'Unrecognized key: "maxEpoch"'],
      [{ callbacks: [learningRateMonitor(), learningRateMonitor()] }, "two callbacks have one name"],
    ] as const)
      expect(() => new Trainer(options as object)).toThrow(message);
    const watching = earlyStopping({ monitor: "accuracy" });
    await expect(new Trainer({ callbacks: [watching] }).fit(module, data)).rejects.toThrow(
      "EarlyStopping watches a metric that nobody has logged; expected one of",
    );
  });
});

describe("callbacks", () => {
  /** A validation loss that is what a list says. */
  function scripted(values: readonly number[]): Regression {
    const module = regression();
    let i = 0;
    return { ...module, validationStep: () => module.metrics!.add("val_loss", values[i++] ?? 0, 1) };
  }
  const one = { ...data, validation: () => [batchOf([0])] };

  it("stop early: patience, deltas, thresholds, values that are not finite", async () => {
    const epochs = async (values: readonly number[], options: object): Promise<number> => {
      const callbacks = [earlyStopping({ monitor: "val_loss", ...options })];
      const { epochs, reason } = await new Trainer({ maxEpochs: 8, numSanityValSteps: 0, callbacks }).fit(
        scripted(values),
        one,
      );
      expect(reason).toBe(epochs === 8 ? "max epochs" : "early stopping");
      return epochs;
    };
    expect(await epochs([5, 4, 4, 4, 1], { patience: 2 })).toBe(4);
    expect(await epochs([5, 4, 3, 2, 1, 0.5, 0.4, 0.3], { patience: 1 })).toBe(8);
    expect(await epochs([5, 4.9, 4.8, 4.7], { patience: 2, minDelta: 0.5 })).toBe(3);
    expect(await epochs([1, 2, 1], { mode: "max", patience: 1 })).toBe(3);
    expect(await epochs([3, NaN], {})).toBe(2);
    expect(await epochs([3, 0.5], { stoppingThreshold: 1 })).toBe(2);
    expect(await epochs([3, 50], { divergenceThreshold: 10 })).toBe(2);
  });

  it("keep the best checkpoints and the last", async () => {
    const at = folder();
    const checkpoint = modelCheckpoint({
      folder: at,
      monitor: "val_loss",
      saveTopK: 2,
      filename: "{epoch}-{val_loss:.1f}",
    });
    const trainer = new Trainer({ maxEpochs: 4, numSanityValSteps: 0, callbacks: [checkpoint] });
    await trainer.fit(scripted([3, 1, 4, 2]), one);
    expect(readdirSync(at).sort()).toEqual([
      "epoch=1-val_loss=1.0.safetensors",
      "epoch=3-val_loss=2.0.safetensors",
      "last.safetensors",
    ]);
    expect([checkpoint.bestScore, checkpoint.kept.length]).toEqual([1, 2]);
    expect(checkpoint.best).toBe(join(at, "epoch=1-val_loss=1.0.safetensors"));
    const newest = folder();
    await new Trainer({
      maxSteps: 7,
      callbacks: [modelCheckpoint({ folder: newest, everyNTrainSteps: 2, saveTopK: -1, saveLast: false })],
    }).fit(regression(), data);
    expect(readdirSync(newest).sort()).toEqual(
      ["epoch=0-step=2", "epoch=0-step=4", "epoch=1-step=6"].map((name) => `${name}.safetensors`),
    );
  });

  it("watch learning rates and the time", async () => {
    const file = join(folder(), "metrics.jsonl");
    let now = 0;
    const clock = timer({ duration: "00:00:00:03", now: () => now });
    const tick: TrainerCallback = { name: "tick", onStep: () => void now++ };
    const schedule: ScheduledRates = { config: { name: "ExponentialLR", gamma: 0.5 }, interval: "step" };
    const trainer = new Trainer({
      maxEpochs: 2,
      callbacks: [tick, learningRateMonitor(), clock],
      loggers: [jsonlLogger(file)],
    });
    expect(await trainer.fit(regression({ schedule, lr: 0.5 }), data)).toMatchObject({
      reason: "max time",
      globalStep: 3,
    });
    const lines = readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, number>);
    expect(lines.flatMap(({ step, lr }) => (lr === undefined ? [] : [[step, lr]]))).toEqual([
      [1, 0.5],
      [2, 0.25],
      [3, 0.125],
    ]);
    expect(() => timer({ duration: "3 minutes" })).toThrow("DD:HH:MM:SS");
  });
});

describe("progress", () => {
  it("is a line that is drawn anew in a terminal, and a line for each epoch elsewhere", async () => {
    const shown = async (isTTY: boolean): Promise<string> => {
      let text = "";
      const stream = { isTTY, write: (more: string) => (text += more) };
      const callbacks = [progressBar({ stream, refreshRate: 2 })];
      await new Trainer({ maxEpochs: 2, limitTrainBatches: 3, callbacks }).fit(regression(), data);
      return text;
    };
    const lines = (await shown(false)).trimEnd().split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[1]).toMatch(/^epoch 1: 3\/3 .*train_loss \d.* val_loss \d/);
    expect(lines[2]).toBe("ended by max epochs");
    expect((await shown(true)).split("\r")).toHaveLength(1 + 4); // steps 2 and 4, and the ends of epochs: 3 and 6
  });
});

describe("validate, test and predict", () => {
  it("weigh by examples and give what steps return", async () => {
    const module = regression();
    const trainer = new Trainer({ limitPredictBatches: 2 });
    const { metrics, examples, batches } = await trainer.test(module, data);
    expect([metrics["first"], examples, batches]).toEqual([(5 * 3 + 8 * 2) / 5, 5, 2]);
    expect((await trainer.predict(module, data)).outputs).toEqual([0, 1]);
    expect(Object.keys((await trainer.validate(module, data)).metrics)).toEqual(["val_loss"]);
    const stopped = AbortSignal.abort(new Error("enough"));
    await expect(trainer.test(module, data, { signal: stopped })).rejects.toThrow("enough");
  });
});
