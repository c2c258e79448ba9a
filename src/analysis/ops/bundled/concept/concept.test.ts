/** Concept directions and interventions against arithmetic written out here. */
import { describe, expect, test } from "vitest";
import { randomBatch } from "../../../../../test/support/analysisBatch.ts";
import { indexLeaf, numbersOf, rowsOf } from "../../../../../test/support/model.ts";
import { randomModel, randomNumbers, randomSae, shapes } from "../../../../../test/support/random.ts";
import { equal, leaf, range, unsqueeze, where, type Tensor } from "../../../../graph/index.ts";
import { HookedModel, tokenizerFromJson } from "../../../../model/index.ts";
import { realize } from "../../../../runtime/index.ts";
import { spliceHooks } from "../../../../sae/index.ts";
import type { OpBatchResult } from "../../../tables/columns.ts";
import { compose, openBatch, ops, OpState, runOp, type InterventionPayload } from "../../index.ts";
import { intervene } from "./interventions.ts";
import { pseudoInverse } from "./vectors.ts";

const model = randomModel(shapes["gpt2"]!, 1);
const sae = randomSae(model, "blocks.1.hook_resid_post", "standard", 20, 3);
const setting = { model, saes: [sae] };
const batch = randomBatch([7, 1, 9], 30);
const work = openBatch(setting, batch);
const last = batch.answerIndices as readonly number[];
const d = 16;

const dot = (u: readonly number[], v: readonly number[]): number => u.reduce((s, x, i) => s + x * v[i]!, 0);
const scaled = (v: readonly number[], s: number): number[] => v.map((x) => x * s);
const plus = (u: readonly number[], v: readonly number[]): number[] => u.map((x, i) => x + v[i]!);
const minus = (u: readonly number[], v: readonly number[]): number[] => plus(u, scaled(v, -1));
const unit = (v: readonly number[]): number[] => scaled(v, 1 / Math.sqrt(dot(v, v)));
const along = (u: readonly number[], v: readonly number[]): number[] => scaled(v, dot(u, v) / dot(v, v));
const vector = (seed: number, size = d): number[] => {
  const next = randomNumbers(seed);
  return Array.from({ length: size }, next);
};

/** The value of a hook point at one position of each row, axes of a position merged. */
async function at(hook: string, positions: readonly number[]): Promise<number[][]> {
  const { cache } = await model.runWithCache(work.tokens, { names: hook });
  const x = cache.get(hook);
  const width = x.data.length / (x.dims[0]! * x.dims[1]!);
  const rows = rowsOf(numbersOf(x), width);
  return positions.map((p, b) => rows[b * x.dims[1]! + p]!);
}

describe("extract_concept_latent_state", () => {
  const state = async (
    params: Parameters<typeof ops.extractConceptLatentState.with>[0],
    given: { context_token_indices?: number[] } = {},
  ): Promise<number[][]> => {
    const { cache } = await ops.modelFwdWCache.run({}, work);
    const op = ops.extractConceptLatentState.with(params);
    const columns = await op.run({ cache, answer_indices: batch.answerIndices, ...given }, work);
    const x = await work.realize(columns.concept_latent_state as Tensor);
    return rowsOf(numbersOf(x), x.dims[1]!);
  };

  test("is the activation at the answer position", async () => {
    expect((await state({})).flat()).toBeAllClose((await at("unembed.hook_in", last)).flat());
    const z = await state({ conceptCacheKey: "blocks.1.attn.o.hook_in" });
    expect(z.flat()).toBeAllClose((await at("blocks.1.attn.hook_z", last)).flat());
    expect(z[0]).toHaveLength(d);
    await expect(state({ conceptCacheKey: "blocks.1.attn.hook_zz" })).rejects.toThrow(
      /nearest names: blocks.1.attn.hook_z/,
    );
  });

  test("takes caches of one vector for each row as they are", async () => {
    const cache = { mine: leaf(Float32Array.from(vector(1, 6)), [3, 2]) };
    const op = ops.extractConceptLatentState.with({ conceptCacheKey: "mine" });
    const columns = await op.run({ cache, answer_indices: batch.answerIndices }, work);
    expect(columns.concept_latent_state).toBe(cache.mine);
  });

  test.each([false, true])(
    "with the context as the answer's part (answer as basis: %s)",
    async (useAnswerStateAsBasis) => {
      const hook = "blocks.2.hook_resid_pre";
      const params = { conceptCacheKey: hook, contextEnhanced: true, contextScale: 0.5, useAnswerStateAsBasis };
      const answers = (await at(hook, last)).map((h) => scaled(h, 0.5));
      const related = (s: readonly number[], c: readonly number[]): number[] =>
        useAnswerStateAsBasis ? along(c, s) : along(s, c);
      const before = await at(
        hook,
        last.map((p) => p - 1),
      );
      const expected = answers.map((s, b) => related(s, before[b]!));
      // Before the only token of row 1 there is nothing but padding.
      expected[1] = scaled(answers[1]!, 2);
      expect((await state(params)).flat()).toBeAllClose(expected.flat());
      const contexts = await at(hook, [4, 8, 0]);
      const given = answers.map((s, b) => related(s, contexts[b]!));
      given[2] = scaled(answers[2]!, 2);
      expect((await state(params, { context_token_indices: [4, 8, -1] })).flat()).toBeAllClose(given.flat());
    },
  );
});

