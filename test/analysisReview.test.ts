/** @file Stores, views and review tables against what the original package computes from the same runs. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnalysisStore, StoreWriter, exportJson, type StoreExport } from "../src/analysis/store/index.ts";
import {
  analysisNames,
  analysisResult,
  latentRows,
  takeLatents,
  type AnalysisResult,
  type ExampleRow,
  type LatentRow,
} from "../src/analysis/tables/index.ts";
import { batchRanges, batchView, exampleOf } from "../src/analysis/views/index.ts";
import {
  accuracyTable,
  attributionAgreement,
  attributionTables,
  baseVsSaeLogitDiffs,
  calcActivationSummary,
  computeCorrect,
  latentMetrics,
  latentMetricsScatter,
  plotLatentEffects,
} from "../src/analysis/review/index.ts";
import {
  analysisCase,
  analysisCases,
  missingCase,
  sharedAnalysisCases,
  type AnalysisCase,
} from "./support/analysisGolden.ts";

const ops = ["base", "sae", "grad", "ablation"] as const;

/** The rows of one batch of a result: what a run hands to the writer. */
function shardOf(result: AnalysisResult, batch: number): { examples: ExampleRow[]; latents: LatentRow[] } {
  const examples = result.examples.filter((row) => row.batch === batch);
  const rows = exampleOf(result);
  const own = [...rows.keys()].filter((i) => result.examples[rows[i]!]!.batch === batch);
  const latents = takeLatents(result.latents, own);
  return { examples, latents: latentRows(latents, result.hooks) };
}

for (const name of sharedAnalysisCases.filter(missingCase))
  it.skip(`analysis golden ${name}: ${missingCase(name)}`, () => undefined);
const cases = [...analysisCases, ...sharedAnalysisCases.filter((name) => !missingCase(name))];

