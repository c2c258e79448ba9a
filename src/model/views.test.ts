/** Views of a model: every method of theirs is the model's, under hooks and splices; options; what is printed. */
import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { numbersOf } from "../../test/support/model.ts";
import { randomModel, randomSae, shapes } from "../../test/support/random.ts";
import { InterpretuneError } from "../graph/index.ts";
import { spliceHooks } from "../sae/index.ts";
import { HookedModel, tokenBatch, type TokenBatch } from "./index.ts";
import { padRows } from "./tokenizer/index.ts";
import { failure } from "../../test/support/failure.ts";

const model = randomModel(shapes["gpt2"]!, 2);
const sae = randomSae(model, "blocks.1.attn.hook_z", "topk", 32, 3);
const other = randomSae(model, "blocks.2.attn.hook_z", "topk", 32, 4);
const batch = tokenBatch([[5, 6, 7, 8]]);
const ids = batch.ids;

describe("a model with SAEs", () => {
  const splices = spliceHooks(sae);
  const view = model.splice(sae);
  const acts = "blocks.1.attn.hook_z.hook_sae_acts_post";

  test("is one with the splices in every run", async () => {
    const logits = numbersOf(await model.run(batch, { splices }));
    expect(logits).not.toEqual(numbersOf(await model.run(batch)));
    expect(numbersOf(await view.run(batch))).toEqual(logits);
    expect(numbersOf(await model.splice([sae]).run(batch))).toEqual(logits);
    const cached = await view.runWithCache(batch, { names: acts });
    expect(numbersOf(cached.logits)).toBeAllClose(logits);
    expect(cached.cache.get(acts).dims).toEqual([1, 4, 32]);
    const loss = await model.run(batch, (traced) => traced.loss, { splices });
    expect((await view.loss(batch)).item()).toBeCloseTo(loss.item(), 5);
    expect((await view.gradients(batch, (traced) => traced.loss, { names: acts })).hooks[acts]!.dims).toEqual([
      1, 4, 32,
    ]);
    const compiled = await view.compile((traced) => traced.logits);
    expect(numbersOf(await compiled(ids))).toBeAllClose(logits);
    await compiled.dispose();
    const greedy = { maxNewTokens: 3, greedy: true } as const;
    expect((await view.generate(ids, greedy)).newTokens).toEqual(
      (await model.generate(ids, { ...greedy, splices })).newTokens,
    );
    expect(view.describeHooks().map(({ name }) => name)).toContain(acts);
    expect(model.describeHooks().map(({ name }) => name)).not.toContain(acts);
    expect(view.topTokens(await view.run(batch), { k: 2 })).toHaveLength(2);
    expect(view.batch(batch)).toBe(batch);
  });

  test("is spliced and hooked further, and keeps what it has over other weights", async () => {
    const both = numbersOf(await model.run(batch, { splices: spliceHooks([sae, other]) }));
    expect(numbersOf(await view.splice(other).run(batch))).toEqual(both);
    expect(numbersOf(await view.run(batch, { splices: spliceHooks(other) }))).toEqual(both);
    const silent = view.withHooks([[acts, (x) => x.mul(0)]]);
    const hooked = await model.run(batch, { splices, hooks: [[acts, (x) => x.mul(0)]] });
    expect(numbersOf(await silent.run(batch))).toEqual(numbersOf(hooked));
    expect(numbersOf(await silent.withWeights(model.weights).run(batch))).toBeAllClose(numbersOf(hooked));
  });

  test("has room for one SAE at a hook point", async () => {
    for (const twice of [() => model.splice([sae, sae]), () => view.splice(sae), () => view.run(batch, { splices })])
      expect(await failure(InterpretuneError, twice)).toMatchObject({
        code: "model/splice",
        where: "blocks.1.attn.hook_z",
      });
  });

  test("shares with the model what is below the SAEs", () => {
    const below = "blocks.1.attn.hook_v";
    expect(view.trace(batch).hooks[below]!).toBe(model.trace(batch).hooks[below]!);
  });
});

test("hooks of a view act in what is compiled and generated, and are seen by describeHooks as little as the model's", async () => {
  const calls: string[] = [];
  const name = "blocks.1.hook_mlp_out";
  const view = model.withHooks([[name, (x, point) => (calls.push(point.name), x.mul(0))]]);
  expect(view.describeHooks()).toEqual(model.describeHooks());
  expect(calls).toEqual([]);
  const without = numbersOf(await model.run(batch, { hooks: [[name, (x) => x.mul(0)]] }));
  const compiled = await view.compile((traced) => traced.logits);
  expect(numbersOf(await compiled(ids))).toBeAllClose(without);
  await compiled.dispose();
  const { hooks } = await view.generate(ids, { maxNewTokens: 2, greedy: true }).then(() => ({ hooks: calls.length }));
  expect(hooks).toBeGreaterThan(1);
});

