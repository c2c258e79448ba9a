/**
 * @file Fine-tuning schedules: phases that thaw one group of parameters after another, as the published Fine-Tuning
 * Scheduler (finetuning-scheduler, explicit mode) does.
 */
import { z } from "zod";
import type { EarlyStopping } from "./earlyStopping.ts";
import type { ModelCheckpoint } from "./modelCheckpoint.ts";
import { loadCheckpoint } from "../learner/checkpoint.ts";
import { TrainError } from "../errors.ts";
import type { ParameterGroup } from "../learner/learner.ts";
import type { OptimizerConfig } from "../learner/optimizers.ts";
import type { ScheduledRates } from "../schedules/scheduled.ts";
import type { TrainerCallback, TrainerView } from "../trainer/protocol.ts";

/** One phase: what is thawed with it, and when it ends. */
export interface FineTuningPhase {
  /** Globs of the parameters that are trained from here on. */
  readonly params: readonly string[];
  /** Epochs of the whole training after which the phase ends; without it, or −1, early stopping ends it. */
  readonly maxTransitionEpoch?: number | undefined;
  /** The rate of these parameters. Default: the optimiser's in the first phase, `baseMaxLr` later. */
  readonly lr?: number | undefined;
  /** A schedule that begins with the phase, over the groups' present rates. */
  readonly schedule?: ScheduledRates | undefined;
  /** The groups' rates when that schedule begins, phase by phase. */
  readonly initialRates?: readonly number[] | undefined;
}

/** How phases follow each other. */
export interface FineTuningOptions {
  readonly phases: readonly FineTuningPhase[];
  /** The last phase that is entered, from 0; −1 is all. Default −1. */
  readonly maxDepth?: number;
  /** Phases end by `maxTransitionEpoch` only; early stopping counts in the last one. Default false. */
  readonly epochTransitionsOnly?: boolean;
  /** When early stopping ends a phase, the best checkpoint is where the next begins. Default true. */
  readonly restoreBest?: boolean;
}

const groupName = (phase: number): string => `phase${phase}`;

/**
 * The parameter groups that phases need, one for each: what {@link Learner} takes as `groups`.
 * @param baseMaxLr the rate of later phases that name none. Default 1e-5, as published
 * @example
 * const phases = [{ params: ["unembed.*"] }, { params: ["blocks.*"], lr: 1e-6 }];
 * fineTuningGroups(phases, { name: "AdamW", lr: 1e-3 }).map(({ name }) => name); // ["phase0", "phase1"]
 */
export function fineTuningGroups(
  phases: readonly FineTuningPhase[],
  optimizer: OptimizerConfig,
  baseMaxLr: number = 1e-5,
): ParameterGroup[] {
  return phases.map(({ params, lr }, i) => ({
    name: groupName(i),
    params,
    optimizer: i === 0 && lr === undefined ? optimizer : { ...optimizer, lr: lr ?? baseMaxLr },
  }));
}

/**
 * Trains phase after phase: the first one's parameters, then those of the second with them, and so on. A phase ends when an
 * {@link earlyStopping} among the callbacks would stop the fit (which goes on from the best checkpoint of a
 * {@link modelCheckpoint}, if there is one), or after its `maxTransitionEpoch`.
 * @throws TrainError when the learner's groups are not those of the phases
 * @example
 * const phases = [{ params: ["unembed.*"], maxTransitionEpoch: 1 }, { params: ["blocks.*"], lr: 1e-5 }];
 * const { model: student, parameters, aliases } = trainable(model);
 * const optimizer = { name: "AdamW", lr: 1e-3 } as const;
 * const learner = new Learner({ parameters, aliases, optimizer, groups: fineTuningGroups(phases, optimizer) });
 * const module = { learner, trainingStep: (rows: number[][]) => student.trace(student.batch(rows)).loss };
 * const trainer = new Trainer({ maxEpochs: 2, callbacks: [fineTuning({ phases })] });
 * await trainer.fit(module, { train: () => [[[1, 2, 3]]] });
 * learner.trained.some((name) => name.startsWith("blocks.")); // true
 */
