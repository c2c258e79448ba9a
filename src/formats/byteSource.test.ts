import { mkdtemp, open, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { blobSource, byteSource, memorySource, type ByteSource } from "./byteSource.ts";
import { FormatError } from "./errors.ts";
import { fileSource } from "./disk/fileSource.ts";
import { urlSource, type UrlSourceOptions } from "./urlSource.ts";

const content = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 256);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "byte-source-"));
  await writeFile(join(folder, "content"), content);
});
afterAll(() => rm(folder, { recursive: true }));

/** A server of `content` that understands ranges; `change` spoils the answer to every request but the first. */
function server(change: (response: Response, body: Uint8Array) => Response = (response) => response) {
  const requests: string[] = [];
  const fetch: UrlSourceOptions["fetch"] = async (_url, init) => {
    const range = new Headers(init.headers).get("range")!;
    requests.push(range);
    const [first, last] = /(\d+)-(\d+)/.exec(range)!.slice(1).map(Number) as [number, number];
    const body = content.slice(first, last + 1);
    const headers = { "content-range": `bytes ${first}-${last}/${content.length}`, etag: '"1"' };
    const response = new Response(body, { status: 206, headers });
    return requests.length === 1 ? response : change(response, body);
  };
  return { fetch, requests };
}

const withHeaders = (response: Response, headers: Record<string, string>) =>
  new Response(response.body, {
    status: response.status,
    headers: { ...Object.fromEntries(response.headers), ...headers },
  });

const kinds: Record<string, () => Promise<ByteSource>> = {
  memory: async () => memorySource(content),
  "memory over a part of a buffer": async () => memorySource(new Uint8Array([1, 2, ...content, 3]).subarray(2, 1002)),
  blob: async () => blobSource(new Blob([content])),
  file: async () => fileSource(join(folder, "content")),
  url: async () => urlSource("https://host/content", server()),
};

describe.each(Object.entries(kinds))("a byte source of kind %s", (_, make) => {
  it("gives ranges, to the end by default, and empty ones", async () => {
    const source = await make();
    expect(source.byteLength).toBe(1000);
    expect(new Uint8Array(await source.slice(990))).toEqual(content.slice(990));
    expect(new Uint8Array(await source.slice(3, 10))).toEqual(content.slice(3, 10));
    expect((await source.slice(1000, 1000)).byteLength).toBe(0);
    const target = new Uint8Array(12);
    await source.readInto(target.subarray(2, 8), 100);
    expect(target).toEqual(new Uint8Array([0, 0, ...content.slice(100, 106), 0, 0, 0, 0]));
    await source.close();
  });

  it.each([
    [-1, 5],
    [5, 4],
    [990, 1001],
    [0.5, 2],
    [NaN, 3],
    [0, Infinity],
  ])("refuses [%s, %s)", async (start, end) => {
    const source = await make();
    await expect(source.slice(start, end)).rejects.toMatchObject({ code: "formats/out-of-range" });
    await expect(source.readInto(new Uint8Array(1001), 0)).rejects.toMatchObject({ code: "formats/out-of-range" });
    await source.close();
  });

  it("refuses reads after close, which may be called twice", async () => {
    const source = await make();
    await source.close();
    await source.close();
    await expect(source.slice(0, 1)).rejects.toThrow(/closed/);
  });
});

describe("fileSource", () => {
  it("names a missing file and a folder", async () => {
    await expect(fileSource(join(folder, "absent"))).rejects.toThrow(/cannot be opened.*absent.*no such file/);
    await expect(fileSource(folder)).rejects.toMatchObject({ code: "formats/not-found", received: "a folder" });
  });

  it("reads beyond 4 GiB and across pieces of a large read", async () => {
    const path = join(folder, "sparse");
    await writeFile(path, "");
    await truncate(path, 5 * 2 ** 30);
    const handle = await open(path, "r+");
    await handle.write(new Uint8Array([1, 2, 3, 4]), 0, 4, 2 ** 32 - 2);
    await handle.close();
    const source = await fileSource(path);
    expect(source.byteLength).toBe(5 * 2 ** 30);
    expect(new Uint8Array(await source.slice(2 ** 32 - 3, 2 ** 32 + 3))).toEqual(new Uint8Array([0, 1, 2, 3, 4, 0]));
    const large = new Uint8Array(await source.slice(2 ** 32 - 2 ** 25, 2 ** 32 + 5));
    expect(large.subarray(2 ** 25 - 3)).toEqual(new Uint8Array([0, 1, 2, 3, 4, 0, 0, 0]));
    expect(large.indexOf(1)).toBe(2 ** 25 - 2);
    await source.close();
  });

  it("notices that a file shrank", async () => {
    const path = join(folder, "shrinks");
    await writeFile(path, content);
    const source = await fileSource(path);
    await truncate(path, 10);
    await expect(source.slice(0, 100)).rejects.toMatchObject({ code: "formats/truncated" });
    await source.close();
  });
});

