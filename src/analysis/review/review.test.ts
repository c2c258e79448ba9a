import { describe, expect, it } from "vitest";
import { thrown } from "../../../test/support/failure.ts";
import { ablationRows, examplesOf, latentsOf, type Ablated } from "../../../test/support/tableRows.ts";
import { AnalysisError } from "../errors.ts";
import { analysisResult, type AnalysisResult } from "../tables/index.ts";
import { batchRanges, batchView, hookView } from "../views/index.ts";
import {
  accuracyTable,
  attributionTables,
  baseVsSaeLogitDiffs,
  calcActivationSummary,
  computeCorrect,
  latentMetrics,
} from "./index.ts";

const narrow = "blocks.9.attn.hook_z.hook_sae_acts_post";
const wide = "blocks.5.attn.hook_z.hook_sae_acts_post";
const hooks = [
  { name: narrow, width: 4 },
  { name: wide, width: 9 },
];

// Two batches of two and one of one. Labels are 1; the spliced model is right on examples 0, 1 and 4.
const diffs = [1, 2, -1, -2, 4];
const examples = examplesOf(diffs);

// example, hook, latent, activation, ablated diff. Batch 1 has nothing at the narrow hook.
const active: Ablated[] = [
  [0, narrow, 2, 0.5, 0.75],
  [0, wide, 8, 2, -3],
  [1, narrow, 2, 1.5, 2.5],
  [1, narrow, 3, 1, 1],
  [2, wide, 0, 1, 0.5],
  [4, wide, 8, 4, 3],
];
const rows = ablationRows(active, diffs);
const ablation = analysisResult("logit_diffs_attr_ablation", hooks, examples, rows);
const sae = analysisResult("logit_diffs_sae", hooks, examples, latentsOf("logit_diffs_sae", rows));
const base = analysisResult("logit_diffs_base", hooks, examples, []);
const grad = analysisResult("logit_diffs_attr_grad", hooks, examples, latentsOf("logit_diffs_attr_grad", rows));

const code = (work: () => unknown): string => thrown(AnalysisError, work).code;

describe("views", () => {
  it("of a batch in which a hook has no active latent, and of a smaller last batch", () => {
    const views = batchRanges(ablation).map((range) => batchView(ablation, range));
    expect(views.map((view) => view.alive_latents)).toEqual([
      { [narrow]: [2, 3], [wide]: [8] },
      { [narrow]: [], [wide]: [0] },
      { [narrow]: [], [wide]: [8] },
    ]);
    expect(views.map((view) => view.attribution_values![narrow]!.shape)).toEqual([
      [2, 4],
      [2, 4],
      [1, 4],
    ]);
    expect(views.map((view) => view.attribution_values![wide]!.shape)).toEqual([
      [2, 9],
      [2, 9],
      [1, 9],
    ]);
    expect([...views[1]!.attribution_values![narrow]!.data]).toEqual(Array(8).fill(0));
    expect(views[2]!.attribution_values![wide]!.data[8]).toBe(1);
    const correct = batchRanges(sae).map((range) => batchView(sae, range).correct_activations![narrow]!);
    expect(correct.map(({ shape }) => shape)).toEqual([
      [2, 4],
      [0, 4],
      [1, 4],
    ]);
    expect([...correct[0]!.data]).toEqual([0, 0, 0.5, 0, 0, 0, 1.5, 1]);
  });

  it("per latent have the spliced value where it is inactive", () => {
    const [first] = batchRanges(ablation);
    const view = batchView(ablation, first!, "all");
    expect(view.loss).toEqual({ [narrow]: { 2: 10, 3: (1 + 10) / 2 }, [wide]: { 8: (10 + 2) / 2 } });
    expect(view.logit_diffs).toEqual({ [narrow]: { 2: [0.75, 2.5], 3: [1, 1] }, [wide]: { 8: [-3, 2] } });
    expect(view.preds).toEqual({ [narrow]: { 2: [1, 1], 3: [1, 1] }, [wide]: { 8: [0, 1] } });
    expect(batchView(ablation, first!).logit_diffs).toEqual({
      [narrow]: { 2: [0.75, 2.5], 3: [1, 1] },
      [wide]: { 8: [2] },
    });
    expect(batchView(base, batchRanges(base)[0]!)).toMatchObject({ loss: 1.5, logit_diffs: [1, 2], preds: [1, 1] });
  });

  it("of one hook", () => {
    const { hook, latents, alive } = hookView(ablation, wide);
    expect([hook.width, latents.length, alive]).toEqual([9, 3, [0, 8]]);
    expect(code(() => hookView(ablation, "blocks.7"))).toBe("store/hook");
  });
});

