/** @file Derivatives of a scalar of a run by hook points and weights. */
import { GraphError } from "../../graph/errors.ts";
import { branch, gradients as differentiate } from "../../graph/gradients.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { ModelError } from "../errors.ts";
import type { GradientTargets, ModelInput, RunOptions } from "./runOptions.ts";
import type { Traced } from "./traced.ts";
import { awaitHooks, realizeOptions, traceRun, type TraceableModel } from "./tracing.ts";

/** Realized derivatives by name, in the shapes of their values. */
export interface Gradients {
  /** Of what they are. */
  value: Tensor;
  hooks: Record<string, Tensor>;
  weights: Record<string, Tensor>;
}

/** See {@link HookedModel.gradients}. @internal */
export async function gradientsOf(
  model: TraceableModel & { weight(name: string): Tensor },
  run: { input: ModelInput; metric: (traced: Traced) => Tensor; wrt: GradientTargets; options: RunOptions },
): Promise<Gradients> {
  const { input, metric, wrt, options } = run;
  const weightNames = wrt.weights ?? [];
  // The same values under identities of their own.
  const own = new Map(weightNames.map((n) => [n, branch(model.weight(n), "parameter")]));
  const weights = new Map([...model.weights, ...own]);
  const capturing = { ...options, capture: wrt.names ?? "*" };
  const traced = await awaitHooks(model, traceRun(model, input, capturing, weights), options);
  const scalar = metric(traced);
  const hookNames = wrt.names === undefined ? [] : Object.keys(traced.hooks);
  const targets = [...hookNames.map((n) => traced.hooks[n]!), ...own.values()];
  if (targets.length === 0)
    throw new ModelError("gradients: nothing to differentiate with respect to", {
      code: "model/gradients",
      expected: "hook names or weight names",
    });
  const found = differentiated(scalar, targets, [...hookNames, ...weightNames]);
  const pick = (names: readonly string[], from: number): Record<string, Tensor> =>
    Object.fromEntries(names.map((n, i) => [n, found[from + i]!]));
  return model.runtime.realize(
    { value: scalar, hooks: pick(hookNames, 0), weights: pick(weightNames, hookNames.length) },
    realizeOptions(model, options),
  );
}

function differentiated(scalar: Tensor, targets: readonly Tensor[], names: readonly string[]): Tensor[] {
  try {
    return differentiate(scalar, targets);
  } catch (error) {
    if (!(error instanceof GraphError) || error.code !== "graph/no-path") throw error;
    throw new ModelError("the scalar does not depend on a value it is to be differentiated by", {
      code: "model/no-path",
      where: names.join(", "),
      hint: "a hook replaced it, an async hook cut the graph above it, or the run stopped below it",
      cause: error,
    });
  }
}
