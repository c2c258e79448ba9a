/** @file What each latent does over all examples: effects, activations and how often it is active. */
import {
  csvLine,
  displayAs,
  Table,
  type Cell,
  type Displayable,
  type HtmlOptions,
  type PngOptions,
} from "../../display/index.ts";
import { AnalysisError } from "../errors.ts";
import { effectsOf, exampleOf, type Effects } from "../views/shapes.ts";
import type { AnalysisName, AnalysisResult } from "../tables/four.ts";
import type { HookInfo } from "../tables/hookInfo.ts";
import { calcActivationSummary, type ActivationSummary } from "./activations.ts";
import { computeCorrect } from "./correct.ts";
import { rowsByLatent } from "./rows.ts";
import { meanInterval, resample, spread, type BootstrapOptions } from "./statistics.ts";

/**
 * The fields of a latent's metrics, as they are named in stored columns, with their headings. Effects are over the
 * examples that count, in those in which the latent is inactive they are 0.
 */
export const metricLabels = {
  total_effect: "Total Effect",
  mean_effect: "Mean Effect",
  proportion_samples_active: "Proportion Active",
  mean_activation: "Mean Activation",
  num_samples_active: "Number Active",
  /** Over the examples in which the latent is active. */
  mean_effect_active: "Mean Effect Where Active",
  /** With the effects of ablations that make the answer wrong. */
  total_effect_unmasked: "Total Effect, Unmasked",
  mean_effect_unmasked: "Mean Effect, Unmasked",
  /** Standard deviation (n - 1) over the examples, and the order statistics. */
  sd_effect: "SD of Effect",
  min_effect: "Least Effect",
  q25_effect: "25 % Effect",
  median_effect: "Median Effect",
  q75_effect: "75 % Effect",
  max_effect: "Greatest Effect",
  /** Ends of the bootstrap interval of `mean_effect`; NaN where none was asked for. */
  mean_effect_low: "Mean Effect, From",
  mean_effect_high: "Mean Effect, To",
} as const;

export type MetricField = keyof typeof metricLabels;
/** The names of the fields. */
export const metricFields: readonly MetricField[] = Object.keys(metricLabels) as MetricField[];

/** Metrics of one hook, sparse: latents that are not listed have 0 in every field. */
export interface HookMetrics extends Readonly<Record<MetricField, Float64Array>> {
  readonly hook: HookInfo;
  /** Ascending. */
  readonly latents: Int32Array;
}

/** Metrics of the latents of one analysis. Shows itself as a table, the largest total effects first. */
export class LatentMetrics implements Displayable {
  readonly analysis: AnalysisName;
  /** What the analysis is called where that is not the name of its op. */
  readonly name: string;
  readonly effects: Effects;
  /** Number of examples that count. */
  readonly num_examples: number;
  readonly hooks: readonly HookMetrics[];

