/** Ops on one batch: alone and together, what is computed how often, state, names, compositions, faults. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { gradients, mul, sum, type Tensor } from "../../graph/index.ts";
import { randomBatch } from "../../../test/support/analysisBatch.ts";
import { numbersOf } from "../../../test/support/model.ts";
import { randomModel, randomSae, shapes } from "../../../test/support/random.ts";
import { AnalysisError } from "../errors.ts";
import { AnalysisRunner } from "../run/runner.ts";
import type { Columns, LatentTable, OpBatchResult, PerLatent } from "../tables/columns.ts";
import {
  bundledOps,
  compose,
  composite,
  createOpTable,
  defineOp,
  findOp,
  listOps,
  manualStep,
  openBatch,
  ops,
  OpState,
  runOp,
  runOps,
  withOps,
  type AnyOp,
} from "./index.ts";
import { sequence } from "./compose.ts";

const model = randomModel(shapes["gpt2"]!, 1);
const saes = [
  randomSae(model, "blocks.2.hook_resid_pre", "standard", 20, 3),
  randomSae(model, "blocks.1.attn.hook_z", "standard", 12, 2),
];
const setting = { model, saes };
const batch = randomBatch([7, 4, 9], 30);
const four: readonly AnyOp[] = [
  ops.logitDiffsBase,
  ops.logitDiffsSae,
  ops.logitDiffsAttrGrad,
  ops.logitDiffsAttrAblation,
];

afterEach(() => vi.restoreAllMocks());

/** The numbers of a result, for comparing two of them. */
const numbers = ({ examples, latents }: OpBatchResult): Record<string, number[]> => ({
  ...Object.fromEntries(Object.entries(examples).map(([name, values]) => [name, values.flat().map(Number)])),
  ...(latents && {
    ...Object.fromEntries(
      Object.entries(latents.values).map(([name, values]) => [`latents.${name}`, Array.from(values)]),
    ),
    row: Array.from(latents.row),
    hook: Array.from(latents.hook),
    latent: Array.from(latents.latent),
    activation: Array.from(latents.activation),
  }),
});

function expectSame(a: OpBatchResult, b: OpBatchResult): void {
  const [mine, other] = [numbers(a), numbers(b)];
  expect(Object.keys(mine)).toEqual(Object.keys(other));
  for (const [name, values] of Object.entries(mine)) expect(values, name).toBeAllClose(other[name]!);
}

