/** @file The list of a commit's files, kept in the cache as Python's client keeps it: a commit never changes. */
import { z } from "zod";
import { hex, type HubFile } from "./api.ts";
import { isRepoPath } from "./reference.ts";
import type { HubStore } from "./store.ts";

const treeSchema = z.object({
  format_version: z.literal(1),
  files: z.record(
    z.string().refine(isRepoPath), // others have written here, too
    z.object({
      size: z.number().int().min(0),
      blob_id: hex(40),
      lfs_sha256: hex(64).optional(),
      lfs_size: z.number().int().min(0).optional(),
      xet_hash: z.string().optional(),
    }),
  ),
});

const treePath = (folder: string, commit: string): string => `${folder}/trees/${commit}.json`;

export async function readTree(store: HubStore, folder: string, commit: string): Promise<HubFile[] | undefined> {
  const text = await store.readText(treePath(folder, commit));
  const { data } = treeSchema.safeParse(parsed(text));
  if (data === undefined) return undefined;
  return Object.entries(data.files).map(([path, { size, blob_id, lfs_sha256, lfs_size, xet_hash }]) => ({
    path,
    size,
    oid: blob_id,
    ...(lfs_sha256 !== undefined && { lfs: { oid: lfs_sha256, size: lfs_size ?? size } }),
    ...(xet_hash !== undefined && { xetHash: xet_hash }),
  }));
}

function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}

export async function writeTree(
  store: HubStore,
  folder: string,
  commit: string,
  files: readonly HubFile[],
): Promise<void> {
  const entries = files.map(({ path, size, oid, lfs, xetHash }) => [
    path,
    { size, blob_id: oid, lfs_sha256: lfs?.oid, lfs_size: lfs?.size, xet_hash: xetHash },
  ]);
  const tree = { format_version: 1, files: Object.fromEntries(entries) as unknown };
  await store.writeText(treePath(folder, commit), JSON.stringify(tree, null, 1));
}
