/** @file Training a session with the Trainer of its configuration. */
import { join } from "node:path";
import type { Batch } from "../../data/index.ts";
import {
  csvLogger,
  earlyStopping,
  modelCheckpoint,
  Trainer,
  type MetricLogger,
  type ModelCheckpoint,
  type TrainerCallback,
  type TrainerModule,
} from "../../train/index.ts";
import { callbacks as callbackNodes, loggers as loggerNodes } from "../config/trainerNodes.ts";
import { trainerNodeOf } from "../config/training.ts";
import type { Training } from "./prepare.ts";
import { metricsText, stepOf } from "./steps.ts";
import type { TrainingResult, TrainingRun } from "./trainable.ts";
import { withAdapters } from "./trainedAdapters.ts";

export async function trainerFit(training: Training, run: TrainingRun): Promise<TrainingResult> {
  const { session } = training;
  const { trainer } = session.cfg;
  const { module, datamodule } = session;
  const validationStep = Reflect.has(module, "validationStep") ? stepOf(session, "validationStep") : undefined;
  const target: TrainerModule<Batch> = {
    learner: training.learner,
    schedule: training.schedule,
    trainingStep: training.trainingStep,
    ...(validationStep && { validationStep }),
    metrics: module.metrics,
    state: module.state,
    call: (hook) => session.call(hook),
    identity: training.identity,
  };
  const data = {
    train: (epoch: number) => later(training.epoch(epoch)),
    validation: () => datamodule.batches("validation"),
    size: ({ dims }: Batch) => dims[0],
  };
  const fit = trainerOf(training, run);
  const { resume = trainer.resume ?? undefined, signal } = run;
  const result = await fit.fit(target, data, { resume, signal });
  session.logger.info(`Train end (${result.reason}): ${metricsText(result.metrics)}`);
  if (!trainer.enableCheckpointing || trainer.fastDevRun !== false) return result;
  const checkpoint = fit.options.callbacks?.find((each): each is ModelCheckpoint => each.name === "ModelCheckpoint");
  const best = checkpoint?.bestScore === undefined ? undefined : checkpoint.best;
  return withAdapters(result, session, folderOf(training), best);
}

/** The trainer of a configuration: what `trainer` leaves out is `run_cfg`'s. */
function trainerOf(training: Training, { limit, callbacks = [], loggers = [], onProgress }: TrainingRun): Trainer {
  const { runCfg, trainer } = training.session.cfg;
  const folder = folderOf(training);
  return new Trainer({
    // As Lightning has it: steps alone are a limit of their own.
    maxEpochs: trainer.maxEpochs ?? ((trainer.maxSteps ?? -1) >= 0 ? -1 : runCfg.maxEpochs),
    maxSteps: trainer.maxSteps ?? runCfg.maxSteps,
    limitTrainBatches: limit ?? trainer.limitTrainBatches ?? runCfg.limitTrainBatches,
    limitValBatches: trainer.limitValBatches ?? runCfg.limitValBatches,
    overfitBatches: trainer.overfitBatches,
    fastDevRun: trainer.fastDevRun,
    accumulateGradBatches: trainer.accumulateGradBatches,
    gradientClipVal: trainer.gradientClipVal ?? undefined,
    gradientClipAlgorithm: trainer.gradientClipAlgorithm,
    valCheckInterval: trainer.valCheckInterval ?? undefined,
    checkValEveryNEpoch: trainer.checkValEveryNEpoch,
    numSanityValSteps: trainer.numSanityValSteps,
    logEveryNSteps: trainer.logEveryNSteps,
    callbacks: [...withNeeded([...namedCallbacks(training), ...callbacks], training), ...watching(onProgress)],
    loggers: [...namedLoggers(training), ...loggers],
    folder,
  });
}

const folderOf = ({ session }: Training): string => session.cfg.trainer.defaultRootDir ?? session.experimentFolder;

/** The callbacks that the configuration names. */
const namedCallbacks = (training: Training): TrainerCallback[] =>
  training.session.cfg.trainer.callbacks.flatMap((node) => {
    const { name, args } = trainerNodeOf("callback", node);
    return callbackNodes[name]!.make(args, { folder: folderOf(training), phases: training.phases }) ?? [];
  });

/** The loggers that the configuration names; a file of metrics where it says nothing. */
function namedLoggers(training: Training): MetricLogger[] {
  const { logger } = training.session.cfg.trainer;
  const folder = folderOf(training);
  if (logger === null) return [csvLogger(join(folder, "metrics.csv"))];
  return logger.flatMap((node) => {
    const { name, args } = trainerNodeOf("logger", node);
    return loggerNodes[name]!.make(args, { folder, phases: training.phases }) ?? [];
  });
}

/**
 * Callbacks, and those that training cannot do without. As published, phases end by early stopping, and go on from the
 * best checkpoint.
 */
function withNeeded(given: readonly TrainerCallback[], training: Training): TrainerCallback[] {
  const has = (name: string): boolean => given.some((each) => each.name === name);
  const folder = join(folderOf(training), "checkpoints");
  const monitored = training.phases === undefined ? {} : { monitor: "val_loss" };
  const stops = training.phases !== undefined && !has("EarlyStopping");
  const keeps = training.phases !== undefined || training.session.cfg.trainer.enableCheckpointing;
  return [
    ...given,
    ...(stops ? [earlyStopping({ monitor: "val_loss" })] : []),
    ...(keeps && !has("ModelCheckpoint") ? [modelCheckpoint({ ...monitored, folder })] : []),
  ];
}

const watching = (onProgress: TrainingRun["onProgress"]): TrainerCallback[] =>
  onProgress === undefined
    ? []
    : [{ name: "progress", onStep: ({ epoch, globalStep, metrics }) => onProgress({ epoch, globalStep, metrics }) }];

async function* later<T>(items: Promise<readonly T[]>): AsyncGenerator<T> {
  yield* await items;
}
