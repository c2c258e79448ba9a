import { describe, expect, test } from "vitest";
import { describeWithGoldens } from "../../../test/support/goldens.ts";
import { relativeError } from "../../../test/support/saeGolden.ts";
import {
  saeTrainingCases,
  saeTrainingGolden,
  type SaeTrainingGolden,
} from "../../../test/support/saeTrainingGolden.ts";
import { uniformAt } from "../../graph/index.ts";
import { Runtime } from "../../runtime/index.ts";
import { initialParameters } from "./init.ts";
import type { SaeLearner } from "./learner.ts";
import { parseTrainedSae } from "./config.ts";
import { denseLearner } from "./denseLearner.ts";
import { sparseLearner } from "./sparse/learner.ts";
import { mostActive, thinsOut, thresholdLearner } from "./sparse/thresholdLearner.ts";
import { largest } from "./sparse/winners.ts";
import { thinningLearner } from "./thinningLearner.ts";

const runtime = new Runtime({ threads: 1 });
const adam = { betas: [0.9, 0.999], eps: 1e-8 } as const;

/** Three steps; losses and firings after each, parameters after the last. */
async function expectGolden({ cfg, lr, steps, tensors }: SaeTrainingGolden, learner: SaeLearner): Promise<void> {
  const near = (got: number, wanted: number, tolerance: number, what: string): void =>
    expect(Math.abs(got - wanted), what).toBeLessThanOrEqual(tolerance * Math.abs(wanted));
  for (const [i, step] of steps.entries()) {
    const tolerance = i === 0 ? 1e-5 : 1e-4;
    const mask = tensors.get(`step${i}.dead_mask`)!.data;
    const x = tensors.get(`batch.${i}`)!.data;
    const coefficient = Object.values(step.coefficients)[0] ?? 0;
    const dead = mask.some((d) => d > 0) ? mask : undefined;
    const result = await learner.step({ x, target: x, lr, coefficient, dead });
    near(result.loss, step.loss, tolerance, `loss ${i}`);
    near(result.gradientNorm, step.gradient_norm_before_clipping, tolerance, `norm ${i}`);
    for (const [name, value] of Object.entries(step.losses)) near(result.terms[name]!, value, tolerance, name);
    near(result.fired.reduce((a, b) => a + b, 0) / (x.length / cfg.dIn), step.l0, tolerance, `l0 ${i}`);
    const active = tensors.get(`step${i}.feature_acts`)!.data.filter((a) => a > 0);
    if (cfg.architecture.endsWith("topk")) near(result.smallest!, Math.min(...active), tolerance, `smallest ${i}`);
  }
  const parameters = learner.parameters();
  expect(Object.keys(parameters).sort()).toEqual(
    [...tensors.keys()]
      .filter((n) => n.startsWith("init."))
      .map((n) => n.slice(5))
      .sort(),
  );
  for (const [name, { dims, data }] of Object.entries(parameters)) {
    const golden = tensors.get(`init.${name}`)!;
    expect(dims).toEqual(golden.dims);
    // SAELens sets thresholds below 0 to 0 before the next step; here that is part of the step.
    const wanted = name === "threshold" ? golden.data.map((t) => Math.max(t, 0)) : golden.data;
    expect(relativeError(Array.from(data), wanted), name).toBeLessThan(1e-4);
  }
}

describeWithGoldens("three steps of SAELens' trainer", ["goldens/sae-training"], () => {
  test.each(saeTrainingCases)("%s, as one graph", async (name) => {
    const golden = await saeTrainingGolden(name);
    const tokens = golden.tensors.get("batch.0")!.dims[0]!;
    await expectGolden(golden, denseLearner(golden.cfg, Object.fromEntries(golden.start), { tokens, runtime, adam }));
  });

  test.each(saeTrainingCases.filter((name) => name.includes("topk")))(
    "%s, touching active latents only",
    async (name) => {
      const golden = await saeTrainingGolden(name);
      const tokens = golden.tensors.get("batch.0")!.dims[0]!;
      await expectGolden(
        golden,
        await sparseLearner(golden.cfg, Object.fromEntries(golden.start), { tokens, runtime, adam }),
      );
    },
  );
});

