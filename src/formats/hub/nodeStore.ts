/** @file The cache as a folder (Node), laid out as Python's hub client does, so that both share it. */
import { writeFileAtomic } from "../disk/atomicFile.ts";
import { fileSource } from "../disk/fileSource.ts";
import { makeFolder } from "../disk/folder.ts";
import { waitForLock } from "../disk/processLock.ts";
import { systemCode } from "../disk/systemError.ts";
import { temporaryName } from "../disk/temporary.ts";
import { HashThreads } from "./contentHash.ts";
import { openPartial, writing } from "./nodePartial.ts";
import type { HubStore } from "./store.ts";

/** How an entry of a snapshot leads to its blob: the first way that the file system knows. */
export type LinkKind = "symbolic" | "hard" | "copy";

/** Between a partial blob's hash and `.incomplete`: Python's own partial files are left alone. */
const ours = "interpretune";
const cacheTag = `Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#	https://bford.info/cachedir/
`;

/**
 * The cache in a folder: `models--owner--name/` with `blobs/<hash>`, `refs/<revision>`, `snapshots/<commit>/<path>` as
 * relative links to blobs, `.no_exist/` and `trees/`, as Python's `huggingface_hub` lays it out. Where a system has no
 * symbolic links, entries of snapshots are hard links or copies.
 *
 * @example
 * ```ts
 * const store = await nodeStore("cache/hub");
 * const commit = await store.readText("models--openai-community--gpt2/refs/main");
 * ```
 */
export async function nodeStore(cacheDir: string, options: { links?: readonly LinkKind[] } = {}): Promise<HubStore> {
  const fs = await import("node:fs/promises");
  const { default: paths } = await import("node:path");
  const links =
    options.links ??
    (/^(1|on|yes|true)$/i.test(process.env["HF_HUB_DISABLE_SYMLINKS"] ?? "")
      ? (["hard", "copy"] as const)
      : (["symbolic", "hard", "copy"] as const));
  const threads = new HashThreads();
  const root = paths.resolve(cacheDir);
  const at = (path: string): string => paths.join(root, ...path.split("/"));
  const blobPath = (folder: string, hash: string): string => at(`${folder}/blobs/${hash}`);
  const partialPath = (folder: string, hash: string): string => at(`${folder}/blobs/${hash}.${ours}.incomplete`);
  const fileSize = async (path: string): Promise<number | undefined> => {
    const stats = await fs.stat(path).catch(() => undefined);
    return stats?.isFile() ? stats.size : undefined;
  };
  const withFolder = (folder: string): Promise<unknown> =>
    writing(folder, async () => {
      await makeFolder(folder);
      await fs.writeFile(paths.join(root, "CACHEDIR.TAG"), cacheTag, { flag: "wx" }).catch(() => undefined);
    });

  return {
    name: root,
    location: at,
    readText: (path) => fs.readFile(at(path), "utf8").catch(() => undefined),
    async writeText(path, text) {
      await withFolder(paths.dirname(at(path)));
      await writeFileAtomic(at(path), text);
    },
    async list(folder) {
      const entries = await fs.readdir(at(folder), { recursive: true, withFileTypes: true }).catch(() => []);
      return entries
        .filter((entry) => !entry.isDirectory())
        .map((entry) =>
          paths.relative(at(folder), paths.join(entry.parentPath, entry.name)).replaceAll(paths.sep, "/"),
        );
    },
    async find(path) {
      const size = await fileSize(at(path));
      if (size === undefined) return undefined;
      const target = await fs.readlink(at(path)).catch(() => "");
      return { location: at(path), size, hash: paths.basename(target) };
    },
    open: (path) => fileSource(at(path)),
    blobSize: (folder, hash) => fileSize(blobPath(folder, hash)),
    partialSize: async (folder, hash) => (await fileSize(partialPath(folder, hash))) ?? 0,
    async partial(folder, hash, size) {
      const path = partialPath(folder, hash);
      await withFolder(paths.dirname(path));
      return writing(path, () => openPartial(path, blobPath(folder, hash), { hash, size }, threads));
    },
    async point(folder, path, hash) {
      const entry = at(`${folder}/${path}`);
      await withFolder(paths.dirname(entry));
      await writing(entry, () => makeLink(blobPath(folder, hash), entry));
      return entry;
    },
    async lock(folder, hash, signal) {
      const path = at(`.locks/${folder}/${hash}.${ours}.lock`);
      await withFolder(paths.dirname(path));
      return writing(path, () => waitForLock(path, signal, { silence: 60_000 }));
    },
    async freeBytes() {
      for (let folder = root; ; folder = paths.dirname(folder)) {
        const stats = await fs.statfs(folder).catch(() => undefined);
        if (stats) return stats.bavail * stats.bsize;
        if (paths.dirname(folder) === folder) return undefined;
      }
    },
  };

  async function makeLink(blob: string, entry: string): Promise<void> {
    const beside = temporaryName(entry);
    const target = paths.relative(paths.dirname(entry), blob);
    const make: Record<LinkKind, () => Promise<void>> = {
      symbolic: () => fs.symlink(target, beside),
      hard: () => fs.link(blob, beside),
      copy: () => fs.copyFile(blob, beside),
    };
    for (const [i, kind] of links.entries())
      try {
        await make[kind]();
        break;
      } catch (error) {
        if (i === links.length - 1 || systemCode(error) === "ENOSPC") throw error;
      }
    await fs.rename(beside, entry);
  }
}