/** Labels and logit differences of one's own, with the states of a batch. */
const states = [vector(1), vector(2), vector(3)];
const given = {
  concept_latent_state: states,
  label_ids: [3, 9, 14],
  logit_diffs: [1.5, 0.25, -2],
};
const examples = ops.extractConceptLatentExamples;
const ids = { conceptGroupALabelIds: [3, 14], conceptGroupBLabelIds: [9] };

describe("extract_concept_latent_examples", () => {
  const run = (params: Parameters<typeof examples.with>[0], state?: OpState): Promise<OpBatchResult> =>
    runOp(examples.with(params), { ...setting, state }, batch, given);

  test("keeps the examples of both groups that are right", async () => {
    const { batch: kept } = await run(ids);
    expect(kept).toEqual({
      concept_latent_state: [...Float32Array.from([...states[0]!, ...states[1]!])],
      concept_group_id: [0, 1],
      concept_group_name: ["group_a", "group_b"],
      concept_example_logit_diff: [1.5, 0.25],
      concept_example_weight: [1, 1],
      concept_example_indices: [10, 11],
      concept_aggregate_output_mode: "streaming",
      concept_group_a_ids: [3, 14],
      concept_group_b_ids: [9],
    });
  });

  test("or all of them, weighed; group B wins", async () => {
    const names = ["one", "other"] as const;
    const { batch: kept } = await run({
      conceptGroupALabelIds: [3, 14, 9],
      conceptGroupBLabelIds: [9, 14],
      conceptGroupNames: names,
      conceptCorrectOnly: false,
      conceptWeightByLogitDiff: true,
    });
    expect(kept["concept_group_name"]).toEqual(["one", "other", "other"]);
    expect(kept["concept_example_weight"]).toEqual([1.5, 0.25, 2]);
    expect((await run({ conceptGroupALabelIds: [7] })).batch["concept_group_id"]).toEqual([]);
  });

  test("of all batches so far, in memory", async () => {
    const state = new OpState();
    await run({ ...ids, conceptAggregateOutputMode: "in_memory" }, state);
    const { batch: kept } = await run({ ...ids, conceptAggregateOutputMode: "in_memory" }, state);
    expect(kept["concept_group_id"]).toEqual([0, 1, 0, 1]);
    expect(kept["concept_latent_state"]).toHaveLength(4 * d);
    await run(ids, state);
    expect((await run(ids, new OpState())).batch["concept_group_id"]).toEqual([0, 1]);
  });
});