describe("urlSource", () => {
  it("asks for exactly the bytes it needs and passes headers on", async () => {
    const { fetch, requests } = server();
    const seen: (string | null)[] = [];
    const source = await urlSource("https://host/content", {
      headers: { authorization: "Bearer x" },
      fetch: (url, init) => (seen.push(new Headers(init.headers).get("authorization")), fetch(url, init)),
    });
    await source.slice(10, 20);
    await source.slice(7, 7);
    expect(requests).toEqual(["bytes=0-0", "bytes=10-19"]);
    expect(seen).toEqual(["Bearer x", "Bearer x"]);
  });

  it.each<[string, RegExp, (response: Response, body: Uint8Array) => Response]>([
    ["the whole file", /status 206.*status 200/, () => new Response(content)],
    ["an error", /status 503/, () => new Response("busy", { status: 503 })],
    ["another range", /another range/, (r) => withHeaders(r, { "content-range": "bytes 0-9/1000" })],
    ["another size", /another range/, (r) => withHeaders(r, { "content-range": "bytes 10-19/2000" })],
    ["no range header", /another range/, (r) => new Response(r.body, { status: 206 })],
    ["another version", /changed on the server/, (r) => withHeaders(r, { etag: '"2"' })],
    ["a compressed body", /compressed/, (r) => withHeaders(r, { "content-encoding": "gzip" })],
    ["too few bytes", /wrong length.*10 bytes.*9 bytes/, (r, b) => new Response(b.slice(1), r)],
    ["too many bytes", /wrong length/, (r, b) => new Response(new Uint8Array([...b, 1]), r)],
    [
      "a broken body",
      /connection broke/,
      (r) => new Response(new ReadableStream({ pull: (c) => c.error(new Error("x")) }), r),
    ],
  ])("refuses %s", async (_, message, change) => {
    const source = await urlSource("https://host/content", server(change));
    const error: unknown = await source.slice(10, 20).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(FormatError);
    expect(error).toHaveProperty("message", expect.stringMatching(message));
  });

  it("refuses a server without ranges or size at once", async () => {
    const answer = (response: Response) => urlSource("https://host/a", { fetch: async () => response });
    await expect(answer(new Response("whole"))).rejects.toThrow(/ranges.*status 200.*download/);
    await expect(answer(new Response("", { status: 404 }))).rejects.toMatchObject({ code: "formats/not-found" });
    const unknown = new Response("x", { status: 206, headers: { "content-range": "bytes 0-0/*" } });
    await expect(answer(unknown)).rejects.toThrow(/size/);
    const empty = new Response("", { status: 416, headers: { "content-range": "bytes */0" } });
    expect((await answer(empty)).byteLength).toBe(0);
  });

  it("keeps secrets of the URL out of errors, and names network failures", async () => {
    const failing = urlSource("https://user:pass@host/file?token=secret", {
      fetch: () => Promise.reject(new TypeError("no route")),
    });
    const error = (await failing.catch((error: unknown) => error)) as FormatError;
    expect(error.message).toMatch(/https:\/\/host\/file; .*no route/);
    expect(error.message).not.toMatch(/secret|pass/);
  });

  it("rejects with the reason of an abort", async () => {
    const signal = AbortSignal.abort(new Error("stop"));
    const fetch: UrlSourceOptions["fetch"] = (_, init) => Promise.reject(init.signal!.reason as Error);
    await expect(urlSource("https://host/a", { fetch, signal })).rejects.toThrow("stop");
  });
});

it("a buffer that cannot be allocated is a FormatError", async () => {
  const source = byteSource({ name: "huge", byteLength: 2 ** 52, fill: async () => undefined });
  await expect(source.slice(0)).rejects.toMatchObject({ code: "formats/too-large", where: "huge" });
});
