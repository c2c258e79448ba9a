/** Parts of the residual stream, logit attribution, composition, patching: TransformerLens' values, and what must sum to what. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { add, concat, leaf, matmul, realize, select, slice, sub, sum, unsqueeze, type Tensor } from "../src/index.ts";
import {
  accumulatedBias,
  accumulatedResid,
  activationPatch,
  attributionPatch,
  applyLnToStack,
  compositionScores,
  decomposeResid,
  fullResidDecomposition,
  HookedModel,
  logitAttrs,
  processWeights,
  stackHeadResults,
  stackNeuronResults,
  type Activations,
  type PatchName,
  type RunOptions,
  type TokenBatch,
  type ResidualStack,
} from "../src/model/index.ts";
import { describeWithGoldens, goldenTensors, sharedPath, type GoldenTensors } from "./support/goldens.ts";
import { goldenBatch, numbersOf } from "./support/model.ts";

const hooked = "goldens/hooked/gpt2";
const family = "goldens/families/gpt2";

/** The calls behind each golden. Norm weights: the originals leave them out but where a state is normed by itself. */
const stacks: Record<string, (model: HookedModel, from: Activations) => ResidualStack> = {
  accumulated_resid: (m, from) => accumulatedResid(m, from, { inclMid: true }),
  accumulated_resid_ln: (m, from) => accumulatedResid(m, from, { inclMid: true, applyLn: true }),
  accumulated_resid_ln_last: (m, from) => accumulatedResid(m, from, { applyLn: true, pos: -1 }),
  accumulated_resid_to_layer1: (m, from) => accumulatedResid(m, from, { layer: 1, inclMid: true }),
  accumulated_resid_mlp_input: (m, from) => normed(m, from, accumulatedResid, { layer: 1, mlpInput: true }),
  decompose_resid: (m, from) => decomposeResid(m, from),
  decompose_resid_attn: (m, from) => decomposeResid(m, from, { mode: "attn" }),
  decompose_resid_mlp: (m, from) => decomposeResid(m, from, { mode: "mlp" }),
  decompose_resid_ln: (m, from) => normed(m, from, decomposeResid, {}),
  decompose_resid_no_embeds_last: (m, from) => decomposeResid(m, from, { inclEmbeds: false, pos: -1 }),
  decompose_resid_layer1_mlp_input: (m, from) => decomposeResid(m, from, { layer: 1, mlpInput: true }),
  stack_head_results: (m, from) => stackHeadResults(m, from, { inclRemainder: true }),
  stack_head_results_ln_last: (m, from) => normed(m, from, stackHeadResults, { pos: -1 }),
  stack_neuron_results_last: (m, from) => stackNeuronResults(m, from, { layer: 1, pos: -1 }),
  full_resid_decomposition: (m, from) => fullResidDecomposition(m, from, { expandNeurons: false }),
};

type Place = { layer?: number; mlpInput?: boolean; pos?: number };

/** A stack through its norm, without the norm's weights. */
function normed(
  model: HookedModel,
  from: Activations,
  make: (model: HookedModel, from: Activations, place: Place) => ResidualStack,
  place: Place,
): ResidualStack {
  const { values, labels } = make(model, from, place);
  return { values: applyLnToStack(model, from, values, { ...place, normWeights: false }), labels };
}

