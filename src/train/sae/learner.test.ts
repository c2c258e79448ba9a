import { expect, test } from "vitest";
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
import { largest } from "./sparse/winners.ts";

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

test("the largest of positive numbers, with ties", () => {
  const values = Float32Array.of(3, -1, 2, 0, 2, 5, 2, 1e-30);
  expect(largest(values, 3)).toEqual({ threshold: 2, ties: 1 });
  expect(largest(values, 5)).toEqual({ threshold: 2, ties: 3 });
  expect(largest(values, 6)).toEqual({ threshold: Math.fround(1e-30), ties: 1 });
  expect(largest(values, 7)).toEqual({ threshold: 0, ties: 0 });
});
