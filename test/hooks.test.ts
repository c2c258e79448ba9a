/** Hooks: when they fire, what they see, what they change, and what is an error. */
import { describe, expect, test } from "vitest";
import { add, gradients, greater, leaf, mul, select, sum, where, type Tensor } from "../src/graph/index.ts";
import {
  ModelError,
  tokenBatch,
  type Hook,
  type HookedModel,
  type HookSpec,
  type NameFilter,
} from "../src/model/index.ts";
import { spliceHooks } from "../src/sae/index.ts";
import { full } from "./support/full.ts";
import { numbersOf } from "./support/model.ts";
import { notCausal, randomModel, randomRows, randomSae, shapes } from "./support/random.ts";
import { failure } from "./support/failure.ts";

const model = randomModel(shapes["gpt2"]!, 2);
const ids = randomRows([5, 5], 30, 1);
const batch = tokenBatch(ids);
const name = "blocks.1.hook_resid_pre";
const double: Hook = (x) => mul(x, 2);
const increase: Hook = (x) => add(x, 1);

const differ = (a: Tensor, b: Tensor): number => {
  const other = numbersOf(b);
  return numbersOf(a).reduce((top, x, i) => Math.max(top, Math.abs(x - other[i]!)), 0);
};

/** What a rejected promise, or a function that throws, says. */
/** The residual entering block 1, as a run with these hooks sees it. */
async function seen(hooks: readonly HookSpec[], of: HookedModel = model): Promise<number[]> {
  const { cache } = await of.runWithCache(batch, { names: name, hooks });
  return numbersOf(cache.get(name));
}
const plain = await seen([]);

const kinds = { ...shapes, ...notCausal, parallel: { ...shapes["gpt2"]!, parallel_attn_mlp: true } };
describe.each(Object.keys(kinds))("every hook point of a model: %s", (kind) => {
  test("fires, and replacing its value changes the output", async () => {
    const own = randomModel(kinds[kind as keyof typeof kinds], 5);
    const all = own.describeHooks().map((hook) => hook.name);
    expect(all.length).toBeGreaterThan(50);
    // The middle block has the points of the others.
    const names = full ? all : all.filter((name) => !name.startsWith("blocks.1."));
    // Neither a factor nor a shift: norms and softmaxes undo those. −∞ stays what it is.
    const lopsided: Hook = (x) => where(greater(x, 0), mul(x, 2), mul(x, 0.5));
    const last = (traced: ReturnType<HookedModel["trace"]>): Tensor => select(traced.logits, 1, 4);
    for (let from = 0; from < names.length; from += 12) {
      const some = names.slice(from, from + 12);
      const changed = some.map((n) => [n, last(own.trace(batch, { hooks: [[n, lopsided]] }))] as const);
      const tree = { before: last(own.trace(batch)), after: Object.fromEntries(changed) };
      const { before, after } = await own.runtime.realize(tree);
      for (const n of some) expect(differ(after[n]!, before), n).toBeGreaterThan(1e-3);
    }
  });
});

