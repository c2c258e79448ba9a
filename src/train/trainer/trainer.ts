/** @file The trainer: fit, validate, test and predict, as Lightning's users know them. */
import { TrainError } from "../errors.ts";
import { evaluate, evaluationPhases, type Evaluation, type EvaluationPhase } from "./evaluate.ts";
import { Fit } from "./fit.ts";
import { checkedSettings, type TrainerOptions, type TrainerSettings } from "./options.ts";
import type { StopReason, TrainerData, TrainerModule } from "./protocol.ts";

/** What a fit came to. */
export interface FitResult {
  /** Why it ended. */
  readonly reason: StopReason;
  /** Epochs that were gone through, whole or in part. */
  readonly epochs: number;
  /** Optimiser steps, those before a resume included. */
  readonly globalStep: number;
  /** The latest value of everything that was logged. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly seconds: number;
}

/**
 * Trains a module: epochs of optimiser steps with validation, callbacks, loggers and checkpoints between them. A fit that
 * is resumed from a checkpoint goes on bit for bit as one that was never interrupted.
 * @example
 * const { model: student, parameters } = trainable(model);
 * const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 1e-3 } });
 * const module = { learner, trainingStep: (rows: number[][]) => student.trace(student.batch(rows)).loss };
 * const train = () => [[[1, 2, 3, 4]], [[5, 6, 7, 8]]];
 * const { globalStep } = await new Trainer({ maxEpochs: 2 }).fit(module, { train });
 * globalStep; // 4
 */
export class Trainer {
  readonly options: TrainerOptions;
  readonly #settings: TrainerSettings;

  /** @throws TrainError for options that do not fit */
  constructor(options: TrainerOptions = {}) {
    this.options = options;
    this.#settings = checkedSettings(options);
  }

  /**
   * Trains until the epochs or steps are done, a callback stops it, or the signal aborts: the step that has begun is
   * finished then, checkpoints are written, and the result says `interrupted`.
   * @param run.resume a checkpoint to go on from
   * @throws TrainError when the loss is not finite (the batch is in `folder`), and for a checkpoint of another training
   */
  async fit<B>(
    module: TrainerModule<B>,
    data: TrainerData<B>,
    run: { readonly resume?: string | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<FitResult> {
    const start = performance.now();
    const { options } = this;
    const fit = new Fit({ module, data, settings: this.#settings, options, resume: run.resume, signal: run.signal });
    const reason = await fit.run();
    const { globalStep, metrics, batch } = fit;
    const seconds = (performance.now() - start) / 1000;
    return { reason, epochs: fit.epoch + Number(batch > 0 && reason !== "max epochs"), globalStep, metrics, seconds };
  }

  /** Every validation batch through `validationStep`, once. */
  validate<B>(module: TrainerModule<B>, data: TrainerData<B>, run: EvaluationRun = {}): Promise<Evaluation> {
    return this.#evaluate("validation", module, data, run);
  }

  /** Every test batch through `testStep`. */
  test<B>(module: TrainerModule<B>, data: TrainerData<B>, run: EvaluationRun = {}): Promise<Evaluation> {
    return this.#evaluate("test", module, data, run);
  }

  /** Every batch through `predictStep`: its results are the outputs. */
  predict<B>(module: TrainerModule<B>, data: TrainerData<B>, run: EvaluationRun = {}): Promise<Evaluation> {
    return this.#evaluate("predict", module, data, run);
  }

  async #evaluate<B>(
    phase: EvaluationPhase,
    module: TrainerModule<B>,
    data: TrainerData<B>,
    run: EvaluationRun,
  ): Promise<Evaluation> {
    const batches = data[phase]?.();
    if (batches === undefined)
      throw new TrainError(`there is no data for ${phase}`, { code: "train/step", hint: `give data.${phase}()` });
    return evaluate(module, data, batches, phase, this.#settings[evaluationPhases[phase].limit], run);
  }
}

/** How an evaluation is watched and cut short. */
export interface EvaluationRun {
  readonly signal?: AbortSignal | undefined;
  /** After each batch, with the examples so far. */
  readonly onBatch?: (examples: number) => void;
}
