/** @file Other shapes of an analysis, computed from its two tables: per batch, dense, per hook, masked or not. */
import { AnalysisError } from "../errors.ts";
import { sliceLatents, takeLatents, type LatentColumns } from "../tables/latents.ts";
import type { AnalysisResult, ExampleRow } from "../tables/four.ts";
import type { HookInfo } from "../tables/hookInfo.ts";

/**
 * `masked`, as published: the effect of an ablation counts only where the *ablated* logit difference is positive.
 * `all`: every effect counts. Gradient attributions are the same under both.
 */
export type Effects = "masked" | "all";

/** A dense matrix, row by row. */
export interface Dense {
  readonly shape: readonly [rows: number, width: number];
  readonly data: Float32Array;
}

/** A value for each hook and each of its latents that is alive in the batch, latents ascending. */
export type PerLatent<T> = Record<string, Record<number, T>>;

/** One batch as the published store lays it out. */
export interface BatchView {
  readonly batch: number;
  readonly label_ids: number[];
  readonly orig_labels: number[];
  readonly answer_indices: number[];
  readonly prompts?: string[];
  readonly tokens?: (readonly number[])[];
  /** Mean over the batch; for ablation per latent, with the spliced value in examples where the latent is inactive. */
  readonly loss: number | PerLatent<number>;
  /** One per example; for ablation per latent, under `masked` only the positive ones (a ragged list). */
  readonly logit_diffs: number[] | PerLatent<number[]>;
  readonly preds: number[] | PerLatent<number[]>;
  /** Logits of the answers per example, of the spliced run for ablation. */
  readonly answer_logits: (readonly number[])[];
  /** Latents active in at least one example, ascending. Every hook has an entry. Absent for the plain model. */
  readonly alive_latents?: Record<string, number[]>;
  /** [examples with a positive logit difference, width]; for spliced and gradient analyses. */
  readonly correct_activations?: Record<string, Dense>;
  /** [examples, width]; for gradient and ablation. */
  readonly attribution_values?: Record<string, Dense>;
}

/** A batch's part of both tables: examples `start` to `end`, latent rows `first` to `last` (ends exclusive). */
export interface BatchRange {
  readonly batch: number;
  readonly start: number;
  readonly end: number;
  readonly first: number;
  readonly last: number;
}

/** The tables that any analysis has. */
export interface TwoTables {
  readonly examples: readonly { readonly example: number; readonly batch: number }[];
  readonly latents: LatentColumns;
}

/**
 * For each latent row the index of its example in `examples`.
 * @example
 * const store = await AnalysisStore.open("runs/rte");
 * const result = await store.load("logit_diffs_attr_grad");
 * exampleOf(result).length === result.latents.length; // true
 */
export function exampleOf({ examples, latents }: TwoTables): Int32Array {
  const rows = new Int32Array(latents.length);
  let at = 0;
  for (let i = 0; i < latents.length; i++) {
    while (examples[at]!.example < latents.example[i]!) at++;
    rows[i] = at;
  }
  return rows;
}

/**
 * The batches of an analysis, in order.
 * @example
 * const store = await AnalysisStore.open("runs/rte");
 * batchRanges(await store.load("logit_diffs_base")).map(({ start, end }) => end - start); // [2, 1]: sizes of batches
 */
export function batchRanges({ examples, latents }: TwoTables): BatchRange[] {
  const ranges: BatchRange[] = [];
  let first = 0;
  for (let start = 0, end = 0; start < examples.length; start = end) {
    const { batch } = examples[start]!;
    while (end < examples.length && examples[end]!.batch === batch) end++;
    let last = first;
    while (last < latents.length && latents.example[last]! <= examples[end - 1]!.example) last++;
    ranges.push({ batch, start, end, first, last });
    first = last;
  }
  return ranges;
}

/**
 * The effect of each latent row.
 *
 * @throws AnalysisError when the analysis has no attributions.
 * @example
 * const store = await AnalysisStore.open("runs/rte");
 * const effects = effectsOf(await store.load("logit_diffs_attr_ablation"), "all"); // one per latent row
 */
export function effectsOf({ analysis, latents }: AnalysisResult, effects: Effects = "masked"): Float32Array {
  const { attribution_values: all, ablated_logit_diff: ablated } = latents;
  if (!all)
    throw new AnalysisError(`${analysis} has no attributions`, {
      code: "review/no-attributions",
      expected: "logit_diffs_attr_grad or logit_diffs_attr_ablation",
      received: analysis,
    });
  return effects === "masked" && ablated ? all.map((value, i) => (ablated[i]! > 0 ? value : 0)) : all;
}

/**
 * The rows of one hook, and the latents active in any example, ascending.
 * @example
 * const store = await AnalysisStore.open("runs/rte");
 * const { alive } = hookView(await store.load("logit_diffs_sae"), "blocks.9.attn.hook_z.hook_sae_acts_post");
 */
export function hookView(
  result: AnalysisResult,
  hook: string,
): { hook: HookInfo; latents: LatentColumns; alive: number[] } {
  const code = result.hooks.findIndex(({ name }) => name === hook);
  if (code < 0)
    throw new AnalysisError(`${result.analysis} has no such hook`, {
      code: "store/hook",
      expected: result.hooks.map(({ name }) => name).join(", "),
      received: hook,
    });
  const rows: number[] = [];
  result.latents.hook.forEach((h, i) => h === code && rows.push(i));
  const latents = takeLatents(result.latents, rows);
  return { hook: result.hooks[code]!, latents, alive: [...new Set(latents.latent)].sort((a, b) => a - b) };
}

