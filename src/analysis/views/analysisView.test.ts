/** @file The published views: uneven last batches, batches without any active latent, SAEs of different widths. */
import { describe, expect, it } from "vitest";
import { AnalysisError } from "../errors.ts";
import { AnalysisView } from "./analysisView.ts";
import { opResult } from "../tables/entry.ts";
import { analysisResult } from "../tables/four.ts";
import { thrown } from "../../../test/support/failure.ts";
import { ablationRows, examplesOf, latentsOf, type Ablated } from "../../../test/support/tableRows.ts";

const narrow = "blocks.9.attn.hook_z.hook_sae_acts_post";
const wide = "blocks.5.attn.hook_z.hook_sae_acts_post";
const hooks = [
  { name: narrow, width: 3 },
  { name: wide, width: 5 },
];

/** Batches of 2, 2 and 1. Nothing at all is active in the second, nothing at the narrow hook in the third. */
const diffs = [1, 2, -1, -2, 4];
const examples = examplesOf(diffs, (example) => ({ answer_indices: 2, prompts: `p${example}` }));
const active: Ablated[] = [
  [0, narrow, 2, 0.5, 0.75],
  [0, wide, 4, 2, -3],
  [1, narrow, 2, 1.5, 2.5],
  [1, narrow, 0, 1, 1],
  [4, wide, 4, 4, 3],
];
const rows = ablationRows(active, diffs);
const ablation = analysisResult("logit_diffs_attr_ablation", hooks, examples, rows);
const sae = analysisResult("logit_diffs_sae", hooks, examples, latentsOf("logit_diffs_sae", rows));

describe("columns batch by batch", () => {
  it("are lists with one entry per batch; the last batch is smaller", () => {
    const view = AnalysisView.of(sae);
    expect(view.columnNames).toEqual([
      ...["label_ids", "orig_labels", "answer_indices", "prompts", "answer_logits", "loss", "logit_diffs", "preds"],
      ...["alive_latents", "correct_activations"],
    ]);
    expect(view.column("logit_diffs")).toEqual([[1, 2], [-1, -2], [4]]);
    expect(view.column("loss", { stackBatches: true })).toEqual({ shape: [3], data: Float64Array.of(1.5, 3.5, 5) });
    expect(view.column("prompts", { stackBatches: true })).toEqual([["p0", "p1"], ["p2", "p3"], ["p4"]]);
    expect(view.columns(["preds", "loss"])).toEqual({ preds: [[1, 1], [0, 0], [1]], loss: [1.5, 3.5, 5] });
    const ragged = thrown(AnalysisError, () => view.column("logit_diffs", { stackBatches: true }));
    expect(ragged).toMatchObject({ code: "store/ragged", received: "[2], [1]" });
    expect(view.batches[2]).toMatchObject({ batch: 2, alive_latents: { [narrow]: [], [wide]: [4] } });
  });

  it("say which columns there are when one is not, and can be narrowed", () => {
    const view = AnalysisView.of(sae).selectColumns(["loss", "preds"]);
    expect(view.columnNames).toEqual(["loss", "preds"]);
    expect(thrown(AnalysisError, () => view.column("logit_diff"))).toMatchObject({
      code: "store/column",
      expected: "loss, preds",
    });
    expect(thrown(AnalysisError, () => view.selectColumns(["prompts"])).code).toBe("store/column");
    expect(Object.keys(view.batches[0]!)).toEqual(["batch", "loss", "preds"]);
  });

  it("of even batches stack by hook", () => {
    const plain = rows
      .slice(0, 4)
      .map(({ example, hook, latent, activation }) => ({ example, hook, latent, activation }));
    const even = analysisResult("logit_diffs_sae", hooks, examples.slice(0, 4), plain);
    expect(AnalysisView.of(even).column("logit_diffs", { stackBatches: true })).toEqual({
      shape: [2, 2],
      data: Float64Array.of(1, 2, -1, -2),
    });
    // Both examples of batch 0 are right, none of batch 1: matrices of 2 and 0 rows.
    const error = thrown(AnalysisError, () =>
      AnalysisView.of(even).column("correct_activations", { stackBatches: true }),
    );
    expect(error).toMatchObject({ code: "store/ragged", received: "[2, 3], [0, 3]" });
  });
});

