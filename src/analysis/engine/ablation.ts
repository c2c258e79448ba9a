/** @file Exact ablation of single latents: through the causal cone of one token, or through whole rows. */
import {
  broadcastTo,
  cast,
  equal,
  gather,
  leaf,
  mul,
  range,
  reshape,
  takeRows,
  unsqueeze,
  type Axis,
  type Tensor,
} from "../../graph/index.ts";
import { tokenBatch, type HookedModel, type TokenBatch } from "../../model/index.ts";
import type { HookEntry, Splice } from "../../model/hooks/hookPoint.ts";
import { Trace } from "../../model/hooks/trace.ts";
import type { KeyValues } from "../../model/transformer/attention.ts";
import { forward } from "../../model/transformer/transformer.ts";
import { spliceHooks, type LatentModel, type SpliceOptions } from "../../sae/index.ts";
import {
  answerLeaves,
  answerValues,
  int64,
  variants,
  type AnswerLeaves,
  type AnswerValues,
  type DiffKind,
} from "./answers.ts";

/** Latents to be set to 0 one at a time: for each, the row and the latent's number. */
export interface Pairs {
  readonly rows: Int32Array;
  readonly latents: Int32Array;
}

/** Per pair, in the order asked for. */
export interface AblatedValues {
  readonly diffs: Float32Array;
  readonly losses: Float32Array;
  readonly preds: Int32Array;
}

/** Where an ablation begins in the spliced run, realized. */
export interface SplicedEntry {
  readonly batch: TokenBatch;
  readonly answers: AnswerLeaves;
  /** The residual entering the first block that is run again, before its hook fires: [batch, pos or 1, d_model]; absent at the embedding. */
  readonly entering: Tensor | undefined;
}

/** What of the spliced run the ablation by zero builds on, realized. */
export interface SplicedRun extends SplicedEntry {
  /** Keys and values of the blocks that are run again; null below. */
  readonly keyValues: readonly (KeyValues | null)[];
  /** `hook_sae_input`, `hook_sae_acts_post`, `hook_sae_output` at the answer position ([batch, 1, …]) or everywhere. */
  readonly sae: { readonly input: Tensor; readonly acts: Tensor; readonly output: Tensor };
}

export interface AblationSetting {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  readonly target: LatentModel;
  readonly splice: SpliceOptions;
  readonly kind: DiffKind;
  readonly signal: AbortSignal | undefined;
  /** Those of the spliced run. */
  readonly hooks?: readonly HookEntry[];
}

/** The first block whose inputs an ablation at a hook point changes: 0 with tokens for the embedding. */
export function startLayer(hook: string, layers: number): number {
  const block = /^blocks\.(\d+)\./.exec(hook);
  if (block !== null) return Number(block[1]);
  return hook.startsWith("hook_") ? 0 : layers;
}

/** From where a pass is run again. */
export interface Start {
  readonly layer: number;
  /** From the embedding on. */
  readonly tokens: boolean;
}

/** Where a hook point is among the blocks; −1 at the embedding. */
const placeOf = (hook: string, layers: number): number => (hook.startsWith("hook_") ? -1 : startLayer(hook, layers));

/**
 * The first block that an ablation runs again: the one in which the target's output stands, or an earlier one from which a
 * transcoder that stands behind it reads.
 */
export function startOf({ model, saes, target }: Pick<AblationSetting, "model" | "saes" | "target">): Start {
  const at = (hook: string): number => placeOf(hook, model.cfg.n_layers);
  let start = at(target.hookNameOut);
  for (let before = Infinity; start < before;) {
    before = start;
    const later = saes.filter(({ hookNameOut }) => at(hookNameOut) >= before);
    start = Math.min(start, ...later.map(({ hookName }) => at(hookName)));
  }
  return { layer: Math.max(start, 0), tokens: start < 0 };
}

/** Whether changing one position changes nothing before it. */
export const isCausal = (model: HookedModel): boolean =>
  model.cfg.attention_dir === "causal" && model.cfg.attention_bias === null;

/** Rows of activations one chunk holds: enough for large products, few enough to stay small. */
const chunkRows = 256;

/** SAEs from a start on; those before it have done their part in the spliced run. */
export function splicesFrom(
  { saes, target, splice, model }: AblationSetting,
  { layer, tokens }: Start,
  replacement: Splice,
): ReadonlyMap<string, Splice> {
  const later = saes.filter(
    (sae) => sae !== target && placeOf(sae.hookNameOut, model.cfg.n_layers) >= (tokens ? -1 : layer),
  );
  return new Map([...spliceHooks(later, splice), [target.hookNameOut, replacement]]);
}

