/** @file How SAEs are trained: SAELens' runner options and defaults, in camelCase here and in snake_case in files. */
import { z } from "zod";
import { TrainError } from "../errors.ts";
import { inPrograms, parseTrainedSae, type TrainedSaeConfig } from "./config.ts";
import { kinds, type Kind } from "./kinds.ts";

const count = z.int().positive();
const steps = z.int().nonnegative();
const rate = z.number().nonnegative();
const beta = z.number().min(0).lt(1);

/** Options of a run, with every default filled in. */
export interface SaeTrainingOptions {
  /** Tokens of a row that the model sees. */
  readonly contextSize: number;
  /** Activations to train on. */
  readonly trainingTokens: number;
  /** Activations of a step. */
  readonly trainBatchSizeTokens: number;
  /** Rows of one forward pass of the model. */
  readonly storeBatchSizePrompts: number;
  /** The mixing buffer holds this many contexts of activations, and at least two training batches. */
  readonly nBatchesInBuffer: number;
  /** How much of the buffer stays when batches are served from it, for later ones to be mixed with. 0: no shuffling. */
  readonly activationsMixingFraction: number;
  /** Positions of a row that count, as [from, to), negative from the end. */
  readonly seqposSlice: readonly (number | null)[];
  /** Documents are not joined: each gives its first context, those that are shorter none. */
  readonly disableConcatSequences: boolean;
  /** Each text is a row of its own, cut to the context or padded; padding is left out. */
  readonly promptsOneByOne: boolean;
  /** Between joined documents: the model's own token, one by id, or none. */
  readonly sequenceSeparatorToken: "bos" | "eos" | number | null;
  /** Each context begins with BOS. */
  readonly prependBos: boolean;
  /** Activations at special tokens (all, or these ids) are left out. */
  readonly excludeSpecialTokens: boolean | readonly number[];
  readonly seed: number;
  readonly adamBeta1: number;
  readonly adamBeta2: number;
  readonly adamEps: number;
  readonly lr: number;
  /** Where the schedule ends before its decay. Default lr / 10. */
  readonly lrEnd: number;
  readonly lrSchedulerName: "constant" | "cosineannealing" | "cosineannealingwarmrestarts";
  readonly lrWarmUpSteps: number;
  readonly lrDecaySteps: number;
  readonly nRestartCycles: number;
  /** A latent that did not fire for more steps than this is dead. */
  readonly deadFeatureWindow: number;
  /** Steps over which firing frequencies are counted. */
  readonly featureSamplingWindow: number;
  /** Batches of which the norm of activations is estimated, for expected_average_only_in. */
  readonly nBatchesForNormEstimate: number;
  /** Steps between points of the log. */
  readonly logEveryNSteps: number;
  /** Points of the log between evaluations. 0: none but the last. */
  readonly evalEveryNLogs: number;
  /** Forward passes of an evaluation. 0: none, not even at the end. */
  readonly nEvalBatches: number;
  /** Steps between checkpoints. 0: one at the end, and one when interrupted. */
  readonly checkpointEveryNSteps: number;
}

const schema = z.strictObject({
  contextSize: count.default(128),
  trainingTokens: count.default(2_000_000),
  trainBatchSizeTokens: count.default(4096),
  storeBatchSizePrompts: count.default(32),
  nBatchesInBuffer: count.default(20),
  activationsMixingFraction: z.number().min(0).max(1).default(0.5),
  seqposSlice: z.array(z.int().nullable()).max(2).default([null]),
  disableConcatSequences: z.boolean().default(false),
  promptsOneByOne: z.boolean().default(false),
  sequenceSeparatorToken: z
    .union([z.enum(["bos", "eos"]), steps])
    .nullable()
    .default("bos"),
  prependBos: z.boolean().default(true),
  excludeSpecialTokens: z.union([z.boolean(), z.array(steps)]).default(false),
  seed: steps.default(42),
  adamBeta1: beta.default(0.9),
  adamBeta2: beta.default(0.999),
  adamEps: rate.default(1e-8),
  lr: rate.default(3e-4),
  lrEnd: rate.optional(),
  lrSchedulerName: z.enum(["constant", "cosineannealing", "cosineannealingwarmrestarts"]).default("constant"),
  lrWarmUpSteps: steps.default(0),
  lrDecaySteps: steps.default(0),
  nRestartCycles: count.default(1),
  deadFeatureWindow: count.default(1000),
  featureSamplingWindow: count.default(2000),
  nBatchesForNormEstimate: count.default(1000),
  logEveryNSteps: count.default(10),
  evalEveryNLogs: steps.default(100),
  nEvalBatches: steps.default(10),
  checkpointEveryNSteps: steps.default(0),
});

