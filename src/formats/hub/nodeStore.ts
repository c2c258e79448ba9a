/** @file The cache as a folder (Node), laid out as Python's hub client does, so that both share it. */
import { writeFileAtomic } from "../atomicFile.ts";
import { fileError, fileSource } from "../fileSource.ts";
import { systemCode, waitForLock } from "../processLock.ts";
import type { HubStore, PartialBlob } from "./store.ts";

/** How an entry of a snapshot leads to its blob: the first way that the file system knows. */
export type LinkKind = "symbolic" | "hard" | "copy";

/** Between a partial blob's hash and `.incomplete`: Python's own partial files are left alone. */
const ours = "interpretune";
const cacheTag = `Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#	https://bford.info/cachedir/
`;
/** Chunks are written together once they are this large. */
const writeSize = 2 ** 20;

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
  const { createHash } = await import("node:crypto");
  const { default: paths } = await import("node:path");
  const links =
    options.links ??
    (/^(1|on|yes|true)$/i.test(process.env["HF_HUB_DISABLE_SYMLINKS"] ?? "")
      ? (["hard", "copy"] as const)
      : (["symbolic", "hard", "copy"] as const));
  const root = paths.resolve(cacheDir);
  const at = (path: string): string => paths.join(root, ...path.split("/"));
  const blobPath = (folder: string, hash: string): string => at(`${folder}/blobs/${hash}`);
  const partialPath = (folder: string, hash: string): string => at(`${folder}/blobs/${hash}.${ours}.incomplete`);
  const fileSize = async (path: string): Promise<number | undefined> => {
    const stats = await fs.stat(path).catch(() => undefined);
    return stats?.isFile() ? stats.size : undefined;
  };
  const writing = async <T>(path: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      throw systemCode(cause) === undefined ? cause : fileError("The cache cannot be written", path, cause);
    }
  };
  const makeFolder = (folder: string): Promise<unknown> =>
    writing(folder, async () => {
      await fs.mkdir(folder, { recursive: true });
      await fs.writeFile(paths.join(root, "CACHEDIR.TAG"), cacheTag, { flag: "wx" }).catch(() => undefined);
    });

  return {
    name: root,
    readText: (path) => fs.readFile(at(path), "utf8").catch(() => undefined),
    async writeText(path, text) {
      await makeFolder(paths.dirname(at(path)));
      await writeFileAtomic(at(path), [new TextEncoder().encode(text)]);
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
    async partial(folder, hash) {
      const path = partialPath(folder, hash);
      await makeFolder(paths.dirname(path));
      return writing(path, () => openPartial(path, blobPath(folder, hash)));
    },
    async point(folder, path, hash) {
      const entry = at(`${folder}/${path}`);
      await makeFolder(paths.dirname(entry));
      await writing(entry, () => makeLink(blobPath(folder, hash), entry));
      return entry;
    },
    async lock(folder, hash, signal) {
      const path = at(`.locks/${folder}/${hash}.${ours}.lock`);
      await makeFolder(paths.dirname(path));
      return writing(path, () => waitForLock(path, signal, { silence: 60_000 }));
    },
    digest(algorithm) {
      const hash = createHash(algorithm);
      return { update: (bytes) => void hash.update(bytes), finish: () => hash.digest("hex") };
    },
    async freeBytes() {
      for (let folder = root; ; folder = paths.dirname(folder)) {
        const stats = await fs.statfs(folder).catch(() => undefined);
        if (stats) return stats.bavail * stats.bsize;
        if (paths.dirname(folder) === folder) return undefined;
      }
    },
  };

  async function openPartial(path: string, blob: string): Promise<PartialBlob> {
    const handle = await fs.open(path, (await fileSize(path)) === undefined ? "wx+" : "r+");
    let written = (await handle.stat()).size;
    let pending: Uint8Array[] = [];
    let waiting = 0;
    let flushed: Promise<unknown> = Promise.resolve();
    let open = true;

    const flush = (): Promise<unknown> => {
      const [pieces, position, length] = [pending, written, waiting];
      [pending, waiting, written] = [[], 0, written + length];
      if (length > 0) flushed = flushed.then(() => writeAll(pieces, position, length));
      return flushed;
    };
    // At fixed positions, so that two writers of the same content, should a lock ever fail, do no harm.
    const writeAll = async (pieces: Uint8Array[], position: number, length: number): Promise<void> => {
      const { bytesWritten } = await handle.writev(pieces, position);
      if (bytesWritten === length) return;
      const rest = Buffer.concat(pieces).subarray(bytesWritten);
      for (let done = 0; done < rest.length;)
        done += (await handle.write(rest, done, rest.length - done, position + bytesWritten + done)).bytesWritten;
    };
    const close = async (): Promise<void> => {
      if (!open) return;
      open = false;
      await writing(path, flush).finally(() => handle.close());
    };

    return {
      get size() {
        return written + waiting;
      },
      async *read() {
        for (let position = 0; position < written;) {
          const buffer = new Uint8Array(Math.min(writeSize, written - position));
          const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
          if (bytesRead === 0) return;
          position += bytesRead;
          yield buffer.subarray(0, bytesRead);
        }
      },
      async append(chunk) {
        pending.push(chunk);
        waiting += chunk.length;
        if (waiting < writeSize) return;
        const before = flushed;
        void flush().catch(() => undefined); // the next append, or close, tells
        await writing(path, () => before);
      },
      async clear() {
        [pending, waiting] = [[], 0];
        await flushed.catch(() => undefined);
        written = 0;
        await handle.truncate(0);
      },
      async commit() {
        await close();
        await writing(blob, () => fs.rename(path, blob));
      },
      close,
    };
  }

  async function makeLink(blob: string, entry: string): Promise<void> {
    const beside = `${entry}.${crypto.randomUUID()}.tmp`;
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
