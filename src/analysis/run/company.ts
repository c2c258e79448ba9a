/** @file Which analyses are computed together, and computing them. */
import type { Batch } from "../../data/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { findOp, runOps, type OpOptions, type OpRequest, type OpState } from "../ops/index.ts";
import { hookOptions, sameHooks, type HookOptions } from "../plan/hookOptions.ts";
import type { PlannedAnalysis } from "../plan/planned.ts";
import { AnalysisStore, type StoreWriter } from "../store/index.ts";
import { entryOf, isPlain } from "../store/manifest.ts";
import { isAnalysisName, type HookInfo } from "../tables/index.ts";

/** What batches are computed in. */
interface Setting {
  readonly model: HookedModel;
  readonly saes: readonly LatentModel[];
  readonly options: OpOptions;
  readonly hooks: readonly HookInfo[];
  readonly signal?: AbortSignal;
}

/** Runs a company of analyses over a batch; those with the same points and hooks in one go. */
export async function computeBatch(
  { model, saes, options, hooks, signal }: Setting,
  group: readonly PlannedAnalysis[],
  batch: Batch,
  state: OpState,
  onAblation: (done: number, total: number) => void,
): Promise<Awaited<ReturnType<typeof runOps>>> {
  const company: { readonly key: string; readonly own: HookOptions; readonly some: PlannedAnalysis[] }[] = [];
  for (const each of group) {
    const key = (each.entry.hooks ?? hooks).map(({ name }) => name).join(" ");
    const own = each.hookOptions ?? hookOptions({}, options);
    const found = company.find((other) => other.key === key && sameHooks(other.own, own));
    if (found === undefined) company.push({ key, own, some: [each] });
    else found.some.push(each);
  }
  const results: Awaited<ReturnType<typeof runOps>> = new Map();
  for (const { own: hooked, some } of company) {
    const saveInputs = some.some(({ inputs }) => inputs.prompts || inputs.tokens);
    const own = { ...options, ...hooked, saveInputs, hooks: (some[0]!.entry.hooks ?? hooks).map(({ name }) => name) };
    const requests = some.map(({ op, entry, given }): OpRequest => ({ op, name: entry.name, given: given?.(batch) }));
    for (const [name, result] of await runOps(
      { model, saes, options: own, signal, onAblation, state },
      requests,
      batch,
    ))
      results.set(name, result);
  }
  return results;
}

/**
 * Which analyses are computed together. One graph of several has other last bits than a graph of one, so what a store
 * lacks is computed in the company in which it was first asked for: the same bytes, wherever a run was stopped.
 */
export async function computedTogether(
  writer: StoreWriter | undefined,
  analyses: readonly PlannedAnalysis[],
): Promise<(readonly PlannedAnalysis[])[]> {
  if (writer === undefined) return [analyses];
  const { manifest } = await AnalysisStore.open(writer.folder, { partial: true });
  const known = (name: unknown): PlannedAnalysis[] => {
    const asked = analyses.find(({ entry }) => entry.name === name);
    if (asked !== undefined) return [asked];
    const entry = typeof name === "string" ? entryOf(manifest, name) : undefined;
    if (entry === undefined || !isPlain(entry) || !isAnalysisName(entry.name)) return [];
    return [{ entry, op: findOp(entry.name), inputs: { prompts: false, tokens: false, answers: false } }];
  };
  const before = writer.earlierRuns.map(({ computed_together: names }) =>
    Array.isArray(names) ? names.flatMap(known) : [],
  );
  const first = analyses.filter((each) => !before.flat().includes(each));
  await writer.record({ computed_together: first.map(({ entry }) => entry.name) });
  return [...before, first].filter((group) => group.length > 0);
}