describe("forward hooks", () => {
  test("act in order of registration; what is kept is what they made", async () => {
    expect(
      await seen([
        [name, double],
        [name, increase],
      ]),
    ).toBeAllClose(plain.map((x) => 2 * x + 1));
    expect(
      await seen([
        [name, increase],
        [name, double],
      ]),
    ).toBeAllClose(plain.map((x) => 2 * (x + 1)));
  });

  test("permanent ones come first, prepended ones before those; they come off", async () => {
    const remove = model.addHook(name, double);
    expect(await seen([[name, increase]])).toBeAllClose(plain.map((x) => 2 * x + 1));
    model.addHook(name, increase, { prepend: true });
    expect(await seen([])).toBeAllClose(plain.map((x) => 2 * (x + 1)));
    remove();
    expect(await seen([])).toBeAllClose(plain.map((x) => x + 1));
    model.resetHooks();
    expect(await seen([])).toEqual(plain);
  });

  test("a permanent hook may be idle in a pass over some layers only", async () => {
    const remove = model.addHook("blocks.2.hook_resid_pre", double);
    const residual = await model.run(batch, { stopAtLayer: 1 });
    expect(numbersOf(residual)).toBeAllClose(plain);
    remove();
    const { code } = await failure(ModelError, () =>
      model.run(batch, { stopAtLayer: 1, hooks: [["blocks.2.hook_resid_pre", double]] }),
    );
    expect(code).toBe("model/no-such-hook");
  });

  test("of a view are seen by its runs alone, whatever else runs meanwhile", async () => {
    const doubled = model.withHooks([[name, double]]);
    const both = doubled.withHooks([[name, increase]]);
    const runs = [both, doubled, model].map((of) => seen([], of));
    const [first, second, third] = await Promise.all(runs);
    expect(first!).toBeAllClose(plain.map((x) => 2 * x + 1));
    expect(second!).toBeAllClose(plain.map((x) => 2 * x));
    expect(third!).toEqual(plain);
    expect(await seen([[name, increase]], doubled)).toBeAllClose(first!);
  });

  test("of a model act in its views, before theirs; those of a view do not act in the model", async () => {
    const view = model.withHooks([[name, increase]]);
    const remove = model.addHook(name, double);
    view.addHook(name, double);
    expect(await seen([], view)).toBeAllClose(plain.map((x) => 2 * (2 * x + 1)));
    remove();
    expect(await seen([], view)).toBeAllClose(plain.map((x) => 2 * (x + 1)));
    expect(await seen([])).toEqual(plain);
    view.resetHooks();
    expect(await seen([], view)).toBeAllClose(plain.map((x) => x + 1));
  });

  test("a hook that returns nothing only looks; the point knows its name and layer", async () => {
    const looked: unknown[] = [];
    const look: Hook = (x, point) => void looked.push(point.name, point.layer, x.shape.length);
    expect(await seen([[name, look]])).toEqual(plain);
    expect(looked).toEqual([name, 1, 3]);
    await model.run(batch, { hooks: [["hook_embed", (_, point) => void looked.push(point.layer)]] });
    expect(looked.at(-1)).toBeUndefined();
  });

  test.each<[string, NameFilter, number]>([
    ["a name", "blocks.0.attn.hook_z", 1],
    ["a glob", "blocks.*.attn.hook_z", 3],
    ["a glob over the whole name", "*hook_z", 3],
    ["an expression", /attn\.hook_[qk]$/, 6],
    ["a global expression", /hook_z$/g, 3],
    ["a list", ["hook_embed", /hook_z$/, "blocks.*.hook_mlp_out"], 7],
    ["a predicate", (n) => n.startsWith("blocks.2.ln"), 4],
    ["a flagged point by name", "blocks.1.attn.hook_result", 1],
    ["flagged points by their last part", "blocks.*.hook_q_input", 3],
  ])("filters: %s", async (_, names, count) => {
    const fired: string[] = [];
    await model.run(batch, { hooks: [[names, (_x, point) => void fired.push(point.name)]] });
    const { cache } = await model.runWithCache(batch, { names });
    expect(cache.names).toEqual(fired);
    expect(fired).toHaveLength(count);
  });

  test("a flagged point is not part of a star, and costs nothing unless asked for", async () => {
    const { cache } = await model.runWithCache(batch);
    expect(cache.names.filter((n) => /hook_(attn_in|[qkv]_input|result|mlp_in)$/.test(n))).toEqual([]);
    expect(model.trace(batch, { capture: "*" }).logits).toBe(model.trace(batch).logits);
    expect(
      (await failure(ModelError, () => model.run(batch, ({ hooks }) => hooks["blocks.0.attn.hook_result"]!))).code,
    ).toBe("model/not-kept");
    const result = await model.run(batch, ({ hooks }) => hooks["blocks.0.attn.hook_result"]!, {
      capture: "*.hook_result",
    });
    expect(result.dims).toEqual([2, 5, 4, 16]);
  });

  test("gradients by flagged points add up to those of what they are parts of", async () => {
    const flagged = ["hook_q_input", "hook_k_input", "hook_v_input", "attn.hook_result", "hook_mlp_in"];
    const others = ["hook_resid_pre", "hook_attn_out", "hook_resid_mid", "hook_resid_post"];
    const names = [...flagged, ...others].map((n) => `blocks.1.${n}`);
    const { hooks } = await model.gradients(batch, (traced) => sum(select(traced.logits, 1, 4)), { names });
    const of = (n: string): number[] => numbersOf(hooks[`blocks.1.${n}`]!);
    const overHeads = (n: string): number[] =>
      of(others[0]!).map((_, i) =>
        [0, 1, 2, 3].reduce((s, h) => s + of(n)[(Math.floor(i / 16) * 4 + h) * 16 + (i % 16)]!, 0),
      );
    const plus = (...parts: number[][]): number[] => parts[0]!.map((_, i) => parts.reduce((s, x) => s + x[i]!, 0));
    const inputs = flagged.slice(0, 3).map(overHeads);
    expect(plus(of("hook_resid_mid"), ...inputs)).toBeCloseToLargest(of("hook_resid_pre"));
    expect(plus(of("hook_resid_post"), of("hook_mlp_in"))).toBeCloseToLargest(of("hook_resid_mid"));
    expect(overHeads("attn.hook_result")).toBeCloseToLargest(of("hook_attn_out").map((g) => 4 * g));
    const alone = await model.gradients(batch, (traced) => sum(select(traced.logits, 1, 4)), {
      names: others.map((n) => `blocks.1.${n}`),
    });
    for (const n of others) expect(of(n)).toBeCloseToLargest(numbersOf(alone.hooks[`blocks.1.${n}`]!));
  });

  test("values of another run fit in, as data or inside expressions", async () => {
    const other = await model.runWithCache(randomRows([5, 5], 30, 9));
    const value = other.cache.get(name);
    const patched = await model.run(ids, { hooks: [[name, () => value]] });
    expect(numbersOf(patched)).toBeAllClose(numbersOf(other.logits));
    const half: Hook = (x) => add(mul(x, 0.5), mul(value, 0.5));
    const middle = numbersOf(value).map((v, i) => (v + plain[i]!) / 2);
    expect(await seen([[name, half]])).toBeAllClose(middle);
    const data = leaf(Float32Array.from(middle), value.dims);
    expect(await seen([[name, () => data]])).toBeAllClose(middle);
    const everywhere = leaf(Float32Array.from(middle.slice(0, 16)), [1, 1, 16]);
    expect((await seen([[name, () => everywhere]])).slice(-16)).toBeAllClose(middle.slice(0, 16));
  });

  test("a value of another shape is an error", async () => {
    const narrow = leaf(new Float32Array(100), [2, 5, 10]);
    const { message } = await failure(ModelError, () => model.run(batch, { hooks: [[name, () => narrow]] }));
    expect(message).toContain(`the hook at ${name} returned another shape`);
    expect((await failure(ModelError, () => model.run(batch, { hooks: [[name, (x) => sum(x, -1)]] }))).code).toBe(
      "model/hook",
    );
  });

  test("a replaced value ends the graph below it", async () => {
    const value = leaf(new Float32Array(160).fill(0.5), [2, 5, 16], { shape: [batch.batch, batch.pos, 16] });
    const { hooks, logits } = model.trace(batch, { hooks: [["blocks.2.hook_resid_pre", () => value]] });
    expect(() => gradients(sum(logits), [hooks["hook_embed"]!])).toThrow("does not depend on");
    const started = await model.run(batch, { startAtLayer: 2, residual: value });
    expect(differ(await model.runtime.realize(logits), started)).toBeLessThan(1e-5);
  });
});

