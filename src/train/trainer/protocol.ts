/** @file What a trainer needs of a module, of data and of callbacks: anything of these shapes will do. */
import type { Json, JsonObject } from "../../formats/index.ts";
import type { Tensor } from "../../graph/index.ts";
import type { Learner, LearnerState, Objective } from "../learner/learner.ts";
import type { Metrics } from "../metrics.ts";
import type { ScheduledRates } from "../schedules/scheduled.ts";
import type { Schedule } from "../schedules/schedules.ts";

/** The moments at which a module may act. */
export type TrainerHook =
  `on${"Train" | "Validation" | "Test" | "Predict"}${"Start" | "EpochStart" | "BatchStart" | "BatchEnd" | "EpochEnd" | "End"}`;

/** A scalar, or a scalar with more to be seen of the step: `metrics` are scalars by name. */
export type TrainingLoss = Tensor | Objective<Readonly<Record<string, Tensor>> | undefined>;

/** What is trained. */
export interface TrainerModule<B> {
  readonly learner: Learner;
  readonly schedule?: ScheduledRates | undefined;
  /** The loss of a batch, as an expression: its mean over the batch's examples. */
  trainingStep?(batch: B, index: number): TrainingLoss | Promise<TrainingLoss>;
  validationStep?(batch: B, index: number): unknown;
  testStep?(batch: B, index: number): unknown;
  predictStep?(batch: B, index: number): unknown;
  /** What the steps log into. The trainer clears it before each phase and reads it after. */
  readonly metrics?: Metrics;
  /** Written before each batch. */
  readonly state?: { currentEpoch: number; globalStep: number };
  call?(hook: TrainerHook): void | Promise<void>;
  /** What decides how training goes; a checkpoint of another one is refused. */
  readonly identity?: JsonObject;
}

export type Batches<B> = Iterable<B> | AsyncIterable<B>;

/** What a module is trained and tested on. */
export interface TrainerData<B> {
  /** The batches of an epoch, in its own order: the same for the same epoch. */
  readonly train?: (epoch: number) => Batches<B>;
  readonly validation?: () => Batches<B>;
  readonly test?: () => Batches<B>;
  readonly predict?: () => Batches<B>;
  /** Examples of a batch, which means are weighted by. Default 1. */
  readonly size?: (batch: B) => number;
}

/** Why a fit ended. */
export type StopReason = "max epochs" | "max steps" | "max time" | "early stopping" | "interrupted" | "stopped";

/** How far a fit is, as callbacks see it. */
export interface TrainerView {
  readonly epoch: number;
  /** Batches of this epoch that are done. */
  readonly batch: number;
  /** Batches that an epoch has; undefined until one was gone through. */
  readonly batches: number | undefined;
  /** Optimiser steps. */
  readonly globalStep: number;
  readonly learner: Learner;
  readonly schedule: Schedule | undefined;
  /** The latest value of everything that was logged. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly callbacks: readonly TrainerCallback[];
  /** Whether everything that is due after the last step is done, and so training can go on from here bit for bit. */
  readonly whole: boolean;
  /** Writes metrics into the loggers and `metrics`. */
  log(metrics: Readonly<Record<string, number>>): void;
  /** Writes a checkpoint that {@link Trainer.fit} resumes from. */
  save(file: string): Promise<void>;
  /** Ends the fit after this step, unless a callback has other plans. */
  stop(reason: StopReason): void;
  /** Goes on with a schedule from its start, over the groups' present rates. */
  reschedule(schedule: ScheduledRates): void;
  /** Puts parameters and the optimiser's state back; freezing stays as it is now. */
  restore(learner: LearnerState): void;
}

/** What has just happened when {@link TrainerCallback.onStep} is called. */
export interface StepMoment {
  /** Validation was run after this step. */
  readonly validated: boolean;
  /** The epoch is over. */
  readonly epochEnded: boolean;
  /** There is validation at all. */
  readonly validates: boolean;
}

/** Somebody who acts while a module is trained. All calls see a state from which training can go on. */
export interface TrainerCallback {
  /** Under which its state is saved: one of each name. */
  readonly name: string;
  /** Before anything else; with `resumed`, after {@link restore}. */
  onFitStart?(view: TrainerView, resumed: boolean): void | Promise<void>;
  onEpochStart?(view: TrainerView): void | Promise<void>;
  /** After each optimiser step and whatever was due with it: schedule, validation, end of the epoch. */
  onStep?(view: TrainerView, moment: StepMoment): void | Promise<void>;
  /** As `onStep`, after it was called of all: what it does is kept by a checkpoint. */
  afterStep?(view: TrainerView, moment: StepMoment): void | Promise<void>;
  /** Asked when somebody wants to stop: true prevents it. */
  preventStop?(view: TrainerView, reason: StopReason): boolean | Promise<boolean>;
  /** Whatever ended it. */
  onFitEnd?(view: TrainerView, reason: StopReason): void | Promise<void>;
  /** The fit failed; where the view is {@link TrainerView.whole} the last complete step is the state. */
  onError?(view: TrainerView, error: unknown): void | Promise<void>;
  /** What {@link restore} takes. */
  state?(): Json;
  restore?(state: Json): void;
}
