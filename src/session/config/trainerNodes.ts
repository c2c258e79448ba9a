/** @file Callbacks and loggers that a trainer's section may name, under Lightning's names and arguments. */
import { join } from "node:path";
import { z } from "zod";
import {
  csvLogger,
  earlyStopping,
  jsonlLogger,
  learningRateMonitor,
  modelCheckpoint,
  tensorBoardLogger,
  timer,
  type MetricLogger,
  type TrainerCallback,
} from "../../train/index.ts";

/** What nodes are made with. */
export interface NodeContext {
  /** The session's folder, where they name no other. */
  readonly folder: string;
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

/** Callbacks by name. Progress is shown by whoever runs the session. */
export const callbacks: Readonly<Record<string, Node<TrainerCallback>>> = {
  EarlyStopping: node(
    {
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
    },
    ({ verbose: _, ...args }) => earlyStopping(args),
  ),
  ModelCheckpoint: node(
    {
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
    },
    ({ verbose: _, dirpath, ...args }, { folder }) =>
      modelCheckpoint({ ...args, folder: dirpath ?? join(folder, "checkpoints") }),
  ),
  LearningRateMonitor: node({ loggingInterval: z.enum(["step", "epoch"]).optional() }, ({ loggingInterval }) =>
    learningRateMonitor({ interval: loggingInterval ?? "step" }),
  ),
  Timer: node({ duration: z.union([text, z.number().positive()]).optional() }, (args) => timer(args)),
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