describe("concept_direction", () => {
  const a = [vector(11), vector(12), vector(13)];
  const b = [vector(21), vector(22)];
  const weightsA = [1, 2, 0.5];
  const weightsB = [1, 3];
  const mean = (rows: readonly number[][], weights: readonly number[]): number[] =>
    scaled(rows.map((row, i) => scaled(row, weights[i]!)).reduce(plus), 1 / weights.reduce((s, w) => s + w));
  /** Rows of both groups as columns; the order is that of the pairs. */
  const columns = (rows: readonly [group: 0 | 1, i: number][], mode = "streaming"): Record<string, unknown> => ({
    concept_latent_state: leaf(Float32Array.from(rows.flatMap(([group, i]) => (group === 0 ? a : b)[i]!)), [
      rows.length,
      d,
    ]),
    concept_group_id: rows.map(([group]) => group),
    concept_group_name: rows.map(([group]) => ["yes", "no"][group]!),
    concept_example_weight: rows.map(([group, i]) => (group === 0 ? weightsA : weightsB)[i]!),
    concept_aggregate_output_mode: mode,
  });
  const all: [0 | 1, number][] = [
    [0, 0],
    [1, 0],
    [0, 1],
    [0, 2],
    [1, 1],
  ];
  const direct = async (
    params: Parameters<typeof ops.conceptDirection.with>[0],
    given: Record<string, unknown>,
    state?: OpState,
  ): Promise<{ direction: number[]; label: unknown }> => {
    const { batch: values } = await runOp(
      ops.conceptDirection.with(params),
      { ...setting, state },
      batch,
      given as never,
    );
    return { direction: values["concept_direction"] as number[], label: values["concept_direction_label"] };
  };
  const expected = {
    mean_difference: unit(minus(mean(a, weightsA), mean(b, weightsB))),
    paired_rejection: unit(
      mean(
        b.map((v, i) => minus(a[i]!, along(a[i]!, v))),
        weightsB.map((w, i) => (w + weightsA[i]!) / 2),
      ),
    ),
    single_group: unit(mean(a, weightsA)),
  };

  test.each(["mean_difference", "paired_rejection", "single_group"] as const)(
    "%s, of one batch and of many",
    async (mode) => {
      const state = new OpState();
      const together = await direct({ mode }, columns(all));
      expect(together.direction).toBeAllClose(expected[mode]);
      expect(together.label).toBe(mode === "single_group" ? "yes" : "yes -> no");
      // One row at a time; the pairs come together across batches.
      let streamed = { direction: [] as number[] };
      for (const row of all) streamed = await direct({ mode }, columns([row]), state);
      expect(streamed.direction).toBeAllClose(expected[mode]);
      expect((await direct({ mode, label: "mine" }, columns(all, "in_memory"))).label).toBe("mine");
      expect((await direct({ mode }, columns(all, "in_memory"), state)).direction).toBeAllClose(expected[mode]);
    },
  );

  test("is zero until its groups have examples", async () => {
    for (const mode of ["mean_difference", "paired_rejection"] as const) {
      expect((await direct({ mode }, columns([[0, 0]]))).direction).toEqual(new Array(d).fill(0));
      await expect(direct({ mode }, columns([[0, 0]], "in_memory"))).rejects.toThrow(
        `${mode} needs examples of both groups`,
      );
    }
    await expect(direct({ mode: "single_group" }, columns([[1, 0]], "in_memory"))).rejects.toThrow("of group A");
    // Nothing to divide by.
    const zeros = { ...columns([[0, 0]]), concept_latent_state: leaf(new Float32Array(d), [1, d]) };
    expect((await direct({ mode: "single_group" }, zeros)).direction).toEqual(new Array(d).fill(0));
  });

  test("of tokens, by their unembeddings", async () => {
    const W = numbersOf(await realize(model.weight("unembed.W_U"))); // [d, 30]
    const column = (id: number): number[] => Array.from({ length: d }, (_, i) => W[i * 30 + id]!);
    const [u, v, w] = [3, 7, 8].map(column) as [number[], number[], number[]];
    const found = await direct({ groupA: [3, 7], groupB: [8] }, {});
    expect(found.direction).toBeAllClose(unit(minus(scaled(plus(u, v), 0.5), w)));
    expect(found.label).toBe("3 / 7 -> 8");
    const pairs = await direct({ mode: "paired_rejection", groupA: [3], groupB: [8] }, {});
    expect(pairs.direction).toBeAllClose(unit(minus(u, along(u, w))));
    expect(dot(pairs.direction, w)).toBeCloseTo(0, 5);
    expect((await direct({ mode: "single_group", groupA: [3] }, {})).label).toBe("3");
    await expect(direct({ groupA: [3] }, {})).rejects.toThrow("mean_difference needs tokens of both groups");
    const unequal = { mode: "paired_rejection", groupA: [3, 7], groupB: [8] } as const;
    await expect(direct(unequal, {})).rejects.toThrow(/expected groups of one length; got 2 and 1/);
    await expect(direct({ groupA: ["Yes"], groupB: ["No"] }, {})).rejects.toThrow("no tokenizer");
  });

  test("of texts, by the vocabulary or their last token", async () => {
    const words = { type: "WordLevel", vocab: { Yes: 3, No: 8, "?": 0 }, unk_token: "?" };
    const tokenizer = tokenizerFromJson({ model: words, added_tokens: [], pre_tokenizer: { type: "Whitespace" } });
    const { cfg, weights } = model;
    const speaking = new HookedModel({ cfg, weights, tokenizer });
    const op = ops.conceptDirection.with({ groupA: ["Yes"], groupB: ["Yes No"] });
    const { batch: values } = await runOp(op, { model: speaking }, batch);
    expect(values["concept_group_a_ids"]).toEqual([3]);
    expect(values["concept_group_b_ids"]).toEqual([8]);
    expect(values["concept_direction_label"]).toBe("Yes -> Yes No");
    const byId = await direct({ groupA: [3], groupB: [8] }, {});
    expect(values["concept_direction"]).toEqual(byId.direction);
  });

  test("comes at the end of a chain", async () => {
    const op = compose(
      ops.labelsToIds,
      ops.modelFwdWCache,
      ops.logitDiffs,
      ops.extractConceptLatentState,
      ops.extractConceptLatentExamples.with({
        conceptGroupALabelIds: [3],
        conceptGroupBLabelIds: [9, 14],
        conceptCorrectOnly: false,
      }),
      ops.conceptDirection,
    );
    const { batch: values } = await runOp(op, setting, batch);
    const [x, y, z] = (await at("unembed.hook_in", last)) as [number[], number[], number[]];
    expect(values["concept_direction"] as number[]).toBeAllClose(unit(minus(x, scaled(plus(y, z), 0.5))));
    // The row of each kept example, whatever was one for each row of the batch before.
    expect(values["concept_latent_state"]).toHaveLength(3 * d);
  });
});

