/** @file Steps of training: PyTorch's optimisers and clipping, accumulation, freezing, state. */
import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { goldenTensors, sharedPath, type GoldenTensors } from "../../../test/support/goldens.ts";
import { add, axis, leaf, log, max, mean, mul, placeholder, pow, sub, sum, type Tensor } from "../../graph/index.ts";
import { gradientHook } from "../../graph/gradients.ts";
import { HookedModel } from "../../model/index.ts";
import { memory, Runtime } from "../../runtime/index.ts";
import { Learner, type LearnerState } from "./learner.ts";
import type { OptimizerConfig } from "./optimizers.ts";
import { settled, trainable } from "./parameters.ts";

interface OptimizerCase {
  readonly name: string;
  readonly kind: OptimizerConfig["name"];
  readonly settings: Readonly<Record<string, unknown>>;
}

const optim = (file: string): string => sharedPath(`goldens/optim/${file}`);
const { cases } = JSON.parse(readFileSync(optim("optimisers.json"), "utf8")) as { cases: OptimizerCase[] };
const golden = await goldenTensors(optim("optimisers.safetensors"));
const camel = (name: string): string => name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

const from = (g: GoldenTensors, name: string): Tensor => leaf(Float32Array.from(g.numbers(name)), g.dims(name));
const start = (): Map<string, Tensor> => new Map(["w", "b"].map((name) => [name, from(golden, `start.${name}`)]));
/** A loss whose gradients are those of the golden. */
const lossOf = (parameters: ReadonlyMap<string, Tensor>, step: number): Tensor =>
  [...parameters].map(([name, x]) => sum(mul(x, from(golden, `grad.${step}.${name}`)))).reduce((a, b) => add(a, b));

function expectClose(actual: readonly number[], expected: readonly number[], relative = 1e-5): void {
  const scale = Math.max(...expected.map(Math.abs));
  actual.forEach((x, i) => expect(Math.abs(x - expected[i]!)).toBeLessThanOrEqual(relative * scale));
}

describe("the optimisers of PyTorch", () => {
  it.each(cases.map((c) => [c.name, c] as const))("%s", async (name, { kind, settings }) => {
    const options = Object.fromEntries(Object.entries(settings).map(([key, value]) => [camel(key), value]));
    const parameters = start();
    const learner = new Learner({ parameters, optimizer: { name: kind, ...options } });
    for (let step = 0; step < 3; step++) await learner.step({ loss: lossOf(parameters, step) });
    for (const [param, x] of parameters) {
      const [before, after] = [golden.numbers(`start.${param}`), golden.numbers(`${name}.2.${param}`)];
      // The script keeps the parameter itself, not a copy: every step of the file is the last.
      expect(golden.numbers(`${name}.0.${param}`)).toEqual(after);
      expectClose(x.toArray(), after);
      // The change itself is small beside the parameter where the rate is: float32 rounds the sum.
      const moved = (values: readonly number[]): number[] => values.map((v, i) => v - before[i]!);
      expectClose(moved(x.toArray()), moved(after), 3e-3);
    }
    learner.dispose();
  });

  it("names the options it knows", () => {
    const make = (optimizer: object) => () =>
      new Learner({ parameters: start(), optimizer: optimizer as OptimizerConfig });
    expect(make({ name: "Lion" })).toThrow("AdamW, Adam, SGD, RMSprop, Adagrad");
    expect(make({ name: "SGD", rate: 1 })).toThrow(/rate/);
    expect(make({ name: "SGD", nesterov: true })).toThrow("nesterov needs a momentum");
  });
});

describe("clipping", async () => {
  const g = await goldenTensors(optim("clipping.safetensors"));
  const { total_norm_before: norms } = JSON.parse(readFileSync(optim("clipping.json"), "utf8")) as {
    total_norm_before: Record<string, number>;
  };
  const names = ["0", "1", "2"];
  it.each([
    ["max1.0.norm2.0", { norm: 1 }],
    ["max100.0.norm2.0", { norm: 100 }],
    ["max0.5.norm1.0", { norm: 0.5, normType: 1 }],
    ["max0.3.norminf", { norm: 0.3, normType: "inf" }],
    ["value0.7", { value: 0.7 }],
  ] as const)("%s", async (label, clip) => {
    const zeros = new Map(
      names.map((n) => [n, leaf(new Float32Array(g.numbers(`grad.${n}`).length), g.dims(`grad.${n}`))]),
    );
    const learner = new Learner({ parameters: zeros, optimizer: { name: "SGD", lr: 1 }, clip });
    const loss = names.map((n) => sum(mul(zeros.get(n)!, from(g, `grad.${n}`)))).reduce((a, b) => add(a, b));
    const { gradNorm } = await learner.step({ loss });
    if (norms[label] === undefined) expect(gradNorm).toBeUndefined();
    else expectClose([gradNorm!], [norms[label]]);
    for (const n of names)
      expectClose(
        zeros
          .get(n)!
          .toArray()
          .map((x) => -x),
        g.numbers(`${label}.${n}`),
      );
    learner.dispose();
  });
});

