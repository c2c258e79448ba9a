/**
 * @file The tutorials' published numbers, end to end: GPT-2 small with the published SAEs at blocks 9 and 10, on RTE. Runs where
 * both are in the hub's cache (`HF_HOME`), and the data beside the checkout. `FULL=1` takes the whole split.
 */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import {
  accuracyTable,
  analysisResult,
  analyzeBatch,
  analyzeDataset,
  attributionTables,
  baseVsSaeLogitDiffs,
  batchRanges,
  batchView,
  computeCorrect,
  concatLatents,
  latentMetrics,
  plotLatentEffects,
  takeLatents,
  type AnalysisName,
  type AnalysisResult,
  type AnalysisRun,
} from "../src/analysis/index.ts";
import { openDataset } from "../src/data/index.ts";
import { HookedModel } from "../src/model/index.ts";
import { Sae } from "../src/sae/index.ts";
import { splitBatches } from "../src/session/sides/batches.ts";
import { full } from "./support/full.ts";
import { cached } from "./support/hubCache.ts";
import { describeWithShared, shared } from "./support/shared.ts";

const gpt2Files = ["config.json", "model.safetensors", "tokenizer.json"];
const gpt2 = cached("openai-community/gpt2", gpt2Files) ?? cached("gpt2", gpt2Files);

// Release gpt2-small-hook-z-kk.
const saeRepository = "ckkissane/attn-saes-gpt2-small-all-layers";
const saeFiles = [
  "gpt2-small_L9_Hcat_z_lr1.20e-03_l11.20e+00_ds24576_bs4096_dc1.00e-06_rsanthropic_rie25000_nr4_v9.pt",
  "gpt2-small_L10_Hcat_z_lr1.20e-03_l11.30e+00_ds24576_bs4096_dc1.00e-05_rsanthropic_rie25000_nr4_v9.pt",
];
const saeFolder = cached(
  saeRepository,
  saeFiles.flatMap((file) => [file, file.replace(".pt", "_cfg.json")]),
);
const rte = "data/rte/validation.jsonl";

const missing = [
  ...(gpt2 === undefined ? ["openai-community/gpt2"] : []),
  ...(saeFolder === undefined ? [saeRepository] : []),
];

interface Published2025 {
  batches: {
    orig_labels: number[];
    label_ids: number[];
    alive_latents_layer9: number[];
    ablated_loss: Record<string, number>;
    ablated_logit_diffs_positive_only: Record<string, number[]>;
    ablated_preds: Record<string, number[]>;
  }[];
}

interface Published2026 {
  hooks: Record<string, { alive_union: number; rows: [number, number, number][] }>;
  sample_table: string;
  accuracy_table: string;
  ablation_tables: Record<string, string>;
  gradient_tables: Record<string, string>;
}

const published = <T>(year: string): T =>
  JSON.parse(readFileSync(new URL(`goldens/analysis/published/${year}.json`, import.meta.url), "utf8")) as T;

