import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { add, leaf, mean, pow, sub, type Tensor } from "../../graph/index.ts";
import { earlyStopping, modelCheckpoint } from "./index.ts";
import { fineTuning, fineTuningGroups, parseFineTuningPhases, type FineTuningPhase } from "./fineTuning.ts";
import { Learner } from "../learner/learner.ts";
import { Metrics } from "../metrics.ts";
import type { ScheduledRates } from "../schedules/scheduled.ts";
import { Trainer, type TrainerCallback, type TrainerModule, type TrainerOptions } from "../trainer/index.ts";

let root: string;
let folders = 0;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "interpretune-phases-"));
});
afterAll(() => rmSync(root, { recursive: true }));
const folder = (): string => join(root, String(folders++));

const names = ["head", "block.1", "block.0"] as const;
const phases: readonly FineTuningPhase[] = [
  { params: ["head"], maxTransitionEpoch: 2 },
  { params: ["block.1"], lr: 0.02, maxTransitionEpoch: 4 },
  { params: ["block.*"] },
];
const optimizer = { name: "Adam", lr: 0.1 } as const;

interface Sum extends TrainerModule<number> {
  readonly values: () => number[];
}

/** Three numbers whose sum is to be the batch; `losses` are what validation says. */
function sum(of: readonly FineTuningPhase[], losses: readonly number[] = [], schedule?: ScheduledRates): Sum {
  const parameters = new Map<string, Tensor>(names.map((name, i) => [name, leaf(Float32Array.of(i), [1])]));
  const groups = fineTuningGroups(
    of.map((phase, i) => (i === 2 ? { ...phase, params: ["block.0"] } : phase)),
    optimizer,
  );
  const learner = new Learner({ parameters, optimizer, groups });
  const metrics = new Metrics();
  let validated = 0;
  return {
    learner,
    metrics,
    schedule,
    values: () => names.map((name) => parameters.get(name)!.item()),
    trainingStep: (batch) =>
      mean(
        pow(
          sub(
            [...parameters.values()].reduce((a, b) => add(a, b)),
            leaf(Float32Array.of(batch), [1]),
          ),
          2,
        ),
      ),
    validationStep: () => metrics.add("val_loss", losses[validated++] ?? 0, 1),
  };
}

const data = { train: () => [9, 9], validation: () => [1] };
/** What is trained in each epoch, with the rates of its last step. */
function watch(): { seen: [string, ...number[]][]; callback: TrainerCallback } {
  const seen: [string, ...number[]][] = [];
  const callback: TrainerCallback = {
    name: "watch",
    onEpochStart: ({ learner }) => void seen.push([learner.trained.join("+"), ...Object.values(learner.learningRates)]),
  };
  return { seen, callback };
}
const run = async (module: Sum, options: TrainerOptions, resume?: string) =>
  new Trainer({ numSanityValSteps: 0, ...options }).fit(module, data, { resume });

