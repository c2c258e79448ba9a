/** @file What lies in the cache's folder: who owns how much of it, whether it is whole, what may go (Node). */
import type { Dirent, Stats } from "node:fs";
import { lstat, readdir, readFile, readlink, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { FormatError } from "../errors.ts";
import { tryLock } from "../disk/processLock.ts";
import { hashKind, HashThreads } from "./contentHash.ts";
import { repoFolder, type HubRef } from "./reference.ts";

/** A repository in the cache. */
export interface CachedRepo {
  readonly type: HubRef["type"];
  readonly repo: string;
  readonly folder: string;
  /** Bytes of its blobs on disk, those of unfinished downloads among them. */
  readonly size: number;
  readonly lastUsed: Date;
  readonly revisions: readonly CachedRevision[];
}

/** A commit of which files are in the cache. */
export interface CachedRevision {
  readonly commit: string;
  /** The branches and tags that last stood for it. */
  readonly refs: readonly string[];
  readonly files: number;
  readonly size: number;
}

/** Something in the cache that is wrong, or of no use. */
export interface CacheItem {
  readonly path: string;
  readonly size: number;
  readonly reason: string;
}

/** Milliseconds that something has to lie untouched before it counts as left over. */
const settled = 60_000;
/** The same for unfinished downloads of other programs, whose locks cannot be asked. */
const abandoned = 3_600_000;

/**
 * The repositories in a cache's folder, the last used first.
 *
 * @example
 * ```ts
 * for (const { repo, size } of await listCache("cache/hub")) console.log(repo, size);
 * ```
 */
export async function listCache(cacheDir: string): Promise<CachedRepo[]> {
  const repos: CachedRepo[] = [];
  for (const { name } of await entries(cacheDir)) {
    const [kind, ...parts] = name.split("--");
    const type = kind === "models" ? "model" : kind === "datasets" ? "dataset" : undefined;
    if (type === undefined || parts.length === 0) continue;
    const folder = join(resolve(cacheDir), name);
    const blobs = await filesBelow(join(folder, "blobs"));
    const used = blobs.map(({ stats }) => Math.max(stats.atimeMs, stats.mtimeMs));
    repos.push({
      type,
      repo: parts.join("/"),
      folder,
      size: total(blobs),
      lastUsed: new Date(used.length > 0 ? Math.max(...used) : (await stat(folder)).mtimeMs),
      revisions: await revisionsOf(folder),
    });
  }
  return repos.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
}

async function revisionsOf(folder: string): Promise<CachedRevision[]> {
  const refs = new Map<string, string[]>();
  for (const { path } of await filesBelow(join(folder, "refs"))) {
    const commit = (await readFile(path, "utf8")).trim();
    refs.set(commit, [...(refs.get(commit) ?? []), relative(join(folder, "refs"), path).replaceAll(sep, "/")]);
  }
  const revisions: CachedRevision[] = [];
  for (const { name } of await entries(join(folder, "snapshots"))) {
    const files = (await filesBelow(join(folder, "snapshots", name))).filter(({ whole }) => whole);
    revisions.push({ commit: name, refs: refs.get(name) ?? [], files: files.length, size: total(files) });
  }
  return revisions;
}

/**
 * Reads every blob of the cache (of one repository, where it is given) and compares its content with the hash it is
 * named by; entries of snapshots have to lead to a blob. `onFile` hears of each blob before it is read.
 *
 * @example
 * ```ts
 * const { checked, damaged } = await verifyCache("cache/hub");
 * for (const { path, reason } of damaged) console.log(path, reason);
 * ```
 */
export async function verifyCache(
  cacheDir: string,
  options: {
    readonly ref?: HubRef;
    readonly signal?: AbortSignal;
    readonly onFile?: (path: string, bytesBefore: number, bytesAll: number) => void;
  } = {},
): Promise<{ checked: number; bytes: number; damaged: CacheItem[] }> {
  const threads = new HashThreads();
  const damaged: CacheItem[] = [];
  const blobs: FoundFile[] = [];
  for (const folder of await repoFolders(cacheDir, options.ref)) {
    blobs.push(...(await filesBelow(join(folder, "blobs"))).filter(({ path }) => !basename(path).includes(".")));
    for (const { path, whole } of await filesBelow(join(folder, "snapshots")))
      if (!whole) damaged.push({ path, size: 0, reason: "leads to no file" });
  }
  const all = total(blobs);
  let bytes = 0;
  for (const { path, stats } of blobs) {
    options.signal?.throwIfAborted();
    options.onFile?.(path, bytes, all);
    const kind = hashKind(basename(path), stats.size);
    if (kind && (await threads.hash(path, kind, stats.size)) !== basename(path))
      damaged.push({ path, size: stats.size, reason: "is not what its name says" });
    bytes += stats.size;
  }
  return { checked: blobs.length, bytes, damaged };
}

/**
 * What may go from the cache: blobs that no snapshot needs, what unfinished downloads left (not those that run),
 * entries that lead nowhere; with `ref` the whole repository instead.
 *
 * @example
 * ```ts
 * const items = await prunable("cache/hub");
 * await removeItems(items);
 * ```
 */
export async function prunable(cacheDir: string, ref?: HubRef): Promise<CacheItem[]> {
  if (ref !== undefined) {
    const [folder] = await repoFolders(cacheDir, ref);
    const size = total(await filesBelow(join(folder!, "blobs")));
    return [{ path: folder!, size, reason: "the whole repository" }];
  }
  const items: CacheItem[] = [];
  const now = Date.now();
  for (const folder of await repoFolders(cacheDir)) {
    const pointed = new Set<string>();
    for (const { path, whole, target } of await filesBelow(join(folder, "snapshots"))) {
      if (whole && target !== undefined) pointed.add(resolve(dirname(path), target));
      if (!whole) items.push({ path, size: 0, reason: "leads to no file" });
    }
    for (const { path, stats } of await filesBelow(join(folder, "blobs"))) {
      const age = now - stats.mtimeMs;
      const name = basename(path);
      const item = (reason: string): unknown => items.push({ path, size: stats.size, reason });
      if (name.endsWith(".interpretune.incomplete")) {
        if (await idle(cacheDir, folder, name.slice(0, -".incomplete".length))) item("an unfinished download");
      } else if (name.endsWith(".incomplete")) {
        if (age > abandoned) item("an unfinished download");
      } else if (!pointed.has(path) && stats.nlink === 1 && age > settled) item("no revision needs it");
    }
  }
  for (const { path, stats } of await filesBelow(resolve(cacheDir)))
    if (path.endsWith(".tmp") && now - stats.mtimeMs > abandoned)
      items.push({ path, size: stats.size, reason: "left by a program that was stopped" });
  return items;
}

/** Removes what {@link prunable} or {@link verifyCache} found. */
export async function removeItems(items: readonly CacheItem[]): Promise<void> {
  for (const { path } of items) await rm(path, { recursive: true, force: true });
}

/** Whether nobody downloads a blob just now. */
async function idle(cacheDir: string, folder: string, name: string): Promise<boolean> {
  const path = join(cacheDir, ".locks", basename(folder), `${name}.lock`);
  if ((await stat(path).catch(() => undefined)) === undefined) return true;
  const lock = await tryLock(path, { silence: 60_000 });
  if (typeof lock === "string") return false;
  await lock();
  return true;
}

async function repoFolders(cacheDir: string, ref?: HubRef): Promise<string[]> {
  const names = (await entries(cacheDir)).map(({ name }) => name).filter((name) => /^(models|datasets)--/.test(name));
  const found = ref === undefined ? names : names.filter((name) => name === repoFolder(ref));
  if (ref !== undefined && found.length === 0)
    throw new FormatError("the cache has no such repository", {
      code: "hub/offline",
      where: resolve(cacheDir),
      expected: `one of ${names.length}, listed by \`interpretune cache list\``,
      received: ref.repo,
    });
  return found.map((name) => join(resolve(cacheDir), name));
}

/** A file or link; `whole` unless it is a link that leads nowhere, whose target then says where. */
interface FoundFile {
  readonly path: string;
  readonly stats: Stats;
  readonly whole: boolean;
  readonly target: string | undefined;
}

async function filesBelow(folder: string): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    const target = entry.isSymbolicLink() ? await readlink(path).catch(() => undefined) : undefined;
    const behind = await stat(path).catch(() => undefined);
    const stats = behind ?? (await lstat(path).catch(() => undefined));
    if (stats) found.push({ path, stats, whole: behind !== undefined, target });
  }
  return found;
}

const entries = async (folder: string): Promise<Dirent[]> =>
  (await readdir(folder, { withFileTypes: true }).catch(() => [])).filter((entry) => entry.isDirectory());

const total = (files: readonly FoundFile[]): number => files.reduce((sum, { stats }) => sum + stats.size, 0);