/** One of the SAEs of a run: what it is, and where it hooks in. */
export interface SaeOfRun extends TrainedSaeConfig {
  readonly hookName: string;
  /** Where a transcoder's output belongs. */
  readonly hookNameOut: string | undefined;
  /** Names its folder. Default: the hook point's name. */
  readonly name: string;
}

/** One of the SAEs of a run as it is written; widths are read off the activations. */
export interface SaeOfRunInput extends Partial<Omit<TrainedSaeConfig, "dSae">> {
  readonly dSae: number;
  readonly hookName: string;
  readonly hookNameOut?: string | undefined;
  readonly name?: string | undefined;
}

/** Names of the options of a run, in camelCase. */
export const runOptionNames: readonly string[] = Object.keys(schema.shape);

const fault = (where: string | undefined, expected: string, received: unknown): TrainError =>
  new TrainError("the training is not configured right", {
    code: "train/options",
    where,
    expected,
    received: JSON.stringify(received),
  });

/**
 * Checks the options of a run and fills in SAELens' defaults. Names may be in camelCase or, as in files, in snake_case.
 * @throws TrainError naming the option
 * @example
 * parseSaeTrainingOptions({ training_tokens: 1e6 }).trainBatchSizeTokens; // 4096
 */
export function parseSaeTrainingOptions(given: object): SaeTrainingOptions {
  const parsed = schema.safeParse(inPrograms(given));
  if (!parsed.success)
    throw new TrainError("the options of the training are not valid", {
      code: "train/options",
      received: z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "),
    });
  const options = parsed.data;
  const lrEnd = options.lrEnd ?? options.lr / 10;
  const { lrWarmUpSteps: warm, lrDecaySteps: decay, lrSchedulerName } = options;
  const total = Math.floor(options.trainingTokens / options.trainBatchSizeTokens);
  if (total === 0)
    throw fault("training_tokens", `at least one batch of ${options.trainBatchSizeTokens}`, options.trainingTokens);
  if (warm + decay > total)
    throw fault("lr_warm_up_steps, lr_decay_steps", `at most the ${total} steps of the training`, warm + decay);
  if (decay > 0 && lrSchedulerName !== "constant" && lrEnd === 0)
    throw fault("lr_end", "more than 0 where a decay follows", lrEnd);
  if (options.promptsOneByOne && options.disableConcatSequences)
    throw fault("prompts_one_by_one", "not together with disable_concat_sequences", true);
  return { ...options, lrEnd };
}

/** Checks an SAE of a run against the widths of the activations it is trained on. */
export function parseSaeOfRun(given: object, widthOf: (hookName: string) => number): SaeOfRun {
  const { hookName, hookNameOut, name, ...own } = inPrograms(given);
  if (typeof hookName !== "string") throw fault("hook_name", "the hook point of the SAE", hookName);
  const out = typeof hookNameOut === "string" ? hookNameOut : undefined;
  const { transcodes = false } =
    (kinds as { readonly [name: string]: Kind | undefined })[String(own["architecture"])] ?? {};
  if (transcodes !== (out !== undefined))
    throw fault("hook_name_out", transcodes ? "the hook point of a transcoder's output" : "a transcoder", hookNameOut);
  const cfg = parseTrainedSae({
    ...own,
    dIn: own["dIn"] ?? widthOf(hookName),
    ...(out !== undefined && { dOut: own["dOut"] ?? widthOf(out) }),
  });
  const [width, widthOut] = [widthOf(hookName), out === undefined ? widthOf(hookName) : widthOf(out)];
  if (cfg.dIn !== width) throw fault("d_in", `${width}, the width of ${hookName}`, cfg.dIn);
  if (cfg.dOut !== widthOut) throw fault("d_out", `${widthOut}, the width of ${out ?? hookName}`, cfg.dOut);
  return { ...cfg, hookName, hookNameOut: out, name: typeof name === "string" ? name : hookName };
}

/** Steps of a run. */
export const stepsOf = ({ trainingTokens, trainBatchSizeTokens }: SaeTrainingOptions): number =>
  Math.ceil(trainingTokens / trainBatchSizeTokens);

/** Steps that schedules reckon with: SAELens leaves out a last one that is not whole. */
export const scheduledSteps = ({ trainingTokens, trainBatchSizeTokens }: SaeTrainingOptions): number =>
  Math.max(Math.floor(trainingTokens / trainBatchSizeTokens), 1);
