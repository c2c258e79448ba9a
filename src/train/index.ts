/** @file Training: optimisers, schedules, metrics, loggers, the Trainer. */
export { TrainError } from "./errors.ts";
export {
  makeSchedule,
  schedules,
  type Schedule,
  type ScheduleArguments,
  type ScheduleConfig,
  type ScheduleKind,
  type ScheduleName,
  type ScheduleState,
} from "./schedules/schedules.ts";
export { ClassCounts, Metrics, taskMetrics, type ClassMetric } from "./metrics.ts";
export { csvLogger, jsonlLogger, tensorBoardLogger, type LogPoint, type MetricLogger } from "./loggers/index.ts";
export { clipGradients, type Clip } from "./learner/clip.ts";
export {
  Learner,
  type CompiledStep,
  type LearnerOptions,
  type LearnerState,
  type Objective,
  type ParameterGroup,
  type StepResult,
} from "./learner/learner.ts";
export {
  makeOptimizer,
  optimizers,
  type AdagradOptions,
  type AdamOptions,
  type Optimizer,
  type OptimizerConfig,
  type OptimizerKind,
  type OptimizerName,
  type RmspropOptions,
  type SgdOptions,
} from "./learner/optimizers.ts";
export { matchNames, settled, trainable, type ParameterNames, type Trainable } from "./learner/parameters.ts";
export { loadCheckpoint, saveCheckpoint, type Checkpoint } from "./learner/checkpoint.ts";
export { addLora, mergeLora, type Lora, type LoraAdapter, type LoraOptions } from "./lora/lora.ts";
export { loraDropout } from "./lora/dropout.ts";
export type { LoraTargets } from "./lora/targets.ts";
export { loadLora, saveLora } from "./lora/peft.ts";
export { shuffledOrder } from "./order.ts";
export * from "./trainer/index.ts";
export * from "./callbacks/index.ts";
export type { ScheduledRates } from "./schedules/scheduled.ts";
export {
  cacheActivations,
  evaluateSae,
  parseSaeTrainingOptions,
  parseTrainedSae,
  trainableArchitectures,
  trainSae,
  type CacheActivationsOptions,
  type CacheSummary,
  type Document,
  type Documents,
  type SaeEvaluation,
  type SaeHistory,
  type SaeMetrics,
  type SaeOfRunInput,
  type SaeProgress,
  type SaeTrainingOptions,
  type TrainableArchitecture,
  type TrainedSae,
  type TrainedSaeConfig,
  type TrainSaeOptions,
} from "./sae/index.ts";
export {
  fineTuning,
  fineTuningGroups,
  parseFineTuningPhases,
  type FineTuningOptions,
  type FineTuningPhase,
  type PublishedNode,
} from "./callbacks/fineTuning.ts";