describe("names that are not there", () => {
  test.each<[string, () => unknown, string]>([
    ["a hook", () => model.run(batch, { hooks: [["blocks.1.attn.hook_zz", double]] }), "blocks.1.attn.hook_z"],
    [
      "a layer too far",
      () => model.runWithCache(batch, { names: "blocks.3.hook_resid_pre" }),
      "blocks.2.hook_resid_pre",
    ],
    ["one of a list", () => model.runWithCache(batch, { names: ["hook_embed", "hook_embedd"] }), "hook_embed"],
    [
      "one of a hook's list",
      () => model.run(batch, { hooks: [[["hook_embed", "hook_pos"], double]] }),
      "hook_pos_embed",
    ],
    ["a value", () => model.run(batch, ({ hooks }) => hooks["blocks.1.hook_resid"]!), "blocks.1.hook_resid_"],
    [
      "in the cache",
      async () => (await model.runWithCache(batch)).cache.get("blocks.0.hook_resid_pos"),
      "blocks.0.hook_resid_post",
    ],
    ["a gradient", () => model.gradients(batch, ({ loss }) => loss, { names: "blocks.9.hook_z" }), "hook_z"],
    ["a permanent hook", () => model.withHooks([["hook_embd", double]]).run(batch), "hook_embed"],
    ["a splice", () => model.run(batch, { splices: new Map([["blocks.7.hook_mlp_out", (x) => x]]) }), "hook_mlp_out"],
    ["an expression", () => model.run(batch, { hooks: [[/hook_zz$/, double]] }), "describeHooks()"],
    ["a predicate", () => model.run(batch, { hooks: [[() => false, double]] }), "describeHooks()"],
    ["a rotary point", () => model.runWithCache(batch, { names: "*hook_rot_q" }), "describeHooks()"],
  ])("%s", async (_, run, near) => {
    const error = await failure(ModelError, run);
    expect(error.code).toBe("model/no-such-hook");
    expect(error.hint).toContain(near);
  });

  test.each([4, -4, 1.5, NaN])("layer %s", async (layer) => {
    expect((await failure(ModelError, () => model.run(batch, { stopAtLayer: layer }))).code).toBe("model/layer");
  });

  test("starting without a residual", async () => {
    expect((await failure(ModelError, () => model.run(batch, { startAtLayer: 1 }))).code).toBe("model/start");
  });
});