describe("ops side by side", () => {
  test("the four analyses are one realization, and one for each SAE's ablation", async () => {
    const realize = vi.spyOn(model.runtime, "realize");
    const trace = vi.spyOn(model, "trace");
    await runOps(setting, four, batch);
    expect(realize).toHaveBeenCalledTimes(1 + saes.length);
    // One plain pass, one spliced.
    expect(trace).toHaveBeenCalledTimes(2);
    realize.mockClear();
    await runOps(setting, four.slice(0, 3), batch);
    expect(realize).toHaveBeenCalledTimes(1);
    realize.mockClear();
    await runOps(setting, [ops.logitDiffsAttrAblation], batch);
    expect(realize).toHaveBeenCalledTimes(1 + saes.length);
  });

  test("give what each gives alone", async () => {
    const together = await runOps(setting, four, batch);
    expect([...together.keys()]).toEqual(four.map(({ name }) => name));
    for (const op of four) expectSame(together.get(op.name)!, await runOp(op, setting, batch));
    const [base, sae] = [together.get("logit_diffs_base")!, together.get("logit_diffs_sae")!];
    expect(base.latents).toBeNull();
    expect(base.examples["logit_diffs"]).not.toEqual(sae.examples["logit_diffs"]);
    // SAEs in the order of the pass, each with its own width.
    expect(sae.hooks).toEqual([
      { name: "blocks.1.attn.hook_z.hook_sae_acts_post", width: 12 },
      { name: "blocks.2.hook_resid_pre.hook_sae_acts_post", width: 20 },
    ]);
    expect(sae.columns).not.toHaveProperty("correct_activations");
    expect(Object.keys(together.get("logit_diffs_attr_ablation")!.latents!.values)).toEqual([
      "ablated_logit_diff",
      "ablated_loss",
      "ablated_pred",
      "attribution_values",
    ]);
  });

  test("wait for each other where one needs data, and what is known is not computed again", async () => {
    const doubled = defineOp({
      name: "doubled",
      description: "asks for data, then builds on the same expression",
      input: { logit_diffs: { per: "example", type: "float32", description: "" } },
      output: {
        total: { per: "batch", type: "float32", description: "" },
        twice: { per: "example", type: "float32", description: "" },
      },
      run: async ({ logit_diffs }, context) => {
        const { data } = await context.realize(logit_diffs);
        return { total: data.length, twice: mul(logit_diffs, 2) };
      },
    });
    const op = compose(ops.logitDiffsBase, doubled);
    const realize = vi.spyOn(model.runtime, "realize");
    const results = await runOps(setting, [ops.logitDiffsSae, op], batch);
    expect(realize).toHaveBeenCalledTimes(2);
    // The second one builds on the first one's results, not on the model.
    const [second] = realize.mock.calls[1]![0] as Tensor[];
    expect(second!.inputs[0]!.storage?.name).toMatch(/^result of/);
    const { examples, batch: perBatch } = results.get(op.name)!;
    expect(perBatch).toEqual({ total: 3 });
    expect(examples["twice"]).toEqual(examples["logit_diffs"]!.map((x) => 2 * Number(x)));
  });

  test("fail together, naming the fault of the first", async () => {
    const broken = manualStep("broken", {}, () => Promise.reject(new Error("no such luck")));
    const late = manualStep("late", {}, async (context) => {
      await new Promise((done) => setTimeout(done, 5));
      await context.realize(context.forward().logits);
      return {};
    });
    await expect(runOps(setting, [ops.logitDiffsAttrAblation, broken, late], batch)).rejects.toThrow("no such luck");
  });

  test("have names of their own", async () => {
    const requests = [ops.logitDiffsBase, { op: ops.logitDiffsBase, name: "again" }];
    const results = await runOps(setting, requests, batch);
    expect([...results.values()].map(({ op }) => op)).toEqual(["logit_diffs_base", "again"]);
    await expect(runOps(setting, [ops.logitDiffsBase, ops.logitDiffsBase], batch)).rejects.toThrow(
      "two analyses have one name",
    );
  });
});

