import { describe, expect, it } from "vitest";
import { Figure, Table } from "../../display/index.ts";
import { thrown } from "../../../test/support/failure.ts";
import { examplesOf } from "../../../test/support/tableRows.ts";
import { AnalysisError } from "../errors.ts";
import { analysisResult, type AnalysisResult, type ExampleRow, type LatentRow } from "../tables/index.ts";
import type { Manifest } from "../store/index.ts";
import type { metricFields } from "./index.ts";
import {
  accuracyTable,
  attributionAgreement,
  attributionTables,
  baseVsSaeLogitDiffs,
  calcActivationSummary,
  calculateLatentMetrics,
  computeCorrect,
  createAttributionTables,
  displayRefVsSaeLogitDiffs,
  effectUncertainty,
  latentMetrics,
  latentMetricsScatter,
  plotLatentEffects,
  saeDamage,
  timingTable,
} from "./index.ts";

const hooks = [
  { name: "blocks.0.hook_a", width: 8 },
  { name: "blocks.1.hook_b", width: 16 },
];
const [a, b] = hooks.map(({ name }) => name) as [string, string];

const diffs = [1, 2, 3, 4];
const promptsOf = (some: readonly number[]): ExampleRow[] =>
  examplesOf(some, (example) => ({ loss: 1, prompts: `prompt ${example}` }));
const examples = promptsOf(diffs);
// example, hook, latent, effect by ablation, effect by gradient. The ablation of (3, a, 1) makes the answer wrong.
const cells: [number, string, number, number, number][] = [
  [0, a, 1, 0.5, 0.4],
  [0, b, 9, -1, -0.5],
  [1, a, 1, 0.25, 0.3],
  [1, b, 9, 1, 0.5],
  [2, a, 4, 0.5, 0.75],
  [3, a, 1, 5, 4],
];
const rows = (gradient: boolean): LatentRow[] =>
  cells.map(([example, hook, latent, ablation, grad]) => ({
    example,
    hook,
    latent,
    activation: 2,
    attribution_values: gradient ? grad : ablation,
    ...(!gradient && {
      ablated_logit_diff: diffs[example]! - ablation,
      ablated_loss: 1,
      ablated_pred: diffs[example]! > ablation ? 1 : 0,
    }),
  }));
const ablation = analysisResult("logit_diffs_attr_ablation", hooks, examples, rows(false));
const gradient = analysisResult("logit_diffs_attr_grad", hooks, examples, rows(true));

const code = (work: () => unknown): string => thrown(AnalysisError, work).code;

