/** @file Training a session: with the plain loop where `core` leads, with the Trainer where `lightning` does. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Batch } from "../../data/index.ts";
import type { Json, JsonObject } from "../../formats/index.ts";
import {
  csvLogger,
  earlyStopping,
  fineTuningGroups,
  Learner,
  loadCheckpoint,
  loraDropout,
  modelCheckpoint,
  parseFineTuningPhases,
  shuffledOrder,
  Trainer,
  type Clip,
  type FineTuningPhase,
  type FitResult,
  type Lora,
  type MetricLogger,
  type ModelCheckpoint,
  type ScheduledRates,
  type Trainable,
  type TrainerCallback,
  type TrainerModule,
  type TrainingLoss,
} from "../../train/index.ts";
import { loraAsOf } from "../../train/lora/lora.ts";
import { saveAdapters } from "../load/adapted.ts";
import { regrouped } from "../sides/batches.ts";
import { callbacks as callbackNodes, fineTuningArgs, loggers as loggerNodes } from "../config/trainerNodes.ts";
import { optimizerOf, scheduleOf, scheduleOfPublished, trainerNodeOf } from "../config/training.ts";
import type { ModuleConfig, RunConfig, TrainerConfig } from "../config/types.ts";
import { parseYaml, plain } from "../config/yaml.ts";
import { coreFit } from "./coreLoop.ts";
import type { DataModuleBase } from "../sides/dataModule.ts";
import { SessionError } from "../errors.ts";
import type { Log } from "../record/log.ts";
import type { OptimizerPlan } from "../sides/module.ts";
import type { AnalysisSession } from "../protocol.ts";
import { withoutLogging } from "../record/record.ts";
import { metricsText, stepOf, type SteppedSession } from "./steps.ts";

/** What training needs of a session. */
export interface TrainableSession extends SteppedSession {
  readonly cfg: {
    readonly adapterCtx: readonly string[];
    readonly runCfg: RunConfig;
    readonly trainer: TrainerConfig;
    readonly seed: number | null;
    readonly moduleCfg: ModuleConfig;
  };
  readonly logger: Log;
  readonly experimentFolder: string;
  readonly datamodule: AnalysisSession["datamodule"] & Pick<DataModuleBase, "cfg" | "trainBatchSize" | "tokenizer">;
  readonly module: SteppedSession["module"] & { readonly optimizers?: readonly OptimizerPlan[] };
  /** The adapters that are trained; undefined where the model is. */
  readonly lora: Lora | undefined;
  trainable(): Promise<Trainable>;
}

/** How a training is watched, cut short and taken up again. */
export interface TrainingRun {
  /** Training batches of each epoch at most. */
  readonly limit?: number | undefined;
  /** A checkpoint to go on from. Default: `run_cfg.resume` under `core`, `trainer.resume` under `lightning`. */
  readonly resume?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** After each training batch: optimiser steps, and what was measured last. */
  readonly onProgress?: ((progress: TrainingProgress) => void) | undefined;
  /** Beside those that the configuration names (adapter lightning). */
  readonly callbacks?: readonly TrainerCallback[];
  readonly loggers?: readonly MetricLogger[];
}