describe("accuracy", () => {
  it("is over examples, not a mean of batches", () => {
    expect(computeCorrect(base)).toMatchObject({
      total_correct: 3,
      total: 5,
      percentage_correct: 60,
      batch_predictions: null,
    });
  });

  it("of ablations is a vote, in which a batch without active latents keeps its predictions", () => {
    const none = analysisResult("logit_diffs_attr_ablation", hooks, examples, []);
    expect(computeCorrect(none).batch_predictions).toEqual([[1, 1], [0, 0], [1]]);
    // Example 0: latents 2, 3 and 8 vote 1 (ablated), 1 (inactive) and 0. Example 2: its only latent votes 1.
    expect(computeCorrect(ablation).batch_predictions).toEqual([[1, 1], [1, 0], [1]]);
    const tie = analysisResult("logit_diffs_attr_ablation", hooks, examples.slice(0, 1), rows.slice(0, 2));
    expect(computeCorrect(tie).batch_predictions).toEqual([[0]]);
  });

  it("counts predictions that single ablations flip", () => {
    expect(computeCorrect(ablation).pairs).toEqual({ total: 6, flipped: 2 });
    expect(accuracyTable([base, ablation], { pairs: true }).toJSON()).toEqual([
      { op: "logit_diffs_base", total_correct: 3, percentage_correct: 60, ablated_pairs: null, flipped_pairs: null },
      { op: "logit_diffs_attr_ablation", total_correct: 4, percentage_correct: 80, ablated_pairs: 6, flipped_pairs: 2 },
    ]);
  });
});

