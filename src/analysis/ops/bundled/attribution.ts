/** @file The family `attribution`: what each latent contributes, by gradient and by ablation. */
import { gradients, GraphError, mul, sum, type Tensor } from "../../../graph/index.ts";
import type { HookTensors } from "../../tables/columns.ts";
import { AnalysisError } from "../../errors.ts";
import { answerColumns } from "./core.ts";
import { flow, known, maybe, type Flow, type Known, type Maybe } from "./known.ts";
import { alignedValues } from "../latents.ts";
import { defineOp, type Op } from "../op.ts";
import { atAnswer, latentsAtAnswer, whereCorrect } from "./sae.ts";

/**
 * `model_gradient`: the spliced model, and the derivatives of the summed logit differences with respect to its latents.
 * Later SAEs are differentiated through.
 */
export const modelGradient: Op<
  Known<"orig_labels"> & Maybe<Known<"answer_indices">>,
  Flow<"cache" | "grad_cache"> & Known<"answer_indices" | "loss" | "logit_diffs" | "preds" | "answer_logits">
> = defineOp({
  name: "model_gradient",
  description: "Activations of the spliced model and the derivatives of the logit differences with respect to them.",
  input: { ...known("orig_labels"), ...maybe(known("answer_indices")) },
  output: {
    ...flow("cache", "grad_cache"),
    ...known("answer_indices", "loss", "logit_diffs", "preds", "answer_logits"),
  },
  requires: ["saes"],
  requiresGradient: true,
  run: ({ orig_labels, answer_indices: given }, context) => {
    const { logits, hooks } = context.forward({ spliced: true });
    const answer_indices = given ?? context.positions;
    const values = answerColumns(logits, { answer_indices, orig_labels }, context);
    const names = context.targets.map(({ info }) => info.name);
    const grads = slopes(sum(values.logit_diffs), names, hooks);
    return {
      ...values,
      answer_indices,
      cache: context.kept(hooks),
      grad_cache: Object.fromEntries(names.map((name, i) => [name, grads[i]!])), // [batch, pos, width] each
    };
  },
});

/** Derivatives by latents. */
function slopes(scalar: Tensor, names: readonly string[], hooks: HookTensors): Tensor[] {
  if (names.length === 0) return [];
  const by = (some: readonly string[]): Tensor[] =>
    gradients(
      scalar,
      some.map((name) => hooks[name]!),
    );
  try {
    return by(names);
  } catch (cause) {
    if (!(cause instanceof GraphError) || cause.code !== "graph/no-path") throw cause;
    const isIdle = (name: string): boolean => {
      try {
        return by([name]).length === 0;
      } catch {
        return true;
      }
    };
    throw new AnalysisError("the answers do not depend on these latents, so they have no gradient", {
      code: "analysis/no-path",
      received: names.filter(isIdle).join(", "),
      hint: "something later replaces what they write, such as a transcoder that stands for the MLP they are in: leave one of them out",
      cause,
    });
  }
}

/** `gradient_attribution`: activation × derivative at the answer position, the first-order effect of setting the latent to 0. */
export const gradientAttribution: Op<
  Flow<"cache" | "grad_cache"> & Known<"answer_indices" | "logit_diffs">,
  Known<"alive_latents" | "attribution_values" | "correct_activations">
> = defineOp({
  name: "gradient_attribution",
  description: "Activation times derivative at the answer positions.",
  input: { ...flow("cache", "grad_cache"), ...known("answer_indices", "logit_diffs") },
  output: known("alive_latents", "attribution_values", "correct_activations"),
  requires: ["saes"],
  run: ({ cache, grad_cache, answer_indices, logit_diffs }, { targets }) => {
    const alive = latentsAtAnswer(cache, answer_indices, targets);
    const attributions = Object.entries(alive)
      .filter(([name]) => name in grad_cache)
      .map(([name, x]) => [name, mul(atAnswer(grad_cache[name]!, answer_indices), x)] as const);
    return {
      alive_latents: alive,
      attribution_values: Object.fromEntries(attributions),
      correct_activations: whereCorrect(alive, logit_diffs),
    };
  },
});

/** `ablation_attribution`: the logit difference of the spliced run minus that of the ablated one, unmasked. */
export const ablationAttribution: Op<
  Known<"alive_latents" | "logit_diffs" | "ablated_logit_diff">,
  Known<"attribution_values">
> = defineOp({
  name: "ablation_attribution",
  description: "The logit difference of the spliced run minus that of the run without the latent.",
  input: known("alive_latents", "logit_diffs", "ablated_logit_diff"),
  output: known("attribution_values"),
  run: async ({ alive_latents, logit_diffs, ablated_logit_diff }, context) => {
    const done = await context.realize({ diffs: logit_diffs, ablated: ablated_logit_diff });
    const table = await context.latents(alive_latents);
    const ablated = alignedValues("ablated_logit_diff", done.ablated, table, context.targets);
    const diffs = done.diffs.data as Float32Array;
    return { attribution_values: Float32Array.from(table.row, (row, i) => diffs[row]! - ablated[i]!) };
  },
});