describe("backward hooks", () => {
  const metric = (traced: ReturnType<HookedModel["trace"]>): Tensor => sum(select(traced.logits, 1, 4));
  const gradientOf = async (target: string, hooks: readonly HookSpec[], of = model): Promise<number[]> =>
    numbersOf((await of.gradients(batch, metric, { names: target }, { hooks })).hooks[target]!);

  test("read the gradient at every position", async () => {
    const read: Tensor[] = [];
    const hook: HookSpec = { filter: name, direction: "bwd", hook: (gradient) => void read.push(gradient) };
    const found = await model.run(
      batch,
      (traced) => {
        gradients(metric(traced), [traced.hooks["hook_embed"]!]);
        return [...read];
      },
      { hooks: [hook] },
    );
    expect(found).toHaveLength(1);
    expect(found[0]!.dims).toEqual([2, 5, 16]);
    expect(numbersOf(found[0]!)).toBeAllClose(await gradientOf(name, []));
    const late: HookSpec = { filter: "blocks.2.hook_resid_post", direction: "bwd", hook: (g) => void read.push(g) };
    await gradientOf("hook_embed", [late]);
    expect(read.at(-1)!.shape.map(String)).toEqual(["batch", "pos", "16"]);
  });

  test("replace the gradient that goes on below", async () => {
    const below = await gradientOf("hook_embed", []);
    const doubled = await gradientOf("hook_embed", [{ filter: name, direction: "bwd", hook: double }]);
    expect(doubled).toBeCloseToLargest(below.map((g) => 2 * g));
    const stopped = await gradientOf("hook_embed", [{ filter: name, direction: "bwd", hook: (g) => mul(g, 0) }]);
    expect(stopped.every((g) => g === 0)).toBe(true);
    // Above the hook nothing changes.
    const above = await gradientOf("blocks.2.hook_resid_pre", [{ filter: name, direction: "bwd", hook: double }]);
    expect(above).toBeCloseToLargest(await gradientOf("blocks.2.hook_resid_pre", []));
  });

  test("of a view", async () => {
    const below = await gradientOf("hook_embed", []);
    const view = model.withHooks([{ filter: name, direction: "bwd", hook: double }]);
    expect(await gradientOf("hook_embed", [], view)).toBeCloseToLargest(below.map((g) => 2 * g));
    expect(await gradientOf("hook_embed", [])).toBeCloseToLargest(below);
  });

  test("cannot be async", async () => {
    const hook: HookSpec = { filter: name, direction: "bwd", hook: async (g) => Promise.resolve(g) };
    expect((await failure(ModelError, () => gradientOf("hook_embed", [hook]))).message).toContain(
      "a backward hook cannot be async",
    );
  });
});

