/** Every hook point, gradient and partial run of tiny models against TransformerLens. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sub, sum, takeAlong, unsqueeze, select, leaf, type Tensor } from "../src/graph/index.ts";
import { HookedModel, loadTokenizer, processWeights, tokenBatch, type TokenBatch } from "../src/model/index.ts";
import { describeWithGoldens, goldenTensors, sharedPath, type GoldenTensors } from "./support/goldens.ts";
import { atReal, goldenBatch, numbersOf, rowsOf } from "./support/model.ts";

/** Those with goldens of gradients. */
const core = ["gpt2", "gpt-neox-parallel", "llama-gqa", "gemma2", "qwen2", "mistral-window"];
const families = [...core, "gpt-neox-sequential", "llama-tied-rope-scaled"];

const familyPath = (family: string): string => `goldens/families/${family}`;
const hookedPath = (family: string, file: string): string => `goldens/hooked/${family}/${file}`;
const load = (family: string): Promise<HookedModel> => HookedModel.load(sharedPath(familyPath(family)));
const read = (family: string, file: string): Promise<GoldenTensors> =>
  goldenTensors(sharedPath(hookedPath(family, file)));

/** Σ over rows of the logit of one id minus that of another, at the last position. */
function logitDifference(
  logits: Tensor,
  batch: TokenBatch,
  right: readonly number[],
  wrong: readonly number[],
): Tensor {
  const ids = (values: readonly number[]): Tensor =>
    unsqueeze(leaf(BigInt64Array.from(values, BigInt), [values.length], { shape: [batch.batch] }), -1);
  const last = select(logits, 1, batch.length - 1); // [batch, d_vocab]
  return sum(sub(takeAlong(last, ids(right), 1), takeAlong(last, ids(wrong), 1)));
}

describe.each(families)("%s against TransformerLens", (family) => {
  const activations = hookedPath(family, "raw.activations.safetensors");
  describeWithGoldens("activations", [familyPath(family), activations], () => {
    test("every hook point under its name, in order, with its shape and value", async () => {
      const model = await load(family);
      const golden = await read(family, "raw.activations.safetensors");
      const report = JSON.parse(readFileSync(sharedPath(hookedPath(family, "golden.json")), "utf8")) as {
        raw: { hooks: Record<string, number[]> };
      };
      const batch = goldenBatch(golden);
      const { logits, cache } = await model.runWithCache(batch, { names: "*" });
      expect(cache.names).toEqual(Object.keys(report.raw.hooks));
      for (const [name, x] of cache) {
        expect(x.dims, name).toEqual(report.raw.hooks[name]);
        expect(numbersOf(x), name).toBeAllClose(golden.numbers(name));
      }
      expect(numbersOf(logits)).toBeAllClose(golden.numbers("logits"));
      expect(numbersOf(await model.loss(batch))).toBeAllClose(golden.numbers("loss"));
      model.dispose();
    });
  });

  const processed = hookedPath(family, "processed.activations.safetensors");
  describeWithGoldens("with processed weights", [familyPath(family), processed], () => {
    test("every hook point that the golden holds, logits, loss", async () => {
      const raw = await load(family);
      const model = new HookedModel({ ...processWeights(raw), runtime: raw.runtime });
      const golden = await read(family, "processed.activations.safetensors");
      const batch = goldenBatch(golden);
      const { logits, cache } = await model.runWithCache(batch);
      expect(numbersOf(logits)).toBeAllClose(golden.numbers("logits"));
      expect(numbersOf(await model.loss(batch))).toBeAllClose(golden.numbers("loss"));
      const held = golden.names.filter((name) => name.includes("hook_"));
      for (const name of held) expect(numbersOf(cache.get(name)), name).toBeAllClose(golden.numbers(name));
      expect(held.length).toBe(core.includes(family) ? cache.names.length : 0);
      raw.dispose();
    });
  });

  const partial = hookedPath(family, "kv_cache.safetensors");
  describeWithGoldens("part of the layers", [familyPath(family), partial], () => {
    test("stopAtLayer and startAtLayer at every layer, counted from either end", async () => {
      const model = await load(family);
      const golden = await read(family, "kv_cache.safetensors");
      const batch = goldenBatch(golden);
      const { n_layers: layers } = model.cfg;
      for (let layer = 0; layer < layers; layer++) {
        const residual = await model.run(batch, { stopAtLayer: layer });
        expect(numbersOf(residual), `stop ${layer}`).toBeAllClose(golden.numbers(`stop_at_layer.${layer}.resid`));
        const logits = await model.run(batch, { startAtLayer: layer, residual });
        expect(numbersOf(logits), `start ${layer}`).toBeAllClose(golden.numbers(`start_at_layer.${layer}.logits`));
        const fromEnd = await model.run(batch, { stopAtLayer: layer - layers });
        expect(numbersOf(fromEnd)).toEqual(numbersOf(residual));
        const restarted = await model.run(batch, { startAtLayer: layer - layers, residual });
        expect(numbersOf(restarted)).toEqual(numbersOf(logits));
      }
      expect(numbersOf(await model.run(batch))).toBeAllClose(golden.numbers("full_logits"));
      model.dispose();
    });

    test("losses", async () => {
      const model = await load(family);
      const golden = await read(family, "kv_cache.safetensors");
      const batch = goldenBatch(golden);
      expect(numbersOf(await model.loss(batch))).toBeAllClose(golden.numbers("loss"));
      expect(numbersOf(await model.loss(batch, { perToken: true }))).toBeAllClose(golden.numbers("loss_per_token"));
      model.dispose();
    });
  });
});

