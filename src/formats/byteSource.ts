/** @file Bytes somewhere (file, memory, blob, URL), read by range. */
import { FormatError } from "./errors.ts";

/**
 * Random access to bytes. `slice` and `readInto` throw a `FormatError` for a range outside the source, before anything is
 * allocated. The shape is a superset of hyparquet's `AsyncBuffer`.
 */
export interface ByteSource {
  readonly byteLength: number;
  /** What errors call it: a path, a URL without its query, a file name. */
  readonly name: string;
  /** The bytes [start, end) in a buffer of their own; `end` defaults to the end of the source. */
  slice(start: number, end?: number): Promise<ArrayBuffer>;
  /** Fill `target` with the bytes from `position` on. */
  readInto(target: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/** What a kind of source brings: how to fill a range that has been checked and is not empty. */
export interface ByteReader {
  readonly byteLength: number;
  readonly name: string;
  readonly fill: (target: Uint8Array, position: number) => Promise<void>;
  readonly close?: () => Promise<void>;
}

/**
 * Make a byte source of a way to fill a range; the bounds are checked here, once for all kinds.
 *
 * @example
 * ```ts
 * const zeros = byteSource({ name: "zeros", byteLength: 1e9, fill: async (target) => void target.fill(0) });
 * console.log((await zeros.slice(10, 14)).byteLength); // 4
 * ```
 */
export function byteSource({ byteLength, name, fill, close }: ByteReader): ByteSource {
  let closed = false;
  const check = (start: number, end: number) => {
    if (closed) throw new FormatError("the byte source is closed", { code: "formats/io", where: name });
    if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && 0 <= start && start <= end && end <= byteLength)
      return;
    throw new FormatError("a read leaves the byte source", {
      code: "formats/out-of-range",
      where: name,
      expected: `a range within [0, ${byteLength})`,
      received: `[${start}, ${end})`,
    });
  };
  return {
    byteLength,
    name,
    async slice(start, end = byteLength) {
      check(start, end);
      const length = end - start;
      const buffer = allocate(length, name, () => new ArrayBuffer(length));
      for (let at = 0; at < length; at += PIECE)
        await fill(new Uint8Array(buffer, at, Math.min(PIECE, length - at)), start + at);
      return buffer;
    },
    async readInto(target, position) {
      check(position, position + target.byteLength);
      if (target.byteLength > 0) await fill(target, position);
    },
    async close() {
      if (closed) return;
      closed = true;
      await close?.();
    },
  };
}

/** Node 20 has buffers of more than 4 GiB, but no `Uint8Array` over all of one. */
const PIECE = 2 ** 30;

/** Make a buffer or array; a size this runtime cannot give is a `FormatError` that names what it was for. */
export function allocate<T>(byteLength: number, where: string, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new FormatError("there is no memory for a buffer", {
      code: "formats/too-large",
      where,
      expected: "a buffer this runtime can allocate",
      received: `${byteLength} bytes`,
      cause,
    });
  }
}

/**
 * Bytes in memory as a source; nothing is copied until it is read.
 *
 * @example
 * ```ts
 * const source = memorySource(new Uint8Array([1, 2, 3, 4]));
 * console.log(new Uint8Array(await source.slice(1, 3))); // Uint8Array [2, 3]
 * ```
 */
export function memorySource(data: ArrayBuffer | Uint8Array, name = "memory"): ByteSource {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  return byteSource({
    byteLength: bytes.byteLength,
    name,
    fill: async (target, position) => target.set(bytes.subarray(position, position + target.byteLength)),
  });
}

const BLOB_CHUNK = 2 ** 26;

/**
 * A `Blob` or browser `File` as a source, read in pieces of 64 MiB.
 *
 * @example
 * ```ts
 * const source = blobSource(new Blob(["hello"]));
 * console.log(new TextDecoder().decode(await source.slice(0, 4))); // hell
 * ```
 */
export function blobSource(blob: Blob, name?: string): ByteSource {
  const label = name ?? ("name" in blob && typeof blob.name === "string" ? blob.name : "blob");
  return byteSource({
    byteLength: blob.size,
    name: label,
    async fill(target, position) {
      for (let at = 0; at < target.byteLength; at += BLOB_CHUNK) {
        const part = blob.slice(position + at, position + Math.min(at + BLOB_CHUNK, target.byteLength));
        const bytes = new Uint8Array(await readBlob(part, label));
        if (bytes.byteLength !== part.size) throw changed(label, part.size, bytes.byteLength);
        target.set(bytes, at);
      }
    },
  });
}

async function readBlob(blob: Blob, name: string): Promise<ArrayBuffer> {
  try {
    return await blob.arrayBuffer();
  } catch (cause) {
    throw new FormatError("the blob cannot be read", { code: "formats/io", where: name, cause });
  }
}

/** The error for a source that gives fewer bytes than it said it has. */
export function changed(name: string, expected: number, received: number): FormatError {
  return new FormatError("the source ended early: it shrank while it was being read", {
    code: "formats/truncated",
    where: name,
    expected: `${expected} bytes`,
    received: `${received} bytes`,
  });
}