for (const mode of ["raw", "processed"] as const) {
  const files = [`${hooked}/${mode}.cache_tools.safetensors`, `${hooked}/${mode}.cache_tools.labels.json`];
  describeWithGoldens(`${mode} weights against TransformerLens`, [family, ...files], () => {
    const open = async (): Promise<{ model: HookedModel; golden: GoldenTensors; labels: Record<string, string[]> }> => {
      const raw = await HookedModel.load(sharedPath(family));
      const model = mode === "raw" ? raw : new HookedModel({ ...processWeights(raw), runtime: raw.runtime });
      const labels = JSON.parse(readFileSync(sharedPath(files[1]!), "utf8")) as Record<string, string[]>;
      return { model, golden: await goldenTensors(sharedPath(files[0]!)), labels };
    };

    test("stacks and their labels, from a run and from a cache", async () => {
      const { model, golden, labels } = await open();
      const batch = goldenBatch(golden);
      const { cache } = await model.runWithCache(batch);
      for (const [name, make] of Object.entries(stacks)) {
        const lazy = await model.run(batch, ({ hooks }) => make(model, hooks));
        expect(lazy.values.dims, name).toEqual(golden.dims(name));
        expect(numbersOf(lazy.values), name).toBeAllClose(golden.numbers(name));
        const cached = await realize(make(model, cache));
        expect(numbersOf(cached.values), `${name}, from a cache`).toBeAllClose(golden.numbers(name));
        if (labels[name] !== undefined) expect(lazy.labels, name).toEqual(labels[name]);
      }
    });

    test("the logit lens", async () => {
      const { model, golden } = await open();
      const lens = await model.run(goldenBatch(golden), ({ hooks }) => {
        const { values } = accumulatedResid(model, hooks, { inclMid: true, applyLn: true });
        const logits = matmul(values, model.weight("unembed.W_U"));
        return model.weights.has("unembed.b_U") ? add(logits, model.weight("unembed.b_U")) : logits;
      });
      expect(numbersOf(lens)).toBeAllClose(golden.numbers("logit_lens"));
    });

    test("logit attributions", async () => {
      const { model, golden } = await open();
      const [tokens, incorrectTokens] = [golden.numbers("right_ids"), golden.numbers("wrong_ids")];
      const found = await model.run(goldenBatch(golden), ({ hooks }) => {
        const at = { pos: -1, normWeights: false, tokens };
        const parts = decomposeResid(model, hooks, { pos: -1 }).values;
        const heads = stackHeadResults(model, hooks, { pos: -1 }).values;
        return {
          logit_attrs_components: logitAttrs(model, hooks, parts, { ...at, incorrectTokens }),
          logit_attrs_components_no_contrast: logitAttrs(model, hooks, parts, at),
          logit_attrs_heads: logitAttrs(model, hooks, heads, { ...at, incorrectTokens }),
        };
      });
      for (const [name, x] of Object.entries(found)) expect(numbersOf(x), name).toBeAllClose(golden.numbers(name));
    });
  });
}

describeWithGoldens("norm weights", [family, `${hooked}/processed.cache_tools.safetensors`], () => {
  test("make attributions of a raw model those of the model that has them folded", async () => {
    const model = await HookedModel.load(sharedPath(family));
    const golden = await goldenTensors(sharedPath(`${hooked}/processed.cache_tools.safetensors`));
    const diffs = await model.run(goldenBatch(golden), ({ hooks }) => {
      const parts = decomposeResid(model, hooks, { pos: -1 }).values;
      const [tokens, incorrectTokens] = [golden.numbers("right_ids"), golden.numbers("wrong_ids")];
      return logitAttrs(model, hooks, parts, { tokens, incorrectTokens, pos: -1 });
    });
    expect(numbersOf(diffs)).toBeAllClose(golden.numbers("logit_attrs_components"));
  });
});

describeWithGoldens("heads", [family, `${hooked}/raw.factored.safetensors`], () => {
  test("compose, and biases accumulate, as in TransformerLens", async () => {
    const model = await HookedModel.load(sharedPath(family));
    const golden = await goldenTensors(sharedPath(`${hooked}/raw.factored.safetensors`));
    for (const mode of ["Q", "K", "V"] as const) {
      const scores = await realize(compositionScores(model, mode));
      expect(scores.dims).toEqual(golden.dims(`composition.${mode}`));
      expect(numbersOf(scores), mode).toBeAllClose(golden.numbers(`composition.${mode}`));
    }
    const biases = await realize([0, 1, 2, 3].map((layer) => accumulatedBias(model, { layer })));
    expect(biases.flatMap(numbersOf)).toBeAllClose(golden.numbers("accumulated_bias"));
  });
});

const families = ["gpt2", "gpt-neox-parallel", "llama-gqa", "gemma2", "qwen2", "mistral-window"];