describe("an op alone", () => {
  const composites: readonly [AnyOp, string][] = four.map((op) => [op, op.name]);

  test.each(composites.map(([op, name]) => ({ op, name })))("step by step, $name", async ({ op }) => {
    const work = openBatch(setting, batch);
    let columns: Columns = {};
    for (const step of op.steps) {
      const alone = listOps().find(({ name }) => name === step.name)! as typeof ops.logitDiffs;
      columns = { ...columns, ...(await alone.run(columns as never, work)) };
    }
    const { examples, latents } = await runOp(op, setting, batch);
    for (const name of ["label_ids", "orig_labels", "answer_indices", "loss", "logit_diffs", "preds"]) {
      const column = columns[name] as Tensor | Int32Array;
      const values = "op" in column ? numbersOf(await work.realize(column)) : Array.from(column);
      expect(values, name).toBeAllClose(examples[name]!.map(Number));
    }
    if (latents === null) return;
    const alive = (await work.realize(columns["alive_latents"])) as Record<string, Tensor>;
    const found = Object.values(alive).map((x) => numbersOf(x).filter((a) => a > 0).length);
    expect(found).toEqual([0, 1].map((h) => latents.hook.filter((x) => x === h).length));
  });

  test("takes data for columns", async () => {
    const work = openBatch(setting, batch);
    const { answer_logits } = await ops.modelFwd.run({}, work);
    const given = { answer_indices: [3, 5, 6], orig_labels: [0, 0, 0] };
    const { logit_diffs } = await ops.logitDiffs.run({ answer_logits: answer_logits, ...given }, work);
    const logits = numbersOf(await model.run(work.tokens));
    const expected = given.answer_indices.map((p, b) => {
      const at = (id: number): number => logits[(b * batch.dims[1] + p) * 30 + id]!;
      const ids = Array.from(batch.answerIds).slice(b * 3, b * 3 + 3);
      return at(ids[0]!) - (at(ids[1]!) + at(ids[2]!)) / 2;
    });
    expect(numbersOf(await work.realize(logit_diffs as Tensor))).toBeAllClose(expected);
    await expect(ops.logitDiffs.run({ answer_logits, ...given, orig_labels: [0] }, work)).rejects.toThrow(
      /column orig_labels does not fit the batch; expected 3 values; got 1/,
    );
  });

  test("keeps answer positions and alive latents that are there already", async () => {
    const work = openBatch(setting, batch);
    const answer_indices = Int32Array.of(8, 7, 6);
    const kept = await ops.getAnswerIndices.run({ answer_indices }, work);
    expect(numbersOf(kept.answer_indices as Tensor)).toEqual([8, 7, 6]);
    const none = await ops.getAliveLatents.run({ answer_indices }, work);
    expect(none.alive_latents).toEqual({});
    const alive_latents = {};
    const { cache } = await ops.modelFwdWCacheLatentModels.run({}, work);
    expect((await ops.getAliveLatents.run({ answer_indices, cache, alive_latents }, work)).alive_latents).toBe(
      alive_latents,
    );
    const found = await ops.getAliveLatents.run({ answer_indices, cache }, work);
    expect(Object.keys(found.alive_latents)).toEqual(work.targets.map(({ info }) => info.name));
  });

  test("of the plain model has its activations and no latents", async () => {
    const work = openBatch(setting, batch);
    const { cache, alive_latents } = await ops.modelFwdWCache.run({}, work);
    expect(Object.keys(cache)).toEqual(Object.keys(model.trace(work.tokens).hooks));
    expect(alive_latents).toEqual({});
  });

  test("keeps the activations of examples that are right", async () => {
    const work = openBatch(setting, batch);
    const spliced = await ops.modelFwdWCacheLatentModels.run({}, work);
    const { logit_diffs } = await runOp(ops.logitDiffsSae, setting, batch).then(({ examples }) => examples);
    const right = logit_diffs!.map((x) => Number(x) > 0);
    expect(new Set(right).size).toBe(2);
    const diffs = logit_diffs!.map(Number);
    const given = { ...spliced, logit_diffs: diffs, answer_indices: batch.answerIndices };
    const { correct_activations } = await ops.latentCorrectActs.run(given, work);
    const [correct, all] = (await work.realize([correct_activations, spliced.alive_latents])) as Record<
      string,
      Tensor
    >[];
    for (const [name, x] of Object.entries(all!)) {
      const width = x.dims[1]!;
      const expected = numbersOf(x).map((value, i) => (right[Math.floor(i / width)]! ? value : 0));
      expect(numbersOf(correct![name]!)).toEqual(expected);
    }
  });
});