describe("async hooks", () => {
  test("see data, and what they return is used", async () => {
    const seenData: number[][] = [];
    const hook = async (x: Tensor): Promise<Tensor> => {
      seenData.push(numbersOf(x));
      await Promise.resolve();
      return leaf(
        (x.data as Float32Array).map((v) => 2 * v),
        x.dims,
      );
    };
    expect(await seen([[name, hook]])).toBeAllClose(plain.map((x) => 2 * x));
    expect(seenData).toHaveLength(1);
    expect(seenData[0]!).toBeAllClose(plain);
    const logits = await model.run(batch, { hooks: [[name, hook]] });
    expect(differ(logits, await model.run(batch, { hooks: [[name, double]] }))).toBeLessThan(1e-5);
  });

  test("several, among others, in order", async () => {
    const order: string[] = [];
    const hook = async (x: Tensor, point: { name: string }): Promise<void> => {
      await Promise.resolve();
      order.push(point.name);
      expect(numbersOf(x).every(Number.isFinite)).toBe(true);
    };
    const hooks: HookSpec[] = [
      ["blocks.*.hook_resid_pre", hook],
      [name, double],
      [name, async (x) => Promise.resolve(mul(x, 0.5))],
    ];
    const logits = await model.run(batch, { hooks });
    expect(order).toEqual(["blocks.0.hook_resid_pre", name, "blocks.2.hook_resid_pre"]);
    expect(differ(logits, await model.run(batch))).toBeLessThan(1e-5);
  });

  test("a gradient asked across the cut is an error that names it, even where another path goes round it", async () => {
    const hooks: HookSpec[] = [["blocks.1.hook_attn_out", async () => Promise.resolve()]];
    const metric = (traced: ReturnType<HookedModel["trace"]>): Tensor => sum(traced.logits);
    for (const wrt of [{ names: "blocks.0.hook_resid_pre" }, { weights: ["blocks.1.attn.W_V"] }]) {
      const error = await failure(ModelError, () => model.gradients(batch, metric, wrt, { hooks }));
      expect(error.code).toBe("model/gradient-cut");
      expect(error.message).toContain("blocks.1.hook_attn_out");
    }
    for (const after of ["blocks.1.hook_attn_out", "blocks.1.hook_resid_mid", "blocks.2.attn.hook_z"]) {
      const cut = await model.gradients(batch, metric, { names: after }, { hooks });
      const whole = await model.gradients(batch, metric, { names: after });
      expect(numbersOf(cut.hooks[after]!)).toBeCloseToLargest(numbersOf(whole.hooks[after]!));
    }
  });

  test("are an error where nothing is computed", async () => {
    const error = await failure(ModelError, () =>
      model.trace(batch, { hooks: [[name, async () => Promise.resolve()]] }),
    );
    expect(error.code).toBe("model/async-hook");
    expect(error.message).toContain(name);
  });

  test("a plain function that returns a promise is an error", async () => {
    const hook = (): Promise<void> => Promise.resolve();
    expect((await failure(ModelError, () => model.run(batch, { hooks: [[name, hook]] }))).message).toContain(
      "returned a promise",
    );
  });

  test("what they throw reaches the caller", async () => {
    const hook = async (): Promise<void> => Promise.reject(new Error("mine"));
    await expect(model.run(batch, { hooks: [[name, hook]] })).rejects.toThrow("mine");
  });
});