describe.each(cases)("analysis golden %s, through a store", (name) => {
  let golden: AnalysisCase;
  let folder: string;
  let results: AnalysisCase["results"];

  beforeAll(async () => {
    golden = await analysisCase(name);
    folder = await mkdtemp(join(tmpdir(), "store-"));
    const shards = golden.report.case.batches.length;
    const { hooks } = golden.results.sae;
    const writer = await StoreWriter.create(folder, { case: name }, { analyses: analysisNames, hooks, shards });
    for (let shard = 0; shard < shards; shard++)
      for (const op of ops) await writer.write(shard, golden.results[op].analysis, shardOf(golden.results[op], shard));
    await writer.finish();
    const store = await AnalysisStore.open(folder);
    results = {
      base: await store.load("logit_diffs_base"),
      sae: await store.load("logit_diffs_sae"),
      grad: await store.load("logit_diffs_attr_grad"),
      ablation: await store.load("logit_diffs_attr_ablation"),
    };
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("keeps every row", () => {
    for (const op of ops) {
      expect(results[op].latents).toEqual(golden.results[op].latents);
      const rounded = golden.results[op].examples.map((row) => ({
        ...row,
        loss: Math.fround(row.loss),
        logit_diffs: Math.fround(row.logit_diffs),
        answer_logits: row.answer_logits.map(Math.fround),
      }));
      expect(results[op].examples).toEqual(rounded);
    }
  });

  it("lays batches out as published", () => {
    for (const op of ops) {
      const ranges = batchRanges(results[op]);
      expect(ranges.length).toBe(golden.report.case.batches.length);
      ranges.forEach((range, i) => {
        const get = (key: string): ArrayLike<number> => golden.tensor(`batch${i}.${key}`).data;
        const view = batchView(results[op], range);
        expect(view.orig_labels).toEqual(Array.from(get("labels")));
        if (op === "base" || op === "sae") {
          expect([view.loss as number]).toBeAllClose(get(`${op}.loss`), 1e-5);
          expect(view.logit_diffs).toBeAllClose(get(`${op}.logit_diffs`), 1e-6);
        }
        for (const { name: hook, width } of results[op].hooks) {
          if (op === "base") continue;
          const alive = Array.from(get(`alive.${hook}`));
          expect(view.alive_latents![hook]).toEqual(alive);
          if (op !== "ablation") {
            const correct = golden.tensor(`batch${i}.correct_activations.${hook}`);
            expect(view.correct_activations![hook]!.shape).toEqual(correct.shape);
            expect(view.correct_activations![hook]!.data).toBeAllClose(correct.data, 0);
          }
          if (op === "grad")
            expect(view.attribution_values![hook]!.data).toBeAllClose(get(`grad.attribution_at_answer.${hook}`), 1e-6);
          if (op === "ablation") {
            expect(view.attribution_values![hook]!.shape).toEqual([
              view.preds === undefined ? -1 : range.end - range.start,
              width,
            ]);
            expect(view.attribution_values![hook]!.data).toBeAllClose(get(`ablation.attribution_masked.${hook}`), 1e-6);
            const all = batchView(results.ablation, range, "all");
            const diffs = alive.flatMap(
              (latent) => (all.logit_diffs as Record<string, Record<number, number[]>>)[hook]![latent]!,
            );
            const preds = alive.flatMap(
              (latent) => (all.preds as Record<string, Record<number, number[]>>)[hook]![latent]!,
            );
            expect(diffs).toBeAllClose(get(`ablation.diffs_at_answer.${hook}`), 1e-5);
            expect(preds).toEqual(Array.from(get(`ablation.preds.${hook}`)));
            const masked = view.logit_diffs as Record<string, Record<number, number[]>>;
            const ragged = alive.flatMap((latent) => masked[hook]![latent]!);
            expect(ragged).toEqual(diffs.filter((diff) => diff > 0));
          }
        }
      });
    }
  });

  it("counts right answers as published", () => {
    if (!golden.report.interpretune) return expect(["unequal-widths", "three-choices", "four-choices"]).toContain(name);
    for (const op of ops) {
      const { total_correct, percentage_correct, batch_predictions } = computeCorrect(results[op]);
      expect({ total_correct, batch_predictions, percentage_correct: percentage_correct.toFixed(9) }).toEqual({
        ...golden.report.interpretune.ops[op],
        percentage_correct: golden.report.interpretune.ops[op].percentage_correct.toFixed(9),
      });
    }
  });

  it("computes activation summary, metrics and tables as published", () => {
    if (!golden.report.interpretune) return expect(["unequal-widths", "three-choices", "four-choices"]).toContain(name);
    const { hooks } = calcActivationSummary(results.sae);
    for (const { hook, latents, mean_activation, num_samples_active } of hooks) {
      const spread = (values: ArrayLike<number>): Float64Array => {
        const out = new Float64Array(hook.width);
        latents.forEach((latent, i) => (out[latent] = values[i]!));
        return out;
      };
      expect(spread(mean_activation)).toBeAllClose(
        golden.tensor(`activation_summary.mean_activation.${hook.name}`).data,
        1e-6,
      );
      expect(spread(num_samples_active)).toBeAllClose(
        golden.tensor(`activation_summary.num_samples_active.${hook.name}`).data,
        0,
      );
    }
    for (const op of ["grad", "ablation"] as const) {
      for (const filterByCorrect of [true, false]) {
        const tag = `${op}.${filterByCorrect ? "correct_only" : "all"}`;
        const options = op === "ablation" ? { filterByCorrect, activations: results.sae } : { filterByCorrect };
        const metrics = latentMetrics(results[op], options);
        for (const field of ["total_effect", "mean_effect", "proportion_samples_active"] as const)
          for (const hook of golden.report.hooks)
            expect(metrics.dense(hook, field)).toBeAllClose(
              golden.tensor(`metrics.${tag}.${field}.${hook}`).data,
              1e-6,
            );
        const tables = golden.report.interpretune.tables[tag]!;
        expect(attributionTables(metrics, { topK: 5 }).toRecord()).toEqual(tables.combined_top5);
        expect(attributionTables(metrics, { topK: 3, perSae: true }).toRecord()).toEqual(tables.per_hook_top3);
        const negative = attributionTables(metrics, { sortBy: "mean_effect", topK: 4, filter: "negative" });
        expect(negative.toRecord()).toEqual(tables.by_mean_effect_negative);
      }
    }
  });

  it("exports all rows as JSON, unmasked, not finite numbers as null", async () => {
    let text = "";
    for await (const piece of exportJson(await AnalysisStore.open(folder))) text += piece;
    const out = JSON.parse(text) as StoreExport;
    expect(Object.keys(out)).toEqual([...analysisNames]);
    for (const op of ops) {
      const { analysis, examples, latents, hooks } = results[op];
      const rows = latentRows(latents, hooks);
      expect(out[analysis]).toEqual({
        examples,
        latents: rows.map((row) => (op === "ablation" ? { ...row, ablated_loss: null } : row)),
      });
    }
  });
});

interface Published2026 {
  d_sae: number;
  hooks: Record<string, { alive_union: number; rows: [number, number, number][] }>;
  sample_table: string;
  accuracy_table: string;
  ablation_tables: Record<string, string>;
  gradient_tables: Record<string, string>;
}

interface Published2025 {
  accuracy_table: string;
  spliced_logit_diffs: Record<string, number>;
  batches: {
    orig_labels: number[];
    label_ids: number[];
    alive_latents_layer9: number[];
    ablated_loss: Record<string, number>;
    ablated_logit_diffs_positive_only: Record<string, number[]>;
    ablated_preds: Record<string, number[]>;
  }[];
}

async function published<T>(year: string): Promise<T> {
  return JSON.parse(await readFile(new URL(`goldens/analysis/published/${year}.json`, import.meta.url), "utf8")) as T;
}

const plain = { batch: 0, label_ids: 2949, orig_labels: 1, answer_indices: -1, loss: 6, answer_logits: [0, 0] };

describe("printed and drawn with the tutorial, August 2026", () => {
  /**
   * Results with the published totals. Of single examples only is known how many were right (four; samples 0, 1, 3 and 5
   * stand for them), and of the listed latents in how many of these each is active: a total is spread evenly over them.
   */
  async function results(): Promise<{ run: Published2026; ablation: AnalysisResult; gradient: AnalysisResult }> {
    const run = await published<Published2026>("2026-08");
    const hooks = Object.keys(run.hooks).map((name) => ({ name, width: run.d_sae }));
    const right = [0, 1, 3, 5];
    const examples = [0, 1, 2, 3, 4, 5].map((example): ExampleRow => {
      const ok = right.includes(example);
      return { ...plain, example, batch: example >> 1, logit_diffs: ok ? 1 : -1, preds: ok ? 1 : 0 };
    });
    const listed = new Map<string, { mean: number; active: number }>();
    for (const text of Object.values(run.ablation_tables))
      for (const line of text.split("\n").slice(2)) {
        const [, hook, latent, , , , mean, active] = line.split("|").map((cell) => cell.trim());
        listed.set(`${hook}/${latent}`, { mean: Number(mean), active: Number(active) });
      }
    const make = (column: 1 | 2): AnalysisResult => {
      const ablated = { ablated_logit_diff: 0.5, ablated_loss: 6, ablated_pred: 1 };
      const rows = hooks.flatMap(({ name: hook }) => {
        const known = run.hooks[hook]!.rows.flatMap((row): LatentRow[] => {
          const { mean, active } = listed.get(`${hook}/${row[0]}`) ?? { mean: 1, active: 1 };
          return right.slice(0, active).map((example) => ({
            ...{ example, hook, latent: row[0], activation: (4 * mean) / active },
            attribution_values: row[column] / active,
            ...(column === 1 && ablated),
          }));
        });
        // Alive latents without any effect on a right answer: their number is published, not which they are.
        const silent = run.hooks[hook]!.alive_union - run.hooks[hook]!.rows.length;
        const taken = new Set(known.map(({ latent }) => latent));
        const free = Array.from({ length: run.d_sae }, (_, latent) => latent).filter((latent) => !taken.has(latent));
        const others = free.slice(0, silent).map((latent): LatentRow => ({
          ...{ example: 2, hook, latent, activation: 1, attribution_values: 0 },
          ...(column === 1 && { ...ablated, ablated_logit_diff: -1, ablated_pred: 0 }),
        }));
        return [...known, ...others];
      });
      return analysisResult(
        column === 1 ? "logit_diffs_attr_ablation" : "logit_diffs_attr_grad",
        hooks,
        examples,
        rows,
      );
    };
    return { run, ablation: make(1), gradient: make(2) };
  }

  it("attribution tables", async () => {
    const { run, ablation, gradient } = await results();
    for (const [result, tables] of [
      [ablation, run.ablation_tables],
      [gradient, run.gradient_tables],
    ] as const)
      expect(attributionTables(latentMetrics(result), { topK: 2, perLatentModel: true }).toRecord()).toEqual(tables);
  });

  it("activations of the listed latents over the four right answers", async () => {
    // Table A6 of the reference values.
    const table = {
      9464: [1.3833, 4],
      1695: [0.3871, 3],
      15185: [0.3153, 3],
      7090: [0.1243, 2],
      21019: [4.3174, 4],
      22076: [1.5017, 4],
      8637: [0.3525, 4],
      20608: [0.6117, 3],
    };
    const summary = calcActivationSummary((await results()).gradient);
    expect(summary.num_correct).toBe(4);
    const records = new Map(
      summary.hooks.flatMap((hook) =>
        Array.from(
          hook.latents,
          (latent, i) => [latent, [hook.mean_activation[i]!, hook.num_samples_active[i]!]] as const,
        ),
      ),
    );
    for (const [latent, [mean, active]] of Object.entries(table))
      expect(records.get(Number(latent))).toEqual([expect.closeTo(mean!, 4), active]);
  });

  it("charts of effects: titles, points, sums", async () => {
    const { run, ablation } = await results();
    const { items } = plotLatentEffects(ablation);
    expect(items.map(({ title }) => title)).toEqual([
      "Latent effects of (blocks.9.attn.hook_z.hook_sae_acts_post) Latent effect on logit diff (aggregated, 32 alive)",
      "Latent effects of (blocks.10.attn.hook_z.hook_sae_acts_post) Latent effect on logit diff (aggregated, 98 alive)",
    ]);
    const published = [
      { sum: 0.046382905, points: 25 },
      { sum: 0.161361057, points: 86 },
    ];
    for (const [h, { spec }] of items.entries()) {
      const [{ x, y }] = spec.series as object as [{ x: Int32Array; y: number[] }];
      expect(y.filter((value) => value !== 0).length).toBe(published[h]!.points);
      expect(y.reduce((sum, value) => sum + value, 0)).toBeCloseTo(published[h]!.sum, 7);
      // The plotted mean is over all six examples: six times it is the total effect.
      for (const [latent, total] of run.hooks[Object.keys(run.hooks)[h]!]!.rows)
        expect(6 * y[x.indexOf(latent)]!).toBeCloseTo(total, 7);
      expect([spec.width, spec.x?.domain]).toEqual([1000, [0, 24575]]);
    }
  });

  it("scatters of gradient against ablation, and how far they agree", async () => {
    const { ablation, gradient } = await results();
    const pair = [latentMetrics(ablation), latentMetrics(gradient)] as const;
    const ends = [
      [-0.021625220775604248, 0.15393181145191193],
      [-0.15507641434669495, 0.248833566904068],
    ];
    for (const [h, { spec, title }] of latentMetricsScatter(...pair).items.entries()) {
      expect(title).toBe(`Attribution Patching vs Ablation total_effect for ${pair[0].hooks[h]!.hook.name}`);
      const [line, dots] = spec.series as object as [
        { x: number[]; y: number[]; dashed: boolean },
        { x: number[]; y: number[] },
      ];
      expect([line.dashed, line.x, line.y]).toEqual([true, line.y, line.x]);
      expect(line.x.map((end, i) => end - ends[h]![i]!)).toEqual([expect.closeTo(0, 8), expect.closeTo(0, 8)]);
      expect([spec.width, spec.height, spec.x?.label, spec.y?.label]).toEqual([
        800,
        600,
        "Ablation",
        "Attribution Patching",
      ]);
      expect([dots.x.length, dots.y.length]).toEqual(
        [
          [26, 26],
          [87, 87],
        ][h],
      ); // and one for all that are 0
    }
    // Derived from the plots' arrays in the reference values.
    expect(attributionAgreement(...pair).hooks).toEqual([
      expect.objectContaining({ latents: 25, pearson: expect.closeTo(0.999926, 6) as number, gap_latent: 9464 }),
      expect.objectContaining({ latents: 86, pearson: expect.closeTo(0.999675, 6) as number, gap_latent: 21019 }),
    ]);
    const figures = attributionAgreement(...pair).hooks.map((hook) => [hook.largest_gap, hook.total_1, hook.total_2]);
    expect(figures.map((row) => row.map((value) => value.toFixed(6)))).toEqual([
      ["0.004235", "0.278297", "0.282720"],
      ["0.011426", "0.968166", "0.998330"],
    ]);
  });

  it("clean against SAE differences, accuracy", async () => {
    const run = await published<Published2026>("2026-08");
    const prompts = new Map<number, string>();
    let sample = -1;
    for (const line of run.sample_table
      .split("\n")
      .filter((text) => text.startsWith("| "))
      .slice(1)) {
      const cells = line.split(" | ").map((cell) => cell.replace(/^\|/, "").trim());
      if (cells[0] !== "") sample = Number(cells[0]);
      prompts.set(sample, [prompts.get(sample), cells[1]].filter(Boolean).join(" "));
    }
    const clean = [1.081, 0.324, -1, 0.717, -0.5, -0.25];
    const spliced = [1.292, 0.092, 0.3, 0.669, -0.5, -0.25];
    const rows = (diffs: number[]): ExampleRow[] =>
      diffs.map((logit_diffs, example) => ({
        ...plain,
        example,
        label_ids: [2949, 5297, 2949, 2949, 5297, 5297][example]!,
        orig_labels: [1, 0, 1, 1, 0, 0][example]!,
        logit_diffs,
        preds: [1, 0, 1, 1, 0, 0][example]! ^ (logit_diffs > 0 ? 0 : 1),
        prompts: prompts.get(example) ?? "a wrong one",
      }));
    const hooks = [{ name: "h", width: 4 }];
    const base = analysisResult("logit_diffs_base", hooks, rows(clean), []);
    const sae = analysisResult("logit_diffs_sae", hooks, rows(spliced), []);
    const decode = ([id]: readonly number[]): string => (id === 2949 ? "No" : "Yes");
    expect(String(baseVsSaeLogitDiffs(sae, base, { tokenizer: { decode } }))).toBe(run.sample_table);
    const grad = analysisResult("logit_diffs_attr_grad", hooks, rows(spliced), []);
    const ablation = analysisResult("logit_diffs_attr_ablation", hooks, rows(spliced), []);
    const named = { ...sae, name: "logit_diffs_latent" };
    expect(String(accuracyTable([base, named, grad, ablation]))).toBe(run.accuracy_table);
  });
});

describe("the whole RTE validation split, January 2025", () => {
  const hook = "blocks.9.attn.hook_z.hook_sae_acts_post";

  async function ablation(): Promise<AnalysisResult> {
    const run = await published<Published2025>("2025-01");
    const examples: ExampleRow[] = [];
    const latents: LatentRow[] = [];
    run.batches.forEach((b, batch) => {
      const first = examples.length;
      b.orig_labels.forEach((label, r) => {
        const example = first + r;
        // Positive differences are printed; one is positive exactly where the prediction is the label.
        const diffs = new Map(
          b.alive_latents_layer9.flatMap((latent) => {
            const order = b.orig_labels
              .map((_, i) => i)
              .filter((i) => b.ablated_preds[latent]![i] === b.orig_labels[i]);
            const diff = b.ablated_logit_diffs_positive_only[latent]![order.indexOf(r)];
            return diff === undefined ? [] : [[latent, diff] as const];
          }),
        );
        const spliced = run.spliced_logit_diffs[example] ?? [...diffs.values()][0] ?? -1;
        const preds = b.alive_latents_layer9.map((latent) => b.ablated_preds[latent]![r]!);
        const zeros = preds.filter((pred) => pred === 0).length;
        examples.push({
          ...plain,
          example,
          batch,
          label_ids: b.label_ids[r]!,
          orig_labels: label,
          logit_diffs: spliced,
          preds: zeros >= preds.length - zeros ? 0 : 1,
        });
        b.alive_latents_layer9.forEach((latent, i) => {
          const ablated = diffs.get(latent) ?? -1;
          latents.push({
            example,
            hook,
            latent,
            activation: 1,
            attribution_values: spliced - ablated,
            ablated_logit_diff: ablated,
            ablated_loss: b.ablated_loss[latent]!,
            ablated_pred: preds[i]!,
          });
        });
      });
    });
    return analysisResult("logit_diffs_attr_ablation", [{ name: hook, width: 24576 }], examples, latents);
  }

  it("majority vote over 277 examples in 139 batches, the last one with one example", async () => {
    const result = await ablation();
    expect(batchRanges(result).map(({ start, end }) => end - start)).toEqual([...Array<number>(138).fill(2), 1]);
    const { total_correct, total, percentage_correct } = computeCorrect(result);
    expect([total_correct, total, percentage_correct.toFixed(2)]).toEqual([129, 277, "46.57"]);
    const { accuracy_table } = await published<Published2025>("2025-01");
    const plainRows = latentRows(result.latents, result.hooks).map(({ example, latent, activation }) => ({
      ...{ example, hook, latent, activation },
    }));
    const sae = analysisResult("logit_diffs_sae", result.hooks, result.examples, plainRows);
    const rows = [
      { ...sae, name: "sae_cache" },
      { ...result, name: "ablation" },
    ];
    expect(String(accuracyTable(rows, { heading: "Mode" }))).toBe(accuracy_table);
  });

  // Latent: total effect, mean effect, mean activation, examples active, proportion, as printed (tables B2).
  const printed: readonly (readonly [number, number, number, number, number, number])[] = [
    [9501, 0.177643, 0.00137708, 0.042603, 2, 0.0155039],
    [22308, 0.0970917, 0.000752649, 0.0381489, 3, 0.0232558],
    [234, 0.080368, 0.000623008, 0.0267507, 4, 0.0310078],
    [3203, 0.0788879, 0.000611534, 0.0215768, 1, 0.00775194],
    [5374, 0.0698853, 0.000541746, 0.0219904, 2, 0.0155039],
    [1750, 0.0536957, 0.000416246, 0.0196182, 8, 0.0620155],
    [5773, 0.0521851, 0.000404535, 0.0156282, 1, 0.00775194],
    [23129, 0.0519257, 0.000402524, 0.0109184, 2, 0.0155039],
    [13184, 0.0440369, 0.000341371, 0.0113947, 5, 0.0387597],
    [2581, 0.0389252, 0.000301746, 0.0148076, 2, 0.0155039],
    [4963, -1.90787, -0.0147897, 0.250286, 81, 0.627907],
    [4634, -0.12291, -0.000952787, 0.0353319, 1, 0.00775194],
    [4692, -0.120712, -0.000935754, 0.0175352, 1, 0.00775194],
    [12943, -0.103874, -0.000805226, 0.0297278, 23, 0.178295],
    [8881, -0.0795441, -0.000616621, 0.0155901, 1, 0.00775194],
    [10902, -0.0688324, -0.000533585, 0.0206271, 1, 0.00775194],
    [3520, -0.0464859, -0.000360356, 0.0166622, 2, 0.0155039],
    [9925, -0.0337677, -0.000261765, 0.0142197, 1, 0.00775194],
    [70, -0.0333252, -0.000258335, 0.0424937, 31, 0.24031],
    [18914, -0.0325775, -0.000252539, 0.0125603, 4, 0.0310078],
  ];

  it("total effects over the right examples, from the four printed decimals of each row", async () => {
    const result = await ablation();
    const known = (await published<Published2025>("2025-01")).spliced_logit_diffs;
    const metrics = latentMetrics(result, { effects: "masked" });
    expect(metrics.num_examples).toBe(129);
    const totals = metrics.dense(hook, "total_effect");
    const right = computeCorrect(result).batch_predictions!.flat();
    const places = exampleOf(result);
    const { latent, ablated_logit_diff: ablated, attribution_values: effect } = result.latents;
    let checked = 0;
    for (const [id, total, , , active] of printed) {
      const rows = [...places.keys()].filter((i) => latent[i] === id && ablated![i]! > 0);
      const counted = rows.filter((i) => right[places[i]!] === result.examples[places[i]!]!.orig_labels);
      // Where the spliced difference itself is not certain the total is not either (reference values, B4).
      if (!counted.every((i) => String(places[i]) in known)) continue;
      const moved = counted.filter((i) => effect![i] !== 0);
      expect(moved.length).toBe(active);
      expect(Math.abs(totals[id]! - total)).toBeLessThan(1e-4 * active); // two values of four decimals each
      checked++;
    }
    expect(checked).toBe(12);
  });

  it("the printed order and columns, from the printed totals", () => {
    // 129 right examples of label 1; a latent's total and activation are spread evenly over those it is active in.
    const examples = Array.from({ length: 129 }, (_, example): ExampleRow => ({
      ...plain,
      example,
      logit_diffs: 1,
      preds: 1,
    }));
    const rows = printed.flatMap(([latent, total, , mean, active]) =>
      Array.from({ length: active }, (_, example): LatentRow => ({
        ...{ example, hook, latent, activation: (129 * mean) / active, attribution_values: total / active },
        ...{ ablated_logit_diff: 1, ablated_loss: 6, ablated_pred: 1 },
      })),
    );
    const metrics = latentMetrics(
      analysisResult("logit_diffs_attr_ablation", [{ name: hook, width: 24576 }], examples, rows),
    );
    const { tables } = attributionTables(metrics);
    expect(tables.flatMap((table) => table.rows.map((row) => row[1]))).toEqual(printed.map(([latent]) => latent));
    for (const [r, row] of tables.flatMap((table) => table.rows).entries()) {
      const [, total, mean, activation, active, proportion] = printed[r]!;
      const relative = [total, mean, proportion, activation, active].map((value, c) => Number(row[c + 2]) / value - 1);
      for (const error of relative) expect(Math.abs(error)).toBeLessThan(5e-6); // six printed digits
    }
  });

  it("loss per batch and latent", async () => {
    const run = await published<Published2025>("2025-01");
    const result = await ablation();
    batchRanges(result).forEach((range, i) => {
      const { loss } = batchView(result, range) as { loss: Record<string, Record<number, number>> };
      const expected = run.batches[i]!.ablated_loss;
      expect(Object.keys(loss[hook]!)).toEqual(Object.keys(expected));
      expect(Object.values(loss[hook]!)).toBeAllClose(Object.values(expected), 1e-6);
    });
  });
});