test.each(["topk", "batchtopk"] as const)(
  "%s of many latents: touching active ones only gives the same step",
  async (architecture) => {
    const tokens = 40;
    const cfg = parseTrainedSae({ architecture, dIn: 8, dSae: 512, k: 2.5 + (architecture === "topk" ? 0.5 : 0) });
    const start = initialParameters(cfg, 5);
    const options = { tokens, runtime, adam };
    const learners = [denseLearner(cfg, start, options), await sparseLearner(cfg, start, options)];
    const x = Float32Array.from({ length: tokens * 8 }, (_, i) => uniformAt(9, i) - 0.3);
    const dead = Float32Array.from({ length: 512 }, (_, j) => (j % 3 === 0 ? 1 : 0));
    for (let step = 0; step < 2; step++) {
      const [dense, sparse] = await Promise.all(
        learners.map((learner) => learner.step({ x, target: x, lr: 1e-3, coefficient: 0, dead })),
      );
      expect(sparse!.fired).toEqual(dense!.fired);
      expect(sparse!.loss).toBeCloseTo(dense!.loss, 4);
      expect(sparse!.gradientNorm / dense!.gradientNorm).toBeCloseTo(1, 5);
      expect(sparse!.smallest).toBeCloseTo(dense!.smallest!, 6);
    }
  },
);

/** An SAE of which few latents are active: biases and thresholds are set against its inputs. */
const thin = (options: Partial<Parameters<typeof parseTrainedSae>[0]>, bias = -0.42) => {
  const tokens = 24;
  const cfg = parseTrainedSae({ dIn: 8, dSae: 512, ...options });
  const start = { ...initialParameters(cfg, 5) };
  start["b_enc"] = { dims: [512], data: new Float32Array(512).fill(bias) };
  if (start["threshold"] !== undefined)
    start["threshold"] = { dims: [512], data: Float32Array.from({ length: 512 }, (_, j) => 0.02 + (j % 5) / 100) };
  const x = Float32Array.from({ length: tokens * 8 }, (_, i) => 6 * (uniformAt(9, i) - 0.5));
  return { cfg, start, x, options: { tokens, runtime, adam } };
};