describe("latents", () => {
  test("that are given are those that are ablated", async () => {
    const all = await runOp(ops.logitDiffsAttrAblation, setting, batch);
    const rows = [1, 4];
    const pick = (x: Int32Array): Int32Array => Int32Array.from(rows, (i) => x[i]!);
    const { row, hook, latent, activation } = all.latents!;
    const table: LatentTable = {
      ...{ length: 2, row: pick(row), hook: pick(hook), latent: pick(latent), values: {} },
      activation: Float32Array.from(rows, (i) => activation[i]!),
    };
    const few = await runOp(ops.logitDiffsAttrAblation, setting, batch, { alive_latents: table });
    for (const [name, values] of Object.entries(all.latents!.values))
      expect(Array.from(few.latents!.values[name]!), name).toBeAllClose(rows.map((i) => values[i]!));
  });

  test("may be none at all", async () => {
    const silent = randomSae(model, "blocks.1.hook_mlp_out", "jumprelu", 9, 4);
    silent.params.threshold!.storage!.data = new Float32Array(9).fill(1e6);
    const results = await runOps({ model, saes: [silent] }, four, batch);
    for (const name of ["logit_diffs_sae", "logit_diffs_attr_grad", "logit_diffs_attr_ablation"])
      expect(results.get(name)!.latents!.length).toBe(0);
    const both = await runOp(ops.logitDiffsAttrGrad, { model, saes: [silent, ...saes] }, batch);
    expect(new Set(both.latents!.hook)).toEqual(new Set([0, 2]));
  });

  test("of some layers or points only", async () => {
    const name = "blocks.2.hook_resid_pre.hook_sae_acts_post";
    const results = await Promise.all(
      [{ layers: [2] }, { hooks: [name] }].map((options) =>
        runOp(ops.logitDiffsAttrGrad, { ...setting, options }, batch),
      ),
    );
    const all = await runOp(ops.logitDiffsAttrGrad, setting, batch);
    const rows = [...all.latents!.hook.keys()].filter((i) => all.latents!.hook[i] === 1);
    for (const { hooks, latents } of results) {
      expect(hooks.map((hook) => hook.name)).toEqual([name]);
      expect(Array.from(latents!.values["attribution_values"]!)).toBeAllClose(
        rows.map((i) => all.latents!.values["attribution_values"]![i]!),
      );
    }
    const options = { hooks: ["blocks.0.hook_resid_pre"] };
    await expect(runOp(ops.logitDiffsSae, { ...setting, options }, batch)).rejects.toThrow(
      "no SAE has latents at this point",
    );
  });

  test("of an op of one's own need to be named", async () => {
    const effects = { effects: { per: "latent", type: "float32", description: "" } } as const;
    const step = defineOp({
      name: "effects",
      description: "",
      input: { alive_latents: { per: "latent", type: "float32", description: "" } },
      output: effects,
      run: ({ alive_latents }: { alive_latents: PerLatent }) => ({
        effects: Object.fromEntries(
          Object.entries(alive_latents as Record<string, Tensor>).map(([name, x]) => [name, mul(x, 3)]),
        ),
      }),
    });
    const { latents } = await runOp(compose(ops.logitDiffsSae, step), setting, batch);
    expect(Array.from(latents!.values["effects"]!)).toBeAllClose(Array.from(latents!.activation, (x) => 3 * x));
    const lost = manualStep("lost", effects, () => ({ effects: new Float32Array(2) }));
    await expect(runOp(lost, setting, batch)).rejects.toThrow(/lost has columns per latent but does not say which/);
  });
});

describe("state", () => {
  const count = defineOp({
    name: "count",
    description: "",
    input: {},
    output: {
      seen: { per: "batch", type: "int32", description: "" },
      ever: { per: "batch", type: "int32", description: "" },
    },
    state: { fields: { seen: () => 0 }, resetEachEpoch: true },
    run: (_inputs, { state }) => ({ seen: ++state.seen, ever: 0 }),
  });
  const always = defineOp({
    name: "always",
    description: "",
    input: {},
    output: { ever: { per: "batch", type: "int32", description: "" } },
    state: { fields: { seen: () => 0 } },
    run: (_inputs, { state }) => ({ ever: ++state.seen }),
  });
  const op = compose(count, always);

  test("lasts from batch to batch, and starts anew in an epoch where that is declared", async () => {
    const state = new OpState();
    const run = async (): Promise<unknown> => (await runOp(op, { ...setting, state }, batch)).batch;
    expect([await run(), await run()]).toEqual([
      { seen: 1, ever: 1 },
      { seen: 2, ever: 2 },
    ]);
    state.startEpoch();
    expect(await run()).toEqual({ seen: 1, ever: 3 });
    state.clear();
    expect(await run()).toEqual({ seen: 1, ever: 1 });
  });

  test("belongs to one analysis, and is gone without an owner", async () => {
    const state = new OpState();
    const requests = [
      { op, name: "a" },
      { op, name: "b" },
    ];
    const results = await runOps({ ...setting, state }, requests, batch);
    expect([...results.values()].map((result) => result.batch)).toEqual([
      { seen: 1, ever: 1 },
      { seen: 1, ever: 1 },
    ]);
    await runOp(op, setting, batch);
    expect((await runOp(op, setting, batch)).batch).toEqual({ seen: 1, ever: 1 });
  });

  test("has the declared fields only", async () => {
    const other = (run: (state: Record<string, unknown>) => unknown): AnyOp =>
      defineOp({
        name: "other",
        description: "",
        input: {},
        output: {},
        state: { fields: { seen: () => 0 } },
        run: (_inputs, { state }) => (run(state as Record<string, unknown>), {}),
      });
    const fault = /other has no state of this name; expected seen; got unseen/;
    await expect(
      runOp(
        other((state) => state["unseen"]),
        setting,
        batch,
      ),
    ).rejects.toThrow(fault);
    await expect(
      runOp(
        other((state) => (state["unseen"] = 1)),
        setting,
        batch,
      ),
    ).rejects.toThrow(fault);
  });
});

