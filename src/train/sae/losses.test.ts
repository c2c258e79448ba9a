import { expect, test } from "vitest";
import { describeWithGoldens } from "../../../test/support/goldens.ts";
import { relativeError } from "../../../test/support/saeGolden.ts";
import { saeTrainingCases, saeTrainingGolden } from "../../../test/support/saeTrainingGolden.ts";
import { constant, gradients, leaf } from "../../graph/index.ts";
import { reference, Runtime } from "../../runtime/index.ts";
import { auxiliaryScales, firings, saeLosses } from "./losses.ts";

const runtimes = { "ONNX Runtime": new Runtime({ threads: 1 }), reference: new Runtime({ backend: reference }) };

describeWithGoldens("the first step of SAELens' trainer", ["goldens/sae-training"], () => {
  test.each(
    saeTrainingCases.flatMap((name) => Object.entries(runtimes).map(([where, rt]) => [name, where, rt] as const)),
  )("%s on %s", async (name, _where, runtime) => {
    const { cfg, start, tensors, steps } = await saeTrainingGolden(name);
    const [first] = steps;
    const params = Object.fromEntries([...start].map(([key, { dims, data }]) => [key, leaf(data, dims)]));
    const batch = tensors.get("batch.0")!;
    const x = leaf(batch.data, batch.dims);
    const mask = tensors.get("step0.dead_mask")!.data;
    const dead = mask.some((d) => d > 0)
      ? { mask: leaf(mask, [cfg.dSae]), scales: leaf(auxiliaryScales(cfg, mask), [auxiliaryScales(cfg, mask).length]) }
      : undefined;
    const coefficient = constant(Object.values(first!.coefficients)[0] ?? 0);
    const { loss, terms, pre, acts, reconstruction } = saeLosses(cfg, params, { x, target: x, coefficient, dead });
    const grads = Object.fromEntries(
      gradients(loss, Object.values(params)).map((g, i) => [Object.keys(params)[i]!, g]),
    );
    const done = await runtime.realize({ loss, terms, pre, acts, reconstruction, grads, fired: firings(acts) });
    expect(Object.keys(done.terms)).toEqual(Object.keys(first!.losses));
    const near = (got: number, wanted: number): void =>
      expect(Math.abs(got - wanted)).toBeLessThanOrEqual(1e-5 * Math.abs(wanted));
    near(done.loss.item(), first!.loss);
    for (const [term, value] of Object.entries(first!.losses)) near(done.terms[term]!.item(), value);
    const golden = (key: string): Float32Array => tensors.get(`step0.${key}`)!.data;
    const error = (got: { toArray(): number[] }, key: string): number => relativeError(got.toArray(), golden(key));
    expect(error(done.pre, "hidden_pre")).toBeLessThan(1e-5);
    expect(error(done.acts, "feature_acts")).toBeLessThan(1e-5);
    expect(error(done.reconstruction, "sae_out")).toBeLessThan(1e-5);
    for (const [key, g] of Object.entries(done.grads)) expect(error(g, `grad.${key}`), key).toBeLessThan(1e-5);
    const l0 = done.fired.toArray().reduce((a, b) => a + b, 0) / batch.dims[0]!;
    near(l0, first!.l0);
  });
});
