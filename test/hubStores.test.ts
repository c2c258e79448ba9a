/** The cache does the same wherever it keeps its bytes: in a folder, and in a browser. */
import { expect, describe, test } from "vitest";
import {
  browserStore,
  hubFile,
  hubFiles,
  hubSnapshot,
  hubSource,
  nodeStore,
  type HubStore,
} from "../src/formats/index.ts";
import { browser } from "./support/browserCache.ts";
import { hubFixture, newFolder, noise } from "./support/hubFixture.ts";

const model = { type: "model", repo: "owner/name" } as const;
const weights = noise(4_000_000);
const files = {
  "config.json": '{"n": 1}',
  "copy.json": '{"n": 1}',
  "a b/ü.txt": "text",
  "model.safetensors": weights,
  "empty.txt": "",
};
const places: readonly [string, () => Promise<() => Promise<HubStore>>][] = [
  [
    "a folder",
    () => {
      const folder = newFolder();
      return Promise.resolve(() => nodeStore(folder));
    },
  ],
  [
    "a browser",
    () => {
      const page = browser(1e9, 2 ** 20);
      return Promise.resolve(() => browserStore(page));
    },
  ],
];

describe.each(places)("in %s", (_, place) => {
  test("files come once, whole, and are there without the hub", async () => {
    const { hub, options } = await hubFixture();
    const commit = hub.add({ id: "owner/name", files });
    const open = await place();
    const snapshot = await hubSnapshot(model, { ...options, store: await open() });
    expect(snapshot).toMatchObject({ commit, files: Object.keys(files).sort() });
    hub.recent();
    const offline = { ...options, store: await open(), offline: true };
    expect(await hubSnapshot(model, offline)).toEqual(snapshot);
    expect((await hubFiles(model, offline)).files.map(({ path }) => path).sort()).toEqual(Object.keys(files).sort());
    for (const [path, content] of Object.entries(files)) {
      const source = await hubSource(model, path, offline);
      expect(source.byteLength).toBe(content.length);
      expect(Buffer.from(await source.slice(0)).equals(Buffer.from(content))).toBe(true);
      await source.close();
      expect(await hubFile(model, path, offline)).toContain(commit);
    }
    const source = await hubSource(model, "model.safetensors", offline);
    const [start, end] = [1_048_000, 3_200_000]; // over the pieces' borders
    expect(Buffer.from(await source.slice(start, end)).equals(weights.subarray(start, end))).toBe(true);
    await source.close();
    expect(hub.recent()).toEqual([]);
    await expect(hubFile(model, "nope.json", { ...options, store: await open() })).rejects.toMatchObject({
      code: "hub/entry-not-found",
    });
    await expect(hubFile(model, "nope.json", offline)).rejects.toMatchObject({ code: "hub/entry-not-found" });
  });

  test("what was stopped goes on where it was, what is wrong does not count", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/name", files });
    const open = await place();
    const stop = new AbortController();
    const onProgress = ({ bytes }: { bytes: number }): void => {
      if (bytes > 2_000_000) stop.abort(new Error("enough"));
    };
    const store = await open();
    const file = (more: object): Promise<string> => hubFile(model, "model.safetensors", { ...options, store, ...more });
    await expect(file({ onProgress, signal: stop.signal })).rejects.toThrow("enough");
    await file({});
    const resumed = hub.requests.at(-1)!.range!;
    expect(Number(/^bytes=(\d+)-3999999$/.exec(resumed)![1])).toBeGreaterThan(2_000_000 - 2 ** 20);
    const source = await hubSource(model, "model.safetensors", { ...options, store, offline: true });
    expect(Buffer.from(await source.slice(0)).equals(weights)).toBe(true);
    await source.close();

    const other = await place().then((open) => open());
    hub.fault = ({ server }) => (server === "cdn" ? { garbled: true } : undefined);
    await expect(file({ store: other })).rejects.toMatchObject({ code: "hub/corrupt" });
    await expect(file({ store: other, offline: true })).rejects.toMatchObject({ code: "hub/offline" });
  });

  test("one downloads while others wait, or give up", async () => {
    const { hub, options } = await hubFixture();
    hub.add({ id: "owner/name", files: { "model.safetensors": noise(500_000) } });
    hub.fault = ({ server }) => (server === "cdn" ? { slow: 20 } : undefined);
    const open = await place();
    const stop = new AbortController();
    const first = [1, 2].map(async () => hubSnapshot(model, { ...options, store: await open() }));
    const other = hubSnapshot(model, { ...options, store: await open(), signal: stop.signal });
    setTimeout(() => stop.abort(new Error("enough")), 80);
    await expect(other).rejects.toThrow("enough");
    await Promise.all(first);
    const whole = hub.requests.filter(({ server, range }) => server === "cdn" && range === undefined);
    expect(whole.length).toBeLessThanOrEqual(2); // the one that gave up may have been the first
  });
});

test("a browser's quota is the room there is", async () => {
  const { hub, options } = await hubFixture();
  hub.add({ id: "owner/name", files });
  const store = await browserStore(browser(1e6, 2 ** 20));
  await expect(hubSnapshot(model, { ...options, store })).rejects.toMatchObject({ code: "hub/disk-full" });
});

test("where redirects cannot be looked at, the listing tells", async () => {
  const { hub, options } = await hubFixture();
  const commit = hub.add({ id: "owner/name", files });
  const opaque: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (init?.redirect !== "manual" || response.status < 300 || response.status >= 400) return response;
    return Object.defineProperties(new Response(null), { type: { value: "opaqueredirect" }, status: { value: 0 } });
  };
  const store = await browserStore(browser(1e9, 2 ** 20));
  const browserOptions = { ...options, store, fetch: opaque };
  expect(await hubFile(model, "model.safetensors", browserOptions)).toContain(commit);
  const source = await hubSource(model, "a b/ü.txt", browserOptions);
  expect(new TextDecoder().decode(await source.slice(0))).toBe("text");
  await expect(hubFile(model, "nope", browserOptions)).rejects.toMatchObject({ code: "hub/entry-not-found" });
});