/**
 * One batch of an analysis.
 *
 * @example
 * ```ts
 * const ablation = await (await AnalysisStore.open("runs/rte")).load("logit_diffs_attr_ablation");
 * for (const range of batchRanges(ablation)) console.log(batchView(ablation, range).alive_latents);
 * ```
 */
export function batchView(result: AnalysisResult, range: BatchRange, effects: Effects = "masked"): BatchView {
  const { analysis } = result;
  const examples = result.examples.slice(range.start, range.end);
  const part: AnalysisResult = { ...result, examples, latents: sliceLatents(result.latents, range.first, range.last) };
  const column = <K extends keyof ExampleRow>(name: K): ExampleRow[K][] => examples.map((row) => row[name]);
  const common = {
    batch: range.batch,
    label_ids: column("label_ids"),
    orig_labels: column("orig_labels"),
    answer_indices: column("answer_indices"),
    ...(examples.every((row) => row.prompts !== undefined) && { prompts: examples.map((row) => row.prompts!) }),
    ...(examples.every((row) => row.tokens !== undefined) && { tokens: examples.map((row) => row.tokens!) }),
    answer_logits: column("answer_logits"),
    loss: mean(column("loss")),
    logit_diffs: column("logit_diffs"),
    preds: column("preds"),
  };
  if (analysis === "logit_diffs_base") return common;
  const rows = exampleOf(part);
  const alive_latents = aliveLatents(part);
  const attributions = (): Record<string, Dense> => denseByHook(part, rows, effectsOf(part, effects), examples.length);
  if (analysis === "logit_diffs_attr_ablation")
    return {
      ...common,
      ...ablated(part, rows, alive_latents, effects),
      alive_latents,
      attribution_values: attributions(),
    };
  const correct_activations = correctActivations(part, rows);
  if (analysis === "logit_diffs_sae") return { ...common, alive_latents, correct_activations };
  return { ...common, alive_latents, correct_activations, attribution_values: attributions() };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function perHook<T>(hooks: readonly HookInfo[], make: (hook: HookInfo, code: number) => T): Record<string, T> {
  return Object.fromEntries(hooks.map((hook, code) => [hook.name, make(hook, code)]));
}

/** Per hook the latents that are active in any of the examples, ascending. */
export function aliveLatents({ hooks, latents }: Pick<AnalysisResult, "hooks" | "latents">): Record<string, number[]> {
  return perHook(hooks, (_, code) => {
    const alive = latents.latent.filter((_, i) => latents.hook[i] === code);
    return [...new Set(alive)].sort((a, b) => a - b);
  });
}

/** Values of latent rows as one matrix per hook; rows mapped to -1 are left out. */
export function denseByHook(
  part: Pick<AnalysisResult, "hooks" | "latents">,
  rows: Int32Array,
  values: ArrayLike<number>,
  height: number,
): Record<string, Dense> {
  const out = part.hooks.map(({ width }): Dense => ({
    shape: [height, width],
    data: new Float32Array(height * width),
  }));
  for (let i = 0; i < values.length; i++) {
    const { shape, data } = out[part.latents.hook[i]!]!;
    if (rows[i]! >= 0) data[rows[i]! * shape[1] + part.latents.latent[i]!] = values[i]!;
  }
  return perHook(part.hooks, (_, code) => out[code]!);
}

function correctActivations(part: AnalysisResult, rows: Int32Array): Record<string, Dense> {
  let count = 0;
  const place = part.examples.map((row) => (row.logit_diffs > 0 ? count++ : -1));
  return denseByHook(
    part,
    rows.map((row) => place[row]!),
    part.latents.activation,
    count,
  );
}

/** Per latent what its ablation leaves; where it is inactive that is what was there. */
function ablated(
  { hooks, examples, latents }: AnalysisResult,
  rows: Int32Array,
  alive: Record<string, number[]>,
  effects: Effects,
): { loss: PerLatent<number>; logit_diffs: PerLatent<number[]>; preds: PerLatent<number[]> } {
  const fill = (spliced: readonly number[], values: ArrayLike<number>): PerLatent<number[]> => {
    const out = perHook(hooks, ({ name }) =>
      Object.fromEntries(alive[name]!.map((latent): [number, number[]] => [latent, [...spliced]])),
    );
    for (let i = 0; i < latents.length; i++)
      out[hooks[latents.hook[i]!]!.name]![latents.latent[i]!]![rows[i]!] = values[i]!;
    return out;
  };
  const map = <A, B>(values: PerLatent<A>, f: (value: A) => B): PerLatent<B> =>
    perHook(hooks, ({ name }) =>
      Object.fromEntries(Object.entries(values[name]!).map(([latent, value]) => [Number(latent), f(value)])),
    );
  const column = (name: "loss" | "logit_diffs" | "preds"): number[] => examples.map((row) => row[name]);
  const diffs = fill(column("logit_diffs"), latents.ablated_logit_diff!);
  return {
    loss: map(fill(column("loss"), latents.ablated_loss!), mean),
    logit_diffs: effects === "all" ? diffs : map(diffs, (values) => values.filter((value) => value > 0)),
    preds: fill(column("preds"), latents.ablated_pred!),
  };
}
