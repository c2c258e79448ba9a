/** @file Stores, views and review tables against what the original package computes from the same runs. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  AnalysisStore,
  StoreWriter,
  analysisNames,
  analysisResult,
  batchRanges,
  batchView,
  exampleOf,
  exportJson,
  latentRows,
  takeLatents,
  type AnalysisResult,
  type ExampleRow,
  type LatentRow,
  type StoreExport,
} from "../src/analysis/store/index.ts";
import {
  accuracyTable,
  attributionTables,
  baseVsSaeLogitDiffs,
  calcActivationSummary,
  computeCorrect,
  latentMetrics,
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
  hooks: Record<string, { rows: [number, number, number][] }>;
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

describe("tables printed with the tutorial, August 2026", () => {
  it("attribution tables", async () => {
    const run = await published<Published2026>("2026-08");
    const hooks = Object.keys(run.hooks).map((name) => ({ name, width: run.d_sae }));
    // Samples 0, 1, 3 and 5 stand for the four that were right; only the sums over them are known.
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
    for (const [analysis, column, tables] of [
      ["logit_diffs_attr_ablation", 1, run.ablation_tables],
      ["logit_diffs_attr_grad", 2, run.gradient_tables],
    ] as const) {
      const rows = hooks.flatMap(({ name: hook }) =>
        run.hooks[hook]!.rows.flatMap((row): LatentRow[] => {
          const { mean, active } = listed.get(`${hook}/${row[0]}`) ?? { mean: 1, active: 1 };
          return right.slice(0, active).map((example) => ({
            example,
            hook,
            latent: row[0],
            activation: (4 * mean) / active,
            attribution_values: row[column] / active,
            ...(column === 1 && { ablated_logit_diff: 0.5, ablated_loss: 6, ablated_pred: 1 }),
          }));
        }),
      );
      const result = analysisResult(analysis, hooks, examples, rows);
      expect(attributionTables(latentMetrics(result), { topK: 2, perSae: true }).toRecord()).toEqual(tables);
    }
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
    expect(String(baseVsSaeLogitDiffs(sae, base, { decode }))).toBe(run.sample_table);
    const grad = analysisResult("logit_diffs_attr_grad", hooks, rows(spliced), []);
    const ablation = analysisResult("logit_diffs_attr_ablation", hooks, rows(spliced), []);
    // Ours keeps the older name of the second operation.
    const expected = run.accuracy_table.replace("logit_diffs_latent", "logit_diffs_sae   ");
    expect(String(accuracyTable([base, sae, grad, ablation]))).toBe(expected);
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
    expect(accuracy_table).toContain("129 | 46.57%");
    expect(String(accuracyTable([result]))).toContain("129 | 46.57%");
  });

  it("total effects over the right examples, to the four printed decimals of each row", async () => {
    const totals = latentMetrics(await ablation()).dense(hook, "total_effect");
    const table = {
      9501: 0.177643,
      22308: 0.0970917,
      234: 0.080368,
      3203: 0.0788879,
      5374: 0.0698853,
      13184: 0.0440369,
    };
    const rows = (await ablation()).latents.latent;
    for (const [latent, total] of Object.entries(table)) {
      const count = rows.filter((id) => id === Number(latent)).length;
      expect(Math.abs(totals[Number(latent)]! - total)).toBeLessThan(1e-4 * count);
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
