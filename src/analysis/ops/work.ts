/** @file One batch at work: its leaves, forward passes and SAEs, shared by all ops that run on it. */
import { leaf, type Dim, type Tensor } from "../../graph/index.ts";
import { nearest } from "../../graph/nearest.ts";
import { rowsOf } from "../../model/run/batch.ts";
import { compileFilter, filterText, type NameFilter } from "../../model/hooks/filter.ts";
import type { Hook, HookEntry } from "../../model/hooks/hookPoint.ts";
import type { HookedModel, PositionPolicy, TokenBatch, Traced } from "../../model/index.ts";
import { spliceHooks, type LatentModel, type SpliceOptions } from "../../sae/index.ts";
import type { ColumnSpec, FlowSpec, HookTensors } from "../tables/columns.ts";
import { answerLeaves, int64, type AnswerLeaves, type DiffKind } from "../engine/answers.ts";
import type { AblateLatentFn } from "../engine/generalAblation.ts";
import { hooksOf, reported, type Target } from "../engine/targets.ts";
import { AnalysisError } from "../errors.ts";
import { Realizer, type Realize } from "./realizer.ts";

/** A batch to analyse: rectangles row-major, as `batches` of the data layer gives them. */
export interface AnalysisBatch {
  readonly index: number;
  readonly dims: readonly [b: number, p: number];
  readonly tokens: ArrayLike<number>;
  readonly mask: ArrayLike<number>;
  /** Where each row's answer is read; −1 is the last position. */
  readonly answerIndices: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
  readonly classes: number;
  /** Token of every class, [b, classes]. */
  readonly answerIds: ArrayLike<number>;
  readonly examples: ArrayLike<number>;
  readonly prompts?: readonly string[] | null;
}

/** How ops run; the same for all ops of a run. */
export interface OpOptions {
  /** The right answer's logit minus the `mean` of the others (default), or the `best-other`. */
  diff?: DiffKind;
  /** Zero a latent at the answer position (default, exact and fast) or at every position. */
  ablate?: "answer" | "all";
  /** Splice SAEs with their error term. Default false, as published. */
  useErrorTerm?: boolean;
  gradientThroughError?: boolean;
  /** Layers of the SAEs whose latents are reported; all SAEs stay spliced. Default: all. */
  layers?: readonly number[];
  /** Names of the latents' points that are reported, such as `blocks.9.attn.hook_z.hook_sae_acts_post`. Default: all. */
  hooks?: readonly string[];
  positions?: PositionPolicy;
  /** What `tlLegacy` guesses the mask with. Default: the tokenizer's pad and BOS. */
  paddingSide?: "left" | "right";
  prependBos?: boolean;
  /** Keep prompts and token ids with the examples. Default true. */
  saveInputs?: boolean;
  /** Hooks of every forward pass: plain functions over tensors. An ablation then runs the whole batch for each latent. */
  fwdHooks?: readonly OpHook[];
  /** Hooks that see derivatives with respect to a point, and may replace them. */
  bwdHooks?: readonly OpHook[];
  /**
   * The points that `cache` and `grad_cache` hold, and among those of the SAEs the ones that are reported. Default: every
   * point that needs no flag, and the latents of all targets.
   */
  namesFilter?: NameFilter;
  /** What stands in the place of an ablated latent. Default: 0, which is much faster than any function. */
  ablateLatentFn?: AblateLatentFn;
}

/** Which points, and what happens there. */
export type OpHook = readonly [filter: NameFilter, hook: Hook];

/** A model with its SAEs, and how ops run on them. */
export interface OpSetting {
  readonly model: HookedModel;
  readonly saes?: readonly LatentModel[];
  readonly options?: OpOptions;
  readonly signal?: AbortSignal;
  /** Pairs of (example, latent) ablated so far in this batch. */
  readonly onAblation?: (done: number, total: number) => void;
}

/** Which forward pass. */
export interface ForwardChoice {
  /** With all SAEs in place. Default false. */
  readonly spliced?: boolean;
  /** Names of points that fire only when they are spelled, such as `blocks.0.attn.hook_result`. */
  readonly capture?: string;
}

/** One batch at work. Made once, ops that run on it one after the other or together share what they have in common. */
export interface Work {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  readonly batch: AnalysisBatch;
  readonly options: OpOptions;
  readonly signal: AbortSignal | undefined;
  readonly onAblation: ((done: number, total: number) => void) | undefined;
  /** Token ids, mask and positions as leaves. */
  readonly tokens: TokenBatch;
  /** The answers that are compared, as leaves. */
  readonly answers: AnswerLeaves;
  /** The position of each row's answer: int64 [batch], a leaf. */
  readonly positions: Tensor;
  /** The SAEs whose latents are reported, in the order of the forward pass. */
  readonly targets: readonly Target[];
  readonly splice: SpliceOptions;
  /** The hooks of every pass. */
  readonly hooks: readonly HookEntry[];
  /** Of a pass' values those that `namesFilter` asks for. */
  readonly kept: (hooks: HookTensors) => HookTensors;
  /** The pass over this batch, traced once. */
  readonly forward: (choice?: ForwardChoice) => Traced;
  /** Numbers of a column as a leaf; the same array always gives the same leaf. */
  readonly lift: (name: string, spec: ColumnSpec | FlowSpec, data: object) => Tensor | undefined;
  /** Computes a tree of tensors; what is known of this batch already is not computed again. */
  readonly realize: Realize;
}