describe.each(families)("%s", (name) => {
  const folder = `goldens/families/${name}`;
  const ids = [
    [7, 9, 11, 13, 15],
    [8, 10, 12, 14, 16],
  ];
  describeWithGoldens("all that is written", [folder], () => {
    test.each([
      ["heads, MLPs and biases", false],
      ["heads, neurons and biases", true],
    ])("%s sum to the residual stream, and through the final norm to what it gives", async (_title, expandNeurons) => {
      const model = await HookedModel.load(sharedPath(folder));
      const { whole, residual, throughNorm, logits } = await model.run(ids, ({ hooks, logits }) => {
        const all = fullResidDecomposition(model, hooks, { expandNeurons, pos: -1 });
        const normed = sum(applyLnToStack(model, hooks, all.values, { pos: -1 }), 0);
        const bias = model.weights.get("ln_final.b");
        return {
          whole: sum(all.values, 0),
          residual: select(hooks[`blocks.${model.cfg.n_layers - 1}.hook_resid_post`]!, 1, -1),
          throughNorm: matmul(bias === undefined ? normed : add(normed, bias), model.weight("unembed.W_U")),
          logits: select(logits, 1, -1),
        };
      });
      expect(numbersOf(whole)).toBeAllClose(numbersOf(residual));
      const cap = model.cfg.output_logits_soft_cap;
      const capped = numbersOf(throughNorm).map((x) => (cap > 0 ? cap * Math.tanh(x / cap) : x));
      expect(capped).toBeAllClose(numbersOf(logits));
    });

    test("neurons along a direction are the products of their components with it", async () => {
      const model = await HookedModel.load(sharedPath(folder));
      for (const applyLn of [false, true]) {
        const onto: Tensor = select(model.weight("unembed.W_U"), 1, 17);
        const { along, full } = await model.run(ids, ({ hooks }) => ({
          along: stackNeuronResults(model, hooks, { applyLn, onto }).values,
          full: sum(stackNeuronResults(model, hooks, { applyLn }).values.mul(onto), -1),
        }));
        expect(numbersOf(along)).toBeAllClose(numbersOf(full));
      }
    });

    test("a place that does not exist, or has nothing before it, is an error", async () => {
      const model = await HookedModel.load(sharedPath(folder));
      const { cache } = await model.runWithCache(ids, { names: "*.hook_resid_pre" });
      expect(() => accumulatedResid(model, cache, { layer: 99 })).toThrow(/there is no such layer/);
      expect(() => stackHeadResults(model, cache, { layer: 0 })).toThrow(/no heads write/);
      expect(() => stackNeuronResults(model, cache, { layer: 0 })).toThrow(/no neurons write/);
      expect(() => decomposeResid(model, cache)).toThrow(/the cache holds no activation hook_embed/);
    });
  });
});

/** The corrupted batch, and hooks that take a part of the way from its values to the clean run's. */
async function smallStep(
  model: HookedModel,
  { corrupted, clean }: { corrupted: TokenBatch; clean: TokenBatch },
): Promise<{ batch: TokenBatch; step: (name: string, part: number) => (value: Tensor) => Tensor }> {
  const { cache } = await model.runWithCache(clean);
  const step =
    (name: string, part: number) =>
    (value: Tensor): Tensor => {
      const { data, dims } = cache.get(name);
      return value.add(leaf(data, dims, { shape: value.shape }).sub(value).mul(part));
    };
  return { batch: corrupted, step };
}

