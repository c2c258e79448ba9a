/** @file The hashes that the hub names files by: git's for small ones, sha256 for large ones. */
import { FormatError } from "../errors.ts";

/** How a hash is made of a content: `prefix`, then the content. */
export interface HashKind {
  readonly algorithm: "sha1" | "sha256";
  readonly prefix: string;
}

/** What a hash of a content of that size was made with; undefined for names of another kind, which say nothing. */
export function hashKind(hash: string, size: number): HashKind | undefined {
  if (/^[0-9a-f]{64}$/.test(hash)) return { algorithm: "sha256", prefix: "" };
  if (/^[0-9a-f]{40}$/.test(hash)) return { algorithm: "sha1", prefix: `blob ${size}\0` };
  return undefined;
}

/** Hashes a file that still grows, up to where it is told to, on a thread of its own. */
export interface FileHash {
  /** The file has that many bytes now. */
  grown(to: number): void;
  /** The hash of the first `size` bytes, in hexadecimal digits. */
  finish(size: number): Promise<string>;
  /** Give up. */
  stop(): Promise<void>;
}

/** Runs in the thread, which has no modules of ours. */
const program = `
const { parentPort, workerData: { path, algorithm, prefix } } = require("node:worker_threads");
const { createHash } = require("node:crypto");
const { openSync, readSync } = require("node:fs");
const file = openSync(path, "r");
const hash = createHash(algorithm).update(prefix);
const buffer = Buffer.alloc(2 ** 20);
let at = 0;
parentPort.on("message", ({ to, last }) => {
  while (at < to) {
    const count = readSync(file, buffer, 0, Math.min(buffer.length, to - at), at);
    if (count === 0) throw new Error("the file has shrunk");
    hash.update(buffer.subarray(0, count));
    at += count;
  }
  if (last) parentPort.postMessage(hash.digest("hex"));
});
`;

/** Start to hash a file (Node). */
export async function hashFile(path: string, { algorithm, prefix }: HashKind): Promise<FileHash> {
  const { Worker } = await import("node:worker_threads");
  const thread = new Worker(program, { eval: true, workerData: { path, algorithm, prefix } });
  const found = new Promise<string>((resolve, reject) => {
    const fail = (cause?: unknown): void =>
      reject(new FormatError("The file cannot be read", { code: "formats/io", where: path, cause }));
    thread
      .once("message", resolve)
      .once("error", fail)
      .once("exit", () => fail());
  });
  found.catch(() => undefined); // told by finish, where anybody asks
  thread.unref();
  return {
    grown: (to) => thread.postMessage({ to, last: false }),
    async finish(size) {
      thread.ref();
      thread.postMessage({ to: size, last: true });
      return found.finally(() => thread.terminate());
    },
    stop: async () => void (await thread.terminate()),
  };
}

/** Files from this size on are hashed on another thread, so that this one goes on. */
export const threadSize: number = 2 ** 22;

/** The hash of a whole file (Node). */
export async function hashOf(path: string, kind: HashKind, size: number): Promise<string> {
  if (size >= threadSize) return (await hashFile(path, kind)).finish(size);
  const { createHash } = await import("node:crypto");
  const { readFile } = await import("node:fs/promises");
  const hash = createHash(kind.algorithm).update(kind.prefix);
  return hash.update(await readFile(path)).digest("hex");
}