test("views have no weights of their own", async () => {
  const own = HookedModel.fromConfig(model.cfg);
  own.withHooks([]).dispose();
  expect((await own.run(batch)).dims).toEqual([1, 4, 30]);
  own.dispose();
  expect(() => own.weight("unembed.W_U").data).toThrow();
});

describe("options of names that nobody reads", () => {
  const unknown = (options: object): object => options;
  test.each<[string, () => unknown, string | undefined]>([
    ["name", () => model.runWithCache(batch, unknown({ name: "*hook_z" })), "names"],
    ["returnType", () => model.run(batch, unknown({ returnType: "loss" })), undefined],
    ["stopAtLayers", () => model.run(batch, (t) => t.residual, unknown({ stopAtLayers: 1 })), "stopAtLayer"],
    ["hook", () => model.trace(batch, unknown({ hook: [] })), "hooks"],
    ["max_new_tokens", () => model.generate(batch, unknown({ max_new_tokens: 1 })), "maxNewTokens"],
    ["topk", () => model.generateStream(batch, unknown({ topk: 1 })).next(), "topK"],
    ["perTokens", () => model.loss(batch, unknown({ perTokens: true })), "perToken"],
    ["weight", () => model.gradients(batch, (t) => t.loss, unknown({ weight: [] })), "weights"],
    ["maxLen", () => model.compile((t) => t.logits, unknown({ maxLen: 4 })), "maxLength"],
    ["padding_side", () => model.batch([[1]], unknown({ padding_side: "left" })), "paddingSide"],
    ["top", () => model.run(batch).then((x) => model.topTokens(x, unknown({ top: 1 }))), undefined],
    ["directions", () => model.addHook("hook_embed", (x) => x, unknown({ directions: "bwd" })), "direction"],
    ["seeds", () => HookedModel.fromConfig(model.cfg, unknown({ seeds: 1 })), "seed"],
    ["headerOnly", () => HookedModel.load("models/none", unknown({ headerOnly: true })), "headersOnly"],
    ["useErrorTerms", () => model.splice(sae, unknown({ useErrorTerms: true })), "useErrorTerm"],
  ])("%s", async (received, run, right) => {
    const error = await failure(InterpretuneError, run);
    expect(error.code).toMatch(/^(model|sae)\/options$/);
    expect(error.received).toBe(received);
    if (right !== undefined) expect(error.hint).toBe(`did you mean ${right}?`);
  });
});

describe("printed", () => {
  test("a model says its sizes, how much there is to see, and what acts on it", () => {
    const view = model.splice(sae).withHooks([["blocks.*.hook_mlp_out", (x) => x]]);
    const points = model.describeHooks().length;
    const [name, sizes, spliced, hooks, ...rest] = inspect(view).split("\n  ");
    expect(name).toBe(`HookedModel ${model.cfg.model_name}: 3 layers, d_model 16, 4 heads, d_vocab 30`);
    expect(sizes).toMatch(new RegExp(`^${points} hook points, [\\d,]+ parameters, [\\d.]+ kB$`));
    expect([spliced, hooks, ...rest]).toEqual(["spliced at blocks.1.attn.hook_z", 'hooks at "blocks.*.hook_mlp_out"']);
    expect(String(model)).toBe([name, sizes].join("\n  "));
    expect(String(model.withSplices(new Map([["nowhere", (x) => x]])))).toContain("spliced at nowhere");
  });

  test("a cache says how much it holds", async () => {
    const { cache } = await model.runWithCache(batch, { names: "*.hook_z" });
    const z = [0, 1, 2].map((layer) => `blocks.${layer}.attn.hook_z [1, 4, 4, 4]`);
    expect(inspect(cache).split("\n  ")).toEqual(["ActivationCache: 3 activations, 768 B", ...z]);
    const all = await model.runWithCache(batch);
    expect(String(all.cache)).toMatch(new RegExp(`\n  … ${all.cache.names.length - 6} more$`));
  });
});

test("the types of batches and of padded rows have names of their own", () => {
  // @ts-expect-error rows of padRows are no token batch
  const mine: TokenBatch = padRows([[1]]);
  expect(mine.ids).toBeInstanceOf(Int32Array);
});
