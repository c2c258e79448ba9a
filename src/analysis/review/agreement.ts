/** @file How far two attributions agree about the latents. */
import { displayed, Table, type Displayable } from "../../display/index.ts";
import { AnalysisError } from "../errors.ts";
import type { HookMetrics, LatentMetrics, MetricField } from "./metrics.ts";
import { pearson, spearman } from "./statistics.ts";

/** Agreement at one hook. */
export interface HookAgreement {
  readonly hook: string;
  /** Latents with a value that is not 0 in either analysis: only these are compared. */
  readonly latents: number;
  /** NaN where one side does not vary. */
  readonly pearson: number;
  /** Of ranks, equal values sharing the mean of theirs. */
  readonly spearman: number;
  /** Latents on whose sign both agree, among those with a value in both. */
  readonly same_sign: number;
  readonly largest_gap: number;
  /** The latent with the largest gap; null without latents. */
  readonly gap_latent: number | null;
  /** Sums over the latents. */
  readonly total_1: number;
  readonly total_2: number;
}

/** What `attributionAgreement` says, hook by hook. Shows itself as a table. */
export interface AttributionAgreement extends Displayable {
  readonly hooks: readonly HookAgreement[];
}

/** A latent's values in two analyses. */
export interface Pair {
  readonly latent: number;
  readonly first: number;
  readonly second: number;
}

/**
 * The values of two metrics for the latents that have one in either, hook by hook.
 * @throws AnalysisError when they are not of the same hooks
 */
export function pairedLatents(
  first: LatentMetrics,
  second: LatentMetrics,
  field: MetricField,
): { hook: HookMetrics["hook"]; pairs: Pair[] }[] {
  const names = (metrics: LatentMetrics): string => metrics.hooks.map(({ hook }) => hook.name).join(", ");
  if (names(first) !== names(second))
    throw new AnalysisError("the two metrics are not of the same hooks", {
      code: "review/hooks",
      expected: names(first),
      received: names(second),
    });
  return first.hooks.map((one, h) => {
    const other = second.hooks[h]!;
    const values = new Map<number, [number, number]>();
    for (const [side, metrics] of [one, other].entries())
      metrics.latents.forEach((latent, i) => {
        const pair = values.get(latent) ?? [0, 0];
        pair[side] = metrics[field][i]!;
        values.set(latent, pair);
      });
    const pairs = [...values].map(([latent, [a, b]]): Pair => ({ latent, first: a, second: b }));
    return {
      hook: one.hook,
      pairs: pairs.filter((pair) => pair.first !== 0 || pair.second !== 0).sort((a, b) => a.latent - b.latent),
    };
  });
}

/**
 * Correlation (Pearson) and rank correlation (Spearman) of two metrics, such as those of ablation and gradient, over the
 * latents with a value in either: the thousands that are 0 in both would feign agreement.
 *
 * @throws AnalysisError when they are not of the same hooks
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const ablation = latentMetrics(await store.load("logit_diffs_attr_ablation"), { effects: "all" });
 * const gradient = latentMetrics(await store.load("logit_diffs_attr_grad"));
 * console.log(String(attributionAgreement(ablation, gradient)));
 * ```
 */
export function attributionAgreement(
  first: LatentMetrics,
  second: LatentMetrics,
  { field = "total_effect" }: { readonly field?: MetricField } = {},
): AttributionAgreement {
  const hooks = pairedLatents(first, second, field).map(({ hook, pairs }): HookAgreement => {
    const [a, b] = [pairs.map((pair) => pair.first), pairs.map((pair) => pair.second)];
    const gap = pairs.reduce<Pair | null>(
      (most, pair) => (most === null || distance(pair) > distance(most) ? pair : most),
      null,
    );
    return {
      hook: hook.name,
      latents: pairs.length,
      pearson: pearson(a, b),
      spearman: spearman(a, b),
      same_sign: pairs.filter((pair) => pair.first * pair.second > 0).length,
      largest_gap: gap ? distance(gap) : 0,
      gap_latent: gap?.latent ?? null,
      total_1: a.reduce((sum, value) => sum + value, 0),
      total_2: b.reduce((sum, value) => sum + value, 0),
    };
  });
  const table = (): Table =>
    new Table(
      [
        { key: "hook", label: "Hook" },
        { key: "latents", label: "Latents" },
        { key: "pearson", label: "Pearson" },
        { key: "spearman", label: "Spearman" },
        { key: "same_sign", label: "Same Sign" },
        { key: "largest_gap", label: "Largest Gap" },
        { key: "gap_latent", label: "At Latent" },
        { key: "total_1", label: `Sum, ${first.name}` },
        { key: "total_2", label: `Sum, ${second.name}` },
      ],
      hooks.map((hook) => Object.values(hook) as (string | number | null)[]),
      `Agreement of ${first.name} and ${second.name} on ${field}`,
    );
  return displayed({ hooks }, table);
}

const distance = ({ first, second }: Pair): number => Math.abs(first - second);