  constructor(of: AnalysisResult, effects: Effects, num_examples: number, hooks: readonly HookMetrics[]) {
    this.analysis = of.analysis;
    this.name = of.name ?? of.analysis;
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

  /** The latents with the largest total effects of either sign, with all fields. Default 20. */
  table({ topK = 20 }: { readonly topK?: number } = {}): Table {
    const size = metricFields.indexOf("total_effect") + 2;
    const all = [...this.#rows()].sort((a, b) => Math.abs(Number(b[size])) - Math.abs(Number(a[size])));
    const columns = metricFields.map((key) => ({ key, label: metricLabels[key] }));
    return new Table(
      [{ key: "hook", label: "Hook" }, { key: "latent", label: "Latent Index" }, ...columns],
      all.slice(0, topK),
      `${this.name}: ${Math.min(topK, all.length)} of ${all.length} latents, ${this.effects} effects over ${this.num_examples} examples`,
    );
  }

  toString(): string {
    return String(this.table());
  }

  toHTML(options?: HtmlOptions): Promise<string> {
    return this.table().toHTML(options);
  }

  toSVG(): Promise<string> {
    return this.table().toSVG();
  }

  toPNG(options?: PngOptions): Promise<Uint8Array> {
    return this.table().toPNG(options);
  }

  /** One record per latent. */
  toJSON(): object {
    const { analysis, name, effects, num_examples } = this;
    return { analysis, name, effects, num_examples, latents: this.table({ topK: Infinity }).toJSON() };
  }

  /** One line per latent, hook by hook, latents ascending. */
  toCSV(): string {
    return [["hook", "latent", ...metricFields], ...this.#rows()].map((cells) => csvLine(cells)).join("");
  }

  *#rows(): Generator<Cell[]> {
    for (const { hook, latents, ...fields } of this.hooks)
      for (const [i, latent] of latents.entries())
        yield [hook.name, latent, ...metricFields.map((field) => fields[field][i]!)];
  }

  static {
    displayAs(this);
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
  /** Gives `mean_effect` an interval, by drawing the examples that count again and again. Default: none. */
  readonly bootstrap?: BootstrapOptions;
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
  const { activations = result, filterByCorrect = true, effects = "masked", bootstrap } = options;
  const { level = 0.95 } = bootstrap ?? {};
  const values = effectsOf(result, effects);
  const unmasked = effectsOf(result, "all");
  const summary = "analysis" in activations ? calcActivationSummary(activations) : activations;
  const counts = countingExamples(result, filterByCorrect);
  const n = counts.filter(Boolean).length;
  const drawn = bootstrap && n > 0 ? resample(n, bootstrap) : undefined;
  const examples = exampleOf(result);
  let counted = 0;
  const places = counts.map((count) => (count ? counted++ : -1));
  const active = new Map(summary.hooks.map((hook) => [hook.hook.name, hook]));
  const hooks = rowsByLatent(result, (example) => counts[example]!).map((own): HookMetrics => {
    const seen = active.get(own.hook.name);
    if (!seen)
      throw new AnalysisError("the activations are not of the same hooks", {
        code: "review/hooks",
        expected: own.hook.name,
        received: [...active.keys()].join(", "),
      });
    const latents = Int32Array.from(new Set([...own.latents, ...seen.latents])).sort();
    const out = {} as Record<MetricField, Float64Array>;
    for (const field of metricFields) out[field] = new Float64Array(latents.length);
    const [rowsOf, seenAt] = [indexOf(own.latents), indexOf(seen.latents)];
    latents.forEach((latent, i) => {
      const rows = own.rows[rowsOf.get(latent) ?? -1] ?? new Int32Array();
      const at = seenAt.get(latent);
      const effect = Float64Array.from(rows, (row) => values[row]!);
      const sum = total(effect);
      const all = total(Float64Array.from(rows, (row) => unmasked[row]!));
      const { sd, min, q25, median, q75, max } = spread(effect, n);
      const samples = at === undefined ? 0 : seen.num_samples_active[at]!;
      const where = Int32Array.from(rows, (row) => places[examples[row]!]!);
      const [low, high] = drawn ? meanInterval(where, effect, drawn, n, level) : [NaN, NaN];
      const fields: Record<MetricField, number> = {
        total_effect: sum,
        mean_effect: sum / n,
        proportion_samples_active: samples / n,
        mean_activation: at === undefined ? 0 : seen.mean_activation[at]!,
        num_samples_active: samples,
        mean_effect_active: sum / Math.max(1, rows.length),
        total_effect_unmasked: all,
        mean_effect_unmasked: all / n,
        sd_effect: sd,
        min_effect: min,
        q25_effect: q25,
        median_effect: median,
        q75_effect: q75,
        max_effect: max,
        mean_effect_low: low,
        mean_effect_high: high,
      };
      for (const field of metricFields) out[field][i] = fields[field];
    });
    return { hook: own.hook, latents, ...out };
  });
  return new LatentMetrics(result, effects, n, hooks);
}

/** Which examples count: all, or those that are right. */
function countingExamples(result: AnalysisResult, filter: boolean): boolean[] {
  const { examples } = result;
  if (!filter) return examples.map(() => true);
  const votes = computeCorrect(result).batch_predictions?.flat();
  return examples.map((row, i) => (votes ? votes[i] === row.orig_labels : row.logit_diffs > 0));
}

const indexOf = (ids: Int32Array): Map<number, number> => new Map(Array.from(ids, (id, i) => [id, i]));
const total = (values: Float64Array): number => values.reduce((so_far, value) => so_far + value, 0);