describe("manual steps", () => {
  test("stand in for an op, alone and composed", async () => {
    const step = manualStep(
      "by_hand",
      { logit_diffs: { per: "example", type: "float32", description: "" } },
      async (context) => {
        const { logits } = await context.realize({ logits: context.forward().logits });
        const values = logits.data as Float32Array;
        const [b, p, v] = logits.dims as [number, number, number];
        return {
          logit_diffs: Array.from({ length: b }, (_, row) => {
            const ids = Array.from(batch.answerIds).slice(row * 3, row * 3 + 3);
            const at = ids.map((id) => values[(row * p + p - 1) * v + id]!);
            const right = at[batch.labels[row]!]!;
            return right - (at.reduce((a, x) => a + x) - right) / 2;
          }),
        };
      },
    );
    const [base, mine] = [await runOp(ops.logitDiffsBase, setting, batch), await runOp(step, setting, batch)];
    const diffs = mine.examples["logit_diffs"]!.map(Number);
    expect(diffs).toBeAllClose(base.examples["logit_diffs"]!.map(Number));
    expect(Object.keys(mine.columns)).toEqual(["logit_diffs", "tokens"]);
    expect(mine.examples["tokens"]).toEqual(batch.rows);
  });

  test("give what they declare", async () => {
    const column = { score: { per: "example", type: "float32", description: "" } } as const;
    const lists = { scores: { per: "example", type: "int32", list: true, description: "" } } as const;
    const texts = {
      note: { per: "example", type: "string", description: "" },
      more: { per: "batch", type: "json", description: "" },
    } as const;
    const give = (value: unknown, output: object = column): Promise<OpBatchResult> =>
      runOp(
        manualStep("mine", output as typeof column, () => value as { score: number[] }),
        setting,
        batch,
      );
    expect((await give({ scores: [[1], [], [2, 3]] }, lists)).examples["scores"]).toEqual([[1], [], [2, 3]]);
    expect(await give({ note: ["a", null, "b"], more: { n: [1] } }, texts)).toMatchObject({
      examples: { note: ["a", null, "b"] },
      batch: { more: '{"n":[1]}' },
    });
    await expect(give({})).rejects.toThrow("mine did not give its column 'score'");
    await expect(give({ score: [1, 2, 3], points: 1 })).rejects.toThrow(
      /does not declare; .*expected score; got points/,
    );
    await expect(give({ score: [1, 2] })).rejects.toThrow(/column score with other values.*expected 3 values; got 2/);
    await expect(give({ score: ["a", "b", "c"] })).rejects.toThrow(/expected float32; got 'a'/);
    await expect(give({ scores: [[1.5], [], []] }, lists)).rejects.toThrow(/expected lists of int32; got \[ 1.5 \]/);
  });
});

