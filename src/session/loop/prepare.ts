/** @file A session made ready to be trained: its optimiser, its step, its batches, its identity. */
import { readFile } from "node:fs/promises";
import type { Batch } from "../../data/index.ts";
import type { Json, JsonObject } from "../../formats/index.ts";
import {
  fineTuningGroups,
  Learner,
  loraDropout,
  parseFineTuningPhases,
  shuffledOrder,
  type Clip,
  type FineTuningPhase,
  type ScheduledRates,
  type TrainingLoss,
} from "../../train/index.ts";
import { fineTuningArgs } from "../config/trainerNodes.ts";
import { optimizerOf, scheduleOf, scheduleOfPublished, trainerNodeOf } from "../config/training.ts";
import type { TrainerConfig } from "../config/types.ts";
import { parseYaml, plain } from "../config/yaml.ts";
import { SessionError } from "../errors.ts";
import { withoutLogging } from "../record/record.ts";
import { regrouped } from "../sides/batches.ts";
import type { OptimizerPlan } from "../sides/module.ts";
import { stepOf } from "./steps.ts";
import type { TrainableSession } from "./trainable.ts";

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

/** Whether a session is trained by the Trainer; by the plain loop otherwise. */
export const usesTrainer = ({ cfg }: Pick<TrainableSession, "cfg">): boolean => cfg.adapterCtx.includes("lightning");

export async function trainingOf(session: TrainableSession): Promise<Training> {
  const { gradientClipVal, gradientClipAlgorithm } = session.cfg.trainer;
  const trainer = usesTrainer(session);
  const clip: Clip = trainer && gradientClipVal !== null ? { [gradientClipAlgorithm]: gradientClipVal } : {};
  const tuning = trainer ? await fineTuningOf(session.cfg.trainer) : undefined;
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
    return session.underHooks(loraDropout(lora, place, module.model), async () => step(batch, index));
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