describeWithGoldens("activation patching", [family, `${hooked}/patching.safetensors`], () => {
  const open = async () => {
    const golden = await goldenTensors(sharedPath(`${hooked}/patching.safetensors`));
    const model = await HookedModel.load(sharedPath(family));
    const [right, wrong] = [golden.numbers("right_ids"), golden.numbers("wrong_ids")];
    const [low] = golden.numbers("corrupt_diff");
    const [high] = golden.numbers("clean_diff");
    const diff = (logits: Tensor): Tensor =>
      concat(
        right.map((id, row) => {
          const last = select(select(logits, 0, row), 0, -1); // [d_vocab]
          return unsqueeze(sub(select(last, 0, id), select(last, 0, wrong[row]!)), 0);
        }),
        0,
      ).mean();
    return {
      golden,
      model,
      options: {
        corrupted: goldenBatch(golden, "corrupt_ids"),
        clean: goldenBatch(golden, "clean_ids"),
        metric: (logits: Tensor): Tensor =>
          diff(logits)
            .sub(low!)
            .div(high! - low!),
      },
    };
  };
  const names = [
    ...["resid_pre", "resid_mid", "attn_out", "mlp_out"],
    ...["out", "q", "k", "v", "pattern"].flatMap((x) => [`attn_head_${x}_by_pos`, `attn_head_${x}_all_pos`]),
    "attn_head_pattern_dest_src_pos",
  ] as PatchName[];

  test.each(names)("%s is TransformerLens' table", async (name) => {
    const { golden, model, options } = await open();
    const { values } = await activationPatch(model, name, options);
    expect(values.dims).toEqual(golden.dims(name));
    expect(numbersOf(values)).toBeAllClose(golden.numbers(name));
  });

  test("the same for any number of rows a pass, the last pass included", async () => {
    const { golden, model, options } = await open();
    for (const rowsPerRun of [1, 7, 1000]) {
      const seen: number[] = [];
      const { values } = await activationPatch(model, "attn_head_out_by_pos", {
        ...options,
        rowsPerRun,
        onProgress: ({ done, total }) => seen.push(done / total),
      });
      expect(numbersOf(values), `${rowsPerRun}`).toBeAllClose(golden.numbers("attn_head_out_by_pos"));
      expect(seen.at(-1)).toBe(1);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
    }
  });

  test("a whole activation at once, and a patch of one's own", async () => {
    const { golden, model, options } = await open();
    const whole = await activationPatch(model, { point: "hook_resid_pre", by: [] }, options);
    expect(whole.values.dims).toEqual([model.cfg.n_layers]);
    expect(numbersOf(whole.values)).toBeAllClose(numbersOf(whole.values).map(() => 1));
    const own = await activationPatch(model, { point: "attn.hook_z", by: ["head"] }, options);
    expect(numbersOf(own.values)).toBeAllClose(golden.numbers("attn_head_out_all_pos"));
  });

  test("attribution patching is the slope of patching: exact for a step that is small", async () => {
    const { model, options } = await open();
    const { batch, step } = await smallStep(model, options);
    for (const name of ["attn_head_out_by_pos", "attn_head_pattern_by_pos", "resid_pre"] as const) {
      const slopes = await attributionPatch(model, name, options);
      const metric = async (hooks: RunOptions["hooks"]): Promise<number> =>
        (await model.run(batch, ({ logits }) => options.metric(logits), { hooks })).item();
      const point = {
        attn_head_out_by_pos: "attn.hook_z",
        attn_head_pattern_by_pos: "attn.hook_pattern",
        resid_pre: "hook_resid_pre",
      }[name];
      // The whole of a layer's activation moves a part of the way, both ways (Richardson: to fourth order).
      for (let layer = 0; layer < model.cfg.n_layers; layer++) {
        const at = `blocks.${layer}.${point}`;
        const slope = async (part: number): Promise<number> =>
          ((await metric([[at, step(at, part)]])) - (await metric([[at, step(at, -part)]]))) / (2 * part);
        const expected = (4 * (await slope(1 / 64)) - (await slope(1 / 32))) / 3;
        const all = numbersOf(slopes.values);
        const own = all.length / model.cfg.n_layers;
        const estimate = all.slice(layer * own, (layer + 1) * own).reduce((a, b) => a + b, 0);
        expect(Math.abs(expected - estimate), at).toBeLessThan(1e-3 * Math.max(1, Math.abs(estimate)));
      }
    }
  });

  test("what cannot be patched is a clear error", async () => {
    const { model, options } = await open();
    const patch = (what: unknown, changed: object = {}): Promise<unknown> =>
      activationPatch(model, what as PatchName, { ...options, ...changed });
    await expect(patch("resid_post")).rejects.toThrow(/there is no patch resid_post.*resid_pre/s);
    await expect(patch({ point: "hook_mlp_out", by: ["head"] })).rejects.toThrow(/hook_mlp_out have no axis head/);
    await expect(patch({ point: "hook_nothing", by: [] })).rejects.toThrow(/hook_nothing/);
    await expect(patch("resid_pre", { clean: [[1, 2]] })).rejects.toThrow(/differ in size.*2 rows of 9/s);
    await expect(patch("resid_pre", { metric: (x: Tensor) => x })).rejects.toThrow(/is a scalar/);
    await expect(patch("resid_pre", { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });
});

describe.each(["gpt-neox-parallel", "llama-gqa", "gemma2"])("patching %s", (name) => {
  describeWithGoldens("one head at one position", [`goldens/families/${name}`], () => {
    test("is what a hook does", async () => {
      const model = await HookedModel.load(sharedPath(`goldens/families/${name}`));
      const [corrupted, clean] = [[[7, 9, 11, 13, 15]], [[7, 9, 12, 13, 15]]];
      const metric = (logits: Tensor): Tensor => select(select(logits, 1, -1), 1, 20).sum();
      for (const part of ["v", "out"] as const) {
        const { values } = await activationPatch(model, `attn_head_${part}_by_pos`, { corrupted, clean, metric });
        const [layers, positions, heads] = values.dims as [number, number, number];
        const [layer, pos, head] = [layers - 1, positions - 3, heads - 1];
        const point = `blocks.${layer}.attn.hook_${part === "v" ? "v" : "z"}`;
        const { cache } = await model.runWithCache(clean, { names: point });
        const one = await model.run(corrupted, ({ logits }) => metric(logits), {
          hooks: [
            [
              point,
              (value) => {
                const row = select(cache.get(point), 1, pos).slice(1, head, head + 1); // [1, 1, d_head]
                const before = slice(value, 1, 0, pos);
                const at = slice(value, 1, pos, pos + 1);
                const patched = concat([slice(at, 2, 0, head), unsqueeze(row, 1), slice(at, 2, head + 1)], 2);
                return concat([before, patched, slice(value, 1, pos + 1)], 1);
              },
            ],
          ],
        });
        expect([numbersOf(values)[(layer * positions + pos) * heads + head]!]).toBeAllClose(numbersOf(one));
      }
    });
  });
});