describe("active latents only, of SAEs whose latents are those above a threshold", () => {
  test.each([
    { architecture: "standard" },
    { architecture: "standard", applyBDecToInput: false },
    { architecture: "jumprelu" },
    { architecture: "jumprelu", jumpreluSteToInput: true, jumpreluBandwidth: 0.2 },
    { architecture: "jumprelu", jumpreluSparsityLossMode: "tanh", jumpreluBandwidth: 0.2 },
    { architecture: "jumprelu", jumpreluSparsityLossMode: "tanh", jumpreluSteToInput: true, jumpreluBandwidth: 0.2 },
  ] as const)("$architecture: the same steps as with all latents %o", async (given) => {
    const { cfg, start, x, options } = thin(given);
    expect(thinsOut(cfg, options.tokens)).toBe(true);
    const dense = denseLearner(cfg, start, options);
    const sparse = await thresholdLearner(cfg, start, options);
    for (let step = 0; step < 4; step++) {
      const input = { x, target: x, lr: 1e-3, coefficient: 0.7 };
      const [all, active] = [await dense.step(input), await sparse.step(input)];
      expect(active!.fired).toEqual(all.fired);
      expect(active!.touched).toBe(all.touched);
      expect(all.fired.some((n) => n > 0)).toBe(true);
      expect(active!.loss / all.loss).toBeCloseTo(1, 5);
      expect(Object.keys(active!.terms)).toEqual(Object.keys(all.terms));
      for (const [name, term] of Object.entries(all.terms)) expect(active!.terms[name]! - term).toBeCloseTo(0, 5);
      expect(active!.gradientNorm / all.gradientNorm).toBeCloseTo(1, 5);
    }
    const [wanted, got] = [dense.state(), sparse.state()];
    expect(Object.keys(got.tensors).sort()).toEqual(Object.keys(wanted.tensors).sort());
    for (const [name, { data }] of Object.entries(wanted.tensors))
      expect(relativeError(Array.from(got.tensors[name]!.data), Array.from(data)), name).toBeLessThan(1e-4);
  });

  test.each([
    { architecture: "standard", lpNorm: 2 },
    { architecture: "standard", normalizeActivations: "layer_norm" },
    { architecture: "jumprelu", preActLossCoefficient: 1e-3 },
    { architecture: "jumprelu", jumpreluSparsityLossMode: "quadratic", targetL0: 5 },
    { architecture: "gated" },
    { architecture: "transcoder" },
  ] as const)("is not for %o", (given) => {
    expect(thinsOut(parseTrainedSae({ dIn: 8, dSae: 512, ...given }), 24)).toBe(false);
  });

  test("of too many active latents it takes no step", async () => {
    const { cfg, start, x, options } = thin({}, 0);
    const learner = await thresholdLearner(cfg, start, options);
    const before = learner.state();
    expect(await learner.step({ x, target: x, lr: 1e-3, coefficient: 1 })).toBeUndefined();
    expect(learner.state()).toEqual(before);
  });

  test("what is not a number is told, and changes nothing", async () => {
    const { cfg, start, x, options } = thin({});
    start["b_enc"]!.data[3] = NaN;
    const learner = await thresholdLearner(cfg, start, options);
    const before = learner.state();
    await expect(learner.step({ x, target: x, lr: 1e-3, coefficient: 1 })).rejects.toThrow("not finite");
    expect(learner.state()).toEqual(before);
  });

  test("are turned to when they are few, and left when they are many; resumed is uninterrupted, bit for bit", async () => {
    const { cfg, start, x, options } = thin({});
    const input = (by: number) => {
      const scaled = x.map((value) => by * value);
      return { x: scaled, target: scaled, lr: 1e-3, coefficient: 1 };
    };
    const steps = [1, 1, 1, 20, 1, 1].map(input);
    const whole = thinningLearner(cfg, start, options);
    const touches: unknown[] = [];
    const states: ReturnType<typeof whole.state>[] = [];
    for (const step of steps) {
      const { touched } = await whole.step(step);
      states.push(whole.state());
      touches.push(whole.state().touches);
      expect(touches.at(-1)).toBe(touched < options.tokens * cfg.dSae * mostActive ? "active" : "all");
    }
    expect(touches).toEqual(["active", "active", "active", "all", "active", "active"]);
    for (const at of [0, 3]) {
      const resumed = thinningLearner(cfg, start, options);
      await resumed.restore(states[at]!);
      for (const step of steps.slice(at + 1)) await resumed.step(step);
      expect(resumed.state()).toEqual(whole.state());
      await resumed.dispose();
    }
    const dense = denseLearner(cfg, start, options);
    for (const step of steps) await dense.step(step);
    for (const [name, { data }] of Object.entries(dense.parameters()))
      expect(relativeError(Array.from(whole.parameters()[name]!.data), Array.from(data)), name).toBeLessThan(1e-4);
    await whole.dispose();
  });
});

test("the largest of positive numbers, with ties", () => {
  const values = Float32Array.of(3, -1, 2, 0, 2, 5, 2, 1e-30);
  expect(largest(values, 3)).toEqual({ threshold: 2, ties: 1 });
  expect(largest(values, 5)).toEqual({ threshold: 2, ties: 3 });
  expect(largest(values, 6)).toEqual({ threshold: Math.fround(1e-30), ties: 1 });
  expect(largest(values, 7)).toEqual({ threshold: 0, ties: 0 });
});