export function fineTuning(options: FineTuningOptions): TrainerCallback {
  const { phases, maxDepth = -1, epochTransitionsOnly = false, restoreBest = true } = options;
  const last = maxDepth < 0 ? phases.length - 1 : Math.min(maxDepth, phases.length - 1);
  let depth = 0;
  /** A phase began with this step: what would have ended the last one ends nothing. */
  let begun = false;

  const enter = (view: TrainerView): void => {
    const { learner, schedule } = view;
    const { params, schedule: own, initialRates } = phases[depth]!;
    learner.thaw(params);
    const group = groupName(depth);
    const groups = Object.keys(learner.learningRates);
    // A group that begins does so with its own rate, whatever the schedule has made of it meanwhile.
    if (schedule !== undefined && depth > 0) {
      const place = groups.indexOf(group);
      const rates = schedule.state().rates.map((rate, i) => (i === place ? learner.baseRate(group) : rate));
      schedule.restore({ ...schedule.state(), rates });
      learner.setLearningRate(rates[place]!, group);
    }
    for (const [i, rate] of (initialRates ?? []).entries()) learner.setLearningRate(rate, groupName(i));
    if (own !== undefined) view.reschedule(own);
  };
  const transition = async (view: TrainerView, stopped: boolean): Promise<void> => {
    const checkpoint = view.callbacks.find(({ name }) => name === "ModelCheckpoint") as ModelCheckpoint | undefined;
    if (stopped && restoreBest && checkpoint?.best !== undefined)
      view.restore((await loadCheckpoint(checkpoint.best)).learner);
    depth++;
    begun = true;
    enter(view);
    const stopping = view.callbacks.find(({ name }) => name === "EarlyStopping") as EarlyStopping | undefined;
    stopping?.reset();
    view.log({ finetuning_phase: depth });
  };
  return {
    name: "FinetuningScheduler",
    onFitStart(view, resumed) {
      const { learner } = view;
      const groups = Object.keys(learner.learningRates);
      const missing = phases.map((_, i) => groupName(i)).find((name) => !groups.includes(name));
      if (missing !== undefined)
        throw new TrainError("the learner has no group of parameters for a phase", {
          code: "train/fine-tuning",
          expected: missing,
          received: groups.join(", "),
          hint: "make the learner with groups: fineTuningGroups(phases, optimizer)",
        });
      if (resumed) return;
      learner.freeze(["*"]);
      enter(view);
    },
    async onStep(view, { epochEnded }) {
      const { maxTransitionEpoch = -1 } = phases[depth]!;
      begun = false;
      if (!epochEnded || maxTransitionEpoch < 0 || depth >= last) return;
      if (view.epoch + 1 >= maxTransitionEpoch) await transition(view, false);
    },
    async preventStop(view, reason) {
      if (reason !== "early stopping") return false;
      if (begun || depth >= last) return begun;
      if (!epochTransitionsOnly) await transition(view, true);
      return true;
    },
    state: () => ({ depth }),
    restore(state) {
      ({ depth } = state as { depth: number });
    },
  };
}

const phase = z.strictObject({
  params: z.array(z.string()).min(1),
  max_transition_epoch: z.int().min(-1).optional(),
  lr: z.number().nonnegative().optional(),
  new_lr_scheduler: z
    .strictObject({
      lr_scheduler_init: z.strictObject({
        class_path: z.string(),
        init_args: z.record(z.string(), z.unknown()).optional(),
      }),
      pl_lrs_cfg: z
        .strictObject({
          interval: z.enum(["epoch", "step"]).optional(),
          frequency: z.int().positive().optional(),
          monitor: z.string().optional(),
          strict: z.boolean().optional(),
          name: z.string().optional(),
        })
        .default({}),
      init_pg_lrs: z.array(z.number().nonnegative()).optional(),
    })
    .optional(),
});

/** A schedule node as published files write it. */
export interface PublishedNode {
  readonly class_path: string;
  readonly init_args?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Phases in the published form: `0: {params: [...], max_transition_epoch: 3}`, `1: {params: [...], lr: 1.0e-5}` and so on.
 * @param scheduleOf reads `new_lr_scheduler.lr_scheduler_init`
 * @throws TrainError for what is not of this form, and for phases that are not counted from 0
 * @example
 * parseFineTuningPhases({ "0": { params: ["unembed.*"] } }).length; // 1
 */
export function parseFineTuningPhases(
  value: unknown,
  scheduleOf?: (node: PublishedNode) => ScheduledRates["config"],
  where?: string,
): FineTuningPhase[] {
  const fail = (expected: string, received: string | undefined): never => {
    throw new TrainError("this is no fine-tuning schedule", { code: "train/fine-tuning", where, expected, received });
  };
  const parsed = z.record(z.string(), phase).safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fail(`phases {0: {params: [...]}}; ${issue!.message}`, issue!.path.join(".") || undefined);
  }
  const keys = Object.keys(parsed.data);
  const missing = keys.findIndex((_, i) => !keys.includes(String(i)));
  if (keys.length === 0 || missing >= 0) fail("phases 0, 1, 2, …", keys.join(", ") || "none");
  return keys.map((_, i) => {
    const { params, max_transition_epoch, lr, new_lr_scheduler } = parsed.data[String(i)]!;
    const { lr_scheduler_init: init, pl_lrs_cfg, init_pg_lrs } = new_lr_scheduler ?? {};
    if (init !== undefined && scheduleOf === undefined) fail("no new_lr_scheduler here", String(i));
    const { name: _name, ...when } = pl_lrs_cfg ?? {};
    const schedule = init && ({ config: scheduleOf!(init), ...when } as ScheduledRates);
    return { params, maxTransitionEpoch: max_transition_epoch, lr, schedule, initialRates: init_pg_lrs };
  });
}