/** How far training is. */
export interface TrainingProgress {
  readonly epoch: number;
  readonly globalStep: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** What a training came to. */
export interface TrainingResult extends FitResult {
  /** Folders of the adapters (`lora_cfg`): the last ones, and those of the best checkpoint where a metric decides. */
  readonly adapters?: { readonly last: string; readonly best?: string };
}

/** A session that is ready to be trained. @internal */
export interface Training {
  readonly session: TrainableSession;
  readonly learner: Learner;
  readonly phases: readonly FineTuningPhase[] | undefined;
  readonly schedule: ScheduledRates | undefined;
  readonly trainingStep: (batch: Batch, index: number) => TrainingLoss | Promise<TrainingLoss>;
  /** The batches of an epoch, in its order. */
  readonly epoch: (epoch: number) => Promise<readonly Batch[]>;
  /** What of the session decides how training goes. */
  readonly identity: JsonObject;
}

/**
 * Trains a session's module: `training_step` over the rows of `train`, `validation_step` after each epoch. With the adapter
 * `core` it is the plain loop of `run_cfg`; with `lightning` the {@link Trainer} of `trainer`, with callbacks and loggers.
 * Both run the same module, keep checkpoints, also when the signal aborts, and go on from one bit for bit. The model that
 * the session was given stays as it is; `module.model` learns. With `lora_cfg` only its adapters do; where checkpoints are
 * kept, they are saved in `adapter/last`, and in `adapter/best` as the best checkpoint has them.
 * @throws SessionError without an optimiser, a training step or training rows, and when a batch is larger than the data;
 *   TrainError when the loss is not finite, and for a checkpoint of another configuration
 * @example
 * const session = await Session.create({
 *   model,
 *   data: { train: "rte/validation.jsonl", validation: "rte/validation.jsonl" },
 *   trainBatchSize: 2,
 *   moduleCfg: { coreLogDir: "runs/logs", optimizerInit: { classPath: "AdamW", initArgs: { lr: 1e-4 } } },
 *   runCfg: { maxSteps: 2 },
 * });
 * const { globalStep, metrics } = await runTraining(session);
 * globalStep; // 2
 */
export async function runTraining(session: TrainableSession, run: TrainingRun = {}): Promise<TrainingResult> {
  await session.init();
  const lightning = session.cfg.adapterCtx.includes("lightning");
  const { gradientClipVal, gradientClipAlgorithm } = session.cfg.trainer;
  const clip: Clip = lightning && gradientClipVal !== null ? { [gradientClipAlgorithm]: gradientClipVal } : {};
  const tuning = lightning ? await fineTuningOf(session.cfg.trainer) : undefined;
  const training = await trainingOf(session, clip, tuning);
  try {
    return await (lightning ? trainerFit(training, run) : coreTraining(training, run));
  } finally {
    training.learner.dispose();
  }
}

async function coreTraining(training: Training, run: TrainingRun): Promise<TrainingResult> {
  const { session } = training;
  const result = await coreFit(training, run);
  return session.cfg.runCfg.enableCheckpointing ? withAdapters(result, session, session.experimentFolder) : result;
}

/** Saves the adapters of a session that has some. @param best the checkpoint that is the best */
async function withAdapters(
  result: FitResult,
  session: TrainableSession,
  folder: string,
  best?: string,
): Promise<TrainingResult> {
  const { lora } = session;
  if (lora === undefined) return result;
  const last = join(folder, "adapter", "last");
  await saveAdapters(last, session, lora);
  const then = join(folder, "adapter", "best");
  if (best === undefined) {
    // Of another run in this folder.
    await rm(then, { recursive: true, force: true });
    return { ...result, adapters: { last } };
  }
  await saveAdapters(then, session, loraAsOf(lora, (await loadCheckpoint(best)).learner));
  return { ...result, adapters: { last, best: then } };
}

/** A fine-tuning schedule that the trainer names. */
interface Tuning {
  readonly phases: readonly FineTuningPhase[];
  readonly baseMaxLr: number | undefined;
}

async function fineTuningOf({ callbacks }: TrainerConfig): Promise<Tuning | undefined> {
  const nodes = callbacks.map((node) => trainerNodeOf("callback", node));
  const found = nodes.find(({ name }) => name === "FinetuningScheduler");
  if (found === undefined) return undefined;
  const { ftSchedule, baseMaxLr } = fineTuningArgs.parse(found.args);
  const file = typeof ftSchedule === "string" ? ftSchedule : undefined;
  const value: unknown = file === undefined ? ftSchedule : await yamlOf(file);
  return { phases: parseFineTuningPhases(value, scheduleOfPublished, file), baseMaxLr };
}

async function yamlOf(file: string): Promise<unknown> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new SessionError("the fine-tuning schedule cannot be read", { code: "session/train", where: file, cause });
  });
  return plain(parseYaml(bytes, file));
}

async function trainingOf(session: TrainableSession, clip: Clip, tuning?: Tuning): Promise<Training> {
  const { optimizers: plans = [] } = session.module;
  const [plan] = plans;
  if (plan === undefined || plans.length > 1)
    throw new SessionError(plan === undefined ? "training needs an optimiser" : "training has one optimiser", {
      code: "session/train",
      received: plan === undefined ? undefined : String(plans.length),
      hint: "module_cfg.optimizer_init: {class_path: torch.optim.AdamW, init_args: {lr: 1.0e-4}}",
    });
  const step = stepOf(session, "trainingStep");
  const { model, parameters, aliases } = await session.trainable();
  const optimizer = optimizerOf(plan.optimizer);
  const groups = tuning && fineTuningGroups(tuning.phases, optimizer, tuning.baseMaxLr);
  const learner = new Learner({
    parameters,
    aliases,
    optimizer,
    ...(groups && { groups }),
    clip,
    runtime: model.runtime,
  });
  return {
    session,
    learner,
    phases: tuning?.phases,
    schedule: plan.lrScheduler === undefined ? undefined : scheduledOf(plan.lrScheduler),
    trainingStep: withDropout(session, (batch, index) => step(batch, index) as TrainingLoss | Promise<TrainingLoss>),
    epoch: (epoch) => trainBatches(session, epoch),
    identity: identityOf(session.record),
  };
}

/** A training step whose adapters do not see all of their input, where the configuration says so. */
function withDropout(session: TrainableSession, step: Training["trainingStep"]): Training["trainingStep"] {
  const { lora, cfg, module } = session;
  if (lora === undefined || lora.dropout === 0) return step;
  return async (batch, index) => {
    // A function of the session's seed and the place in the training, whoever ran before.
    const place = (((cfg.seed ?? 0) % 2 ** 10) * 2 ** 10 + (module.state.currentEpoch % 2 ** 10)) * 2 ** 20 + index;
    const hooks = loraDropout(lora, place, module.model);
    const removers = hooks.map(([name, hook]) => module.model.addHook(name, hook));
    try {
      return await step(batch, index);
    } finally {
      for (const remove of removers) remove();
    }
  };
}

