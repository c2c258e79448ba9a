/** @file A blob on its way into a cache that is a folder (Node). */
import { FormatError } from "../errors.ts";
import { fileError, systemCode } from "../disk/systemError.ts";
import { hashKind, threadSize, type FileHash, type HashThreads } from "./contentHash.ts";
import type { PartialBlob } from "./store.ts";

/** Chunks are written together once they are this large. */
const writeSize = 2 ** 20;

/** Open the file `path` to become the file `blob`, whose content has that hash and size. */
export async function openPartial(
  path: string,
  blob: string,
  { hash, size }: { readonly hash: string; readonly size: number },
  threads: HashThreads,
): Promise<PartialBlob> {
  const fs = await import("node:fs/promises");
  const kind = hashKind(hash, size);
  const { O_CREAT, O_RDWR } = fs.constants;
  const handle = await fs.open(path, O_RDWR | O_CREAT);
  let written = (await handle.stat()).size;
  let pending: Uint8Array[] = [];
  let waiting = 0;
  let flushed: Promise<unknown> = Promise.resolve();
  let open = true;
  const follow = async (): Promise<FileHash | undefined> =>
    kind && size >= threadSize ? threads.follow(path, kind) : undefined;
  let counter = await follow();
  counter?.grown(written);

  const flush = (): Promise<unknown> => {
    const [pieces, position, length] = [pending, written, waiting];
    [pending, waiting, written] = [[], 0, written + length];
    if (length > 0)
      flushed = flushed.then(() => writeAll(pieces, position, length)).then(() => counter?.grown(position + length));
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
    await writing(path, flush).finally(() => Promise.all([handle.close(), counter?.stop()]));
  };

  return {
    get size() {
      return written + waiting;
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
      await counter?.stop();
      written = 0;
      await handle.truncate(0);
      counter = await follow();
    },
    async check() {
      await writing(path, flush);
      return kind && (counter?.finish(written) ?? threads.hash(path, kind, written));
    },
    async commit() {
      await close();
      await writing(blob, () => fs.rename(path, blob));
    },
    close,
  };
}

/** Runs a write and turns a system's error into one of ours. */
export async function writing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "ENOSPC" || code === "EDQUOT") throw noRoom(path, cause);
    if (code === undefined) throw cause;
    throw fileError(
      "the cache cannot be written",
      path,
      cause,
      "let HF_HUB_CACHE name a folder that may be written to",
    );
  }
}

const noRoom = (path: string, cause: unknown): FormatError =>
  new FormatError("the disk is full", {
    code: "hub/disk-full",
    where: path,
    hint: "make room (`interpretune cache prune` helps) and try again: what has come stays",
    cause,
  });
