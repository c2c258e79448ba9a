/** @file Training of any SAE as one graph a step: losses, gradients, clipping and Adam. */
import { greater, leaf, min, placeholder, sub, sum, where, type Tensor } from "../../graph/index.ts";
import type { Runtime } from "../../runtime/index.ts";
import type { SaeArray, SaeArrays } from "../../sae/index.ts";
import { Learner, type CompiledStep } from "../learner/learner.ts";
import type { TrainedSaeConfig } from "./config.ts";
import { kinds } from "./kinds.ts";
import { clipNorm, type AdamMoments, type SaeLearner, type SaeStepResult } from "./learner.ts";
import { auxiliaryGroups, auxiliaryScales, firings, saeLosses } from "./losses.ts";

interface StepMetrics {
  readonly terms: Readonly<Record<string, Tensor>>;
  readonly fired: Tensor;
  readonly touched: Tensor;
  readonly smallest: Tensor;
}
type Step = CompiledStep<"x" | "target" | "coefficient" | "mask" | "scales", StepMetrics>;

/** Larger than any latent. */
const ceiling = 3e38;
const copied = ({ dims, data }: Tensor): SaeArray => ({ dims, data: (data as Float32Array).slice() });

/** @param start in SAELens' shapes */
export function denseLearner(
  cfg: TrainedSaeConfig,
  start: SaeArrays,
  options: { tokens: number; runtime: Runtime; adam: AdamMoments },
): SaeLearner {
  const { tokens, runtime, adam } = options;
  const { dIn, dOut, dSae } = cfg;
  const params = Object.fromEntries(
    Object.entries(start).map(([name, { data, dims }]) => [name, leaf(data.slice(), dims, { name })]),
  );
  const learner = new Learner({
    parameters: new Map(Object.entries(params)),
    optimizer: { name: "Adam", lr: 1, betas: [...adam.betas], eps: adam.eps },
    clip: { norm: clipNorm },
    runtime,
    name: "sae",
  });
  const groups = auxiliaryGroups(cfg).length;
  const { transcodes = false, ranks } = kinds[cfg.architecture];
  const compiled = new Map<boolean, Promise<Step>>();

  const compile = (withDead: boolean): Promise<Step> => {
    let known = compiled.get(withDead);
    if (known !== undefined) return known;
    const inputs = {
      x: placeholder([tokens, dIn], "float32", "x"),
      target: placeholder([tokens, dOut], "float32", "target"),
      coefficient: placeholder([], "float32", "coefficient"),
      mask: placeholder([dSae], "float32", "mask"),
      scales: placeholder([groups], "float32", "scales"),
    };
    known = learner.compile(inputs, ({ x, target, coefficient, mask, scales }) => {
      const dead = withDead ? { mask, scales } : undefined;
      const batch = { x, target: transcodes ? target : x, coefficient, dead };
      const { loss, terms, pre, acts } = saeLosses(cfg, params, batch);
      const fired = firings(acts);
      const { threshold } = params;
      const touched = sum(
        threshold === undefined ? fired : firings(sub(pre, sub(threshold, cfg.jumpreluBandwidth / 2))),
      );
      const smallest = ranks !== undefined ? min(where(greater(acts, 0), acts, ceiling)) : coefficient;
      return { loss, metrics: { terms, fired, touched, smallest } };
    });
    compiled.set(withDead, known);
    return known;
  };

  const nobody = new Float32Array(dSae);
  const noScales = new Float32Array(groups);
  return {
    step: async ({ x, target, lr, coefficient, dead }): Promise<SaeStepResult> => {
      const step = await compile(dead !== undefined);
      learner.setLearningRate(lr);
      const { loss, gradNorm, metrics } = await step({
        x: { dims: [tokens, dIn], data: x },
        target: { dims: [tokens, dOut], data: target },
        coefficient: { dims: [], data: Float32Array.of(coefficient) },
        mask: { dims: [dSae], data: dead ?? nobody },
        scales: { dims: [groups], data: dead === undefined ? noScales : auxiliaryScales(cfg, dead) },
      });
      // Below 0 a gate would let negative pre-activations through.
      const threshold = params["threshold"]?.data as Float32Array | undefined;
      threshold?.forEach((value, j) => (threshold[j] = Math.max(value, 0)));
      const smallest = metrics.smallest.item();
      return {
        loss,
        terms: Object.fromEntries(Object.entries(metrics.terms).map(([name, term]) => [name, term.item()])),
        gradientNorm: gradNorm!,
        fired: metrics.fired.data as Float32Array,
        touched: metrics.touched.item(),
        smallest: ranks !== undefined && smallest < ceiling ? smallest : undefined,
      };
    },
    parameters: () => Object.fromEntries(Object.entries(params).map(([name, x]) => [name, copied(x)])),
    state: () => {
      const { tensors, steps } = learner.state();
      const copies = Object.entries(tensors).map(([name, x]) => [name, copied(x)]);
      return { tensors: Object.fromEntries(copies) as SaeArrays, steps: Object.values(steps)[0]! };
    },
    restore: ({ tensors, steps }) => {
      const known = learner.state();
      learner.restore({
        ...known,
        tensors: Object.fromEntries(
          Object.entries(tensors)
            .filter(([name]) => steps > 0 || name.startsWith("parameter."))
            .map(([name, { dims, data }]) => [name, leaf(data, dims, { name })]),
        ),
        steps: Object.fromEntries(Object.keys(params).map((name) => [name, steps])),
      });
    },
    dispose: async () => {
      for (const step of compiled.values()) await (await step).dispose();
      learner.dispose();
    },
  };
}