/**
 * Exact effects of setting one latent to 0 at the answer position, without re-running the model. Attention is causal,
 * so only that position changes: for every (row, latent) pair one token runs through the remaining blocks against the
 * keys and values of the spliced run, laid out [batch, pairs] so that those are never copied per pair.
 */
export async function ablateCone(
  setting: AblationSetting,
  run: SplicedRun,
  pairs: Pairs,
  onChunk: (done: number) => void,
): Promise<AblatedValues> {
  const { batch } = run;
  const perRow: number[][] = Array.from({ length: batch.batchSize }, () => []);
  pairs.rows.forEach((row, i) => perRow[row]!.push(i));
  const width = Math.max(1, Math.floor(chunkRows / batch.batchSize));
  const longest = perRow.reduce((n, list) => Math.max(n, list.length), 0);
  const result = emptyValues(pairs.rows.length);
  let done = 0;
  for (let start = 0; start < longest; start += width) {
    setting.signal?.throwIfAborted();
    const lists = perRow.map((list) => list.slice(start, start + width));
    const n = lists.reduce((m, list) => Math.max(m, list.length), 0);
    const latents = new Int32Array(batch.batchSize * n);
    const real = new Uint8Array(batch.batchSize * n);
    lists.forEach((list, b) =>
      list.forEach((i, j) => {
        latents[b * n + j] = pairs.latents[i]!;
        real[b * n + j] = 1;
      }),
    );
    const values = await coneChunk(setting, run, latents, n);
    lists.forEach((list, b) => list.forEach((i, j) => copyValue(values, b * n + j, result, i)));
    onChunk((done += lists.reduce((m, list) => m + list.length, 0)));
  }
  return result;
}

async function coneChunk(
  setting: AblationSetting,
  run: SplicedRun,
  latentIds: Int32Array,
  n: number,
): Promise<AblatedValues> {
  const { model, target } = setting;
  const { batch, answers, sae } = run;
  const pairsAxis = variants(n);
  const latents = leaf(int64(latentIds), [batch.batchSize, n], {
    shape: [batch.batch, pairsAxis],
    name: "ablated latents",
  });
  const activations = takeVariants(sae.acts, latents); // [batch, pairs]
  const replacement: Splice = () => target.ablate(sae.output, { latents, activations, input: sae.input });
  const start = startOf(setting);
  const trace = new Trace({ splices: splicesFrom(setting, start, replacement) });
  const positions = takeRows(batch.positions, answers.index);
  const pastMask = batch.keyMask ?? allReal(batch);
  const output = forward(
    model.parts(batch.largestPosition + 1),
    {
      tokens: start.tokens ? takeRows(batch.tokens, answers.index) : undefined,
      positions,
      keyPositions: batch.positions,
      keyMask: undefined,
      emptyRows: false,
      residual: run.entering, // [batch, 1, d_model]
      startAtLayer: start.layer,
      stopAtLayer: undefined,
      past: run.keyValues,
      independent: { index: answers.index, pastMask },
    },
    trace,
  );
  trace.finish();
  const { diffs, losses, preds } = answerValues(output.logits!, answers, setting.kind);
  // One column for all pairs where something later does not read what the target writes.
  const perPair = (x: Tensor): Tensor => broadcastTo(x, [batch.batch, pairsAxis]);
  return realizeValues(setting, { diffs: perPair(diffs), losses: perPair(losses), preds: perPair(preds) });
}

function allReal(batch: TokenBatch): Tensor {
  const ones = new Uint8Array(batch.batchSize * batch.length).fill(1);
  return leaf(ones, [batch.batchSize, batch.length], {
    shape: [batch.batch, batch.pos],
    dtype: "bool",
    name: "attention mask",
  });
}

/** Entries of [batch, 1, latent] named per variant: [batch, pairs]. */
function takeVariants(acts: Tensor, latents: Tensor): Tensor {
  const flat = reshape(acts, [acts.shape[0]!, acts.shape[2]!]);
  return takeRows(flat, latents);
}

export async function realizeValues(
  setting: AblationSetting,
  values: Pick<AnswerValues, "diffs" | "losses" | "preds">,
): Promise<AblatedValues> {
  const { diffs, losses, preds } = await setting.model.runtime.realize(
    { diffs: values.diffs, losses: values.losses, preds: values.preds },
    { weights: setting.model.weightPolicy, signal: setting.signal },
  );
  return { diffs: diffs.data as Float32Array, losses: losses.data as Float32Array, preds: preds.data as Int32Array };
}

