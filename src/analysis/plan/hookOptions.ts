/** @file The options that hold hooks, filters and functions: of a run or of one analysis, and how they enter its config. */
import type { Json, JsonObject } from "../../formats/index.ts";
import type { NameFilter } from "../../model/hooks/filter.ts";
import type { OpHook, OpOptions } from "../ops/index.ts";

/** What a run may have, and each of its analyses of its own. */
export type HookOptions = Readonly<Pick<OpOptions, "fwdHooks" | "bwdHooks" | "namesFilter" | "ablateLatentFn">>;

const names = ["fwdHooks", "bwdHooks", "namesFilter", "ablateLatentFn"] as const satisfies (keyof HookOptions)[];

/** Those of an analysis where it has them, else those of the run. */
export function hookOptions(own: HookOptions, ofRun: HookOptions): HookOptions {
  const chosen = names.map((name) => [name, own[name] ?? ofRun[name]] as const);
  return Object.fromEntries(chosen.filter(([, value]) => value !== undefined));
}

/** Whether two analyses can be computed together as far as these go. */
export const sameHooks = (a: HookOptions, b: HookOptions): boolean => names.every((name) => a[name] === b[name]);

/** What of them decides results: texts of functions, names of points. Nothing where nothing is set. */
export function hookConfig({ fwdHooks, bwdHooks, namesFilter, ablateLatentFn }: HookOptions): JsonObject {
  const hooks = (list: readonly OpHook[]): Json =>
    list.map(([filter, hook]): Json => ({ filter: filterJson(filter), hook: hook.toString() }));
  return {
    ...(fwdHooks !== undefined && { fwd_hooks: hooks(fwdHooks) }),
    ...(bwdHooks !== undefined && { bwd_hooks: hooks(bwdHooks) }),
    ...(namesFilter !== undefined && { names_filter: filterJson(namesFilter) }),
    ...(ablateLatentFn !== undefined && { ablate_latent_fn: ablateLatentFn.toString() }),
  };
}

const filterJson = (filter: NameFilter): Json => (Array.isArray(filter) ? filter.map(String) : String(filter));