describe("fine-tuning schedules", () => {
  it("thaw phase after phase, each with its rate", async () => {
    const { seen, callback } = watch();
    const module = sum(phases);
    const start = module.values();
    const { metrics } = await run(module, { maxEpochs: 5, callbacks: [fineTuning({ phases }), callback] });
    const rates = [0.1, 0.02, 1e-5];
    expect(seen).toEqual([
      ["head", ...rates],
      ["head", ...rates],
      ["head+block.1", ...rates],
      ["head+block.1", ...rates],
      ["head+block.1+block.0", ...rates],
    ]);
    expect(metrics["finetuning_phase"]).toBe(2);
    expect(module.values().every((value, i) => value > start[i]!)).toBe(true);
  });

  it("train nothing that no phase has reached", async () => {
    const module = sum(phases);
    await run(module, { maxEpochs: 9, callbacks: [fineTuning({ phases, maxDepth: 1 })] });
    expect(module.values()[2]).toBe(2);
    expect(module.values()[1]).toBeGreaterThan(1);
  });

  it("end phases where early stopping would end the fit, and go on from the best checkpoint", async () => {
    const [first, second] = [{ params: ["head"] }, { params: ["block.1"] }];
    const of = [first, second, { params: ["block.0"] }];
    const losses = [3, 1, 2, 2.5, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
    const heads: number[] = [];
    const { seen, callback } = watch();
    const module = sum(of, losses);
    const observe: TrainerCallback = { name: "observe", onEpochStart: () => void heads.push(module.values()[0]!) };
    const callbacks = [
      earlyStopping({ monitor: "val_loss", patience: 2 }),
      fineTuning({ phases: of }),
      modelCheckpoint({ folder: folder(), monitor: "val_loss" }),
      callback,
      observe,
    ];
    const { reason, epochs } = await run(module, { maxEpochs: 20, callbacks });
    expect(reason).toBe("early stopping");
    expect(seen.map(([trained]) => trained)).toEqual([
      ...["head", "head", "head", "head"],
      ...["head+block.1", "head+block.1", "head+block.1"],
      ...["head+block.1+block.0", "head+block.1+block.0"],
    ]);
    expect(epochs).toBe(9);
    // The best of the first phase was after its second epoch; what came later is undone.
    expect(heads[4]).toBe(heads[2]);
    expect(heads[3]).toBeGreaterThan(heads[2]!);
  });

  it("may end phases by epochs only", async () => {
    const { seen, callback } = watch();
    const stopping = earlyStopping({ monitor: "val_loss", patience: 1 });
    const callbacks = [stopping, fineTuning({ phases, epochTransitionsOnly: true, restoreBest: false }), callback];
    const { reason } = await run(sum(phases, [1, 2, 3, 4, 5, 6, 7]), { maxEpochs: 9, callbacks });
    expect(seen.map(([trained]) => trained.split("+").length)).toEqual([1, 1, 2, 2, 3]);
    expect(reason).toBe("early stopping");
  });

  it("go on from a checkpoint in any phase, schedules of phases included", async () => {
    const schedule: ScheduledRates = { config: { name: "ExponentialLR", gamma: 0.5 } };
    const own: ScheduledRates = {
      config: { name: "get_linear_schedule_with_warmup", numWarmupSteps: 1, numTrainingSteps: 20 },
      interval: "step",
    };
    const of: FineTuningPhase[] = [phases[0]!, { ...phases[1]!, schedule: own, initialRates: [0.05] }, phases[2]!];
    const whole = sum(of, [], schedule);
    const { seen, callback } = watch();
    await run(whole, { maxEpochs: 6, callbacks: [fineTuning({ phases: of }), callback] });
    expect(seen[1]!.slice(1)).toEqual([0.05, 0.01, 5e-6]);
    // The second phase begins with the rate of its own and the schedule of its own, warming up.
    expect(seen[2]!.slice(1)).toEqual([0, 0, 0]);
    expect(seen[3]![1]).toBeCloseTo((0.05 * 18) / 19, 12);
    expect(seen[3]![2]).toBeCloseTo((0.02 * 18) / 19, 12);
    for (const stop of [1, 2, 3, 4, 5]) {
      const at = folder();
      const checkpoint = (): TrainerCallback => modelCheckpoint({ folder: at });
      await run(sum(of, [], schedule), { maxEpochs: stop, callbacks: [fineTuning({ phases: of }), checkpoint()] });
      const module = sum(of, [], schedule);
      const callbacks = [fineTuning({ phases: of }), checkpoint()];
      await run(module, { maxEpochs: 6, callbacks }, join(at, "last.safetensors"));
      expect(module.values()).toEqual(whole.values());
      expect(module.learner.learningRates).toEqual(whole.learner.learningRates);
      expect(module.learner.trained).toEqual(whole.learner.trained);
    }
  });

  it("are read in the published form", () => {
    const parsed = parseFineTuningPhases(
      {
        0: { params: ["unembed.*", "ln_final.*"], max_transition_epoch: 3 },
        1: {
          params: ["blocks.11.*"],
          lr: 1e-5,
          new_lr_scheduler: {
            lr_scheduler_init: { class_path: "StepLR", init_args: { step_size: 2 } },
            pl_lrs_cfg: { interval: "epoch", frequency: 1, name: "Custom" },
            init_pg_lrs: [2e-6, 2e-6],
          },
        },
      },
      ({ class_path }) => ({ name: class_path as "StepLR", stepSize: 2 }),
    );
    expect(parsed).toMatchObject([
      { params: ["unembed.*", "ln_final.*"], maxTransitionEpoch: 3 },
      { lr: 1e-5, schedule: { config: { name: "StepLR" }, interval: "epoch" }, initialRates: [2e-6, 2e-6] },
    ]);
    const wrong: [unknown, string][] = [
      [{ 0: { params: ["a"], max_epoch: 1 } }, "Unrecognized key"],
      [{ 0: {} }, "got 0.params"],
      [{ 1: { params: ["a"] } }, "got 1"],
      [{}, "got none"],
      [[], "this is no fine-tuning schedule"],
    ];
    for (const [value, message] of wrong) expect(() => parseFineTuningPhases(value)).toThrow(message);
  });

  it("say which glob or group there is not", async () => {
    const typo = [{ params: ["haed"] }];
    expect(() => sum(typo)).toThrow(
      "no parameter has a name like this; expected one of head, block.1, block.0; got haed",
    );
    const ungrouped = sum([phases[0]!]);
    await expect(run(ungrouped, { callbacks: [fineTuning({ phases })] })).rejects.toThrow("fineTuningGroups");
  });
});