/**
 * The same through whole rows: for models that are not causal, and for ablating a latent at every position. Each pair
 * is a row of its own, run from the hook's block on.
 * @param everywhere at all positions, or at the answer position only
 */
export async function ablateRows(
  setting: AblationSetting,
  run: SplicedRun,
  pairs: Pairs,
  everywhere: boolean,
  onChunk: (done: number) => void,
): Promise<AblatedValues> {
  const width = Math.max(1, Math.floor((chunkRows * 4) / run.batch.length));
  const result = emptyValues(pairs.rows.length);
  for (let start = 0; start < pairs.rows.length; start += width) {
    setting.signal?.throwIfAborted();
    const end = Math.min(start + width, pairs.rows.length);
    const values = await rowsChunk(
      setting,
      run,
      pairs.rows.subarray(start, end),
      pairs.latents.subarray(start, end),
      everywhere,
    );
    for (let i = start; i < end; i++) copyValue(values, i - start, result, i);
    onChunk(end);
  }
  return result;
}

async function rowsChunk(
  setting: AblationSetting,
  run: SplicedRun,
  rowIds: Int32Array,
  latentIds: Int32Array,
  everywhere: boolean,
): Promise<AblatedValues> {
  const { model, target } = setting;
  const { sae, answers } = run;
  const pick = (rows: readonly (readonly number[])[]): number[][] => Array.from(rowIds, (b) => [...rows[b]!]);
  const batch = tokenBatch(pick(run.batch.ids), { mask: pick(run.batch.mask), pos: run.batch.pos });
  const rowLeaf = (data: BigInt64Array, name: string): Tensor =>
    leaf(data, [rowIds.length], { shape: [batch.batch], name });
  const rows = rowLeaf(int64(rowIds), "rows");
  const shared = (x: Tensor): Tensor => gather(x, rows, 0); // [pairs, pos, …]
  const own: AnswerLeaves = answerLeavesOf(answers, rowIds, batch.batch);
  const latents = broadcastTo(unsqueeze(rowLeaf(int64(latentIds), "ablated latents"), 1), [batch.batch, batch.pos]);
  const acts = latentColumn(shared(sae.acts), unsqueeze(rowLeaf(int64(latentIds), "ablated latents"), 1)); // [pairs, pos]
  const atAnswer = cast(equal(range(batch.pos), own.index), "float32");
  const activations = everywhere ? acts : mul(acts, atAnswer);
  const replacement: Splice = () =>
    target.ablate(shared(sae.output), { latents, activations, input: shared(sae.input) });
  const start = startOf(setting);
  const trace = new Trace({ splices: splicesFrom(setting, start, replacement) });
  const output = forward(
    model.parts(run.batch.largestPosition + 1),
    {
      tokens: start.tokens ? batch.tokens : undefined,
      positions: shared(run.batch.positions),
      keyMask: batch.keyMask,
      emptyRows: batch.emptyRows,
      residual: run.entering && shared(run.entering),
      startAtLayer: start.layer,
      stopAtLayer: undefined,
    },
    trace,
  );
  trace.finish();
  return realizeValues(setting, answerValues(takeRows(output.logits!, own.index), own, setting.kind));
}

/** Column `latents[i]` of each row: [pairs, pos, latent] → [pairs, pos]. */
function latentColumn(acts: Tensor, latents: Tensor): Tensor {
  const column = takeRows(acts, latents, { axis: 2, batchAxis: 0 }); // [pairs, pos, 1]
  return reshape(column, acts.shape.slice(0, 2));
}

function answerLeavesOf(answers: AnswerLeaves, rows: Int32Array, batch: Axis): AnswerLeaves {
  const { classes } = answers;
  const pick = (x: Tensor, width: number): number[] =>
    Array.from(rows).flatMap((b) => Array.from({ length: width }, (_, i) => Number(x.data[b * width + i])));
  return answerLeaves(batch, {
    ids: pick(answers.ids, classes),
    classes,
    labels: pick(answers.labels, 1),
    index: pick(answers.index, 1),
  });
}

export function emptyValues(size: number): { diffs: Float32Array; losses: Float32Array; preds: Int32Array } {
  return { diffs: new Float32Array(size), losses: new Float32Array(size), preds: new Int32Array(size) };
}

export function copyValue(from: AblatedValues, i: number, to: ReturnType<typeof emptyValues>, j: number): void {
  to.diffs[j] = from.diffs[i]!;
  to.losses[j] = from.losses[i]!;
  to.preds[j] = from.preds[i]!;
}