describe("what a run returns", () => {
  test("logits by default, the residual when stopped, or any tree of what was selected", async () => {
    expect((await model.run(batch)).dims).toEqual([2, 5, 30]);
    expect((await model.run(batch, { stopAtLayer: 2 })).dims).toEqual([2, 5, 16]);
    const { a, list, nothing } = await model.run(batch, ({ hooks, logits, residual }) => ({
      a: { z: hooks["blocks.0.attn.hook_z"]! },
      list: [logits, residual],
      nothing: undefined,
    }));
    expect(a.z.dims).toEqual([2, 5, 4, 4]);
    expect(list.map((x) => x.dims)).toEqual([
      [2, 5, 30],
      [2, 5, 16],
    ]);
    expect(nothing).toBeUndefined();
  });

  test("stopped before the logits, asking for them is an error", async () => {
    expect((await failure(ModelError, () => model.run(batch, ({ logits }) => logits, { stopAtLayer: 1 }))).code).toBe(
      "model/stopped",
    );
  });
});

describe("runs over one batch share what they have in common", () => {
  const sae = randomSae(model, "blocks.1.attn.hook_z", "standard", 8, 3);
  const base = model.trace(batch, { capture: "*" });
  const spliced = model.trace(batch, { splices: spliceHooks([sae]), capture: "*" });

  test("the same nodes below the splice, others above", () => {
    for (const shared of [
      "hook_embed",
      "blocks.0.hook_resid_post",
      "blocks.1.attn.hook_pattern",
      "blocks.1.attn.hook_v",
    ])
      expect(spliced.hooks[shared]!).toBe(base.hooks[shared]!);
    for (const own of ["blocks.1.hook_attn_out", "blocks.2.hook_resid_pre", "unembed.hook_out"])
      expect(spliced.hooks[own]!).not.toBe(base.hooks[own]!);
    expect(spliced.hooks["blocks.1.attn.hook_z.hook_sae_input"]!.inputs[0]!).toBe(base.hooks["blocks.1.attn.hook_z"]!);
  });

  test("the spliced point itself does not fire; what is inside does", () => {
    const inner = Object.keys(spliced.hooks).filter((n) => n.startsWith("blocks.1.attn.hook_z"));
    expect(inner.map((n) => n.slice("blocks.1.attn.hook_z.".length))).toEqual([
      "hook_sae_input",
      "hook_sae_acts_pre",
      "hook_sae_acts_post",
      "hook_sae_recons",
      "hook_sae_output",
    ]);
  });

  test("hooks act inside a splice", async () => {
    const none = await model.run(batch, ({ hooks }) => hooks["blocks.1.attn.hook_z.hook_sae_output"]!, {
      splices: spliceHooks([sae]),
      hooks: [["*.hook_sae_acts_post", (acts) => mul(acts, 0)]],
    });
    const bias = numbersOf(await model.runtime.realize(sae.params.b_dec));
    expect(numbersOf(none)).toBeAllClose(Array.from({ length: 10 }, () => bias).flat());
  });
});