/** Logits of the last token of the first row, with activations of last tokens replaced by given ones. */
async function logitsWith(
  changes: Readonly<Record<string, readonly (readonly number[])[]>>,
  splices?: ReturnType<typeof spliceHooks>,
): Promise<number[]> {
  const positions = indexLeaf(last, [3, 1], [work.tokens.batch, 1]);
  const hooks = Object.entries(changes).map(
    ([name, rows]) =>
      [
        name,
        (value: Tensor): Tensor => {
          const own = value.shape.slice(2) as number[];
          const data = leaf(Float32Array.from(rows.flat()), [3, 1, ...own], { shape: [work.tokens.batch, 1, ...own] });
          const mask = own.reduce<Tensor>((x) => unsqueeze(x, -1), equal(range(work.tokens.pos), positions));
          return where(mask, data, value);
        },
      ] as const,
  );
  const logits = await model.run(work.tokens, { hooks, splices });
  return rowsOf(numbersOf(logits), 30)[last[0]!]!;
}

describe("model_fwd_intervention", () => {
  const v = vector(31);
  const w = vector(32);
  const hook = "blocks.1.hook_resid_pre";
  const run = async (
    params: Parameters<typeof ops.modelFwdIntervention.with>[0],
    given: object = {},
  ): Promise<{ pre: number[]; post: number[]; change: number }> => {
    const { batch: values } = await runOp(ops.modelFwdIntervention.with(params), setting, batch, given as never);
    return {
      pre: values["pre_intervention_logits"] as number[],
      post: values["post_intervention_logits"] as number[],
      change: values["logit_diff"] as number,
    };
  };
  /** Coefficients of h in v and w by the normal equations. */
  const coefficients = (h: readonly number[]): [number, number] => {
    const [vv, vw, ww] = [dot(v, v), dot(v, w), dot(w, w)];
    const [hv, hw] = [dot(h, v), dot(h, w)];
    const det = vv * ww - vw * vw;
    return [(ww * hv - vw * hw) / det, (vv * hw - vw * hv) / det];
  };
  const cases: [string, InterventionPayload, (h: readonly number[]) => number[]][] = [
    ["replace", { mode: "replace", tensor: v, scale: 3 }, () => v],
    ["add", { mode: "add", tensor: v, scale: 3 }, (h) => plus(h, scaled(v, 3))],
    ["add, by default", { tensor: v }, (h) => plus(h, v)],
    ["project", { mode: "project", tensor: v, scale: 2 }, (h) => scaled(along(h, v), 2)],
    [
      "project onto the activation",
      { mode: "project", tensor: v, scale: 2, useInterventionTensorAsBasis: false },
      (h) => scaled(along(v, h), 2),
    ],
    [
      "patch",
      { mode: "patch", tensor: [v, w], scale: 1.5 },
      (h) => {
        const [p, q] = coefficients(h);
        return plus(h, plus(scaled(v, 1.5 * q - p), scaled(w, 1.5 * p - q)));
      },
    ],
    ["one number for all", { tensor: [0.5] }, (h) => h.map((x) => x + 0.5)],
  ];

  test.each(cases)("%s", async (_name, payload, change) => {
    const { pre, post } = await run({ hook, ...payload });
    expect(pre).toBeAllClose(await logitsWith({}));
    expect(post).toBeAllClose(await logitsWith({ [hook]: (await at(hook, last)).map(change) }));
    expect(post).not.toEqual(pre);
  });

  test("heads have vectors of their own", async () => {
    const z = "blocks.2.attn.hook_z";
    const heads = rowsOf(v, 4);
    const expected = await logitsWith({ [z]: (await at(z, last)).map((h) => plus(h, v)) });
    expect((await run({ hook: "blocks.2.attn.o.hook_in", tensor: heads })).post).toBeAllClose(expected);
    const one = (await at(z, last)).map((h) => plus(h, [...heads[0]!, ...heads[0]!, ...heads[0]!, ...heads[0]!]));
    expect((await run({ hook: z, tensor: heads[0] })).post).toBeAllClose(await logitsWith({ [z]: one }));
  });

  test("patterns mean all their points, with one vector or one each", async () => {
    const names = [0, 1, 2].map((layer) => `blocks.${layer}.hook_mlp_out`);
    // Later points see what earlier ones changed: replaced values do not.
    const vectors = [vector(41), vector(42), vector(43)];
    const each = await logitsWith(Object.fromEntries(names.map((name, i) => [name, last.map(() => vectors[i]!)])));
    const same = await logitsWith(Object.fromEntries(names.map((name) => [name, last.map(() => v)])));
    const payload = { mode: "replace" } as const;
    for (const hook of ["blocks.*.hook_mlp_out", "blocks.*.mlp.hook_out"]) {
      expect((await run({ hook, ...payload, tensor: v })).post).toBeAllClose(same);
      expect((await run({ hook, ...payload, tensor: vectors })).post).toBeAllClose(each);
    }
    const tensors = vectors.map((x) => leaf(Float32Array.from(x), [d]));
    expect((await run({ hook: "blocks.*.hook_mlp_out", ...payload, tensor: tensors })).post).toBeAllClose(each);
    await expect(run({ hook: "blocks.*.hook_mlp_out", tensor: tensors.slice(1) })).rejects.toThrow(
      /expected 3 tensors; got 2/,
    );
  });

  test("several on one point act in order", async () => {
    const interventions = {
      [hook]: [
        { mode: "replace", tensor: v },
        { mode: "add", tensor: w, scale: 2 },
      ],
      "blocks.1.hook_in": { mode: "add", tensor: v },
    } as const;
    const expected = plus(scaled(v, 2), scaled(w, 2));
    expect((await run({ interventions })).post).toBeAllClose(await logitsWith({ [hook]: last.map(() => expected) }));
  });

  test("the direction of a concept is added before the unembedding, and its tokens are looked at", async () => {
    const op = compose(ops.conceptDirection.with({ groupA: [3], groupB: [8] }), ops.modelFwdIntervention);
    const { batch: values } = await runOp(op, setting, batch);
    const direction = values["concept_direction"] as number[];
    const expected = await logitsWith({
      "unembed.hook_in": (await at("unembed.hook_in", last)).map((h) => plus(h, direction)),
    });
    const { pre, post } = await run({}, { concept_direction: direction });
    expect(values["post_intervention_logits"] as number[]).toBeAllClose(expected);
    expect(post).toBeAllClose(expected);
    const changes = post.map((x, i) => x - pre[i]!);
    expect([values["logit_diff"] as number]).toBeAllClose([(changes[3]! + changes[8]!) / 2]);
    const all = changes.reduce((s, x) => s + x) / 30;
    expect([(await run({ tensor: direction, hook: "unembed.hook_in" })).change]).toBeAllClose([all]);
    expect([(await run({ tensor: direction, targetIds: [5] })).change]).toBeAllClose([changes[5]!]);
  });

  test("latents of spliced SAEs", async () => {
    const acts = "blocks.1.hook_resid_post.hook_sae_acts_post";
    const tensor = vector(51, 20).map(Math.abs);
    const splices = spliceHooks([sae]);
    const expected = await logitsWith({ [acts]: last.map(() => tensor) }, splices);
    const found = await run({
      hook: "blocks.1.hook_out.hook_sae_acts_post",
      mode: "replace",
      tensor,
      useLatentModels: true,
    });
    expect(found.post).toBeAllClose(expected);
    expect(found.pre).toBeAllClose(await logitsWith({}, splices));
    await expect(run({ hook: acts, tensor })).rejects.toThrow(/no hook point matches/);
    const none = runOp(ops.modelFwdIntervention.with({ useLatentModels: true, tensor: v }), { model }, batch);
    await expect(none).rejects.toThrow("model_fwd_intervention with useLatentModels needs at least one SAE");
  });

  test("what does not fit is named", async () => {
    await expect(run({ hook })).rejects.toThrow(/an intervention has no tensor; in blocks.1.hook_resid_pre/);
    await expect(run({ hook, tensor: vector(1, 5) })).rejects.toThrow(
      /in blocks.1.hook_resid_pre; expected something that stretches to \[16\] \(add\); got \[5\]/,
    );
    await expect(run({ hook, tensor: v, mode: "patch" })).rejects.toThrow(
      /stretches to \[2, 16\] \(patch\); got \[16\]/,
    );
    await expect(run({ hook, tensor: [[1, 2], [3]] })).rejects.toThrow("rows of different sizes");
    await expect(run({ hook: "blocks.0.attn.hook_pattern", tensor: v })).rejects.toThrow(/a value for each position/);
    await expect(run({ hook: "blocks.7.hook_in", tensor: v })).rejects.toThrow(
      /no hook point matches blocks.7.hook_in/,
    );
  });
});

