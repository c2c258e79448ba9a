/** @file How sure an effect is: its interval, and what single examples say. */
import { Figure, fixed, Section, Table, type Cell } from "../../display/index.ts";
import type { AnalysisResult } from "../tables/four.ts";
import { latentMetrics, metricLabels, type LatentMetricsOptions, type MetricField } from "./metrics.ts";

export interface UncertaintyOptions extends LatentMetricsOptions {
  /** Latents per hook, those with the largest mean effects of either sign. Default 10. */
  readonly topK?: number;
}

const shown: readonly MetricField[] = [
  "mean_effect",
  "mean_effect_low",
  "mean_effect_high",
  "sd_effect",
  "min_effect",
  "median_effect",
  "max_effect",
  "mean_effect_active",
  "num_samples_active",
  "mean_effect_unmasked",
];

/**
 * For each hook a plot of the largest mean effects with their bootstrap intervals, and a table of them with the spread
 * over the examples. An interval says how much the mean would move with other examples of the same kind; where a latent
 * is active in one or two examples only, it is rough and mostly includes 0.
 *
 * @throws AnalysisError when the analysis has no attributions.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const section = effectUncertainty(await store.load("logit_diffs_attr_ablation"), { bootstrap: { resamples: 200 } });
 * section.items.length; // 4: a plot and a table for each of two hooks
 * ```
 */
export function effectUncertainty(result: AnalysisResult, options: UncertaintyOptions = {}): Section<Figure | Table> {
  const { topK = 10, bootstrap = {} } = options;
  const { level = 0.95 } = bootstrap;
  const metrics = latentMetrics(result, { ...options, bootstrap });
  const items = metrics.hooks.flatMap((hook) => {
    const order = [...hook.latents.keys()]
      .sort((a, b) => Math.abs(hook.mean_effect[b]!) - Math.abs(hook.mean_effect[a]!))
      .slice(0, topK);
    const column = (field: MetricField): number[] => order.map((i) => hook[field][i]!);
    const names = order.map((i) => `#${hook.latents[i]}`);
    const [mean, low, high] = [column("mean_effect"), column("mean_effect_low"), column("mean_effect_high")];
    const say = (i: number): string =>
      `${names[i]}: ${fixed(mean[i]!, 4)} (${fixed(low[i]!, 4)} to ${fixed(high[i]!, 4)})`;
    const labels = names.map((_, i) => say(i));
    const figure = new Figure({
      title: `Mean effects at ${hook.hook.name}`,
      subtitle: `${100 * level} % bootstrap intervals over ${metrics.num_examples} examples, ${metrics.effects} effects`,
      width: 1000,
      height: 420,
      x: { label: "Latent" },
      y: { label: "Mean effect on logit diff" },
      series: [
        { mark: "rule", y: [0] },
        { mark: "interval", x: names, y: low, y2: high, labels },
        { mark: "dot", x: names, y: mean, labels, hue: "positive" },
      ],
    });
    const columns = [
      { key: "latent", label: "Latent Index" },
      ...shown.map((key) => ({
        key,
        label: metricLabels[key],
        format: (cell: Cell) => fixed(Number(cell), key === "num_samples_active" ? 0 : 4),
      })),
    ];
    const rows = order.map((i) => [hook.latents[i]!, ...shown.map((field) => hook[field][i]!)]);
    return [figure, new Table(columns, rows, `Spread of effects at ${hook.hook.name}`)];
  });
  return new Section(items, { title: `How sure the effects of ${metrics.name} are` });
}
