/** @file The rows of a `latents` table by hook and latent. */
import { exampleOf } from "../views/shapes.ts";
import type { AnalysisResult } from "../tables/four.ts";
import type { HookInfo } from "../tables/hookInfo.ts";

/** The latents of one hook that have rows. */
export interface LatentRowsOfHook {
  readonly hook: HookInfo;
  /** Ascending. */
  readonly latents: Int32Array;
  /** For each of the latents its rows in the table, in the order of the examples. */
  readonly rows: readonly Int32Array[];
}

/** Rows by hook and latent, of the examples (by their place in the result) that count. */
export function rowsByLatent(
  result: AnalysisResult,
  counts: (example: number) => boolean = () => true,
): LatentRowsOfHook[] {
  const { hooks, latents } = result;
  const places = exampleOf(result);
  const lists = hooks.map(() => new Map<number, number[]>());
  for (let i = 0; i < latents.length; i++) {
    if (!counts(places[i]!)) continue;
    const own = lists[latents.hook[i]!]!;
    const list = own.get(latents.latent[i]!);
    if (list) list.push(i);
    else own.set(latents.latent[i]!, [i]);
  }
  return hooks.map((hook, code) => {
    const ids = Int32Array.from(lists[code]!.keys()).sort();
    return { hook, latents: ids, rows: Array.from(ids, (id) => Int32Array.from(lists[code]!.get(id)!)) };
  });
}