function scheduledOf(plan: NonNullable<OptimizerPlan["lrScheduler"]>): ScheduledRates {
  const { interval, frequency, monitor, strict } = plan;
  return { config: scheduleOf(plan), interval, frequency, strict, ...(monitor === null ? {} : { monitor }) };
}

/** The rows of `train` in the order of an epoch. */
async function trainBatches({ datamodule, cfg }: TrainableSession, epoch: number): Promise<readonly Batch[]> {
  const all: Batch[] = [];
  for await (const batch of datamodule.batches("train")) all.push(batch);
  const { trainBatchSize: size, tokenizer } = datamodule;
  const { shuffle, padTo, tokenizerKwargs } = datamodule.cfg;
  const rows = all.reduce((n, { dims }) => n + dims[0], 0);
  if (rows < size)
    throw new SessionError("a training batch is larger than the training data", {
      code: "session/train",
      expected: `at least ${size} rows`,
      received: String(rows),
      hint: `train_batch_size: ${Math.max(1, rows)} or less`,
    });
  if (!shuffle) return all;
  const width = padTo === "split" ? Math.max(...all.map(({ dims }) => dims[1])) : 0;
  const side = tokenizerKwargs.paddingSide ?? "left";
  const order = (n: number): readonly number[] => shuffledOrder(n, { seed: cfg.seed ?? 0, epoch });
  return regrouped(all, order, { size, side, padId: tokenizer?.padId ?? 0, width });
}

async function trainerFit(training: Training, run: TrainingRun): Promise<TrainingResult> {
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
  return withAdapters(result, session, trainer.defaultRootDir ?? session.experimentFolder, best);
}

/** The trainer of a configuration: what `trainer` leaves out is `run_cfg`'s. */
function trainerOf(
  { session, phases }: Training,
  { limit, callbacks = [], loggers = [], onProgress }: TrainingRun,
): Trainer {
  const { runCfg, trainer } = session.cfg;
  const folder = trainer.defaultRootDir ?? session.experimentFolder;
  const context = { folder, phases };
  const named = trainer.callbacks.flatMap((node) => {
    const { name, args } = trainerNodeOf("callback", node);
    return callbackNodes[name]!.make(args, context) ?? [];
  });
  const writers =
    trainer.logger === null
      ? [csvLogger(join(folder, "metrics.csv"))]
      : trainer.logger.flatMap((node) => {
          const { name, args } = trainerNodeOf("logger", node);
          return loggerNodes[name]!.make(args, context) ?? [];
        });
  const given = [...named, ...callbacks];
  // As published: phases end by early stopping, and go on from the best checkpoint.
  const monitor = "val_loss";
  const has = (name: string): boolean => given.some((each) => each.name === name);
  const needed =
    phases === undefined
      ? []
      : [
          ...(has("EarlyStopping") ? [] : [earlyStopping({ monitor })]),
          ...(has("ModelCheckpoint") ? [] : [modelCheckpoint({ monitor, folder: join(folder, "checkpoints") })]),
        ];
  const all = [...given, ...needed];
  const checkpoints =
    trainer.enableCheckpointing && !all.some(({ name }) => name === "ModelCheckpoint")
      ? [modelCheckpoint({ folder: join(folder, "checkpoints") })]
      : [];
  const watch: readonly TrainerCallback[] =
    onProgress === undefined
      ? []
      : [{ name: "progress", onStep: ({ epoch, globalStep, metrics }) => onProgress({ epoch, globalStep, metrics }) }];
  const { maxSteps } = runCfg;
  return new Trainer({
    // As Lightning has it: steps alone are a limit of their own.
    maxEpochs: trainer.maxEpochs ?? ((trainer.maxSteps ?? -1) >= 0 ? -1 : runCfg.maxEpochs),
    maxSteps: trainer.maxSteps ?? maxSteps,
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
    callbacks: [...all, ...checkpoints, ...watch],
    loggers: [...writers, ...loggers],
    folder,
  });
}

async function* later<T>(items: Promise<readonly T[]>): AsyncGenerator<T> {
  yield* await items;
}

/** What of a session decides how training goes: its two sides and the seed, key by key. */
function identityOf(record: JsonObject): JsonObject {
  const config = withoutLogging(record["config"] ?? {}) as JsonObject;
  const { registered_cfg: sides, seed_everything } = config;
  const flat = Object.fromEntries(leaves(sides ?? {}, ""));
  return { ...flat, seed_everything: seed_everything ?? null };
}

/** Values of nested mappings by their path. */
function leaves(value: Json, path: string): [path: string, value: Json][] {
  const isMapping = typeof value === "object" && value !== null && !Array.isArray(value);
  const entries = isMapping ? Object.entries(value as JsonObject) : [];
  if (entries.length === 0) return [[path, value]];
  return entries.flatMap(([name, item]) => leaves(item ?? null, path === "" ? name : `${path}.${name}`));
}