/**
 * A batch, ready for ops: {@link Op.run} on one such object shares passes and results.
 * @throws ModelError when the rows are longer than the context; AnalysisError for targets that are not there
 * @example
 * const data = await openDataset("rte/validation.jsonl", { limit: 2 });
 * for await (const batch of batches(data, { tokenizer })) {
 *   const work = openBatch({ model, saes }, batch);
 *   const columns = await ops.logitDiffsSae.run({}, work);
 *   await work.realize(columns.logit_diffs); // [batch]
 * }
 */
export function openBatch(setting: OpSetting, batch: AnalysisBatch): Work {
  const { model, saes = [], options = {}, signal, onAblation } = setting;
  const { useErrorTerm = false, gradientThroughError = false } = options;
  const tokens = model.batch(rowsOf(batch.tokens, batch.dims), {
    attentionMask: rowsOf(batch.mask, batch.dims),
    positions: options.positions,
    paddingSide: options.paddingSide,
    prependBos: options.prependBos,
  });
  const index = Array.from(batch.answerIndices, (i) => (i < 0 ? i + tokens.length : i));
  const splice: SpliceOptions = { useErrorTerm, gradientThroughError };
  const targets = reported(hooksOf(model, saes, options.layers, options.hooks), options.namesFilter);
  const named = options.namesFilter === undefined ? undefined : compileFilter(options.namesFilter);
  const hooks = hookEntries(options);
  const passes = new Map<string, Traced>();
  const leaves = new WeakMap<object, Tensor>();
  const realizer = new Realizer(model, signal);
  return {
    model,
    saes,
    batch,
    options,
    signal,
    onAblation,
    tokens,
    targets,
    splice,
    hooks,
    kept: (values) => (named === undefined ? values : keptOf(values, named, options.namesFilter!)),
    answers: answerLeaves(tokens.batch, {
      ids: batch.answerIds,
      classes: batch.classes,
      labels: batch.labels,
      index,
    }),
    positions: leaf(int64(index), [index.length], { shape: [tokens.batch], name: "answer positions" }),
    forward({ spliced = false, capture = "*" } = {}) {
      const key = `${spliced} ${capture}`;
      let pass = passes.get(key);
      if (pass === undefined) {
        const splices = spliced ? spliceHooks(saes, splice) : undefined;
        const fires = named === undefined ? capture : either(capture, named);
        passes.set(key, (pass = model.trace(tokens, { splices, capture: fires, hooks })));
      }
      return pass;
    },
    lift(name, spec, data) {
      let lifted = leaves.get(data);
      if (lifted === undefined) {
        lifted = liftColumn(name, spec, data, tokens);
        if (lifted !== undefined) leaves.set(data, lifted);
      }
      return lifted;
    },
    realize: (tree) => realizer.realize(tree),
  };
}

/** Forward hooks, then backward hooks. */
const hookEntries = ({ fwdHooks = [], bwdHooks = [] }: OpOptions): HookEntry[] => [
  ...fwdHooks.map(([filter, hook]): HookEntry => ({ filter, hook })),
  ...bwdHooks.map(([filter, hook]): HookEntry => ({ filter, hook, direction: "bwd" })),
];

function either(capture: string, named: (name: string) => boolean): (name: string) => boolean {
  const captured = compileFilter(capture);
  return (name) => captured(name) || named(name);
}

function keptOf(values: HookTensors, named: (name: string) => boolean, filter: NameFilter): HookTensors {
  const names = Object.keys(values).filter(named);
  if (names.length > 0) return Object.fromEntries(names.map((name) => [name, values[name]!]));
  const text = filterText(filter);
  throw new AnalysisError("the names filter matches no hook point of this pass", {
    code: "analysis/names-filter",
    received: text,
    hint: `near ones: ${nearest(text.replaceAll('"', ""), Object.keys(values)).join(", ")}`,
  });
}

type Values = ArrayLike<number | boolean>;
const isRow = (x: unknown): x is Values => Array.isArray(x) || ArrayBuffer.isView(x);

/** Numbers as a leaf; undefined for lists of different lengths, which have no shape. */
function liftColumn(
  name: string,
  spec: ColumnSpec | FlowSpec,
  data: object,
  { batch, batchSize }: TokenBatch,
): Tensor | undefined {
  const values = Array.from(data as ArrayLike<number | boolean | Values>);
  const rows = values.filter(isRow);
  const width = rows[0]?.length;
  if (rows.length > 0 && (rows.length !== values.length || rows.some((row) => row.length !== width))) return undefined;
  const perExample = "per" in spec && spec.per === "example";
  if (perExample && values.length !== batchSize)
    throw new AnalysisError(`column ${name} does not fit the batch`, {
      code: "analysis/column",
      expected: `${batchSize} values`,
      received: String(values.length),
    });
  const dims = width === undefined ? [values.length] : [values.length, width];
  const shape: Dim[] = perExample ? [batch, ...dims.slice(1)] : dims;
  const flat = width === undefined ? (values as number[]) : rows.flatMap((row) => Array.from(row, Number));
  const type = "type" in spec ? spec.type : "float32";
  if (type === "int32") return leaf(int64(flat), dims, { shape, name });
  if (type === "bool") return leaf(Uint8Array.from(flat), dims, { shape, dtype: "bool", name });
  return leaf(Float32Array.from(flat), dims, { shape, name });
}
