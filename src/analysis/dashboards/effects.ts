/** @file What latents do to each example of a task, from the analyses of a run. */
import { exampleOf } from "../views/shapes.ts";
import type { AnalysisName, AnalysisResult } from "../tables/four.ts";
import type { ExampleEffect, LatentRef } from "./types.ts";

/** Analyses of one run by name; those that are missing leave their columns null. */
export type ResultsByName = { readonly [A in AnalysisName]?: AnalysisResult };

const suffix = ".hook_sae_acts_post";

/** The SAE's hook point, whichever way a latent's place is named. */
export const saeHook = (hook: string): string => (hook.endsWith(suffix) ? hook.slice(0, -suffix.length) : hook);
/** The name of the latents' point. */
const latentHook = (hook: string): string => (hook.endsWith(suffix) ? hook : `${hook}${suffix}`);

/** Effects of each latent asked for, on the examples in which it is active, largest |effect| first. */
export function effectsOfLatents(results: ResultsByName, latents: readonly LatentRef[]): ExampleEffect[][] {
  const key = (hook: string, latent: number): string => `${latent} ${hook}`;
  const found = new Map(
    latents.map(({ hook, latent }) => [key(latentHook(hook), latent), new Map<number, ExampleEffect>()]),
  );
  const { logit_diffs_sae, logit_diffs_attr_ablation, logit_diffs_attr_grad } = results;
  for (const result of [logit_diffs_sae, logit_diffs_attr_grad, logit_diffs_attr_ablation]) {
    if (result === undefined) continue;
    const rows = exampleOf(result);
    const { latents: columns, hooks, examples } = result;
    for (let i = 0; i < columns.length; i++) {
      const mine = found.get(key(hooks[columns.hook[i]!]!.name, columns.latent[i]!));
      if (mine === undefined) continue;
      const { example, logit_diffs } = examples[rows[i]!]!;
      const effect = mine.get(example) ?? { ablation: null, ablated_logit_diff: null, gradient: null };
      const value = columns.attribution_values?.[i] ?? null;
      mine.set(example, {
        ...effect,
        example,
        logit_diff: logit_diffs,
        activation: columns.activation[i]!,
        ...(result === logit_diffs_attr_grad && { gradient: value }),
        ...(result === logit_diffs_attr_ablation && {
          ablation: value,
          ablated_logit_diff: columns.ablated_logit_diff![i]!,
        }),
      });
    }
  }
  const size = ({ ablation, gradient }: ExampleEffect): number => Math.abs(ablation ?? gradient ?? 0);
  return latents.map(({ hook, latent }) =>
    [...found.get(key(latentHook(hook), latent))!.values()].sort((a, b) => size(b) - size(a) || a.example - b.example),
  );
}
