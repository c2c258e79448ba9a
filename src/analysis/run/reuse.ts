/** @file Analyses that are found instead of computed: the same content address in another store. */
import { AnalysisError } from "../errors.ts";
import type { AnalysisEntry } from "../tables/index.ts";
import { AnalysisStore } from "../store/index.ts";
import type { Tables } from "../tables/entry.ts";
import { analysisHash } from "../store/manifest.ts";

/** Where an analysis was found. */
export type Reused = {
  readonly store: string;
  readonly store_id: string;
  /** What it is called there. */
  readonly analysis: string;
  /** Its content address. */
  readonly hash: string;
};

/** Stores, given open or by folder. @throws AnalysisError `store/none` for a folder that is not a store */
export async function openStores(stores: readonly (string | AnalysisStore)[] = []): Promise<AnalysisStore[]> {
  const open: AnalysisStore[] = [];
  for (const store of stores) {
    if (typeof store !== "string") open.push(store);
    else open.push(await AnalysisStore.open(store));
  }
  return open;
}

/**
 * The shards of an analysis in one of the stores, where one holds them all, whole.
 * @param run the hash of the run's config
 */
export async function reusable(
  stores: readonly AnalysisStore[],
  run: string,
  entry: AnalysisEntry,
  shards: readonly number[],
): Promise<{ from: Reused; shards: [number, Tables][] } | undefined> {
  const hash = analysisHash(run, entry);
  for (const store of stores) {
    for (const name of store.names.filter((each) => store.hashOf(each) === hash)) {
      try {
        const parts: [number, Tables][] = [];
        for (const shard of shards) parts.push([shard, await store.shard(name, shard)]);
        const { store_id } = store.manifest.identity;
        return { from: { store: store.folder, store_id, analysis: name, hash }, shards: parts };
      } catch (error) {
        // A store that is not complete, or damaged, is as good as none.
        if (!(error instanceof AnalysisError)) throw error;
      }
    }
  }
  return undefined;
}
