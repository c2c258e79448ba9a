/** @file The hashes that the hub names files by: git's for small ones, sha256 for large ones. */
import type { Worker } from "node:worker_threads";
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

/** Runs in a thread, which has no modules of ours: one file after the other. */
const program = `
const { parentPort } = require("node:worker_threads");
const { createHash } = require("node:crypto");
const { closeSync, openSync, readSync } = require("node:fs");
const buffer = Buffer.alloc(2 ** 20);
let file, hash, at;
parentPort.on("message", ({ start, to, last }) => {
  if (start) {
    file = openSync(start.path, "r");
    hash = createHash(start.algorithm).update(start.prefix);
    at = 0;
  }
  while (at < to) {
    const count = readSync(file, buffer, 0, Math.min(buffer.length, to - at), at);
    if (count === 0) throw new Error("the file has shrunk");
    hash.update(buffer.subarray(0, count));
    at += count;
  }
  if (!last) return;
  closeSync(file);
  parentPort.postMessage(hash.digest("hex"));
});
`;

/** Files from this size on are hashed on another thread, so that this one goes on. */
export const threadSize: number = 2 ** 22;

/** Threads that hash files (Node). Starting one takes as long as hashing 20 MB, so it waits a second for its next file. */
export class HashThreads {
  readonly #idle: Worker[] = [];
  #retirement: NodeJS.Timeout | undefined;

  /** Start to hash a file that grows. */
  async follow(path: string, kind: HashKind): Promise<FileHash> {
    const { Worker } = await import("node:worker_threads");
    const thread = this.#idle.pop() ?? new Worker(program, { eval: true }).setMaxListeners(20);
    let busy = true;
    const done = new AbortController(); // takes the listeners off
    const found = new Promise<string>((resolve, reject) => {
      const fail = (cause?: unknown): void =>
        reject(new FormatError("the file cannot be read", { code: "formats/io", where: path, cause }));
      thread.on("message", resolve).on("error", fail).on("exit", fail);
      done.signal.addEventListener("abort", () => thread.off("message", resolve).off("error", fail).off("exit", fail));
    });
    found.catch(() => undefined); // told by finish, where anybody asks
    thread.postMessage({ start: { path, ...kind }, to: 0, last: false });
    thread.unref();
    return {
      grown: (to) => thread.postMessage({ to, last: false }),
      finish: async (size) => {
        thread.ref();
        thread.postMessage({ to: size, last: true });
        const hash = await found;
        busy = false;
        done.abort();
        this.#rest(thread);
        return hash;
      },
      stop: async () => {
        if (busy) await thread.terminate();
        busy = false;
      },
    };
  }

  /** The hash of a whole file. */
  async hash(path: string, kind: HashKind, size: number): Promise<string> {
    if (size >= threadSize) return (await this.follow(path, kind)).finish(size);
    const { createHash } = await import("node:crypto");
    const { readFile } = await import("node:fs/promises");
    const hash = createHash(kind.algorithm).update(kind.prefix);
    return hash.update(await readFile(path)).digest("hex");
  }

  #rest(thread: Worker): void {
    thread.unref();
    this.#idle.push(thread);
    clearTimeout(this.#retirement);
    this.#retirement = setTimeout(() => {
      for (const each of this.#idle.splice(0)) void each.terminate();
    }, 1000).unref();
  }
}
