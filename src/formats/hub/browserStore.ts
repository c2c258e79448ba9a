/** @file The cache in a browser: the Cache API keeps what Node keeps in a folder, under the same paths. */
import { blobSource } from "../byteSource.ts";
import { hashKind, type HashKind } from "./contentHash.ts";
import type { HubStore, PartialBlob } from "./store.ts";

/** What a browser brings; others stand in for it in tests. */
export interface BrowserStoreOptions {
  readonly caches?: Pick<CacheStorage, "open">;
  readonly locks?: Pick<LockManager, "request">;
  readonly storage?: Pick<StorageManager, "estimate">;
  /** Name of the cache. Default `interpretune-hub`. */
  readonly name?: string;
  /** Bytes after which what has come of a blob outlives the page. Default 16 MiB. */
  readonly pieceSize?: number;
}

const origin = "https://hub.invalid/";
/** Tells a link to a blob from a text. */
const linkType = "application/vnd.interpretune.link";

/**
 * The hub's cache in a browser, over the Cache API: the same paths as in Node's folder; a blob is a list of pieces with a
 * mark that it is whole, an entry of a snapshot is a link to one. Pages share it, and Web Locks keep them apart. The
 * locations that {@link hubFile} gives are addresses of entries: read them with `hubSource`.
 *
 * @example
 * ```ts
 * if ("caches" in globalThis) {
 *   const source = await hubSource({ type: "model", repo: "gpt2" }, "config.json", { store: await browserStore() });
 * }
 * ```
 */
export async function browserStore(options: BrowserStoreOptions = {}): Promise<HubStore> {
  const { name = "interpretune-hub", pieceSize = 2 ** 24 } = options;
  const { locks = navigator.locks, storage = navigator.storage } = options;
  const cache = await (options.caches ?? caches).open(name);
  const address = (path: string): string => origin + path.split("/").map(encodeURIComponent).join("/");
  const blobPath = (folder: string, hash: string): string => `${folder}/blobs/${hash}`;
  const pieceAddress = (blob: string, start: number): string => `${address(blob)}?from=${start}`;

  /** Where the pieces of a blob begin and end, as far as they follow each other. */
  const piecesOf = async (blob: string): Promise<{ start: number; end: number }[]> => {
    const keys = await cache.keys(address(blob), { ignoreSearch: true });
    const starts = keys.map(({ url }) => new URL(url).searchParams.get("from")).filter((from) => from !== null);
    const pieces: { start: number; end: number }[] = [];
    for (const start of starts.map(Number).sort((a, b) => a - b)) {
      const answer = await cache.match(pieceAddress(blob, start));
      if (!answer || start !== (pieces.at(-1)?.end ?? 0)) break;
      pieces.push({ start, end: start + Number(answer.headers.get("content-length")) });
    }
    return pieces;
  };
  const contentOf = async (blob: string): Promise<Blob> => {
    const parts: Blob[] = [];
    for (const { start } of await piecesOf(blob))
      parts.push(await (await cache.match(pieceAddress(blob, start)))!.blob());
    return new Blob(parts);
  };
  const wholeSize = async (blob: string): Promise<number | undefined> => {
    const mark = await cache.match(address(blob));
    return mark && Number(await mark.text());
  };
  /** The blob that an entry of a snapshot leads to. */
  const linked = async (path: string): Promise<{ blob: string; hash: string } | undefined> => {
    const link = await cache.match(address(path));
    if (link?.headers.get("content-type") !== linkType) return undefined;
    const hash = await link.text();
    return { blob: blobPath(path.split("/")[0]!, hash), hash };
  };

  return {
    name,
    location: address,
    readText: async (path) => (await cache.match(address(path)))?.text(),
    writeText: (path, text) => cache.put(address(path), new Response(text)),
    async list(folder) {
      const start = address(`${folder.replace(/\/$/, "")}/`);
      const keys = await cache.keys();
      return keys
        .filter(({ url }) => url.startsWith(start) && !url.includes("?"))
        .map(({ url }) => url.slice(start.length).split("/").map(decodeURIComponent).join("/"));
    },
    async find(path) {
      const link = await linked(path);
      const size = link && (await wholeSize(link.blob));
      return size === undefined ? undefined : { location: address(path), size, hash: link!.hash };
    },
    async open(path) {
      const link = await linked(path);
      return blobSource(link ? await contentOf(link.blob) : new Blob(), path);
    },
    blobSize: (folder, hash) => wholeSize(blobPath(folder, hash)),
    partialSize: async (folder, hash) => (await piecesOf(blobPath(folder, hash))).at(-1)?.end ?? 0,
    partial: (folder, hash, size) => openPartial(blobPath(folder, hash), hashKind(hash, size)),
    async point(folder, path, hash) {
      const entry = address(`${folder}/${path}`);
      await cache.put(entry, new Response(hash, { headers: { "content-type": linkType } }));
      return entry;
    },
    lock: (folder, hash, signal) =>
      new Promise((granted, refused) => {
        const held = (): Promise<void> =>
          new Promise((free) =>
            granted(() => {
              free();
              return Promise.resolve();
            }),
          );
        locks.request(`${name}/${blobPath(folder, hash)}`, signal ? { signal } : {}, held).catch(refused);
      }),
    async freeBytes() {
      const { quota, usage = 0 } = await storage.estimate();
      return quota === undefined ? undefined : quota - usage;
    },
  };

  async function openPartial(blob: string, kind: HashKind | undefined): Promise<PartialBlob> {
    let written = (await piecesOf(blob)).at(-1)?.end ?? 0;
    let pending: Uint8Array<ArrayBuffer>[] = [];
    let waiting = 0;
    const flush = async (): Promise<void> => {
      if (waiting === 0) return;
      const body = new Blob(pending);
      [pending, waiting] = [[], 0];
      const headers = { "content-length": String(body.size) };
      await cache.put(pieceAddress(blob, written), new Response(body, { headers }));
      written += body.size;
    };
    return {
      get size() {
        return written + waiting;
      },
      async append(chunk) {
        pending.push(new Uint8Array(chunk));
        waiting += chunk.length;
        if (waiting >= pieceSize) await flush();
      },
      async clear() {
        [pending, waiting, written] = [[], 0, 0];
        for (const key of await cache.keys(address(blob), { ignoreSearch: true })) await cache.delete(key);
      },
      async check() {
        await flush();
        return kind && hashOfBlob(await contentOf(blob), kind);
      },
      async commit() {
        await flush();
        await cache.put(address(blob), new Response(String(written)));
      },
      close: flush,
    };
  }
}

/** Without Node's hashes: large contents by the hub's client, which has a streaming sha256; small ones are at hand. */
async function hashOfBlob(content: Blob, { algorithm, prefix }: HashKind): Promise<string> {
  if (algorithm === "sha256") {
    const { __internal_sha256: sha256 } = await import("@huggingface/hub");
    const steps = sha256(content);
    for (;;) {
      const step = await steps.next();
      if (step.done) return step.value;
    }
  }
  const digest = await crypto.subtle.digest("SHA-1", await new Blob([prefix, content]).arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
