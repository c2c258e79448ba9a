/** @file Local files as byte sources (Node). */
import { byteSource, changed, type ByteSource } from "../byteSource.ts";
import { FormatError } from "../errors.ts";
import { fileError } from "./systemError.ts";

const CHUNK = 2 ** 24;
const IN_FLIGHT = 4;

/**
 * A local file of any size as a byte source. Large reads are split into pieces of 16 MiB with four in flight, which
 * fills several gigabytes per second from a warm disk and never needs a `Buffer` of more than 2 GiB.
 *
 * Throws a `FormatError` if the file does not exist, is a folder or may not be read.
 *
 * @example
 * ```ts
 * const source = await fileSource("model.safetensors");
 * const start = await source.slice(0, 8);
 * await source.close();
 * ```
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const { open } = await import("node:fs/promises");
  const handle = await open(path, "r").catch((cause: unknown) => {
    throw fileError("the file cannot be opened", path, cause);
  });
  const stats = await handle.stat();
  if (!stats.isFile()) {
    await handle.close();
    throw new FormatError("the path is not a file", {
      code: "formats/not-found",
      where: path,
      expected: "a file",
      received: stats.isDirectory() ? "a folder" : "something else",
    });
  }

  const read = async (piece: Uint8Array, position: number) => {
    for (let at = 0; at < piece.byteLength;) {
      const { bytesRead } = await handle
        .read(piece, at, piece.byteLength - at, position + at)
        .catch((cause: unknown) => {
          throw fileError("the file cannot be read", path, cause);
        });
      if (bytesRead === 0) throw changed(path, position + piece.byteLength, position + at);
      at += bytesRead;
    }
  };

  return byteSource({
    byteLength: stats.size,
    name: path,
    async fill(target, position) {
      let next = 0;
      const worker = async () => {
        while (next < target.byteLength) {
          const at = next;
          next += CHUNK;
          await read(target.subarray(at, at + CHUNK), position + at);
        }
      };
      await Promise.all(Array.from({ length: Math.min(IN_FLIGHT, Math.ceil(target.byteLength / CHUNK)) }, worker));
    },
    close: () => handle.close(),
  });
}

/**
 * A local file as a byte source that holds it open only while it reads: for readers that may be left half way, such as
 * rows of a data set, and never come back to close it.
 *
 * @throws FormatError as {@link fileSource}, at each read, too
 * @example
 * ```ts
 * const source = await fileAtRest("rte/validation.jsonl");
 * const start = await source.slice(0, 8);
 * ```
 */
export async function fileAtRest(path: string): Promise<ByteSource> {
  const opened = async <T>(use: (source: ByteSource) => Promise<T> | T): Promise<T> => {
    const source = await fileSource(path);
    try {
      return await use(source);
    } finally {
      await source.close();
    }
  };
  return byteSource({
    byteLength: await opened(({ byteLength }) => byteLength),
    name: path,
    fill: (target, position) => opened((source) => source.readInto(target, position)),
  });
}