describe("metrics beside the published", () => {
  const metrics = latentMetrics(ablation, { filterByCorrect: false, bootstrap: {} });
  const at = (field: (typeof metricFields)[number], latent = 1): number => metrics.dense(a, field)[latent]!;

  it("masked and unmasked side by side, and where active", () => {
    expect([at("total_effect"), at("mean_effect")]).toEqual([0.75, 0.1875]);
    expect([at("total_effect_unmasked"), at("mean_effect_unmasked")]).toEqual([5.75, 1.4375]);
    expect([at("mean_effect_active"), at("num_samples_active")]).toEqual([0.25, 3]);
  });

  it("spread over the examples: 0.5, 0.25, 0, 0", () => {
    // Mean 0.1875; squares 0.3125² + 0.0625² + 2 · 0.1875² = 0.171875; / 3.
    expect(at("sd_effect")).toBeCloseTo(Math.sqrt(0.171875 / 3), 14);
    const order = ["min_effect", "q25_effect", "median_effect", "q75_effect", "max_effect"] as const;
    expect(order.map((field) => at(field))).toEqual([0, 0, 0.125, 0.3125, 0.5]);
  });

  it("intervals contain the mean, and are the same for the same seed", () => {
    const [low, high] = [at("mean_effect_low"), at("mean_effect_high")];
    expect(low).toBeGreaterThanOrEqual(0);
    expect(low).toBeLessThan(0.1875);
    expect(high).toBeGreaterThan(0.1875);
    expect(high).toBeLessThanOrEqual(0.5);
    const again = latentMetrics(ablation, { filterByCorrect: false, bootstrap: {} });
    expect(again.toCSV()).toBe(metrics.toCSV());
    const narrower = latentMetrics(ablation, { filterByCorrect: false, bootstrap: { level: 0.5 } });
    expect(narrower.dense(a, "mean_effect_high")[1]).toBeLessThan(high);
    expect(latentMetrics(ablation).dense(a, "mean_effect_low")[1]).toBeNaN();
  });

  it("draw only examples that count", () => {
    // Only example 0 is right: every resample is that example.
    const one = analysisResult("logit_diffs_attr_grad", hooks, promptsOf([1, -2, -3, -4]), rows(true));
    const only = latentMetrics(one, { bootstrap: { resamples: 50 } });
    expect(only.num_examples).toBe(1);
    const ends = (["mean_effect_low", "mean_effect", "mean_effect_high"] as const).map((f) => only.dense(a, f)[1]);
    expect(ends).toEqual(Array(3).fill(Math.fround(0.4)));
  });

  it("stand in further columns of tables when asked for", () => {
    const extraColumns = ["total_effect_unmasked", "mean_effect_active", "sd_effect", "mean_effect_low"] as const;
    const [table] = attributionTables(metrics, { extraColumns, filter: "positive", perLatentModel: true }).tables;
    expect(table!.columns.map(({ label }) => label).slice(7)).toEqual([
      "Total Effect, Unmasked",
      "Mean Effect Where Active",
      "SD of Effect",
      "Mean Effect, From",
    ]);
    expect(table!.rows[0]!.slice(0, 4)).toEqual([a, 1, 0.75, 0.1875]);
    expect(table!.title).toBe(`Top 10 positive total_effect for ${a}`);
    expect(code(() => attributionTables(latentMetrics(ablation), { extraColumns }))).toBe("review/no-intervals");
  });

  it("show themselves, the largest effects first, and have everything as CSV", async () => {
    expect(String(metrics).split("\n")[0]).toBe(
      "logit_diffs_attr_ablation: 3 of 3 latents, masked effects over 4 examples",
    );
    expect(metrics.table().rows.map((row) => row[1])).toEqual([1, 4, 9]);
    expect(metrics.table({ topK: 1 }).rows.length).toBe(1);
    expect(metrics.toCSV().split("\r\n").length).toBe(5);
    expect(await metrics.toHTML()).toContain("<table");
    const summary = calcActivationSummary(gradient);
    expect(summary.toCSV().split("\r\n")[1]).toBe(`${a},1,1.5,3`);
    expect(String(summary)).toContain(
      "3 of 3 latents that are active in the 4 examples with a positive logit difference",
    );
  });
});

describe("how sure effects are", () => {
  const section = effectUncertainty(ablation, {
    filterByCorrect: false,
    topK: 1,
    bootstrap: { resamples: 100, level: 0.9 },
  });

  it("has a plot and a table for each hook", () => {
    const [plot, table] = section.items as [Figure, Table];
    expect(section.items.map((item) => item.constructor)).toEqual([Figure, Table, Figure, Table]);
    expect(plot.spec.subtitle).toBe("90 % bootstrap intervals over 4 examples, masked effects");
    expect(plot.spec.series.map(({ mark, x, y }) => [mark, x, y])).toEqual([
      ["rule", undefined, [0]],
      ["interval", ["#1"], [table.rows[0]![2]]],
      ["dot", ["#1"], [0.1875]],
    ]);
    expect(table.rows[0]!.slice(0, 2)).toEqual([1, 0.1875]);
  });
});

