/** @file Names of the options that a model's methods take: a name that nobody reads is an error. */
import { optionsCheck, type OptionNames, type OptionsCheck } from "../../graph/options.ts";
import { ModelError } from "../errors.ts";
import type { GenerateOptions } from "../generation/generate.ts";
import type { FromConfigOptions, ModelOptions } from "../hookedModel.ts";
import type { CompileOptions } from "./compiled.ts";
import type {
  AddHookOptions,
  BatchOptions,
  CacheOptions,
  GradientTargets,
  LossOptions,
  RunOptions,
  TokenOptions,
} from "./runOptions.ts";
import type { TopTokensOptions } from "./topTokens.ts";

/** @throws ModelError with the nearest name */
export const checkOptions: OptionsCheck = optionsCheck(ModelError, "model/options");

const tokens: OptionNames<TokenOptions> = { prependBos: true, paddingSide: true };
const batch: OptionNames<BatchOptions> = { ...tokens, attentionMask: true, positions: true };
const run: OptionNames<RunOptions> = {
  ...batch,
  hooks: true,
  stopAtLayer: true,
  startAtLayer: true,
  residual: true,
  past: true,
  capture: true,
  splices: true,
  weights: true,
  signal: true,
};
const runWithCache: OptionNames<CacheOptions> = { names: true, ...run };
const loss: OptionNames<LossOptions> = { perToken: true, ...run };
const targets: OptionNames<GradientTargets> = { names: true, weights: true };
const compile: OptionNames<CompileOptions> = { weights: true, hooks: true, splices: true, maxLength: true };
const generate: OptionNames<GenerateOptions> = {
  ...batch,
  maxNewTokens: true,
  greedy: true,
  temperature: true,
  topK: true,
  topP: true,
  frequencyPenalty: true,
  repetitionPenalty: true,
  seed: true,
  stopAtEos: true,
  eosTokenId: true,
  useCache: true,
  outputLogits: true,
  hooks: true,
  splices: true,
  weights: true,
  signal: true,
  onProgress: true,
};
const load: OptionNames<ModelOptions> = {
  runtime: true,
  weights: true,
  headersOnly: true,
  stopAtLayer: true,
  signal: true,
  onProgress: true,
  hub: true,
};
const fromConfig: OptionNames<FromConfigOptions> = { seed: true, runtime: true, weights: true, tokenizer: true };
const addHook: OptionNames<AddHookOptions> = { direction: true, prepend: true };
const topTokens: OptionNames<TopTokensOptions> = { k: true, row: true, position: true };

/** By what takes them. */
export const optionNames: Readonly<
  Record<
    | "tokens"
    | "batch"
    | "run"
    | "runWithCache"
    | "loss"
    | "targets"
    | "compile"
    | "generate"
    | "load"
    | "fromConfig"
    | "addHook"
    | "topTokens",
    Readonly<Record<string, true>>
  >
> = { tokens, batch, run, runWithCache, loss, targets, compile, generate, load, fromConfig, addHook, topTokens };
