/** @file What a run takes: inputs, and options for how they are read and run. */
import type { Tensor } from "../graph/tensor.ts";
import type { WeightPolicy } from "../runtime/runtime.ts";
import type { PositionPolicy, TokenBatch } from "./batch.ts";
import type { AsyncHook, Hook, HookEntry, NameFilter, Splice } from "./hooks.ts";
import type { Past } from "./past.ts";

/** Text, ids, or a batch made once with `model.batch`. */
export type ModelInput = string | readonly string[] | readonly number[] | readonly (readonly number[])[] | TokenBatch;

export interface BatchOptions {
  /** 1 for real tokens, 0 for padding. Default: all real for ids, the tokenizer's own mask for text. */
  attentionMask?: readonly (readonly number[])[];
  positions?: PositionPolicy;
  /** Default: `cfg.default_prepend_bos` for text; ids are used as given. */
  prependBos?: boolean;
  paddingSide?: "left" | "right";
}

/** `[filter, hook]`, or an entry with a direction. */
export type HookSpec = readonly [NameFilter, Hook | AsyncHook] | HookEntry;

export interface RunOptions extends BatchOptions {
  /** Hooks of this run only, after the permanent ones. */
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
  /** Replacements of whole hook points, by name: what `splice` sets. */
  splices?: ReadonlyMap<string, Splice>;
  /** Whether weights are fed to the graph or packed into it; see the runtime. Default: the model's policy. */
  weights?: WeightPolicy;
  signal?: AbortSignal;
}