describe("patching", () => {
  const rows = [vector(61), vector(62)];
  const h = leaf(Float32Array.from(rows.flat()), [2, 1, d]);
  const patched = async (x: Tensor, vectors: readonly number[][], scale = 1): Promise<Tensor> => {
    const tensor = { dims: [2, d], data: vectors.flat() };
    return realize(intervene(x, { mode: "patch", tensor, scale, tensorAsBasis: true }, "here"));
  };

  test("leaves what is orthogonal to both vectors, and swaps the rest", async () => {
    const [v, w] = [vector(63), vector(64)];
    const out = rowsOf(numbersOf(await patched(h, [v, w], 2)), d);
    // Two orthogonal vectors of the same plane.
    const basis = [v, minus(w, along(w, v))];
    const rest = (x: readonly number[]): number[] => basis.reduce<number[]>((y, u) => minus(y, along(y, u)), [...x]);
    expect(out.flatMap(rest)).toBeAllClose(rows.flatMap(rest));
    const [p, q] = pseudoInverse(v, w).map((row) => Array.from(row)) as [number[], number[]];
    expect(out.flatMap((x) => [dot(x, p), dot(x, q)])).toBeAllClose(
      rows.flatMap((x) => [2 * dot(x, q), 2 * dot(x, p)]),
    );
  });

  test("twice changes nothing", async () => {
    const vectors = [vector(65), vector(66)];
    expect(numbersOf(await patched(await patched(h, vectors), vectors))).toBeAllClose(rows.flat());
  });

  test.each([
    ["independent vectors", vector(71), vector(72)],
    ["parallel vectors", vector(71), scaled(vector(71), -2)],
    ["orthogonal vectors", [3, 0, 0], [0, 0, 2]],
    ["equal vectors", [1, 2, 2], [1, 2, 2]],
    ["a zero vector", [1, 2, 2], [0, 0, 0]],
    ["no vectors", [0, 0, 0], [0, 0, 0]],
  ])("the pseudo-inverse of %s meets Penrose's conditions", (_name, v, w) => {
    const [p, q] = pseudoInverse(v, w).map((row) => Array.from(row)) as [number[], number[]];
    const V = [v, w];
    const P = [p, q];
    const PV = P.map((row) => V.map((column) => dot(row, column))); // 2 × 2
    const VPV = V.map((_, j) => v.map((_, i) => V[0]![i]! * PV[0]![j]! + V[1]![i]! * PV[1]![j]!));
    expect(VPV.flat()).toBeAllClose(V.flat());
    const PVP = PV.map((row) => p.map((_, i) => row[0]! * p[i]! + row[1]! * q[i]!));
    expect(PVP.flat()).toBeAllClose(P.flat());
    expect(PV[0]![1]!).toBeCloseTo(PV[1]![0]!, 10);
  });
});
