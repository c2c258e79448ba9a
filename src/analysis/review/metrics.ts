/** @file What each latent does over all examples: effects, activations and how often it is active. */
import { AnalysisError } from "../errors.ts";
import { effectsOf, exampleOf, type Effects } from "../store/views.ts";
import type { AnalysisName, AnalysisResult, HookInfo, LatentColumns } from "../store/schema.ts";
import { csvLine } from "../../display/index.ts";
import { computeCorrect } from "./correct.ts";

/** Activations of the latents of one hook over the examples with a positive logit difference, latents ascending. */
export interface HookActivations {
  readonly hook: HookInfo;
  /** Latents active in any of these examples; all others have 0 everywhere. */
  readonly latents: Int32Array;
  /** Mean over these examples, zeros included. */
  readonly mean_activation: Float64Array;
  readonly num_samples_active: Int32Array;
}

/** What `calcActivationSummary` says. */
export interface ActivationSummary {
  /** Number of examples with a positive logit difference. */
  readonly num_correct: number;
  readonly hooks: readonly HookActivations[];
}

/**
 * Mean activation of every latent, and in how many examples it is active, over the examples with a positive logit
 * difference.
 *
 * @throws AnalysisError for `logit_diffs_base`, which has no latents.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const { num_correct, hooks } = calcActivationSummary(await store.load("logit_diffs_sae"));
 * ```
 */
export function calcActivationSummary(result: AnalysisResult): ActivationSummary {
  const { analysis, examples, latents } = result;
  if (analysis === "logit_diffs_base")
    throw new AnalysisError("the plain model has no latents to summarise", {
      code: "review/no-latents",
      received: analysis,
      hint: "give the spliced, gradient or ablation analysis",
    });
  const rows = exampleOf(result);
  const correct = examples.map((row) => row.logit_diffs > 0);
  const num_correct = correct.filter(Boolean).length;
  const hooks = sums(result.hooks, latents, (i) => correct[rows[i]!]!, [latents.activation]).map(
    ({ hook, ids, counts, totals }): HookActivations => ({
      hook,
      latents: ids,
      mean_activation: totals[0]!.map((total) => total / num_correct),
      num_samples_active: counts,
    }),
  );
  return { num_correct, hooks };
}

/** The fields of a latent's metrics, as they are named in tables and columns. */
export const metricFields = [
  "total_effect",
  "mean_effect",
  "proportion_samples_active",
  "mean_activation",
  "num_samples_active",
  "mean_effect_active",
] as const;
export type MetricField = (typeof metricFields)[number];

/** Metrics of one hook, sparse: latents that are not listed have 0 in every field. */
export interface HookMetrics extends Record<MetricField, Float64Array> {
  readonly hook: HookInfo;
  /** Ascending. */
  readonly latents: Int32Array;
}

/** Metrics of the latents of one analysis. */
export class LatentMetrics {
  readonly analysis: AnalysisName;
  readonly effects: Effects;
  /** Number of examples that count. */
  readonly num_examples: number;
  readonly hooks: readonly HookMetrics[];

  constructor(analysis: AnalysisName, effects: Effects, num_examples: number, hooks: readonly HookMetrics[]) {
    this.analysis = analysis;
    this.effects = effects;
    this.num_examples = num_examples;
    this.hooks = hooks;
  }

  /** One field of one hook over all its latents, zeros included: [width]. */
  dense(hook: string, field: MetricField): Float64Array {
    const found = this.hooks.find((metrics) => metrics.hook.name === hook);
    if (!found)
      throw new AnalysisError("the metrics have no such hook", {
        code: "store/hook",
        expected: this.hooks.map((metrics) => metrics.hook.name).join(", "),
        received: hook,
      });
    const out = new Float64Array(found.hook.width);
    found.latents.forEach((latent, i) => (out[latent] = found[field][i]!));
    return out;
  }

