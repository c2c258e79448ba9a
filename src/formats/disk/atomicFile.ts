/** @file Files that appear whole or not at all (Node). */
import { syncFolder } from "./folder.ts";
import { fileError } from "./systemError.ts";
import { temporaryName } from "./temporary.ts";

/** What a file is to hold: a text (UTF-8), its bytes, or pieces of them, one after another. */
export type FileContent = string | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

const piecesOf = (content: FileContent): Iterable<Uint8Array> | AsyncIterable<Uint8Array> =>
  typeof content === "string"
    ? [new TextEncoder().encode(content)]
    : content instanceof Uint8Array
      ? [content]
      : content;

/**
 * Write a file so that at every moment `file` is either what it was or the whole new file: the content goes to a temporary
 * name beside it, is synced to the disk, and the name is changed last. On failure the temporary file is removed and
 * the error passed on; failures of the file system are `FormatError`s.
 *
 * @example
 * ```ts
 * await writeFileAtomic("notes.txt", "hello");
 * ```
 */
export async function writeFileAtomic(file: string, content: FileContent): Promise<void> {
  const { open, rename, rm } = await import("node:fs/promises");
  const { default: paths } = await import("node:path");
  const fail = (cause: unknown) => {
    throw fileError("the file cannot be written", file, cause);
  };

  const temporary = temporaryName(file);
  const handle = await open(temporary, "wx").catch(fail);
  try {
    try {
      for await (const piece of piecesOf(content))
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
  await syncFolder(paths.dirname(file));
}
