/** @file Splicing: SAEs and transcoders in the place of hook points. */
import type { Splice } from "../model/hooks/hookPoint.ts";
import { splicesOf } from "../model/hooks/splices.ts";
import type { LatentModel } from "./latentModel.ts";
import type { SpliceOptions } from "./runOptions.ts";

/**
 * The replacements that put SAEs (and transcoders) at their hook points, for a model's `splices`. Inside, the points `<hook
 * point>.hook_sae_input`, `…hook_sae_acts_pre`, `…hook_sae_acts_post`, `…hook_sae_recons`, `…hook_sae_error` (with the
 * error term) and `…hook_sae_output` fire, all with heads merged but the last two.
 *
 * With the error term the output is the reconstruction plus what a clean reconstruction of the same input misses:
 * interventions on latents act, everything else stays as the model had it.
 * @param saes one or several
 * @throws ModelError when two share a hook point; SaeError for options that do not exist; when run, when a hook point does
 *   not have an SAE's width
 * @example
 * const splices = spliceHooks(saes, { useErrorTerm: true });
 * const logits = await model.run("The Eiffel Tower is in", { splices });
 */
export function spliceHooks(
  saes: LatentModel | Iterable<LatentModel>,
  options?: SpliceOptions,
): ReadonlyMap<string, Splice> {
  return splicesOf(saes, options);
}