describe.each(core)("%s gradients against TransformerLens", (family) => {
  describeWithGoldens("gradients", [familyPath(family), hookedPath(family, "gradients.safetensors")], () => {
    test("with respect to hook points and parameters", async () => {
      const model = await load(family);
      const golden = await read(family, "gradients.safetensors");
      const batch = goldenBatch(golden);
      const named = (prefix: string): string[] =>
        golden.names.filter((n) => n.startsWith(prefix)).map((n) => n.slice(prefix.length));
      const names = named("grad.");
      const parameters = named("param_grad.");
      const { value, hooks, weights } = await model.gradients(
        batch,
        ({ logits }) => logitDifference(logits, batch, golden.numbers("right_ids"), golden.numbers("wrong_ids")),
        { names, weights: parameters.map((n) => n.replace("attn._W", "attn.W")) },
      );
      expect(numbersOf(value)).toBeAllClose(golden.numbers("loss"));
      for (const name of names) {
        expect(hooks[name]!.dims, name).toEqual(golden.dims(`grad.${name}`));
        expect(numbersOf(hooks[name]!), name).toBeCloseToLargest(golden.numbers(`grad.${name}`));
      }
      for (const name of parameters) {
        const gradient = weights[name.replace("attn._W", "attn.W")]!;
        // TransformerLens keeps Gemma's factor √d_model inside its embedding; ours is the file's.
        const factor = name === "embed.W_E" ? model.cfg.embedding_scale : 1;
        const expected = golden.numbers(`param_grad.${name}`).map((x) => x * factor);
        expect(gradient.dims, name).toEqual(golden.dims(`param_grad.${name}`));
        expect(numbersOf(gradient), name).toBeCloseToLargest(expected);
      }
      expect(names.length).toBeGreaterThan(20);
      expect(parameters.length).toBeGreaterThan(3);
      model.dispose();
    });
  });
});

const norms = hookedPath("gpt-neox-parallel", "norm-gradients.safetensors");
describeWithGoldens("two norms of one residual", [familyPath("gpt-neox-parallel"), norms], () => {
  test("have gradients of their own", async () => {
    const model = await load("gpt-neox-parallel");
    const golden = await goldenTensors(sharedPath(norms));
    const batch = goldenBatch(golden);
    const names = golden.names.flatMap((name) => (name.startsWith("grad.") ? [name.slice("grad.".length)] : []));
    const { hooks } = await model.gradients(
      batch,
      ({ logits }) => logitDifference(logits, batch, golden.numbers("right_ids"), golden.numbers("wrong_ids")),
      { names },
    );
    for (const name of names) expect(numbersOf(hooks[name]!), name).toBeCloseToLargest(golden.numbers(`grad.${name}`));
    expect(names.length).toBe(4 * model.cfg.n_layers);
    model.dispose();
  });
});

describe.each(["attn_in", "split_qkv_result_mlp_in"])("points that need flags in TransformerLens (%s)", (flags) => {
  const file = `flags.${flags}.safetensors`;
  describeWithGoldens("gpt2", [familyPath("gpt2"), hookedPath("gpt2", file)], () => {
    test("fire when they are asked for", async () => {
      const model = await load("gpt2");
      const golden = await read("gpt2", file);
      const points = golden.names.filter((name) => name.includes("hook_"));
      const { logits, cache } = await model.runWithCache(goldenBatch(golden), { names: points });
      expect(numbersOf(logits)).toBeAllClose(golden.numbers("logits"));
      for (const name of points) {
        // Under its flags TransformerLens normalises each head's copy; these are equal, and ours is one.
        const perHead = golden.dims(name).length > cache.get(name).dims.length;
        const received = perHead ? repeated(cache.get(name), golden.dims(name)[2]!) : numbersOf(cache.get(name));
        expect(received, name).toBeAllClose(golden.numbers(name));
      }
      expect(points.filter((name) => /hook_(attn_in|[qkv]_input|result|mlp_in)$/.test(name)).length).toBeGreaterThan(2);
      model.dispose();
    });
  });
});

