/** @file Which latents an analysis reports: the SAEs' points in the order of the forward pass. */
import { compileFilter, type NameFilter } from "../../model/hooks/filter.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { AnalysisError } from "../errors.ts";
import type { HookInfo } from "../tables/index.ts";
import { startLayer } from "./ablation.ts";

/** Those whose points a filter names; without one, all. */
export function reported(targets: readonly Target[], filter: NameFilter | undefined): readonly Target[] {
  if (filter === undefined) return targets;
  const named = compileFilter(filter);
  return targets.filter(({ info }) => named(info.name));
}

/** An SAE, or a transcoder, and the point of its latents. */
export interface Target {
  readonly sae: LatentModel;
  readonly info: HookInfo;
}

/**
 * The latents' points of some SAEs, in the order in which a forward pass reaches them.
 * @param layers blocks whose SAEs are reported; default all
 * @param hooks names of the points that are reported, such as `blocks.9.attn.hook_z.hook_sae_acts_post`; default all
 * @throws AnalysisError for a name that is not a point of these SAEs
 * @example
 * hooksOf(model, saes)[0].info.name; // "blocks.9.attn.hook_z.hook_sae_acts_post"
 */
export function hooksOf(
  model: HookedModel,
  saes: readonly LatentModel[],
  layers?: readonly number[],
  hooks?: readonly string[],
): Target[] {
  if (saes.length === 0 && hooks === undefined) return [];
  const order = new Map(model.describeHooks().map(({ name }, i) => [name, i]));
  const at = (sae: LatentModel): number => order.get(sae.hookNameOut) ?? Number.MAX_SAFE_INTEGER;
  const targets = [...saes]
    .sort((a, b) => at(a) - at(b))
    .map((sae) => ({ sae, info: { name: `${sae.hookNameOut}.hook_sae_acts_post`, width: sae.dSae } }));
  const names = targets.map(({ info }) => info.name);
  const unknown = hooks?.find((name) => !names.includes(name));
  if (unknown !== undefined)
    throw new AnalysisError("no SAE has latents at this point", {
      code: "analysis/hooks",
      expected: names.join(", "),
      received: unknown,
    });
  return targets
    .filter(({ sae }) => layers === undefined || layers.includes(startLayer(sae.hookNameOut, model.cfg.n_layers)))
    .filter(({ info }) => hooks === undefined || hooks.includes(info.name));
}
