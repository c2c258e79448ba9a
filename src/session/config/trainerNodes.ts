/** @file Callbacks and loggers that a trainer's section may name, under Lightning's names and arguments. */
import { join } from "node:path";
import { z } from "zod";
import {
  csvLogger,
  earlyStopping,
  fineTuning,
  jsonlLogger,
  learningRateMonitor,
  modelCheckpoint,
  tensorBoardLogger,
  timer,
  type FineTuningPhase,
  type MetricLogger,
  type TrainerCallback,
} from "../../train/index.ts";

/** What nodes are made with. */
export interface NodeContext {
  /** The session's folder, where they name no other. */
  readonly folder: string;
  /** Of a fine-tuning schedule. */
  readonly phases?: readonly FineTuningPhase[] | undefined;
}

interface Node<T> {
  readonly args: z.ZodType<object>;
  /** Undefined where there is nothing to do. */
  readonly make: (args: object, context: NodeContext) => T | undefined;
  /** Other places it is published at. */
  readonly modules?: readonly string[];
}

const node = <S extends z.ZodRawShape, T>(
  shape: S,
  make: (args: z.infer<z.ZodObject<S>>, context: NodeContext) => T | undefined,
  modules?: readonly string[],
): Node<T> => {
  const args = z.strictObject(shape);
  return { args, make: (given, context) => make(args.parse(given), context), ...(modules && { modules }) };
};

const count = z.int().positive().optional();
const flag = z.boolean().optional();
const text = z.string();
const mode = z.enum(["min", "max"]).optional();
const bar = node<{ refreshRate: typeof count }, TrainerCallback>({ refreshRate: count }, () => undefined);

const stoppingArgs = {
  monitor: text,
  mode,
  minDelta: z.number().optional(),
  patience: z.int().nonnegative().optional(),
  checkFinite: flag,
  stoppingThreshold: z.number().optional(),
  divergenceThreshold: z.number().optional(),
  checkOnTrainEpochEnd: flag,
  strict: flag,
  verbose: flag,
};
const checkpointArgs = {
  dirpath: text.optional(),
  monitor: text.optional(),
  mode,
  saveTopK: z.int().min(-1).optional(),
  saveLast: flag,
  everyNTrainSteps: count,
  everyNEpochs: count,
  filename: text.optional(),
  strict: flag,
  verbose: flag,
};
const checkpointOf = (
  { verbose: _, dirpath, ...args }: z.infer<z.ZodObject<typeof checkpointArgs>>,
  { folder }: NodeContext,
): TrainerCallback => modelCheckpoint({ ...args, folder: dirpath ?? join(folder, "checkpoints") });

/** Arguments of the published Fine-Tuning Scheduler. @internal */
export const fineTuningArgs: z.ZodObject<{
  ftSchedule: z.ZodUnion<[z.ZodString, z.ZodRecord<z.ZodString, z.ZodUnknown>]>;
  maxDepth: z.ZodOptional<z.ZodInt>;
  baseMaxLr: z.ZodOptional<z.ZodNumber>;
  restoreBest: z.ZodOptional<z.ZodBoolean>;
  epochTransitionsOnly: z.ZodOptional<z.ZodBoolean>;
}> = z.object({
  ftSchedule: z.union([text, z.record(text, z.unknown())], { error: "expected a file or phases {0: {params: [...]}}" }),
  maxDepth: z.int().min(-1).optional(),
  baseMaxLr: z.number().nonnegative().optional(),
  restoreBest: flag,
  epochTransitionsOnly: flag,
});

/** Callbacks by name. Progress is shown by whoever runs the session. */
export const callbacks: Readonly<Record<string, Node<TrainerCallback>>> = {
  EarlyStopping: node(stoppingArgs, ({ verbose: _, ...args }) => earlyStopping(args)),
  FTSEarlyStopping: node(stoppingArgs, ({ verbose: _, ...args }) => earlyStopping(args), ["finetuning_scheduler"]),
  ModelCheckpoint: node(checkpointArgs, checkpointOf),
  FTSCheckpoint: node(checkpointArgs, checkpointOf, ["finetuning_scheduler"]),
  LearningRateMonitor: node({ loggingInterval: z.enum(["step", "epoch"]).optional() }, ({ loggingInterval }) =>
    learningRateMonitor({ interval: loggingInterval ?? "step" }),
  ),
  Timer: node({ duration: z.union([text, z.number().positive()]).optional() }, (args) => timer(args)),
  /** Phases are read before the learner is made: see training.ts. */
  FinetuningScheduler: {
    args: fineTuningArgs,
    make: (args, { phases = [] }) => {
      const { maxDepth, epochTransitionsOnly, restoreBest } = fineTuningArgs.parse(args);
      return fineTuning({ phases, maxDepth, epochTransitionsOnly, restoreBest });
    },
    modules: ["finetuning_scheduler"],
  },
  TQDMProgressBar: bar,
  RichProgressBar: bar,
};

const place = { saveDir: text.optional(), name: text.optional(), version: z.union([text, z.int()]).optional() };
type Place = z.infer<z.ZodObject<typeof place>>;
const folderOf = ({ saveDir, name, version }: Place, { folder }: NodeContext): string =>
  join(saveDir ?? folder, name ?? "", version === undefined ? "" : String(version));

/** Loggers by name; CSV and JSON lines are `metrics.csv` and `metrics.jsonl`. */
export const loggers: Readonly<Record<string, Node<MetricLogger>>> = {
  CSVLogger: node(place, (args, context) => csvLogger(join(folderOf(args, context), "metrics.csv"))),
  JSONLLogger: node(place, (args, context) => jsonlLogger(join(folderOf(args, context), "metrics.jsonl"))),
  TensorBoardLogger: node(place, (args, context) =>
    tensorBoardLogger(join(folderOf(args, context), args.saveDir === undefined ? "tensorboard" : "")),
  ),
};
