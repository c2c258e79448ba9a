/** @file The loop of a fit: epochs of optimiser steps, and what is due between two of them. */
import type { JsonObject } from "../../formats/index.ts";
import { div, Tensor } from "../../graph/index.ts";
import { loadCheckpoint, saveCheckpoint } from "../learner/checkpoint.ts";
import { TrainError } from "../errors.ts";
import type { Learner, LearnerState, StepResult } from "../learner/learner.ts";
import { Metrics } from "../metrics.ts";
import { keepBatch } from "../learner/notFinite.ts";
import { scheduleLearner, type LearnerSchedule, type ScheduledRates } from "../schedules/scheduled.ts";
import type { Schedule } from "../schedules/schedules.ts";
import { evaluate } from "./evaluate.ts";
import { limited } from "./limited.ts";
import type { TrainerOptions, TrainerSettings } from "./options.ts";
import type {
  Batches,
  StepMoment,
  StopReason,
  TrainerCallback,
  TrainerData,
  TrainerHook,
  TrainerModule,
  TrainerView,
} from "./protocol.ts";
import { loopRecord, storable, type Position, type TrainerRecord } from "./record.ts";

/** What a fit is given. */
export interface FitInput<B> {
  readonly module: TrainerModule<B>;
  readonly data: TrainerData<B>;
  readonly settings: TrainerSettings;
  readonly options: TrainerOptions;
  readonly resume: string | undefined;
  readonly signal: AbortSignal | undefined;
}

type StepMetrics = Readonly<Record<string, Tensor>> | undefined;

/** One fit. */
export class Fit<B> implements TrainerView {
  readonly learner: Learner;
  readonly callbacks: readonly TrainerCallback[];
  readonly #input: FitInput<B>;
  readonly #latest = new Map<string, number>();
  /** Of the epoch, and of the step. */
  readonly #epochMetrics = new Metrics();
  readonly #stepMetrics = new Metrics();
  #scheduled: ScheduledRates | undefined;
  #schedule: LearnerSchedule | undefined;
  /** Schedule of a later phase: its configuration is part of the state. */
  #rescheduled = false;
  #position: Position = { epoch: 0, batch: 0, globalStep: 0 };
  /** Where a checkpoint goes on. */
  #next: Position = this.#position;
  #batches: number | undefined;
  #stop: StopReason | undefined;
  #whole = true;

  constructor(input: FitInput<B>) {
    this.#input = input;
    this.learner = input.module.learner;
    this.callbacks = input.settings.fastDevRun === false ? (input.options.callbacks ?? []) : [];
    this.#scheduled = input.module.schedule;
  }

  get epoch(): number {
    return this.#position.epoch;
  }
  get batch(): number {
    return this.#position.batch;
  }
  get batches(): number | undefined {
    return this.#batches;
  }
  get globalStep(): number {
    return this.#position.globalStep;
  }
  get whole(): boolean {
    return this.#whole;
  }
  get schedule(): Schedule | undefined {
    return this.#schedule?.schedule;
  }
  get metrics(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#latest);
  }

  async run(): Promise<StopReason> {
    const { module, data, settings, resume } = this.#input;
    if (data.train === undefined || module.trainingStep === undefined)
      throw new TrainError(
        data.train === undefined ? "there is no data to train on" : "the module has no trainingStep",
        {
          code: "train/step",
          hint: "give data.train(epoch) and module.trainingStep(batch, index)",
        },
      );
    const { gradientClipVal: clip, gradientClipAlgorithm } = settings;
    if (clip !== undefined) this.learner.clip = { [gradientClipAlgorithm]: clip };
    if (this.#scheduled !== undefined) this.#schedule = scheduleLearner(this.learner, this.#scheduled);
    if (resume !== undefined) await this.#restoreFrom(resume);
    const loggers = this.#loggers;
    for (const logger of loggers) logger.start?.({ after: resume === undefined ? undefined : this.globalStep });
    try {
      for (const each of this.callbacks) await each.onFitStart?.(this, resume !== undefined);
      await this.#sanityCheck();
      await this.#call("onTrainStart");
      const reason = await this.#epochs();
      await this.#call("onTrainEnd");
      for (const each of this.callbacks) await each.onFitEnd?.(this, reason);
      return reason;
    } catch (error) {
      // The first failure is what is told.
      for (const each of this.callbacks) await Promise.resolve(each.onError?.(this, error)).catch(() => undefined);
      throw error;
    } finally {
      for (const logger of loggers) logger.close?.();
    }
  }

  log(metrics: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(metrics)) this.#latest.set(name, value);
    if (Object.keys(metrics).length === 0) return;
    for (const logger of this.#loggers) logger.log(metrics, { step: this.globalStep, epoch: this.epoch });
  }

  async save(file: string): Promise<void> {
    const record: TrainerRecord = {
      trainer: 1,
      position: this.#next,
      identity: this.#identity(),
      schedule: this.schedule?.state() ?? null,
      rescheduled: this.#rescheduled ? (this.#scheduled ?? null) : null,
      epochMetrics: { trainer: this.#epochMetrics.state(), module: this.#input.module.metrics?.state() ?? null },
      metrics: storable(this.metrics),
      callbacks: Object.fromEntries(this.callbacks.map((each) => [each.name, each.state?.() ?? null] as const)),
    };
    await saveCheckpoint(file, { learner: this.learner.state(), record: record as object as JsonObject });
  }

  stop(reason: StopReason): void {
    this.#stop = reason;
  }

  reschedule(scheduled: ScheduledRates): void {
    this.#scheduled = scheduled;
    this.#rescheduled = true;
    this.#schedule = scheduleLearner(this.learner, scheduled);
  }

  restore(state: LearnerState): void {
    const { frozen, learningRates } = this.learner.state();
    this.learner.restore({ ...state, frozen, learningRates });
  }

  get #loggers(): NonNullable<TrainerOptions["loggers"]> {
    const { settings, options } = this.#input;
    return settings.fastDevRun === false ? (options.loggers ?? []) : [];
  }

  async #call(hook: TrainerHook): Promise<void> {
    await this.#input.module.call?.(hook);
  }

