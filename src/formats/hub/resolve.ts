/** @file Which commit, which files, which content: from the hub, or from the cache where that has to do. */
import { FormatError } from "../errors.ts";
import { blobHash, commitOf, fileHead, listing, type HubFile } from "./api.ts";
import { defaultRevision, fileUrl, isCommit, refName, repoFolder, type HubRef } from "./reference.ts";
import type { HubSettings } from "./settings.ts";
import { readTree, writeTree } from "./trees.ts";

/** A file at a commit; `location` where it is in the cache. */
export interface LocatedFile {
  readonly commit: string;
  readonly size: number;
  readonly hash: string;
  readonly location: string | undefined;
}

/** The path of a file's entry in the cache. */
export const entryPath = (ref: HubRef, commit: string, path: string): string =>
  `${repoFolder(ref)}/snapshots/${commit}/${path}`;

/** The commit that a revision stands for, as far as the cache knows. */
async function cachedCommit({ store }: HubSettings, ref: HubRef): Promise<string | undefined> {
  const { revision = defaultRevision } = ref;
  if (isCommit(revision)) return revision;
  const commit = (await store.readText(`${repoFolder(ref)}/refs/${revision}`))?.trim();
  return commit !== undefined && isCommit(commit) ? commit : undefined;
}

/** Remember what a revision stands for; a cache that may only be read is left as it is. */
async function keepCommit({ store }: HubSettings, ref: HubRef, commit: string): Promise<void> {
  const { revision = defaultRevision } = ref;
  const path = `${repoFolder(ref)}/refs/${revision}`;
  if (revision === commit || (await store.readText(path)) === commit) return;
  await store.writeText(path, commit).catch(unwritable);
}

function unwritable(error: unknown): void {
  if (!(error instanceof FormatError)) throw error;
}

/** A file: from the cache without asking where its commit is given or the hub may not, or cannot, be asked. */
export async function locate(settings: HubSettings, ref: HubRef, path: string): Promise<LocatedFile> {
  const { store, offline } = settings;
  const known = await cachedCommit(settings, ref);
  const inCache = async (commit: string): Promise<LocatedFile | undefined> => {
    const found = await store.find(entryPath(ref, commit, path));
    return found && { commit, ...found };
  };
  const there = known === undefined ? undefined : await inCache(known);
  if (offline || known === ref.revision) {
    if (there) return there;
    if (known !== undefined && (await store.readText(absence(ref, known, path))) !== undefined)
      throw noSuchFile(settings, ref, path);
  }
  if (offline) throw notInCache(ref, path);

  try {
    const file = await fileFacts(settings, ref, path, there ? 1 : undefined);
    await keepCommit(settings, ref, file.commit);
    if (file.size === undefined) {
      await store.writeText(absence(ref, file.commit, path), "").catch(unwritable);
      throw noSuchFile(settings, ref, path);
    }
    const { commit, size, hash } = file;
    const found = await inCache(commit);
    return { commit, size, hash, location: found?.size === size ? found.location : undefined };
  } catch (error) {
    if (there && mayUseCache(error)) return there;
    throw error;
  }
}

/** The mark of a file that a commit does not have. */
const absence = (ref: HubRef, commit: string, path: string): string => `${repoFolder(ref)}/.no_exist/${commit}/${path}`;

/** Commit, size and hash of a file; without size where the commit does not have it. */
async function fileFacts(
  settings: HubSettings,
  ref: HubRef,
  path: string,
  attempts: number | undefined,
): Promise<{ commit: string; size: number; hash: string } | { commit: string; size?: undefined }> {
  const head = await fileHead(settings, ref, path, { attempts });
  if (head?.missing) return { commit: head.commit };
  if (head?.size !== undefined) return { commit: head.commit, size: head.size, hash: head.hash };
  const commit = head?.commit ?? (await commitOf(settings, ref, { attempts }));
  const file = (await filesAt(settings, ref, commit)).find((file) => file.path === path);
  return file ? { commit, size: contentSize(file), hash: blobHash(file) } : { commit };
}

export const contentSize = (file: HubFile): number => file.lfs?.size ?? file.size;

/** A commit's files: listed once, then from the cache. */
async function filesAt(settings: HubSettings, ref: HubRef, commit: string, attempts?: number): Promise<HubFile[]> {
  const folder = repoFolder(ref);
  const kept = await readTree(settings.store, folder, commit);
  if (kept) return kept;
  const files = await listing(settings, ref, commit, { attempts });
  await writeTree(settings.store, folder, commit, files).catch(unwritable);
  return files;
}

/** All files of a revision. `failure` says why it is only what the cache knows. */
export async function locateAll(
  settings: HubSettings,
  ref: HubRef,
): Promise<{ commit: string; files: HubFile[]; failure?: FormatError }> {
  const known = await cachedCommit(settings, ref);
  const tree = known === undefined ? undefined : await readTree(settings.store, repoFolder(ref), known);
  const kept = tree ?? (known === undefined ? undefined : await filesThere(settings, ref, known));
  const fallBack = (failure: FormatError): { commit: string; files: HubFile[]; failure: FormatError } => {
    if (kept === undefined) throw failure;
    return { commit: known!, files: kept, failure };
  };
  if (settings.offline) return fallBack(notInCache(ref));
  const attempts = tree ? 1 : undefined;
  try {
    const commit = await commitOf(settings, ref, { attempts });
    const files = await filesAt(settings, ref, commit, attempts);
    await keepCommit(settings, ref, commit);
    return { commit, files };
  } catch (error) {
    if (mayUseCache(error)) return fallBack(error);
    throw error;
  }
}

/** A commit's files as far as they lie in its snapshot: older clients keep no lists. */
async function filesThere({ store }: HubSettings, ref: HubRef, commit: string): Promise<HubFile[] | undefined> {
  const files: HubFile[] = [];
  for (const path of await store.list(entryPath(ref, commit, ""))) {
    const found = await store.find(entryPath(ref, commit, path));
    if (found) files.push({ path, size: found.size, oid: found.hash });
  }
  return files.length > 0 ? files : undefined;
}

/** Whether what the cache has may stand in: not where the hub has said that there is no such thing. */
function mayUseCache(error: unknown): error is FormatError {
  return (
    error instanceof FormatError &&
    error.code.startsWith("hub/") &&
    !["hub/entry-not-found", "hub/revision-not-found"].includes(error.code)
  );
}

function notInCache(ref: HubRef, path?: string): FormatError {
  return new FormatError("this is not in the cache, and the hub may not be asked", {
    code: "hub/offline",
    where: refName(ref) + (path === undefined ? "" : `, ${path}`),
    hint: "unset HF_HUB_OFFLINE (or the option offline) to download it",
  });
}

function noSuchFile({ endpoint }: HubSettings, ref: HubRef, path: string): FormatError {
  return new FormatError("the repository has no such file", {
    code: "hub/entry-not-found",
    where: `${refName(ref)}, ${path}`,
    hint: `its files are listed at ${fileUrl(endpoint, ref, ref.revision ?? defaultRevision, "").replace("/resolve/", "/tree/")}`,
  });
}