/** [b, p, d] with each row `heads` times: [b, p, heads, d]. */
function repeated(x: Tensor, heads: number): number[] {
  return rowsOf(numbersOf(x), x.dims[2]!).flatMap((row) => Array.from({ length: heads }, () => row).flat());
}

describeWithGoldens("padding rules", [familyPath("gpt2"), hookedPath("gpt2", "padding.safetensors")], () => {
  const { texts } = JSON.parse(readFileSync(sharedPath(hookedPath("gpt2", "padding.json")), "utf8")) as {
    texts: string[];
  };
  const sides = ["left", "right"] as const;
  const cases = sides.flatMap((paddingSide) => [true, false].map((prependBos) => ({ paddingSide, prependBos })));

  async function setup(): Promise<{ model: HookedModel; golden: GoldenTensors }> {
    const { cfg, weights, runtime } = await load("gpt2");
    const tokenizer = await loadTokenizer(sharedPath(hookedPath("gpt2", "tokenizer")));
    return {
      model: new HookedModel({ cfg, weights, runtime, tokenizer }),
      golden: await read("gpt2", "padding.safetensors"),
    };
  }

  test.each(cases)("tlLegacy, $paddingSide, BOS $prependBos", async ({ paddingSide, prependBos }) => {
    const { model, golden } = await setup();
    const at = (name: string): number[] => golden.numbers(`${paddingSide}.${prependBos ? "bos" : "no_bos"}.${name}`);
    const batch = model.batch(texts, { paddingSide, prependBos, positions: "tlLegacy" });
    expect(batch.ids.flat()).toEqual(at("ids"));
    expect(batch.mask.flat()).toEqual(at("mask_from_ids"));
    const { logits, cache } = await model.runWithCache(batch);
    const mask = batch.mask.flat();
    // Without a mask TransformerLens lets right pads be tokens; results at real positions do not depend on that.
    const where = paddingSide === "left" ? mask.map(() => 1) : mask;
    const close = (received: Tensor, name: string): void =>
      expect(atReal(numbersOf(received), where), name).toBeAllClose(atReal(at(name), where));
    close(logits, "logits");
    close(cache.get("hook_pos_embed"), "hook_pos_embed");
    close(cache.get("blocks.1.hook_resid_post"), "resid_post1");
    const heads = model.cfg.n_heads;
    const perQuery = (values: readonly number[]): number[] => {
      const width = batch.length;
      return rowsOf([...values], width).flatMap((row, i) => {
        const b = Math.floor(i / (heads * width));
        return where[b * width + (i % width)] === 1 ? row : [];
      });
    };
    expect(perQuery(numbersOf(cache.get(["pattern", 0])))).toBeAllClose(perQuery(at("pattern0")));
    expect(numbersOf(await model.loss(batch, { perToken: true }))).toBeAllClose(at("loss_per_token_with_mask"));
    expect(numbersOf(await model.loss(batch))).toBeAllClose(at("loss_with_mask"));
    model.dispose();
  });

  test.each(cases)(
    "the same mask given: everything at every position, $paddingSide, BOS $prependBos",
    async ({ paddingSide, prependBos }) => {
      const { model, golden } = await setup();
      const prefix = `${paddingSide}.${prependBos ? "bos" : "no_bos"}.`;
      const batch = goldenBatch(golden, `${prefix}ids`, `${prefix}mask_from_ids`);
      const logits = await model.run(batch);
      expect(numbersOf(logits)).toBeAllClose(golden.numbers(`${prefix}logits_with_explicit_mask`));
      model.dispose();
    },
  );

  test("the mask of ids without BOS keeps one leading pad under tlLegacy; the true mask does not", async () => {
    const { model, golden } = await setup();
    const ids = rowsOf(golden.numbers("left.tokens_only.ids"), golden.dims("left.tokens_only.ids")[1]!);
    const legacy = await model.run(ids, { positions: "tlLegacy", paddingSide: "left" });
    expect(numbersOf(legacy)).toBeAllClose(golden.numbers("left.tokens_only.logits"));
    const mask = golden.numbers("left.true_mask.mask");
    const explicit = await model.run(tokenBatch(ids, { mask: rowsOf(mask, ids[0]!.length) }));
    expect(numbersOf(explicit)).toBeAllClose(golden.numbers("left.true_mask.logits"));
    expect(atReal(numbersOf(explicit), mask)).not.toBeAllClose(atReal(numbersOf(legacy), mask));
    model.dispose();
  });
});
