/** @file The options of a trainer: Lightning's, checked once. */
import { z } from "zod";
import { TrainError } from "../errors.ts";
import type { MetricLogger } from "../loggers/index.ts";
import type { TrainerCallback } from "./protocol.ts";

const count = z.int().positive();
/** −1 is no limit. */
const limit = z.int().min(-1);
const part = z.number().refine((x) => x === -1 || (Number.isInteger(x) ? x >= 0 : x > 0 && x < 1), {
  error: "expected a number of batches, a part of them between 0 and 1, or −1 for all",
});

const schema: z.ZodType<TrainerSettings> = z.strictObject({
  maxEpochs: limit.optional(),
  maxSteps: limit.default(-1),
  limitTrainBatches: part.default(-1),
  limitValBatches: part.default(-1),
  limitTestBatches: part.default(-1),
  limitPredictBatches: part.default(-1),
  overfitBatches: part.default(0),
  fastDevRun: z.union([z.boolean(), count]).default(false),
  accumulateGradBatches: count.default(1),
  gradientClipVal: z.number().positive().optional(),
  gradientClipAlgorithm: z.enum(["norm", "value"]).default("norm"),
  valCheckInterval: part.optional(),
  checkValEveryNEpoch: z.int().positive().default(1),
  numSanityValSteps: limit.default(2),
  logEveryNSteps: z.int().positive().default(50),
});

/** The options of a {@link Trainer}. Batches may be limited by number, by a part between 0 and 1, or not (−1). */
export interface TrainerOptions {
  /** Times through the data; −1 is no limit. Default 1, or no limit where `maxSteps` is given. */
  readonly maxEpochs?: number;
  /** Optimiser steps at most; −1 is no limit. */
  readonly maxSteps?: number;
  readonly limitTrainBatches?: number;
  readonly limitValBatches?: number;
  readonly limitTestBatches?: number;
  readonly limitPredictBatches?: number;
  /** Trains and validates on the first batches of the training data, in one order. */
  readonly overfitBatches?: number;
  /** One batch (or so many) of each phase, once: to see that everything works. Nothing is logged or saved. */
  readonly fastDevRun?: boolean | number;
  /** Batches whose gradients make one step. */
  readonly accumulateGradBatches?: number;
  readonly gradientClipVal?: number;
  /** What `gradientClipVal` limits: the norm of all gradients, or each entry. Default norm. */
  readonly gradientClipAlgorithm?: "norm" | "value";
  /** Validate after so many batches, or such a part of an epoch. Default: at the end of epochs. */
  readonly valCheckInterval?: number;
  /** Validate in every n-th epoch. Default 1. */
  readonly checkValEveryNEpoch?: number;
  /** Validation batches before training, to see that they work; −1 is all. Default 2. */
  readonly numSanityValSteps?: number;
  /** Default 50. */
  readonly logEveryNSteps?: number;
  readonly callbacks?: readonly TrainerCallback[];
  readonly loggers?: readonly MetricLogger[];
  /** Where what must not be lost is written: the batch whose loss was not finite. */
  readonly folder?: string;
}

type Absent = "maxEpochs" | "gradientClipVal" | "valCheckInterval";
type Numbers = Omit<TrainerOptions, "callbacks" | "loggers" | "folder">;

/** The numbers of a trainer with their defaults. @internal */
export type TrainerSettings = Required<Omit<Numbers, Absent>> & Readonly<Partial<Record<Absent, number | undefined>>>;

/** @throws TrainError for options that do not fit */
export function checkedSettings(options: TrainerOptions): TrainerSettings {
  const { callbacks = [], loggers: _loggers, folder: _folder, ...numbers } = options;
  const twice = callbacks.find(({ name }, i) => callbacks.findIndex((other) => other.name === name) < i);
  if (twice !== undefined)
    throw new TrainError("two callbacks have one name", { code: "train/options", received: twice.name });
  const checked = schema.safeParse(numbers);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    throw new TrainError(`the trainer does not take this: ${issue!.message}`, {
      code: "train/options",
      where: issue!.path.join(".") || undefined,
    });
  }
  const settings = checked.data;
  if (settings.fastDevRun === false) return settings;
  const n = settings.fastDevRun === true ? 1 : settings.fastDevRun;
  const limits = { limitTrainBatches: n, limitValBatches: n, limitTestBatches: n, limitPredictBatches: n };
  return { ...settings, ...limits, maxEpochs: 1, maxSteps: n, numSanityValSteps: 0, logEveryNSteps: 1 };
}