  /** One record per latent. */
  toJSON(): object {
    const { analysis, effects, num_examples } = this;
    return { analysis, effects, num_examples, latents: [...this.#records()] };
  }

  toCSV(): string {
    const lines = [...this.#records()].map((record) => csvLine(Object.values(record)));
    return csvLine(["hook", "latent", ...metricFields]) + lines.join("");
  }

  *#records(): Generator<Record<string, string | number>> {
    for (const metrics of this.hooks)
      for (const [i, latent] of metrics.latents.entries())
        yield {
          hook: metrics.hook.name,
          latent,
          ...Object.fromEntries(metricFields.map((field) => [field, metrics[field][i]!])),
        };
  }
}

export interface LatentMetricsOptions {
  /** The analysis (or summary) whose activations are reported; default the analysis itself. */
  readonly activations?: AnalysisResult | ActivationSummary;
  /**
   * Count only examples that are right: for ablation by the vote of `computeCorrect`, otherwise those with a positive
   * logit difference. Default true.
   */
  readonly filterByCorrect?: boolean;
  /** Default `masked`, as published. */
  readonly effects?: Effects;
}

/**
 * Effects and activations of every latent over the examples. `mean_effect` and `proportion_samples_active` divide by
 * all examples that count, as published; `mean_effect_active` divides by those in which the latent is active, so that
 * rare strong latents show.
 *
 * @throws AnalysisError when the analysis has no attributions.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const metrics = latentMetrics(await store.load("logit_diffs_attr_ablation"));
 * const effects = metrics.dense("blocks.9.attn.hook_z.hook_sae_acts_post", "total_effect"); // one per latent
 * ```
 */
export function latentMetrics(result: AnalysisResult, options: LatentMetricsOptions = {}): LatentMetrics {
  const { activations = result, filterByCorrect = true, effects = "masked" } = options;
  const values = effectsOf(result, effects);
  const summary =
    "hooks" in activations && "analysis" in activations ? calcActivationSummary(activations) : activations;
  const counts = countingExamples(result, filterByCorrect);
  const n = counts.filter(Boolean).length;
  const rows = exampleOf(result);
  const active = new Map(summary.hooks.map((hook) => [hook.hook.name, hook]));
  const hooks = sums(result.hooks, result.latents, (i) => counts[rows[i]!]!, [values]).map((own): HookMetrics => {
    const seen = active.get(own.hook.name);
    if (!seen)
      throw new AnalysisError("the activations are not of the same hooks", {
        code: "review/hooks",
        expected: own.hook.name,
        received: [...active.keys()].join(", "),
      });
    const latents = Int32Array.from(new Set([...own.ids, ...seen.latents])).sort();
    const spread = (ids: Int32Array, from: ArrayLike<number>): Float64Array => {
      const places = new Map(Array.from(ids, (id, i) => [id, i]));
      return Float64Array.from(latents, (latent) => from[places.get(latent) ?? -1] ?? 0);
    };
    const total_effect = spread(own.ids, own.totals[0]!);
    const num_samples_active = spread(seen.latents, seen.num_samples_active);
    const rowsActive = spread(own.ids, own.counts);
    return {
      hook: own.hook,
      latents,
      total_effect,
      mean_effect: total_effect.map((total) => total / n),
      proportion_samples_active: num_samples_active.map((count) => count / n),
      mean_activation: spread(seen.latents, seen.mean_activation),
      num_samples_active,
      mean_effect_active: total_effect.map((total, i) => total / Math.max(1, rowsActive[i]!)),
    };
  });
  return new LatentMetrics(result.analysis, effects, n, hooks);
}

function countingExamples(result: AnalysisResult, filter: boolean): boolean[] {
  const { examples } = result;
  if (!filter) return examples.map(() => true);
  const votes = computeCorrect(result).batch_predictions?.flat();
  return examples.map((row, i) => (votes ? votes[i] === row.orig_labels : row.logit_diffs > 0));
}

interface HookSums {
  hook: HookInfo;
  ids: Int32Array;
  counts: Int32Array;
  totals: Float64Array[];
}

/** Per hook the latents with a row that counts, ascending; their number of rows and the sums of the given columns. */
function sums(
  hooks: readonly HookInfo[],
  latents: LatentColumns,
  counts: (row: number) => boolean,
  columns: readonly Float32Array[],
): HookSums[] {
  return hooks.map((hook, code) => {
    const rows = new Int32Array(hook.width);
    const totals = columns.map(() => new Float64Array(hook.width));
    for (let i = 0; i < latents.length; i++) {
      if (latents.hook[i] !== code || !counts(i)) continue;
      const latent = latents.latent[i]!;
      rows[latent]!++;
      columns.forEach((column, c) => (totals[c]![latent]! += column[i]!));
    }
    const ids = Int32Array.from(rows.keys()).filter((latent) => rows[latent]! > 0);
    const pick = (from: ArrayLike<number>): number[] => Array.from(ids, (latent) => from[latent]!);
    return { hook, ids, counts: Int32Array.from(pick(rows)), totals: totals.map((t) => Float64Array.from(pick(t))) };
  });
}