describe("names", () => {
  test("are matched whatever their case and spelling", () => {
    for (const name of ["logit_diffs_sae", "Logit-Diffs-SAE", "logit_diffs_latent"])
      expect(findOp(name)).toBe(ops.logitDiffsSae);
    expect(findOp("model_forward")).toBe(ops.modelFwd);
    expect(findOp("sae_correct_acts")).toBe(ops.saeCorrectActs);
    expect(findOp("model_cache_forward")).toBe(ops.modelCacheForward);
    expect(findOp("logit_diffs_ablation")).toBe(ops.logitDiffsAttrAblation);
  });

  test("are all there, each once", () => {
    expect(
      listOps()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(
      [
        ...[
          "labels_to_ids",
          "get_answer_indices",
          "model_fwd",
          "model_fwd_w_cache",
          "logit_diffs",
          "logit_diffs_cache",
        ],
        ...["get_alive_latents", "model_fwd_w_cache_latent_models", "model_ablation", "latent_correct_acts"],
        ...["model_gradient", "gradient_attribution", "ablation_attribution"],
        ...["logit_diffs_base", "logit_diffs_sae", "logit_diffs_attr_grad", "logit_diffs_attr_ablation"],
        ...["extract_concept_latent_state", "extract_concept_latent_examples", "concept_direction"],
        "model_fwd_intervention",
      ].sort(),
    );
  });

  test("that are not there come with the nearest", () => {
    expect(() => findOp("logit_difs_base")).toThrow(/there is no op logit_difs_base \(nearest names: logit_diffs_base/);
    expect(() => findOp("labels_to_ids.modl_fwd")).toThrow(
      /no op modl_fwd; in labels_to_ids.modl_fwd \(nearest names: model_fwd/,
    );
  });

  test("belong to one op of a table", async () => {
    const mine = manualStep("Model-Fwd", { score: { per: "batch", type: "float32", description: "" } }, () => ({
      score: 1,
    }));
    expect(() => withOps(bundledOps, [mine])).toThrow(
      /two ops have one name; got model_fwd for model_fwd and Model-Fwd/,
    );
    const table = withOps(bundledOps, [mine], { replace: true });
    expect(table.find("model_fwd")).toBe(mine);
    expect(() => table.find("model_forward")).toThrow("there is no op");
    expect((await runOp(table.find("labels_to_ids.model_fwd"), setting, batch)).batch).toEqual({ score: 1 });
    const spaced = manualStep("user.repo.step", {}, () => ({}));
    const more = withOps(bundledOps, [spaced]);
    expect(more.find("user/repo/step")).toBe(spaced);
    expect(more.find("labels_to_ids.(user.repo.step).model_fwd").steps.map(({ name }) => name)).toEqual([
      "labels_to_ids",
      "user.repo.step",
      "model_fwd",
    ]);
    expect(createOpTable([spaced]).has("model_fwd")).toBe(false);
  });
});

describe("compositions as text", () => {
  test("are the composites, spelt out", async () => {
    const text = "labels_to_ids.model_fwd_w_cache_latent_models.logit_diffs_cache.model_ablation.ablation_attribution";
    const op = findOp(text);
    expect(op.name).toBe(text);
    expect(op.output).toEqual(ops.logitDiffsAttrAblation.output);
    expect([op.requires, op.perLatentPreds, op.requiresGradient]).toEqual([["saes"], true, false]);
    expectSame(await runOp(op, setting, batch), await runOp(ops.logitDiffsAttrAblation, setting, batch));
  });

  test("build on composites", async () => {
    const op = findOp("logit_diffs_sae.model_ablation.ablation_attribution");
    expectSame(await runOp(op, setting, batch), await runOp(ops.logitDiffsAttrAblation, setting, batch));
  });

  test("nested are the flat chain, wherever the parts end", async () => {
    const members = [ops.labelsToIds, ops.modelGradient, ops.gradientAttribution] as const;
    const flat = sequence({ name: "flat" }, members);
    const left = sequence({ name: "left" }, [sequence({ name: "inner" }, members.slice(0, 2)), members[2]]);
    expect([left.input, left.output]).toEqual([flat.input, flat.output]);
    expect(left.output).not.toHaveProperty("grad_cache");
    expect(left.steps).toEqual(flat.steps);
    expectSame(await runOp(left, setting, batch), await runOp(ops.logitDiffsAttrGrad, setting, batch));
    expect(compose(compose(ops.labelsToIds, ops.modelFwd), ops.logitDiffs).name).toBe(
      "labels_to_ids.model_fwd.logit_diffs",
    );
    const columns = await left.run({}, { ...setting, batch });
    expect(Object.keys(columns)).toEqual(Object.keys(flat.output));
    // As text: parts whose ends hold logits, a cache and gradients.
    const table = withOps(bundledOps, [
      composite({ name: "start" }, ops.labelsToIds, ops.modelFwdWCacheLatentModels),
      composite({ name: "more" }, composite({ name: "begin" }, ops.labelsToIds, ops.modelFwd), ops.logitDiffs),
    ]);
    const op = table.find("start.logit_diffs_cache.model_ablation.ablation_attribution");
    expectSame(await runOp(op, setting, batch), await runOp(ops.logitDiffsAttrAblation, setting, batch));
    expectSame(await runOp(table.find("more"), setting, batch), await runOp(ops.logitDiffsBase, setting, batch));
  });

  test("may be parts that read what an outer chain gives", async () => {
    const part = composite({ name: "part" }, ops.modelAblation, ops.ablationAttribution);
    const op = compose(ops.logitDiffsSae, part);
    expect(op.input).toEqual(findOp("logit_diffs_sae.model_ablation.ablation_attribution").input);
    expectSame(await runOp(op, setting, batch), await runOp(ops.logitDiffsAttrAblation, setting, batch));
    await expect(runOp(part, setting, batch)).rejects.toThrow(
      /Missing required analysis input '\w+' for model_ablation; in part; got no columns/,
    );
    // Columns may come from whoever runs it, too.
    const twice = defineOp({
      name: "twice",
      description: "",
      input: { score: { per: "example", type: "float32", description: "" } },
      output: { score: { per: "example", type: "float32", description: "" } },
      run: ({ score }) => ({ score: mul(score, 2) }),
    });
    const { examples } = await runOp(compose(twice, twice), setting, batch, { score: Float32Array.of(1, 2, 3) });
    expect(examples["score"]).toEqual([4, 8, 12]);
  });

  test.each([
    ["labels_to_ids.logit_diffs", "Missing required analysis input 'answer_logits' for logit_diffs"],
    ["model_fwd.logit_diffs", "Missing required analysis input 'orig_labels' for logit_diffs"],
    ["logit_diffs_base.logit_diffs_cache", "Missing required analysis input 'cache' for logit_diffs_cache"],
  ])("%s is not run", async (text, message) => {
    await expect(runOp(findOp(text), setting, batch)).rejects.toThrow(message);
    const batches = (): never => {
      throw new Error("data is read");
    };
    const sides = { module: { model, saes, answers: null }, datamodule: { evalBatchSize: 1, batches } };
    const runner = new AnalysisRunner(sides);
    await expect(runner.run(text)).rejects.toThrow(`${message}; in ${text}`);
  });

  test.each([
    ["model_fwd..logit_diffs", "this is not a composition of ops"],
    ["(model_fwd.logit_diffs", "this is not a composition of ops"],
    ["(model_fwd)logit_diffs", "this is not a composition of ops"],
    ["", "this is not a composition of ops"],
  ])("%s is none", (text, message) => {
    expect(() => findOp(text)).toThrow(message);
    expect(() => findOp(text)).toThrow(AnalysisError);
  });
});

describe("what an op needs", () => {
  test("is named where it is missing", async () => {
    for (const op of [ops.logitDiffsSae, ops.logitDiffsAttrGrad, ops.logitDiffsAttrAblation])
      await expect(runOp(op, { model }, batch)).rejects.toMatchObject({ code: "analysis/no-saes" });
    await expect(runOp(ops.logitDiffsSae, { model }, batch)).rejects.toThrow(
      "model_fwd_w_cache_latent_models needs at least one SAE",
    );
    await expect(runOp(ops.logitDiffs, setting, batch)).rejects.toThrow(
      /Missing required analysis input 'answer_logits' for logit_diffs; .*got no columns/,
    );
    await expect(runOp(ops.logitDiffs, setting, batch, { answer_logits: null })).rejects.toThrow("'answer_logits'");
    expect((await runOp(ops.logitDiffsBase, { model }, batch)).hooks).toEqual([]);
    const speaks = { name: "speaks", description: "", input: {}, output: {}, requires: ["tokenizer"] } as const;
    await expect(runOp(defineOp({ ...speaks, run: () => ({}) }), setting, batch)).rejects.toThrow(
      "speaks needs a model with a tokenizer",
    );
  });

  test("gradients, where something cuts them", async () => {
    const noPath = defineOp({
      name: "no_path",
      description: "",
      input: {},
      output: {},
      requiresGradient: true,
      run: (_inputs, context) => {
        gradients(sum(context.forward().logits), [context.answers.ids]);
        return {};
      },
    });
    await expect(runOp(noPath, setting, batch)).rejects.toThrow("no_path needs gradients, and there are none here");
  });

  test("ends with the signal", async () => {
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    await expect(runOps({ ...setting, signal: stop.signal }, four, batch)).rejects.toThrow("enough");
  });
});