describe("agreement of ablation and gradient", () => {
  const pair = [
    latentMetrics(ablation, { filterByCorrect: false }),
    latentMetrics(gradient, { filterByCorrect: false }),
  ] as const;

  it("is over the latents with a value in either", () => {
    // Hook a: ablation [0.75, 0.5], gradient [4.7, 0.75]. Hook b: both sums are 0.
    const {
      hooks: [one, other],
    } = attributionAgreement(...pair);
    expect(one).toMatchObject({ hook: a, latents: 2, same_sign: 2, gap_latent: 1, total_1: 1.25 });
    expect([one!.pearson, one!.spearman]).toEqual([expect.closeTo(1, 14), expect.closeTo(1, 14)]);
    expect(one!.largest_gap).toBeCloseTo(4.7 - 0.75, 6);
    expect(other).toMatchObject({ latents: 0, pearson: NaN, largest_gap: 0, gap_latent: null });
    expect(String(attributionAgreement(...pair))).toContain("Agreement of logit_diffs_attr_ablation and");
  });

  it("needs the same hooks", () => {
    const alone = analysisResult(
      "logit_diffs_attr_grad",
      hooks.slice(0, 1),
      examples,
      rows(true).filter(({ hook }) => hook === a),
    );
    expect(code(() => attributionAgreement(pair[0], latentMetrics(alone)))).toBe("review/hooks");
    expect(code(() => latentMetricsScatter(pair[0], latentMetrics(alone)))).toBe("review/hooks");
  });
});

describe("what SAEs do to answers", () => {
  const base = analysisResult("logit_diffs_base", hooks, promptsOf([1, 2, -1, -2, 3, 0.5]), []);
  const sae = analysisResult("logit_diffs_sae", hooks, promptsOf([2, -1, 1, -4, -2, 0.5]), []);
  const damage = saeDamage(sae, base);

  it("in both directions, with the mean change of the difference", () => {
    expect(damage.outcomes).toEqual([
      { outcome: "kept", count: 2, share: 1 / 3, mean_change: 0.5 },
      { outcome: "broken", count: 2, share: 1 / 3, mean_change: -4 },
      { outcome: "repaired", count: 1, share: 1 / 6, mean_change: 2 },
      { outcome: "wrong", count: 1, share: 1 / 6, mean_change: -2 },
    ]);
    expect([damage.broken, damage.repaired]).toEqual([[4, 1], [2]]);
    expect(damage.p_value).toBe(1); // two against one: 2 · (1 + 3) / 8
  });

  it("as tables, with the examples that changed", () => {
    const text = String(damage);
    expect(text).toContain("What SAEs do to the answers (exact McNemar p = 1.00)");
    expect(text).toMatch(/Right without, wrong with SAEs\n.*\n.*Sample ID/);
    expect(text).toMatch(/\| 4 +\| prompt 4 +\| 7 +\| \+3.000 +\| -2.000 +\|/);
    expect(String(saeDamage(base, base))).not.toContain("Sample ID");
    expect(code(() => saeDamage(sae, ablation))).toBe("review/examples");
  });
});

