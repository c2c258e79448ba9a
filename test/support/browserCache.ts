/** @file A stand-in for the parts of a browser that keep files: the Cache API, Web Locks, the quota. */
import type { BrowserStoreOptions } from "../../src/formats/hub/browserStore.ts";

interface Kept {
  readonly body: ArrayBuffer;
  readonly headers: [string, string][];
}

/** As a browser has it: answers are kept by address, and copied in and out. */
function browserCache(kept: Map<string, Kept>): Pick<Cache, "match" | "put" | "keys" | "delete"> {
  const url = (request: RequestInfo | URL): string =>
    request instanceof Request ? request.url : new URL(String(request)).href;
  const bare = (address: string): string => address.split("?")[0]!;
  return {
    match(request) {
      const found = kept.get(url(request));
      return Promise.resolve(found && new Response(found.body.slice(), { headers: found.headers }));
    },
    async put(request, response) {
      const address = url(request);
      const body = await response.arrayBuffer();
      kept.set(address, { body, headers: [...response.headers] });
    },
    keys(request, options) {
      const all = [...kept.keys()].map((address) => new Request(address));
      if (request === undefined) return Promise.resolve(all);
      const wanted = url(request);
      const same = (address: string): boolean =>
        options?.ignoreSearch ? bare(address) === bare(wanted) : address === wanted;
      return Promise.resolve(all.filter((key) => same(key.url)));
    },
    delete: (request) => Promise.resolve(kept.delete(url(request))),
  };
}

/** Exclusive locks by name, granted in turn; a waiting one can be given up. */
function browserLocks(): Pick<LockManager, "request"> {
  const tails = new Map<string, Promise<unknown>>();
  const request = async (
    name: string,
    options: LockOptions,
    granted: (lock: Lock) => Promise<unknown>,
  ): Promise<unknown> => {
    const before = tails.get(name) ?? Promise.resolve();
    let free = (): void => undefined;
    const mine = new Promise<void>((resolve) => (free = resolve));
    tails.set(
      name,
      before.then(() => mine),
    );
    const given = new Promise<never>((_, reject) => {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
      const stop = (): void => reject(options.signal!.reason);
      if (options.signal?.aborted) stop();
      options.signal?.addEventListener("abort", stop, { once: true });
    });
    try {
      await Promise.race([before, given]);
      return await granted({ name, mode: "exclusive" });
    } finally {
      void before.then(() => free());
    }
  };
  return { request: request as LockManager["request"] };
}

/** One browser: every store made of it sees the same. */
export function browser(
  quota: number,
  pieceSize: number,
): BrowserStoreOptions & { readonly kept: ReadonlyMap<string, Kept> } {
  const kept = new Map<string, Kept>();
  const cache = browserCache(kept);
  return {
    kept,
    pieceSize,
    caches: { open: () => Promise.resolve(cache as Cache) },
    locks: browserLocks(),
    storage: {
      estimate: () =>
        Promise.resolve({ quota, usage: [...kept.values()].reduce((sum, { body }) => sum + body.byteLength, 0) }),
    },
  };
}