describe("latent metrics", () => {
  const of = (
    result: AnalysisResult,
    options: Parameters<typeof latentMetrics>[1],
    field: "total_effect" | "mean_effect" | "mean_effect_active",
  ): number[] => [...latentMetrics(result, options).dense(wide, field)];

  it("mask effects of ablations that make the answer wrong, or do not", () => {
    // Latent 8: example 0 falls from 1 to -3 (masked), example 4 from 4 to 3.
    expect(of(ablation, { filterByCorrect: false }, "total_effect")).toEqual([-1.5, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect(of(ablation, { filterByCorrect: false, effects: "all" }, "total_effect")).toEqual([
      -1.5, 0, 0, 0, 0, 0, 0, 0, 5,
    ]);
    expect(of(grad, { filterByCorrect: false }, "total_effect")[8]).toBe(5);
  });

  it("divide by all examples, or by those in which the latent is active", () => {
    expect(of(grad, { filterByCorrect: false }, "mean_effect")[8]).toBe(1);
    expect(of(grad, { filterByCorrect: false }, "mean_effect_active")[8]).toBe(2.5);
  });

  it("count examples that are right: by their difference, or by the vote", () => {
    expect(latentMetrics(grad).num_examples).toBe(3);
    expect(latentMetrics(ablation).num_examples).toBe(4);
    // Example 2 counts for the vote only; its activations do not, because its difference is negative.
    expect(of(ablation, {}, "total_effect")[0]).toBe(-1.5);
    expect(latentMetrics(ablation).dense(wide, "num_samples_active" as const)[0]).toBe(0);
    expect([...latentMetrics(grad).dense(narrow, "mean_activation")]).toEqual([0, 0, 2 / 3, 1 / 3]);
    expect([...latentMetrics(grad).dense(narrow, "proportion_samples_active")]).toEqual([0, 0, 2 / 3, 1 / 3]);
  });

  it("have hooks of different widths side by side, sparse", () => {
    const metrics = latentMetrics(ablation, { activations: sae });
    expect(metrics.hooks.map(({ hook, latents }) => [hook.width, [...latents]])).toEqual([
      [4, [2, 3]],
      [9, [0, 8]],
    ]);
    expect(metrics.toCSV().split("\r\n")[1]).toMatch(`${narrow},2,-0.25,-0.0625,0.5,0.6666666666666666,2,-0.125,`);
    expect(metrics.toJSON()).toMatchObject({ num_examples: 4, effects: "masked", latents: { length: 4 } });
    expect(calcActivationSummary(sae)).toEqual(calcActivationSummary(ablation));
  });

  it("say what they cannot do", () => {
    expect(code(() => latentMetrics(sae))).toBe("review/no-attributions");
    expect(code(() => calcActivationSummary(base))).toBe("review/no-latents");
    expect(code(() => latentMetrics(grad).dense("blocks.7", "total_effect"))).toBe("store/hook");
    const other = analysisResult("logit_diffs_sae", [{ name: "other", width: 4 }], examples, []);
    expect(code(() => latentMetrics(grad, { activations: other }))).toBe("review/hooks");
  });
});

describe("attribution tables", () => {
  it("merge hooks by value, cut to the best, and leave empty ones out", () => {
    const { tables } = attributionTables(latentMetrics(grad, { filterByCorrect: false }), { topK: 2 });
    expect(tables.map(({ title, rows: r }) => [title, r.map((row) => row.slice(0, 3))])).toEqual([
      [
        "Top 2 positive total_effect across all hooks",
        [
          [wide, 8, 5],
          [narrow, 3, 1],
        ],
      ],
      [
        "Top 2 negative total_effect across all hooks",
        [
          [wide, 0, -1.5],
          [narrow, 2, -0.25],
        ],
      ],
    ]);
    const perSae = attributionTables(latentMetrics(grad), { perSae: true, filter: "negative" });
    expect(perSae.tables.map(({ title }) => title)).toEqual([`Top 10 negative total_effect for ${narrow}`]);
    expect(Object.keys(perSae.toJSON())).toEqual([`Top 10 negative total_effect for ${narrow}`]);
    expect(String(perSae)).toContain(`for ${narrow}\n| Hook `);
    expect(perSae.toMarkdown()).toContain(`### Top 10 negative total_effect for ${narrow}\n\n| Hook `);
    expect(perSae.toCSV().split("\r\n")[1]).toContain(`Top 10 negative total_effect for ${narrow},${narrow},2,-0.25`);
    expect(code(() => attributionTables(latentMetrics(grad), { sortBy: "size" as "total_effect" }))).toBe(
      "review/sort-by",
    );
  });
});

describe("base against SAE", () => {
  it("shows what was right before, or everything", () => {
    const shown = (keep: "correct" | "all"): unknown[] =>
      baseVsSaeLogitDiffs(sae, base, { keep, topK: 4 })
        .toJSON()
        .map((row) => row["sample_id"]);
    expect(shown("correct")).toEqual([4, 1, 0]);
    expect(shown("all")).toEqual([4, 1, 0, 2]);
    expect(baseVsSaeLogitDiffs(sae, base).toJSON()[0]).toEqual({
      sample_id: 4,
      prompt: "",
      answer: "7",
      clean_logit_diff: 4,
      sae_logit_diff: 4,
    });
    const answered = { ...sae, examples: sae.examples.map((row) => ({ ...row, answers: ["Yes", "No"] })) };
    const answer = (of: typeof sae, tokenizer?: { decode(ids: readonly number[]): string }): unknown =>
      baseVsSaeLogitDiffs(of, base, { tokenizer }).toJSON()[0]!["answer"];
    expect(answer(answered)).toBe(["Yes", "No"][examples[4]!.orig_labels]);
    expect(answer(sae, { decode: (ids) => `token ${ids.join()}` })).toBe("token 7");
    const fewer = analysisResult("logit_diffs_base", hooks, examples.slice(1), []);
    expect(code(() => baseVsSaeLogitDiffs(sae, fewer))).toBe("review/examples");
  });
});
