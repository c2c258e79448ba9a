/** @file Effects of latents as plots: stems over all latents, and one attribution against the other. */
import { Figure, fixed, general, Section } from "../../display/index.ts";
import { batchRanges, effectsOf, type Effects } from "../views/shapes.ts";
import type { AnalysisName, AnalysisResult } from "../tables/four.ts";
import { pairedLatents } from "./agreement.ts";
import type { LatentMetrics, MetricField } from "./metrics.ts";
import { rowsByLatent } from "./rows.ts";

export interface LatentEffectsOptions {
  /** A chart for each batch and hook instead of one for each hook. Default false. */
  readonly perBatch?: boolean;
  /** Default `Latent effects of`. */
  readonly titlePrefix?: string;
  /** Default `masked`, as published. */
  readonly effects?: Effects;
}

/**
 * The mean effect of every latent on the logit difference, over all examples (right or not), as one chart per hook over
 * all its latents; or over those of each batch. A stem stands at each latent that is active anywhere, all others are 0.
 *
 * @throws AnalysisError when the analysis has no attributions.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const charts = plotLatentEffects(await store.load("logit_diffs_attr_ablation"));
 * charts.items[0]?.title?.slice(0, 29); // "Latent effects of (blocks.9.a"
 * ```
 */
export function plotLatentEffects(result: AnalysisResult, options: LatentEffectsOptions = {}): Section<Figure> {
  const { perBatch = false, titlePrefix = "Latent effects of", effects = "masked" } = options;
  const values = effectsOf(result, effects);
  const whole = { start: 0, end: result.examples.length, batch: -1 };
  const figures = (perBatch ? batchRanges(result) : [whole]).flatMap(({ start, end, batch }) =>
    rowsByLatent(result, (example) => example >= start && example < end).map(({ hook, latents, rows }) => {
      const sums = rows.map((own) => own.reduce((sum, row) => sum + values[row]!, 0));
      const means = sums.map((sum) => sum / (end - start));
      const alive = `${latents.length} alive`;
      return new Figure({
        title: perBatch
          ? `${titlePrefix} ${hook.name} latent effect on logit diff of batch ${batch} (${alive})`
          : `${titlePrefix} (${hook.name}) Latent effect on logit diff (aggregated, ${alive})`,
        width: 1000,
        height: 420,
        x: { label: "Latent", domain: [0, hook.width - 1] },
        y: { label: "Latent effect on logit diff" },
        series: [
          {
            mark: "stem",
            x: latents,
            y: means,
            labels: means.map(
              (mean, i) => `#${latents[i]}: ${general(mean)}, active in ${rows[i]!.length} of ${end - start}`,
            ),
          },
        ],
      });
    }),
  );
  return new Section(figures);
}

export interface LatentScatterOptions {
  /** Default `total_effect`. */
  readonly field?: MetricField;
  /** Names of the axes. Default: of the analyses, as the tutorials call them. */
  readonly label1?: string;
  readonly label2?: string;
  /** In CSS pixels. Default 800 × 600. */
  readonly width?: number;
  readonly height?: number;
}

const tutorialNames: Readonly<Partial<Record<AnalysisName, string>>> = {
  logit_diffs_attr_ablation: "Ablation",
  logit_diffs_attr_grad: "Attribution Patching",
};

/**
 * One metric against the other, a dot per latent: one scatter per hook, with the line on which both are equal, from the
 * smallest to the largest value of the second. Latents that are 0 in both share one dot.
 *
 * @throws AnalysisError when they are not of the same hooks
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const ablation = latentMetrics(await store.load("logit_diffs_attr_ablation"));
 * const gradient = latentMetrics(await store.load("logit_diffs_attr_grad"));
 * const [first] = latentMetricsScatter(ablation, gradient).items;
 * first?.title;
 * // "Attribution Patching vs Ablation total_effect for blocks.9.attn.hook_z.hook_sae_acts_post"
 * ```
 */
export function latentMetricsScatter(
  metrics1: LatentMetrics,
  metrics2: LatentMetrics,
  options: LatentScatterOptions = {},
): Section<Figure> {
  const { field = "total_effect", width = 800, height = 600 } = options;
  const [label1, label2] = (
    [
      [options.label1, metrics1],
      [options.label2, metrics2],
    ] as const
  ).map(([label, { name, analysis }]) => label ?? (name === analysis ? tutorialNames[analysis] : undefined) ?? name);
  const figures = pairedLatents(metrics1, metrics2, field).map(({ hook, pairs }) => {
    const both = hook.width - pairs.length;
    const zero = both > 0 ? [0] : [];
    const [x, y] = [
      [...pairs.map((pair) => pair.first), ...zero],
      [...pairs.map((pair) => pair.second), ...zero],
    ];
    const ends = [y.reduce((a, b) => Math.min(a, b)), y.reduce((a, b) => Math.max(a, b))];
    const say = (value: number): string => fixed(value, 4);
    const labels = pairs.map(
      ({ latent, first, second }) => `#${latent}: ${label1} ${say(first)}, ${label2} ${say(second)}`,
    );
    if (both > 0) labels.push(`${both} latents are 0 in both`);
    return new Figure({
      title: `${label2} vs ${label1} ${field} for ${hook.name}`,
      width,
      height,
      x: { label: label1 },
      y: { label: label2 },
      series: [
        { mark: "line", name: "equal", x: ends, y: ends, hue: "negative", dashed: true },
        { mark: "dot", name: "latent", x, y, labels, hue: "positive" },
      ],
    });
  });
  return new Section(figures);
}
