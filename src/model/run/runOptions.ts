/** @file What a run takes: inputs, and options for how they are read and run. */
import type { OptionNames } from "../../graph/options.ts";
import type { Tensor } from "../../graph/tensor.ts";
import type { WeightPolicy } from "../../runtime/runtime.ts";
import type { NameFilter } from "../hooks/filter.ts";
import type { AsyncHook, Hook, HookEntry, Splice } from "../hooks/hookPoint.ts";
import type { PositionPolicy, TokenBatch } from "./batch.ts";
import type { Past } from "./past.ts";

/** Text, ids, or a batch made once with `model.batch`. */
export type ModelInput = string | readonly string[] | readonly number[] | readonly (readonly number[])[] | TokenBatch;

/** How text becomes ids. */
export interface TokenOptions {
  /** Default: `cfg.default_prepend_bos` for text; ids are used as given. */
  prependBos?: boolean;
  paddingSide?: "left" | "right";
}

const tokens: OptionNames<TokenOptions> = { prependBos: true, paddingSide: true };

export interface BatchOptions extends TokenOptions {
  /** 1 for real tokens, 0 for padding. Default: all real for ids, the tokenizer's own mask for text. */
  attentionMask?: readonly (readonly number[])[];
  positions?: PositionPolicy;
}

const batch: OptionNames<BatchOptions> = { ...tokens, attentionMask: true, positions: true };

/** `[filter, hook]`, or an entry with a direction. */
export type HookSpec = readonly [NameFilter, Hook | AsyncHook] | HookEntry;

const isPair = (spec: HookSpec): spec is readonly [NameFilter, Hook | AsyncHook] => Array.isArray(spec);

/** @internal */
export const hookEntries = (specs: readonly HookSpec[] = []): HookEntry[] =>
  specs.map((spec) => (isPair(spec) ? { filter: spec[0], hook: spec[1] } : spec));

/** How a hook of a model is added. */
export interface AddHookOptions {
  /** `bwd`: it sees gradients. Default `fwd`. */
  direction?: "fwd" | "bwd";
  /** Before those that were added earlier. Default false. */
  prepend?: boolean;
}

const addHook: OptionNames<AddHookOptions> = { direction: true, prepend: true };

export interface RunOptions extends BatchOptions {
  /** Hooks of this run only, after those of the model. */
  hooks?: readonly HookSpec[];
  /** The first block that is not run; negative counts from the end. The residual before it is returned. */
  stopAtLayer?: number;
  /** The first block that is run, on `residual`; negative counts from the end. */
  startAtLayer?: number;
  /** [batch, pos, d_model], entering block `startAtLayer`. */
  residual?: Tensor;
  /** What earlier tokens left: the input's tokens follow them. From the `past` of an earlier run. */
  past?: Past;
  /** Which points `hooks` offers to what is built from a run. Default: all that need no flag. */
  capture?: NameFilter;
  /** Replacements of whole hook points, by name, beside those of the model: what `splice` sets. */
  splices?: ReadonlyMap<string, Splice>;
  /** Whether weights are fed to the graph or packed into it; see the runtime. Default: the model's policy. */
  weights?: WeightPolicy;
  signal?: AbortSignal;
}

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

export interface CacheOptions extends RunOptions {
  /** Which hook points are kept. Default: all that need no flag. */
  names?: NameFilter;
}

const runWithCache: OptionNames<CacheOptions> = { names: true, ...run };

export interface LossOptions extends RunOptions {
  /** Each token's loss instead of their mean. Default false. */
  perToken?: boolean;
}

const loss: OptionNames<LossOptions> = { perToken: true, ...run };

/** What is differentiated by: hook points by a filter, weights by name. */
export interface GradientTargets {
  names?: NameFilter;
  weights?: readonly string[];
}

const targets: OptionNames<GradientTargets> = { names: true, weights: true };

/** The names of each type of options, for the check that none is misspelt. @internal */
export const optionNames: {
  readonly tokens: OptionNames<TokenOptions>;
  readonly batch: OptionNames<BatchOptions>;
  readonly addHook: OptionNames<AddHookOptions>;
  readonly run: OptionNames<RunOptions>;
  readonly runWithCache: OptionNames<CacheOptions>;
  readonly loss: OptionNames<LossOptions>;
  readonly targets: OptionNames<GradientTargets>;
} = { tokens, batch, addHook, run, runWithCache, loss, targets };