describe("by latent model", () => {
  it("keeps SAEs of different widths apart and joins batches", () => {
    const values = AnalysisView.of(ablation, { effects: "all" }).byLatentModel("attribution_values");
    expect(values.shapes).toEqual({
      [narrow]: [
        [2, 3],
        [2, 3],
        [1, 3],
      ],
      [wide]: [
        [2, 5],
        [2, 5],
        [1, 5],
      ],
    });
    const joined = values.batchJoin();
    expect(joined.shapes).toEqual({ [narrow]: [5, 3], [wide]: [5, 5] });
    expect(joined.applyOpByLatentModel("sum", 0).values).toEqual({
      [narrow]: { shape: [3], data: Float64Array.of(1, 0, -0.25) },
      [wide]: { shape: [5], data: Float64Array.of(0, 0, 0, 0, 5) },
    });
    expect(joined.applyOpByLatentModel((x) => ({ ...x, shape: [x.data.length] })).shapes).toEqual({
      [narrow]: [15],
      [wide]: [25],
    });
    expect(thrown(AnalysisError, () => joined.applyOpByLatentModel("median" as "sum")).code).toBe("store/reduction");
    expect(thrown(AnalysisError, () => joined.applyOpByLatentModel("sum", 2)).code).toBe("store/axis");
  });

  it("stacks values by latent, ascending, and has null where nothing is alive", () => {
    const view = AnalysisView.of(ablation);
    const preds = view.bySae("preds");
    expect(preds.shapes).toEqual({ [narrow]: [[2, 2], null, null], [wide]: [[1, 2], null, [1, 1]] });
    expect(preds.values[narrow]).toEqual([{ shape: [2, 2], data: Float64Array.of(1, 1, 1, 1) }, null, null]);
    const across = preds.applyOpByLatentModel("max", 1).batchJoin({ acrossLatentModels: true });
    expect(across).toEqual([
      { shape: [3], data: Float64Array.of(1, 1, 1) },
      null,
      { shape: [1], data: Float64Array.of(1) },
    ]);
    expect(view.byLatentModel("loss").batchJoin().shapes).toEqual({ [narrow]: [2], [wide]: [2] });
    expect(view.byLatentModel("loss", { stackLatents: false })[wide]).toEqual([{ 4: 6 }, {}, { 4: 10 }]);
    expect(view.byLatentModel("alive_latents").values[wide]).toEqual([
      { shape: [1], data: Float64Array.of(4) },
      { shape: [0], data: Float64Array.of() },
      { shape: [1], data: Float64Array.of(4) },
    ]);
  });

  it("cannot stack the masked differences of ablations, nor columns that are not by hook", () => {
    const masked = AnalysisView.of(ablation);
    // At the wide hook latent 4 leaves example 0 wrong: one value of two. At the narrow one all four are kept.
    const uneven = analysisResult("logit_diffs_attr_ablation", hooks, examples, [
      ...rows.slice(0, 2),
      { ...rows[1]!, latent: 1, ablated_logit_diff: 1 },
      ...rows.slice(2),
    ]);
    expect(thrown(AnalysisError, () => AnalysisView.of(uneven).byLatentModel("logit_diffs"))).toMatchObject({
      code: "store/ragged",
      received: "[2], [1]",
    });
    expect(AnalysisView.of(uneven, { effects: "all" }).byLatentModel("logit_diffs").shapes[wide]).toEqual([
      [2, 2],
      null,
      [1, 1],
    ]);
    expect(thrown(AnalysisError, () => masked.byLatentModel("label_ids"))).toMatchObject({
      code: "store/not-by-hook",
      expected: "loss, logit_diffs, preds, alive_latents, attribution_values",
    });
  });
});

it("ops of one's own have lists per example, matrices per latent, values per batch", () => {
  const entry = {
    name: "mine",
    op: "my_op",
    latents: true,
    columns: {
      score: { per: "example", type: "float32", description: "" },
      share: { per: "latent", type: "float32", description: "" },
      label: { per: "batch", type: "string", description: "" },
    },
  } as const;
  const result = opResult(entry, hooks, {
    examples: [0, 1, 2].map((example) => ({ example, batch: example >> 1, score: example / 2 })),
    latents: {
      length: 1,
      example: Int32Array.of(2),
      hook: Int32Array.of(1),
      latent: Int32Array.of(3),
      activation: Float32Array.of(2),
      ...{ share: Float32Array.of(0.5) },
    },
    batches: [
      { batch: 0, label: "a" },
      { batch: 1, label: "b" },
    ],
  });
  const view = AnalysisView.of(result);
  expect(view.column("score")).toEqual([[0, 0.5], [1]]);
  expect(view.column("label")).toEqual(["a", "b"]);
  expect(view.column("alive_latents")).toEqual([
    { [narrow]: [], [wide]: [] },
    { [narrow]: [], [wide]: [3] },
  ]);
  expect(view.byLatentModel("share").batchJoin().values[wide]).toEqual({
    shape: [3, 5],
    data: Float32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.5, 0).slice(0, 15),
  });
});
