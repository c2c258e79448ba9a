/** @file Stores of several machines as one: the same run, each with shards of its own. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { AnalysisError } from "../errors.ts";
import { differences } from "../../formats/canonicalJson.ts";
import { makeFolder, writeAtomic } from "./atomic.ts";
import { lockFolder } from "./lock.ts";
import { entryOf, readManifest, shardHash, writeManifest, type Manifest } from "./manifest.ts";
import { shardFault, shardFile, tablesOf } from "./shard.ts";
import { AnalysisStore } from "./store.ts";
import { nothingElse } from "./writer.ts";

/** A file of a shard, where it lies and how it is checked. */
interface ShardFile {
  readonly name: string;
  readonly shard: number;
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * Puts the parts of a run together: stores of one config, each with shards that no other has. Files are checked and
 * copied as they are, so the whole has the bytes that one machine would have written.
 * @param folders the parts; they stay as they are
 * @param out a new or empty folder
 * @returns the whole; it may lack shards that no part has, and can be resumed
 * @throws AnalysisError `store/other-config`, `store/other-analysis` when parts are of different runs; `store/overlap`
 *   when two have the same shard; `store/corrupt` for a damaged file
 * @example
 * const data = await openDataset("rte/validation.jsonl");
 * const common = { model, saes, data, batchSize: 2, analyses: ["logit_diffs_base"] as const };
 * await analyzeDataset({ ...common, out: "parts/0", part: { index: 0, of: 2 } }); // on one machine
 * await analyzeDataset({ ...common, out: "parts/1", part: { index: 1, of: 2 } }); // on another one
 * const store = await mergeStores(["parts/0", "parts/1"], "runs/whole");
 */
export async function mergeStores(folders: readonly string[], out: string): Promise<AnalysisStore> {
  const parts: AnalysisStore[] = [];
  for (const folder of folders) parts.push(await AnalysisStore.open(folder, { partial: true }));
  const manifest = together(parts);
  const taken = new Map<string, string>();
  await makeFolder(out);
  const unlock = await lockFolder(out);
  try {
    if ((await readManifest(out)) !== undefined)
      throw new AnalysisError(`${out} holds a store already`, {
        code: "store/not-empty",
        hint: "choose a new or an empty folder",
      });
    await nothingElse(out);
    // Everything is looked at before anything is written.
    for (const part of parts)
      for await (const { name, shard } of filesOf(part)) {
        const key = `${name}/${shard}`;
        const other = taken.get(key) ?? part.folder;
        if (other !== part.folder)
          throw new AnalysisError("two parts have the same shard", {
            code: "store/overlap",
            where: `shard ${shard} of ${name}`,
            received: `${other} and ${part.folder}`,
            hint: "parts are disjoint: part { index, of } with another index on each machine",
          });
        taken.set(key, part.folder);
      }
    await writeManifest(out, manifest);
    for (const name of manifest.analyses) await makeFolder(join(out, name));
    for (const part of parts)
      for await (const { name, path, bytes } of filesOf(part)) await writeAtomic(join(out, name, path), bytes);
  } finally {
    await unlock();
  }
  return AnalysisStore.open(out);
}

/** The manifest of the whole: a store of its own, which knows what it was made from. */
function together(parts: readonly AnalysisStore[]): Manifest {
  const [first] = parts;
  if (first === undefined)
    throw new AnalysisError("there is nothing to merge", { code: "store/merge", expected: "at least one store" });
  const { manifest } = first;
  for (const { manifest: other, folder } of parts.slice(1)) {
    if (other.config_hash !== manifest.config_hash)
      throw new AnalysisError(`${folder} holds a run of another config than ${first.folder}`, {
        code: "store/other-config",
        received: differences(manifest.config, other.config).slice(0, 8).join("; ") || "other hooks or shards",
      });
    for (const name of other.analyses) {
      const [a, b] = [entryOf(manifest, name), entryOf(other, name)!];
      if (a !== undefined && shardHash(manifest.config_hash, a) !== shardHash(manifest.config_hash, b))
        throw new AnalysisError(`${folder} has another analysis of that name than ${first.folder}`, {
          code: "store/other-analysis",
          received: name,
        });
    }
  }
  const declared = Object.assign({}, ...parts.map((part) => part.manifest.declared ?? {})) as Manifest["declared"];
  return {
    ...manifest,
    analyses: [...new Set(parts.flatMap(({ names }) => names))],
    ...(Object.keys(declared!).length > 0 && { declared }),
    provenance: {
      ...manifest.provenance,
      merged_from: parts.map(({ manifest: { identity } }) => identity.store_id),
    },
    runs: parts.flatMap((part) => part.manifest.runs),
    identity: { store_id: randomUUID(), created_utc: new Date().toISOString() },
  };
}

/** The files of the shards that a part has whole; one of which a file is missing is not there. */
async function* filesOf({ folder, manifest }: AnalysisStore): AsyncGenerator<ShardFile> {
  for (const name of manifest.analyses) {
    const entry = entryOf(manifest, name)!;
    const config_hash = shardHash(manifest.config_hash, entry);
    for (let shard = 0; shard < manifest.shards; shard++) {
      const files: ShardFile[] = [];
      for (const table of tablesOf(entry)) {
        const path = shardFile(table, shard);
        const bytes = await readFile(join(folder, name, path)).catch(() => undefined);
        if (bytes === undefined) continue;
        const fault = shardFault(bytes, { config_hash, analysis: name, table, shard });
        if (fault !== undefined)
          throw new AnalysisError(`${join(folder, name, path)} cannot be used: ${fault}`, {
            code: "store/corrupt",
            hint: "resume the run that wrote it (--resume): it makes damaged shards again",
          });
        files.push({ name, shard, path, bytes });
      }
      if (files.length === tablesOf(entry).length) yield* files;
    }
  }
}