it("takes no option that it does not know, nor a limit", () => {
  const parameters = new Map([["w", leaf(Float32Array.of(1), [1])]]);
  const given = { parameters, optimizer: { name: "SGD", lr: 1 } } as const;
  const [clip, more]: object[] = [{ nrom: 1 }, { clips: { norm: 1 } }];
  const unknown = (received: string, right: string): object =>
    expect.objectContaining({ code: "train/options", received, hint: `did you mean ${right}?` }) as object;
  expect(() => new Learner({ ...given, clip: clip! })).toThrow(unknown("nrom", "norm"));
  expect(() => new Learner({ ...given, ...more })).toThrow(unknown("clips", "clip"));
  const learner = new Learner(given);
  expect(() => (learner.clip = clip!)).toThrow(unknown("nrom", "norm"));
  learner.dispose();
});

const adam = { name: "AdamW", lr: 0.05, weightDecay: 0.1 } as const;

describe("a learner", () => {
  it("sums gradients over losses", async () => {
    const [once, twice] = [start(), start()];
    const one = new Learner({ parameters: once, optimizer: adam, clip: { norm: 1 } });
    const two = new Learner({ parameters: twice, optimizer: adam, clip: { norm: 1 } });
    for (let round = 0; round < 2; round++) {
      await one.step({ loss: mul(add(lossOf(once, 0), lossOf(once, 1)), 0.5) });
      await two.accumulate({ loss: mul(lossOf(twice, 0), 0.5) });
      expect(() => two.freeze(["w"])).toThrow("being summed");
      await two.step({ loss: mul(lossOf(twice, 1), 0.5) });
      for (const [name, x] of once) expectClose(twice.get(name)!.toArray(), x.toArray());
    }
  });

  it("trains what is thawed, each parameter with a step count of its own", async () => {
    const parameters = start();
    const learner = new Learner({ parameters, optimizer: adam, frozen: ["b"] });
    await learner.step({ loss: lossOf(parameters, 0) });
    expect(parameters.get("b")!.toArray()).toEqual(golden.numbers("start.b"));
    expect(learner.trained).toEqual(["w"]);
    learner.thaw(["b"]);
    await learner.step({ loss: lossOf(parameters, 0) });
    const alone = new Map([["b", from(golden, "start.b")]]);
    await new Learner({ parameters: alone, optimizer: adam }).step({ loss: lossOf(alone, 0) });
    expect(parameters.get("b")!.toArray()).toEqual(alone.get("b")!.toArray());
    expect(learner.state().steps).toEqual({ w: 2, b: 1 });
    expect(() => learner.freeze(["c*"])).toThrow(/no parameter has a name like this.*w, b.*c\*/);
    learner.freeze(["*"]);
    await expect(learner.step({ loss: lossOf(parameters, 0) })).rejects.toThrow("every parameter is frozen");
  });

  it("gives groups optimisers of their own", async () => {
    const parameters = start();
    const groups = [{ name: "biases", params: ["b"], optimizer: { name: "SGD", lr: 0.5 } as const }];
    const learner = new Learner({ parameters, optimizer: { name: "SGD", lr: 0 }, groups });
    expect(learner.learningRates).toEqual({ default: 0, biases: 0.5 });
    await learner.step({ loss: lossOf(parameters, 0) });
    expect(parameters.get("w")!.toArray()).toEqual(golden.numbers("start.w"));
    const expected = golden.numbers("start.b").map((x, i) => x - 0.5 * golden.numbers("grad.0.b")[i]!);
    expectClose(parameters.get("b")!.toArray(), expected, 1e-6);
    learner.setLearningRate(0, "biases");
    const before = parameters.get("b")!.toArray();
    await learner.step({ loss: lossOf(parameters, 1) });
    expect(parameters.get("b")!.toArray()).toEqual(before);
  });

  it("changes nothing when the loss is not finite", async () => {
    const parameters = start();
    const learner = new Learner({ parameters, optimizer: adam });
    await learner.step({ loss: lossOf(parameters, 0) });
    const { tensors, ...rest } = learner.state();
    const before = Object.fromEntries(Object.entries(tensors).map(([name, x]) => [name, x.toArray()]));
    const bad = add(lossOf(parameters, 1), log(leaf(Float32Array.of(-1), [])));
    await expect(learner.step({ loss: bad })).rejects.toMatchObject({ code: "train/not-finite" });
    const { tensors: after, ...restAfter } = learner.state();
    expect(Object.fromEntries(Object.entries(after).map(([name, x]) => [name, x.toArray()]))).toEqual(before);
    expect(restAfter).toEqual(rest);
  });

  it("goes on from a state bit for bit", async () => {
    const whole = start();
    const uninterrupted = new Learner({ parameters: whole, optimizer: adam, clip: { norm: 1 } });
    const first = start();
    const begun = new Learner({ parameters: first, optimizer: adam, clip: { norm: 1 } });
    for (const step of [0, 1]) {
      await uninterrupted.step({ loss: lossOf(whole, step) });
      await begun.step({ loss: lossOf(first, step) });
    }
    const second = start();
    const resumed = new Learner({ parameters: second, optimizer: adam, clip: { norm: 1 } });
    resumed.restore(begun.state());
    await uninterrupted.step({ loss: lossOf(whole, 2) });
    await resumed.step({ loss: lossOf(second, 2) });
    for (const [name, x] of whole) expect(second.get(name)!.data).toEqual(x.data);
  });

  it("refuses the state of another training and keeps its own", () => {
    const state = new Learner({ parameters: start(), optimizer: adam }).state();
    const parameters = new Map([["w", leaf(new Float32Array(6), [3, 2])]]);
    const learner = new Learner({ parameters, optimizer: { name: "SGD", lr: 1 } });
    const refused: [LearnerState, RegExp][] = [
      [state, /parameter\.w.*\[3, 2\].*\[5, 4\]/],
      [{ ...state, tensors: {} }, /parameter\.w.*nothing/],
      [
        {
          ...state,
          tensors: { "parameter.w": leaf(new Float32Array(6).fill(9), [3, 2]), extra: parameters.get("w")! },
        },
        /extra/,
      ],
    ];
    for (const [bad, text] of refused) expect(() => learner.restore(bad)).toThrow(text);
    expect(parameters.get("w")!.toArray()).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("holds its memory in the ledger until it is disposed", async () => {
    const parameters = start();
    const learner = new Learner({ parameters, optimizer: adam, name: "measured" });
    await learner.step({ loss: lossOf(parameters, 0) });
    const held = memory.rows().find(({ name }) => name === "measured")!;
    expect(held.bytes).toBe(24 * 4 * 3);
    learner.dispose();
    expect(memory.rows().some(({ name }) => name === "measured")).toBe(false);
  });

  it("compiles a step once for batches of any length and follows freezing", async () => {
    const parameters = new Map(["a", "b"].map((name) => [name, leaf(Float32Array.of(0), [1], { name })]));
    const learner = new Learner({ parameters, optimizer: { name: "SGD", lr: 0.25 } });
    const x = placeholder([axis("batch")], "float32", "x");
    const step = await learner.compile({ x }, (batch) => {
      const error = sub(batch.x, add(parameters.get("a")!, parameters.get("b")!));
      return { loss: mean(pow(error, 2)), metrics: { largest: batch.x.max() } };
    });
    const { compilations } = learner.runtime;
    const losses: number[] = [];
    for (const n of [1, 2, 3]) {
      const { loss, metrics } = await step({ x: leaf(new Float32Array(n).fill(4), [n]) });
      expect(metrics.largest.item()).toBe(4);
      losses.push(loss);
    }
    expect(losses).toEqual([16, 0, 0]);
    expect(learner.runtime.compilations).toBe(compilations);
    learner.freeze(["a"]);
    await step({ x: leaf(Float32Array.of(8), [1]) });
    expect([...parameters.values()].map((p) => p.item())).toEqual([2, 4]);
    await step.dispose();
  });
});

describe("a trainable model", () => {
  const sizes = { n_layers: 2, d_model: 16, n_ctx: 8, d_head: 8, n_heads: 2, d_vocab: 11, d_vocab_out: 11 };
  const tied = { ...sizes, d_mlp: 32, act_fn: "gelu_new", tie_word_embeddings: true } as const;
  const rows = [
    [1, 2, 3, 4, 5],
    [6, 7, 8, 9, 10],
  ];

  it("learns by heart; runs see the steps, and the model it came from does not", async () => {
    const model = HookedModel.fromConfig(tied, { seed: 3 });
    const { model: student, parameters } = trainable(model);
    expect(parameters.has("unembed.W_U")).toBe(false);
    const before = (await model.run(rows)).toArray();
    const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 0.02 } });
    const batch = student.batch(rows);
    const losses: number[] = [];
    for (let i = 0; i < 40; i++) losses.push((await learner.step({ loss: student.trace(batch).loss })).loss);
    expect(losses[0]!).toBeGreaterThan(2);
    expect(losses.at(-1)!).toBeLessThan(0.1);
    expect((await model.run(rows)).toArray()).toEqual(before);
    const done = settled(student);
    expect((await done.run(rows)).toArray()).toEqual((await student.run(rows)).toArray());
    learner.dispose();
  });
});