  /** What has to be the same for a checkpoint to be of this training. */
  #identity(): JsonObject {
    const { module, settings } = this.#input;
    const { accumulateGradBatches, gradientClipVal, gradientClipAlgorithm, limitTrainBatches, overfitBatches } =
      settings;
    const schedule = module.schedule ?? null;
    const own = { accumulateGradBatches, limitTrainBatches, overfitBatches, schedule };
    const clip = gradientClipVal === undefined ? null : { [gradientClipAlgorithm]: gradientClipVal };
    return JSON.parse(JSON.stringify({ ...module.identity, ...own, clip })) as JsonObject;
  }

  async #restoreFrom(file: string): Promise<void> {
    const { learner, record } = await loadCheckpoint(file);
    const saved = loopRecord("trainer", record, this.#identity(), file);
    this.learner.restore(learner);
    if (saved.rescheduled !== null) this.reschedule(saved.rescheduled);
    if (saved.schedule !== null) this.schedule?.restore(saved.schedule);
    this.#schedule?.apply();
    this.#epochMetrics.restore(saved.epochMetrics.trainer);
    if (saved.epochMetrics.module !== null) this.#input.module.metrics?.restore(saved.epochMetrics.module);
    for (const [name, value] of Object.entries(saved.metrics)) this.#latest.set(name, Number(value));
    for (const each of this.callbacks) {
      const state = saved.callbacks[each.name];
      if (state !== undefined && state !== null) each.restore?.(state);
    }
    this.#position = this.#next = saved.position;
  }

  async #sanityCheck(): Promise<void> {
    const { settings, resume } = this.#input;
    if (settings.numSanityValSteps === 0 || !this.#validates || resume !== undefined) return;
    await this.#evaluate(settings.numSanityValSteps);
  }

  get #validates(): boolean {
    const { module, data, settings } = this.#input;
    const source = settings.overfitBatches === 0 ? data.validation : data.train;
    return module.validationStep !== undefined && source !== undefined && settings.limitValBatches !== 0;
  }

  async #evaluate(limit: number): Promise<Readonly<Record<string, number>>> {
    const { module, data, settings } = this.#input;
    const overfit = settings.overfitBatches !== 0;
    const batches = overfit ? data.train!(0) : data.validation!();
    // A step that has begun is finished: validation is not cut short either.
    return (await evaluate(module, data, batches, "validation", limit, {})).metrics;
  }

  async #epochs(): Promise<StopReason> {
    const { settings, signal } = this.#input;
    const { maxSteps, limitTrainBatches } = settings;
    const maxEpochs = settings.maxEpochs ?? (maxSteps >= 0 ? -1 : 1);
    for (;;) {
      if (maxEpochs >= 0 && this.epoch >= maxEpochs) return "max epochs";
      if ((maxSteps >= 0 && this.globalStep >= maxSteps) || limitTrainBatches === 0) return "max steps";
      if (signal?.aborted === true) return "interrupted";
      if (this.batch === 0) {
        this.#epochMetrics.clear();
        this.#input.module.metrics?.clear();
        await this.#call("onTrainEpochStart");
        for (const each of this.callbacks) await each.onEpochStart?.(this);
      }
      const reason = await this.#epochOfSteps();
      if (reason !== undefined) return reason;
      this.#position = this.#next;
    }
  }

  /** The rest of an epoch. @returns why the fit ends with it */
  async #epochOfSteps(): Promise<StopReason | undefined> {
    const { module, data, settings } = this.#input;
    const { accumulateGradBatches: several, overfitBatches, limitTrainBatches } = settings;
    const overfit = overfitBatches !== 0;
    const done = this.batch;
    const batches = await counted(data.train!(overfit ? 0 : this.epoch), settings.valCheckInterval);
    let seen = 0;
    let due = false;
    for await (const { batch, index, last, total } of limited(batches, overfit ? overfitBatches : limitTrainBatches)) {
      seen++;
      if (index < done) continue;
      if (module.state !== undefined) {
        module.state.currentEpoch = this.epoch;
        module.state.globalStep = this.globalStep;
      }
      await this.#call("onTrainBatchStart");
      const steps = (index + 1) % several === 0 || last;
      await this.#learn(batch, index, steps);
      await this.#call("onTrainBatchEnd");
      due ||= this.#validationDue(index, last, batches);
      if (!steps) continue;
      if (last) this.#batches = total;
      const moment = { validated: due && this.#validates, epochEnded: last, validates: this.#validates };
      due = false;
      const reason = await this.#afterStep(index + 1, moment);
      if (reason !== undefined) return reason;
    }
    if (seen > 0) return undefined;
    throw new TrainError("the training data has no batch", {
      code: "train/data",
      hint: "look at the data's path, its limit, and the batch size",
    });
  }

  #validationDue(index: number, last: boolean, batches: Batches<B>): boolean {
    const { valCheckInterval, checkValEveryNEpoch } = this.#input.settings;
    if (!this.#validates || (this.epoch + 1) % checkValEveryNEpoch !== 0) return false;
    if (valCheckInterval === undefined) return last;
    const all = Array.isArray(batches) ? batches.length : 0;
    const every = valCheckInterval < 1 ? Math.max(1, Math.floor(all * valCheckInterval)) : valCheckInterval;
    // One that is longer than the epoch is its end.
    return (index + 1) % every === 0 || (last && every > index + 1);
  }

  /** Forward, gradients, and with the last of several batches the step. */
  async #learn(batch: B, index: number, steps: boolean): Promise<void> {
    const { module, data, settings } = this.#input;
    const several = settings.accumulateGradBatches;
    const given = await module.trainingStep!(batch, index);
    const objective = given instanceof Tensor ? { loss: given, metrics: undefined } : given;
    const scaled = several === 1 ? objective : { ...objective, loss: div(objective.loss, several) };
    let result: StepResult<StepMetrics>;
    try {
      result = await (steps ? this.learner.step(scaled) : this.learner.accumulate(scaled));
      if (steps) this.#whole = false;
    } catch (error) {
      const { epoch, globalStep } = this;
      throw await keepBatch(error, this.#input.options.folder, { epoch, globalStep, index }, batch);
    }
    const examples = data.size?.(batch) ?? 1;
    const more = Object.entries(result.metrics ?? {}).map(([name, x]) => [name, x.item()] as const);
    for (const [name, value] of [["train_loss", result.loss * several] as const, ...more]) {
      this.#stepMetrics.add(name, value, examples);
      this.#epochMetrics.add(name, value, examples);
    }
    if (result.gradNorm !== undefined) this.#stepMetrics.add("grad_norm", result.gradNorm, 1);
  }

  /** Everything that is due after an optimiser step, in this order. */
  async #afterStep(batch: number, moment: StepMoment): Promise<StopReason | undefined> {
    const { settings, signal, module } = this.#input;
    const { epoch } = this;
    const globalStep = this.globalStep + 1;
    this.#position = { epoch, batch, globalStep };
    this.#next = moment.epochEnded ? { epoch: epoch + 1, batch: 0, globalStep } : this.#position;
    if (module.state !== undefined) module.state.globalStep = globalStep;
    const step = this.#stepMetrics.values;
    this.#stepMetrics.clear();
    if (globalStep % settings.logEveryNSteps === 0) this.log(step);
    else for (const [name, value] of Object.entries(step)) this.#latest.set(name, value);
    this.#schedule?.step("step", globalStep, this.metrics);
    if (moment.validated) this.log(await this.#evaluate(settings.limitValBatches));
    if (moment.epochEnded) await this.#endEpoch();
    for (const each of this.callbacks) await each.onStep?.(this, moment);
    this.#whole = true;
    if (signal?.aborted === true) this.#stop = "interrupted";
    await this.#hearStop();
    for (const each of this.callbacks) await each.afterStep?.(this, moment);
    if (this.#stop !== undefined) return this.#stop;
    return settings.maxSteps >= 0 && globalStep >= settings.maxSteps ? "max steps" : undefined;
  }

  async #endEpoch(): Promise<void> {
    const whole = Object.entries(this.#epochMetrics.values).map(([name, value]) => [`${name}_epoch`, value] as const);
    this.log({ ...Object.fromEntries(whole), ...this.#input.module.metrics?.values });
    await this.#call("onTrainEpochEnd");
    this.#schedule?.step("epoch", this.epoch + 1, this.metrics);
  }

  async #hearStop(): Promise<void> {
    if (this.#stop === undefined || this.#stop === "interrupted") return;
    for (const each of this.callbacks)
      if ((await each.preventStop?.(this, this.#stop)) === true) {
        this.#stop = undefined;
        return;
      }
  }
}

/** The batches as a list where a part of them is meant. */
async function counted<B>(batches: Batches<B>, interval: number | undefined): Promise<Batches<B>> {
  if (interval === undefined || interval >= 1) return batches;
  const all: B[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}
