/** @file The flags of `interpretune train-sae`, one for each option of a training. */
import type { TypedFlagParameter } from "@stricli/core";
import type { SaeTrainingOptions, TrainedSaeConfig } from "../train/index.ts";
import { cacheOptionNames, type CacheOptionName } from "../train/sae/source/cacheOptions.ts";
import { CliError } from "./failure.ts";
import { booleanFlag, positiveInteger, shared, textFlag } from "./flags.ts";

/** A value as a configuration file would hold it. */
export type OptionValue = string | number | boolean | null | readonly (number | null)[];

/** The options of a training; `topK` is `k`, as a flag has two letters or more. */
export type TrainSaeOptionName =
  Exclude<keyof TrainedSaeConfig, "k"> | keyof SaeTrainingOptions | "topK" | "hookName" | "hookNameOut" | "name";

/** What each option takes and means; the schemas of the training check the values. */
const optionTexts: { readonly [Name in TrainSaeOptionName]: readonly [placeholder: string, brief: string] } = {
  architecture: ["NAME", "standard, gated, jumprelu, topk, batchtopk, matryoshka_batchtopk or a transcoder"],
  hookName: ["HOOK", "Where the SAE hooks in, such as blocks.3.hook_resid_post"],
  hookNameOut: ["HOOK", "Where a transcoder's output belongs"],
  name: ["NAME", "Folder of the SAE in --out [default = the hook point]"],
  dSae: ["N", "Latents"],
  dIn: ["N", "Width of the activations [default = read off the model]"],
  dOut: ["N", "Width of a transcoder's output [default = read off the model]"],
  topK: ["N", "topk, batchtopk: active latents per token [default = 100]"],
  l1Coefficient: ["X", "standard, gated: weight of the sparsity loss [default = 1]"],
  l1WarmUpSteps: ["N", "Steps over which it rises from 0 [default = 0]"],
  lpNorm: ["P", "standard: the norm of the sparsity loss [default = 1]"],
  l0Coefficient: ["X", "jumprelu: weight of the sparsity loss [default = 1]"],
  l0WarmUpSteps: ["N", "Steps over which it rises from 0 [default = 0]"],
  jumpreluSparsityLossMode: ["MODE", "step, tanh or quadratic [default = step]"],
  jumpreluInitThreshold: ["X", "Thresholds at the start [default = 0.01]"],
  jumpreluBandwidth: ["X", "Width of the straight-through kernel [default = 0.05]"],
  jumpreluTanhScale: ["X", "tanh: how steep [default = 4]"],
  jumpreluSteToInput: ["true|false", "The straight-through derivative also reaches the encoder [default = false]"],
  preActLossCoefficient: ["X", "jumprelu: weight of the loss that revives dead latents [default = none]"],
  targetL0: ["N", "quadratic: active latents to aim at"],
  auxLossCoefficient: ["X", "topk: weight of the loss that revives dead latents [default = 1]"],
  rescaleActsByDecoderNorm: ["true|false", "topk: rank by activation times decoder norm [default = true]"],
  topkThresholdLr: ["X", "batchtopk: rate of the threshold's moving average [default = 0.01]"],
  matryoshkaWidths: ["LIST", "Nested widths, such as 512,2048"],
  useMatryoshkaAuxLoss: ["true|false", "Dead latents learn the error of their own width [default = false]"],
  decoderInitNorm: ["X", "Norm of decoder rows at the start, or none [default = 0.1]"],
  applyBDecToInput: ["true|false", "Subtract the decoder's bias from the input [default = true]"],
  normalizeActivations: [
    "MODE",
    "none, expected_average_only_in, constant_norm_rescale or layer_norm [default = none]",
  ],
  contextSize: ["N", "Tokens of a row [default = 128]"],
  trainingTokens: ["N", "Activations to train on [default = 2000000]"],
  trainBatchSizeTokens: ["N", "Activations of a step [default = 4096]"],
  storeBatchSizePrompts: ["N", "Rows of a forward pass [default = 32]"],
  nBatchesInBuffer: ["N", "Contexts in the mixing buffer [default = 20]"],
  activationsMixingFraction: ["X", "How much of the buffer stays to be mixed; 0 = no shuffling [default = 0.5]"],
  seqposSlice: ["FROM,TO", "Positions that count, negative from the end [default = all]"],
  disableConcatSequences: ["true|false", "Do not join documents; short ones are left out [default = false]"],
  promptsOneByOne: ["true|false", "Each text is a row of its own [default = false]"],
  sequenceSeparatorToken: ["TOKEN", "bos, eos, an id, or none between documents [default = bos]"],
  prependBos: ["true|false", "Rows begin with BOS [default = true]"],
  excludeSpecialTokens: ["LIST", "true, or ids whose activations are left out [default = false]"],
  seed: ["N", "Of parameters and the order of activations [default = 42]"],
  lr: ["X", "Learning rate [default = 0.0003]"],
  lrEnd: ["X", "Where the schedule ends before its decay [default = lr / 10]"],
  lrSchedulerName: ["NAME", "constant, cosineannealing or cosineannealingwarmrestarts [default = constant]"],
  lrWarmUpSteps: ["N", "[default = 0]"],
  lrDecaySteps: ["N", "Steps of a last linear decay to 0 [default = 0]"],
  nRestartCycles: ["N", "[default = 1]"],
  adamBeta1: ["X", "[default = 0.9]"],
  adamBeta2: ["X", "[default = 0.999]"],
  adamEps: ["X", "[default = 1e-8]"],
  deadFeatureWindow: ["N", "Steps without firing after which a latent is dead [default = 1000]"],
  featureSamplingWindow: ["N", "Steps over which firing is counted [default = 2000]"],
  nBatchesForNormEstimate: ["N", "expected_average_only_in: batches to estimate from [default = 1000]"],
  logEveryNSteps: ["N", "[default = 10]"],
  evalEveryNLogs: ["N", "Points of the log between evaluations; 0 = only the last [default = 100]"],
  nEvalBatches: ["N", "Forward passes of an evaluation [default = 10]"],
  checkpointEveryNSteps: ["N", "0 = at the end and when interrupted [default = 0]"],
};