describe("steps of one structure", () => {
  const size = 6;
  const rows = (seed: number, n: number): Tensor =>
    leaf(
      Float32Array.from({ length: n * size }, (_, i) => Math.sin(seed + 3 * i)),
      [n, size],
      { shape: [axis("batch"), size] },
    );
  const start = (): Tensor =>
    leaf(
      Float32Array.from({ length: size }, (_, i) => Math.cos(i)),
      [size],
      { name: "w" },
    );
  /** Steps over batches of several lengths; `fresh` makes each graph unlike those before. */
  async function trained(fresh: boolean): Promise<readonly [weights: number[], losses: number[], bias: number[]]> {
    const [w, b] = [start(), start()];
    const learner = new Learner({
      parameters: new Map([
        ["w", w],
        ["b", b],
      ]),
      optimizer: { name: "AdamW", lr: 0.1 },
      clip: { norm: 1 },
    });
    const losses: number[] = [];
    for (let i = 0; i < 12; i++) {
      if (i === 6) learner.freeze(["b"]);
      if (i === 9) learner.thaw(["b"]);
      learner.setLearningRate(0.1 / (1 + i));
      const x = rows(i, [4, 4, 3][i % 3]!);
      const target = fresh ? gradientHook(w, (gradient) => gradient) : w;
      const miss = pow(add(mul(x, target), b), 2);
      const { loss, metrics } = await learner.step({ loss: mean(miss), metrics: { most: max(miss) } });
      losses.push(loss, metrics.most.item());
    }
    return [w.toArray(), losses, b.toArray()];
  }

  it("give the same bits as steps that are planned one by one", async () => {
    expect(await trained(false)).toEqual(await trained(true));
  });

  it("are planned once, and anew where something else than data differs", async () => {
    const runtime = new Runtime({ threads: 1 });
    const plan = vi.spyOn(runtime, "compileUpdate");
    const update = vi.spyOn(runtime, "update");
    const [w, other] = [start(), leaf(new Float32Array(size).fill(2), [size], { role: "weight" })];
    const learner = new Learner({ parameters: new Map([["w", w]]), optimizer: { name: "SGD", lr: 0.1 }, runtime });
    const step = (i: number, n = 4, factor: Tensor | number = 3): Promise<unknown> =>
      learner.step({ loss: mean(mul(pow(mul(rows(i, n), w), 2), factor)) });
    const counts = (): number[] => [plan.mock.calls.length, update.mock.calls.length];
    for (let i = 0; i < 6; i++) await step(i);
    expect(counts()).toEqual([1, 1]);
    await step(6, 5);
    await step(7, 4, 4);
    await step(8, 4, other);
    expect(counts()).toEqual([1, 4]);
    for (let i = 9; i < 12; i++) await step(i);
    expect(counts()).toEqual([1, 4]);
    learner.clip = { norm: 1 };
    await step(12);
    expect(counts()).toEqual([1, 5]);
  });

  it("hold for sums of gradients, too: a first one, further ones, and the step after them", async () => {
    const sums = async (fresh: boolean): Promise<readonly [weights: number[], plans: number[]]> => {
      const runtime = new Runtime({ threads: 1 });
      const counts = [vi.spyOn(runtime, "compileUpdate"), vi.spyOn(runtime, "update")];
      const w = start();
      const learner = new Learner({
        parameters: new Map([["w", w]]),
        optimizer: { name: "AdamW", lr: 0.1 },
        clip: { norm: 1 },
        runtime,
      });
      for (let i = 0; i < 5; i++) {
        for (let part = 0; part < 4; part++) {
          const target = fresh ? gradientHook(w, (gradient) => gradient) : w;
          const objective = { loss: mean(pow(mul(rows(4 * i + part, 4), target), 2)) };
          await (part < 3 ? learner.accumulate(objective) : learner.step(objective));
        }
      }
      return [w.toArray(), counts.map(({ mock }) => mock.calls.length)];
    };
    const [[reused, plans], [anew, none]] = [await sums(false), await sums(true)];
    expect(reused).toEqual(anew);
    expect([plans, none]).toEqual([
      [3, 3],
      [0, 20],
    ]);
  });
});