describe("plots", () => {
  it("of mean effects over all examples, a stem for each latent that is alive", () => {
    const wrong = analysisResult("logit_diffs_attr_ablation", hooks, promptsOf([1, 2, 3, -4]), rows(false));
    const { items } = plotLatentEffects(wrong);
    expect(items.map(({ title }) => title)).toEqual([
      `Latent effects of (${a}) Latent effect on logit diff (aggregated, 2 alive)`,
      `Latent effects of (${b}) Latent effect on logit diff (aggregated, 1 alive)`,
    ]);
    const { x, y, series, width } = items[0]!.spec;
    expect([width, x, y]).toEqual([
      1000,
      { label: "Latent", domain: [0, 7] },
      { label: "Latent effect on logit diff" },
    ]);
    // Divided by all four examples, right or not; the masked effect of example 3 is 0.
    expect(series).toMatchObject([{ mark: "stem", x: Int32Array.of(1, 4), y: [0.1875, 0.125] }]);
    expect(series[0]!.labels).toEqual(["#1: 0.1875, active in 3 of 4", "#4: 0.125, active in 1 of 4"]);
    const all = plotLatentEffects(wrong, { effects: "all", titlePrefix: "Effects in" }).items[0]!;
    expect(all.spec.series[0]!.y).toEqual([1.4375, 0.125]);
    expect(all.title).toMatch(/^Effects in \(/);
  });

  it("per batch, in batch order", () => {
    const { items } = plotLatentEffects(gradient, { perBatch: true });
    expect(items.map(({ title }) => title)).toEqual([
      `Latent effects of ${a} latent effect on logit diff of batch 0 (1 alive)`,
      `Latent effects of ${b} latent effect on logit diff of batch 0 (1 alive)`,
      `Latent effects of ${a} latent effect on logit diff of batch 1 (2 alive)`,
      `Latent effects of ${b} latent effect on logit diff of batch 1 (0 alive)`,
    ]);
    expect((items[2]!.spec.series[0]!.y as number[]).map((y) => y.toFixed(6))).toEqual(["2.000000", "0.375000"]);
    expect(code(() => plotLatentEffects(analysisResult("logit_diffs_sae", hooks, examples, [])))).toBe(
      "review/no-attributions",
    );
  });

  it("of one metric against the other, with the line of the second's range", () => {
    const pair = [
      latentMetrics(ablation, { filterByCorrect: false }),
      latentMetrics(gradient, { filterByCorrect: false }),
    ] as const;
    const [one] = latentMetricsScatter(...pair).items;
    expect(one!.title).toBe(`Attribution Patching vs Ablation total_effect for ${a}`);
    expect([one!.spec.width, one!.spec.height]).toEqual([800, 600]);
    const [line, dots] = one!.spec.series;
    expect([line!.x, line!.y, line!.dashed].map((end) => JSON.stringify(end))).toEqual([
      JSON.stringify([0, pair[1].dense(a, "total_effect")[1]]),
      JSON.stringify([0, pair[1].dense(a, "total_effect")[1]]),
      "true",
    ]);
    expect([dots!.x, dots!.labels]).toEqual([
      [0.75, 0.5, 0],
      [
        "#1: Ablation 0.7500, Attribution Patching 4.7000",
        "#4: Ablation 0.5000, Attribution Patching 0.7500",
        "6 latents are 0 in both",
      ],
    ]);
    const named = latentMetricsScatter(...pair, {
      field: "mean_effect",
      label1: "One",
      label2: "Two",
      width: 300,
      height: 200,
    });
    expect(named.items[1]!.title).toBe(`Two vs One mean_effect for ${b}`);
  });
});

it("timings are a line per run", () => {
  const run = {
    prepare_seconds: 0.5,
    compute_seconds: 2,
    write_seconds: 0.25,
    examples: 4,
    ablated_pairs: 6,
    compilations: 3,
  };
  const manifest = {
    format: "interpretune-store",
    analyses: ["logit_diffs_base", "logit_diffs_sae"],
    runs: [
      { computed_together: ["logit_diffs_base", "logit_diffs_sae"], ...run },
      { threads: 2 },
      { ...run, examples: 0 },
    ],
  };
  const table = timingTable(manifest as object as Manifest);
  expect(table.rows.map((row) => row.slice(0, 6))).toEqual([
    ["logit_diffs_base, logit_diffs_sae", 4, 0.5, 2, 500, 6],
    ["logit_diffs_base, logit_diffs_sae", 0, 0.5, 2, null, 6],
  ]);
  expect(timingTable({ alone: run }).rows.map((row) => row[0])).toEqual(["alone"]);
});

it("the tutorials' names are the same functions", () => {
  expect([displayRefVsSaeLogitDiffs, calculateLatentMetrics, createAttributionTables]).toEqual([
    baseVsSaeLogitDiffs,
    latentMetrics,
    attributionTables,
  ]);
});

it("summaries of answers show themselves, under the name that an analysis was given", async () => {
  const named: AnalysisResult = { ...gradient, name: "mine" };
  const correct = computeCorrect(named);
  expect(JSON.parse(JSON.stringify(correct))).toMatchObject({ name: "mine", total_correct: 4, pairs: null });
  expect(String(correct)).toBe(String(accuracyTable([named])));
  expect(String(accuracyTable([correct, computeCorrect(ablation)], { heading: "Mode" })).split("\n")[1]).toMatch(
    /^\| Mode /,
  );
  expect(await computeCorrect(ablation).toHTML()).toContain("Flipped Pairs");
});
