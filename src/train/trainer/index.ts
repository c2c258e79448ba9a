/** @file The trainer: what it needs, its options, its results. */
export type { Evaluation, EvaluationPhase } from "./evaluate.ts";
export type { TrainerOptions } from "./options.ts";
export type {
  Batches,
  StepMoment,
  StopReason,
  TrainerCallback,
  TrainerData,
  TrainerHook,
  TrainerModule,
  TrainerView,
  TrainingLoss,
} from "./protocol.ts";
export { Trainer, type EvaluationRun, type FitResult } from "./trainer.ts";
