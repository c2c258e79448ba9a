/** @file Files that appear whole or not at all (Node). */
import { fileError } from "./fileSource.ts";

/**
 * Write a file so that at every moment `file` is either what it was or the whole new file: the pieces go to a temporary
 * name beside it, are synced to the disk, and the name is changed last. On failure the temporary file is removed and
 * the error passed on; failures of the file system are `FormatError`s.
 *
 * @example
 * ```ts
 * await writeFileAtomic("notes.txt", [new TextEncoder().encode("hello")]);
 * ```
 */
export async function writeFileAtomic(
  file: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const { open, rename, rm } = await import("node:fs/promises");
  const { default: path } = await import("node:path");
  const fail = (cause: unknown) => {
    throw fileError("the file cannot be written", file, cause);
  };

  const temporary = `${file}.${crypto.randomUUID()}.tmp`;
  const handle = await open(temporary, "wx").catch(fail);
  try {
    try {
      for await (const piece of pieces)
        for (let at = 0; at < piece.byteLength;) at += (await handle.write(piece, at).catch(fail)).bytesWritten;
      await handle.sync().catch(fail);
    } finally {
      await handle.close();
    }
    await rename(temporary, file).catch(fail);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(path.dirname(file));

  /** Make the new name last through a power cut, on the systems that can. */
  async function syncFolder(folder: string): Promise<void> {
    if (process.platform === "win32") return;
    const handle = await open(folder, "r").catch(fail);
    await handle.sync().catch(fail);
    await handle.close();
  }
}
