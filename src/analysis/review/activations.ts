/** @file How active each latent is over the examples that are right. */
import { displayed, Table, type Displayable } from "../../display/index.ts";
import { AnalysisError } from "../errors.ts";
import type { AnalysisResult } from "../tables/four.ts";
import type { HookInfo } from "../tables/hookInfo.ts";
import { rowsByLatent } from "./rows.ts";

/** Activations of the latents of one hook over the examples with a positive logit difference, latents ascending. */
export interface HookActivations {
  readonly hook: HookInfo;
  /** Latents active in any of these examples; all others have 0 everywhere. */
  readonly latents: Int32Array;
  /** Mean over these examples, zeros included. */
  readonly mean_activation: Float64Array;
  readonly num_samples_active: Int32Array;
}

/** What `calcActivationSummary` says. It shows itself as a table, the most active latents first. */
export interface ActivationSummary extends Displayable {
  /** Number of examples with a positive logit difference. */
  readonly num_correct: number;
  readonly hooks: readonly HookActivations[];
}

/**
 * Mean activation of every latent, and in how many examples it is active, over the examples with a positive logit
 * difference.
 *
 * @throws AnalysisError for `logit_diffs_base`, which has no latents.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const { num_correct, hooks } = calcActivationSummary(await store.load("logit_diffs_sae"));
 * ```
 */
export function calcActivationSummary(result: AnalysisResult): ActivationSummary {
  const { analysis, examples, latents } = result;
  if (analysis === "logit_diffs_base")
    throw new AnalysisError("the plain model has no latents to summarise", {
      code: "review/no-latents",
      received: analysis,
      hint: "give the spliced, gradient or ablation analysis",
    });
  const num_correct = examples.filter((row) => row.logit_diffs > 0).length;
  const hooks = rowsByLatent(result, (example) => examples[example]!.logit_diffs > 0).map((own): HookActivations => ({
    hook: own.hook,
    latents: own.latents,
    mean_activation: Float64Array.from(
      own.rows,
      (rows) => rows.reduce((total, row) => total + latents.activation[row]!, 0) / num_correct,
    ),
    num_samples_active: Int32Array.from(own.rows, (rows) => rows.length),
  }));
  const table = (topK: number): Table => {
    const rows = hooks.flatMap(({ hook, latents: ids, mean_activation, num_samples_active }) =>
      Array.from(ids, (latent, i) => [hook.name, latent, mean_activation[i]!, num_samples_active[i]!] as const),
    );
    const shown = Math.min(topK, rows.length);
    return new Table(
      [
        { key: "hook", label: "Hook" },
        { key: "latent", label: "Latent Index" },
        { key: "mean_activation", label: "Mean Activation" },
        { key: "num_samples_active", label: "Number Active" },
      ],
      rows.sort((a, b) => b[2] - a[2]).slice(0, topK),
      `${shown} of ${rows.length} latents that are active in the ${num_correct} examples with a positive logit difference`,
    );
  };
  return displayed({ num_correct, hooks }, () => table(20), {
    toJSON: () => ({ num_correct, latents: table(Infinity).toJSON() }),
    toCSV: () => table(Infinity).toCSV(),
  });
}