export const trainSaeOptionNames: readonly TrainSaeOptionName[] = Object.keys(optionTexts) as TrainSaeOptionName[];

/** `12`, `0.5`, `true`, `none`, `1,2,none`; anything else is text. */
export function optionValue(text: string): OptionValue {
  if (text === "true" || text === "false") return text === "true";
  if (text === "none" || text === "null") return null;
  if (text.includes(",")) {
    const items = text.split(",").map((item) => optionValue(item.trim()));
    if (items.every((item) => item === null || typeof item === "number")) return items;
    throw new CliError("wrong value", {
      code: "cli/flag",
      expected: "numbers with commas between them",
      received: JSON.stringify(text),
    });
  }
  return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

export type TrainSaeFlags = { readonly [Name in TrainSaeOptionName]?: string } & {
  readonly config?: string;
  readonly model?: string;
  readonly data?: string;
  readonly split?: string;
  readonly streaming?: boolean;
  readonly evalData?: string;
  readonly evalSplit?: string;
  readonly activations?: string;
  readonly out?: string;
  readonly resume?: boolean;
  readonly threads?: number;
  readonly offline?: boolean;
  readonly json?: boolean;
};

type Flag = TypedFlagParameter<string | undefined>;
const optionalText = (placeholder: string, brief: string): TypedFlagParameter<string | undefined> => ({
  ...textFlag(placeholder, brief),
  optional: true,
});

const options = Object.fromEntries(
  Object.entries(optionTexts).map(([name, [placeholder, brief]]) => [name, optionalText(placeholder, brief)]),
) as { readonly [Name in TrainSaeOptionName]: Flag };

export const trainSaeFlags: {
  readonly [Name in keyof Required<TrainSaeFlags>]: TypedFlagParameter<TrainSaeFlags[Name]>;
} = {
  config: optionalText("FILE", "YAML with these options in snake_case, and several SAEs under saes; flags win"),
  model: optionalText("M", shared.model.brief),
  data: optionalText(
    "DATA",
    "Texts: .txt (a document a line), or JSONL or Parquet with text, prompt or input_ids; or id (owner/name:config)",
  ),
  split: optionalText("NAME", "Split of a data set given by its id [default = train]"),
  streaming: shared.streaming,
  evalData: optionalText("DATA", "Texts for evaluations [default = the first of --data]"),
  evalSplit: optionalText("NAME", "Split of --eval-data, or else of --data, for evaluations [default = train]"),
  activations: optionalText("DIR", "Train from what cache-activations wrote; --data is for evaluations then"),
  out: optionalText("DIR", "Folder for SAEs, log, curves and checkpoint"),
  resume: booleanFlag("Go on from the checkpoint in --out"),
  ...options,
  threads: shared.threads,
  offline: shared.offline,
  json: shared.json,
};

export type CacheActivationsFlags = { readonly [Name in CacheOptionName]?: string } & {
  readonly config?: string;
  readonly model?: string;
  readonly data?: string;
  readonly split?: string;
  readonly streaming?: boolean;
  readonly hookName?: readonly string[];
  readonly out?: string;
  readonly shardMb?: number;
  readonly threads?: number;
  readonly offline?: boolean;
  readonly json?: boolean;
};

const cacheOptionFlags = Object.fromEntries(cacheOptionNames.map((name) => [name, options[name]])) as {
  readonly [Name in CacheOptionName]: Flag;
};

/** The flags of `interpretune cache-activations`: those of a training that say which activations there are. */
export const cacheActivationsFlags: {
  readonly [Name in keyof Required<CacheActivationsFlags>]: TypedFlagParameter<CacheActivationsFlags[Name]>;
} = {
  config: optionalText("FILE", "YAML with these options in snake_case, as train-sae takes it, too; flags win"),
  model: trainSaeFlags.model,
  data: trainSaeFlags.data,
  split: trainSaeFlags.split,
  streaming: trainSaeFlags.streaming,
  hookName: {
    ...textFlag("HOOK", "Hook point, such as blocks.3.hook_resid_post; repeat for more"),
    variadic: true,
    optional: true,
  },
  out: optionalText("DIR", "Folder for the shards; one that is partly written by this command goes on"),
  ...cacheOptionFlags,
  trainingTokens: optionalText("N", "Activations to keep of each hook point [default = 2000000]"),
  shardMb: {
    kind: "parsed",
    parse: positiveInteger,
    optional: true,
    placeholder: "N",
    brief: "Megabytes of a shard, about [default = 256]",
  },
  threads: shared.threads,
  offline: shared.offline,
  json: shared.json,
};