const name = "GPT-2 small and its SAEs";
if (missing.length > 0) {
  const why = `SKIPPED: not in the hub's cache: ${missing.join(", ")} (HF_HOME says where it is)`;
  console.warn(`${name}: ${why}`);
  describe.skip(`${name} (${why})`, () => it("needs them", () => undefined));
} else
  describeWithShared(name, [rte], () => {
    const hooks = [9, 10].map((layer) => `blocks.${layer}.attn.hook_z.hook_sae_acts_post`) as [string, string];
    let model: HookedModel;
    let saes: Sae[];
    beforeAll(async () => {
      model = await HookedModel.load(gpt2!);
      const ids = ["blocks.9.hook_z", "blocks.10.hook_z"];
      saes = await Sae.load("gpt2-small-hook-z-kk", ids, { hub: { offline: true } });
    });

    describe("January 2025, each row by itself after a BOS", () => {
      const run = published<Published2025>("2025-01");
      const batches = full ? run.batches : run.batches.slice(0, 3);
      let ablation: AnalysisResult;
      beforeAll(async () => {
        const data = await openDataset(shared(rte), { limit: full ? undefined : 6 });
        const analyses = ["logit_diffs_attr_ablation"] as const;
        const { results } = await analyzeDataset({ model, saes, data, analyses, batchSize: 2, prependBos: true });
        ablation = results.logit_diffs_attr_ablation!;
      }, 3_600_000);

      it("alive latents, labels, ablated predictions, losses and differences of every batch", () => {
        for (const [i, range] of batchRanges(ablation).entries()) {
          const view = batchView(ablation, range) as {
            orig_labels: number[];
            label_ids: number[];
            alive_latents: Record<string, number[]>;
          } & Record<"loss", Record<string, Record<number, number>>> &
            Record<"preds" | "logit_diffs", Record<string, Record<number, number[]>>>;
          const expected = batches[i]!;
          expect([view.orig_labels, view.label_ids]).toEqual([expected.orig_labels, expected.label_ids]);
          // The longest row of the split had no BOS in the published run.
          if (ablation.examples.slice(range.start, range.end).some(({ example }) => example === 244)) continue;
          expect(view.alive_latents[hooks[0]]).toEqual(expected.alive_latents_layer9);
          expect(view.preds[hooks[0]]).toEqual(expected.ablated_preds);
          for (const latent of expected.alive_latents_layer9) {
            const diffs = expected.ablated_logit_diffs_positive_only[latent]!;
            expect(view.logit_diffs[hooks[0]]![latent]!).toBeAllClose(diffs, 2e-4); // printed with four decimals
            expect([view.loss[hooks[0]]![latent]!]).toBeAllClose([expected.ablated_loss[latent]!], 2e-4);
          }
        }
      });

      it.runIf(full)("the vote is right 129 times of 277", () => {
        // Voted over the latents of block 9 alone, as published.
        const { hook } = ablation.latents;
        const rows = [...hook.keys()].filter((i) => hook[i] === 0);
        const own = analysisResult(
          ablation.analysis,
          ablation.hooks,
          ablation.examples,
          takeLatents(ablation.latents, rows),
        );
        expect(computeCorrect(own).total_correct).toBe(129);
      });
    });

    describe("August 2026, positions over rows padded to the longest of the split", () => {
      const run = published<Published2026>("2026-08");
      let results: AnalysisRun["results"];
      beforeAll(async () => {
        const data = await openDataset(shared(rte));
        const { tokenizer } = model;
        const options = { tokenizer, batchSize: 2, prependBos: true, paddingSide: "left" } as const;
        const parts: AnalysisRun["results"][] = [];
        for await (const batch of splitBatches(data, options, "split")) {
          expect(batch.dims[1]).toBe(262);
          parts.push(await analyzeBatch(model, saes, batch, { positions: "padded", paddingSide: "left" }));
          if (parts.length === 3) break;
        }
        const joined = (analysis: AnalysisName): AnalysisResult =>
          analysisResult(
            analysis,
            parts[0]![analysis]!.hooks,
            parts.flatMap((part) => part[analysis]!.examples),
            concatLatents(
              analysis,
              parts.map((part) => part[analysis]!.latents),
            ),
          );
        const names = [
          "logit_diffs_base",
          "logit_diffs_sae",
          "logit_diffs_attr_grad",
          "logit_diffs_attr_ablation",
        ] as const;
        results = Object.fromEntries(names.map((analysis) => [analysis, joined(analysis)]));
      }, 3_600_000);

      it("tables, text for text", () => {
        const { logit_diffs_base: base, logit_diffs_sae: sae, logit_diffs_attr_grad: grad } = results;
        const ablation = results.logit_diffs_attr_ablation!;
        expect(String(baseVsSaeLogitDiffs(sae!, base!, { tokenizer: model.tokenizer }))).toBe(run.sample_table);
        const named = { ...sae!, name: "logit_diffs_latent" };
        expect(String(accuracyTable([base!, named, grad!, ablation]))).toBe(run.accuracy_table);
        const tables = (result: AnalysisResult): Record<string, string> =>
          attributionTables(latentMetrics(result, { activations: sae! }), { topK: 2, perSae: true }).toRecord();
        expect(tables(ablation)).toEqual(run.ablation_tables);
        expect(tables(grad!)).toEqual(run.gradient_tables);
      });

      it("total effects of all latents, and how many are alive", () => {
        for (const [column, analysis] of [
          [1, "logit_diffs_attr_ablation"],
          [2, "logit_diffs_attr_grad"],
        ] as const) {
          const metrics = latentMetrics(results[analysis]!);
          for (const hook of hooks) {
            const totals = metrics.dense(hook, "total_effect");
            const expected = new Float64Array(totals.length);
            for (const row of run.hooks[hook]!.rows) expected[row[0]] = row[column];
            expect(totals).toBeAllClose(expected, 2e-4);
          }
        }
        const titles = plotLatentEffects(results.logit_diffs_attr_ablation!).items.map(({ title }) => title);
        for (const [h, hook] of hooks.entries()) expect(titles[h]).toContain(`${run.hooks[hook]!.alive_union} alive`);
      });
    });
  });
