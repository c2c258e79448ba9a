/** Connections that break, stall, lie or are cut off by us: the file that comes is right, or the error is clear. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { hubFile, hubFiles, hubSnapshot, hubSource, type HubProgress } from "../src/formats/index.ts";
import { hubFixture, laidOut, noise, type HubFixture } from "./support/hubFixture.ts";
import type { Fault } from "./support/hubServer.ts";

const model = { type: "model", repo: "owner/name" } as const;
const path = "model.safetensors";
const weights = noise(2_000_000);
const hash = createHash("sha256").update(weights).digest("hex");

/** A hub that has the file, and where the cache keeps its blob. */
async function setUp(): Promise<HubFixture & { blob: string; partial: string }> {
  const fixture = await hubFixture();
  fixture.hub.add({ id: model.repo, files: { [path]: weights, "config.json": "{}" } });
  const blob = join(fixture.cacheDir, "models--owner--name/blobs", hash);
  return { ...fixture, blob, partial: `${blob}.interpretune.incomplete` };
}

/** The faults of the downloads of content, one after the other; then none. */
function inTurn({ hub }: HubFixture, faults: readonly Fault[], server: "hub" | "cdn" = "cdn"): void {
  const left = [...faults];
  hub.fault = (request) => (request.server === server ? left.shift() : undefined);
}

const right = (location: string): boolean => weights.equals(readFileSync(location));
const ranges = ({ hub }: HubFixture): (string | undefined)[] =>
  hub.requests.filter(({ server }) => server === "cdn").map(({ range }) => range);

describe("a connection", () => {
  test("that is cut at any byte goes on at that byte", async () => {
    const fixture = await setUp();
    const cuts = [1, 65_535, 65_536, 65_537, 1_000_003, 3];
    inTurn(
      fixture,
      cuts.map((cutAfter) => ({ cutAfter })),
    );
    expect(right(await hubFile(model, path, fixture.options))).toBe(true);
    const starts = ranges(fixture).map((range) =>
      Number(/^bytes=(\d+)-1999999$/.exec(range ?? "bytes=0-1999999")?.[1]),
    );
    expect(starts).toHaveLength(cuts.length + 1);
    // What the server sent may be lost on its way, never the order or what had come.
    for (const [i, cut] of cuts.entries()) {
      expect(starts[i + 1]!).toBeGreaterThanOrEqual(starts[i]!);
      expect(starts[i + 1]! - starts[i]!).toBeLessThanOrEqual(cut);
    }
    expect(existsSync(fixture.partial)).toBe(false);
  });

  test("that falls silent is given up, one that is slow is not", async () => {
    const fixture = await setUp();
    inTurn(fixture, [{ stallAfter: 700_000 }, { stallAfter: 0 }, { slow: 5 }]);
    expect(right(await hubFile(model, path, { ...fixture.options, timeout: 400 }))).toBe(true);
    expect(ranges(fixture)).toHaveLength(3);
  });

  test("that never brings anything is an error in the end, and what had come stays", async () => {
    const fixture = await setUp();
    inTurn(fixture, [{ cutAfter: 500_000 }, ...Array<Fault>(20).fill({ cutAfter: 0 })]);
    await expect(hubFile(model, path, fixture.options)).rejects.toMatchObject({ code: "hub/unavailable" });
    const kept = statSync(fixture.partial).size;
    expect(ranges(fixture).at(-1)).toBe(`bytes=${kept}-1999999`);
    fixture.hub.fault = () => undefined;
    expect(right(await hubFile(model, path, fixture.options))).toBe(true);
    expect(ranges(fixture).at(-1)).toBe(`bytes=${kept}-1999999`);
  });

  test("is tried again after 5xx and 429, when the server says so", async () => {
    const fixture = await setUp();
    inTurn(fixture, [
      { status: 503 },
      { status: 500 },
      { status: 429, headers: { "retry-after": "1" } },
      { status: 504 },
    ]);
    const start = performance.now();
    expect(right(await hubFile(model, path, fixture.options))).toBe(true);
    expect(performance.now() - start).toBeGreaterThan(1000);
    expect(ranges(fixture)).toHaveLength(5);
    const date = new Date(Date.now() + 2000).toUTCString();
    inTurn(fixture, [{ status: 429, headers: { "retry-after": date } }, { status: 502 }], "hub");
    expect((await hubFiles(model, fixture.options)).files).toHaveLength(2);
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(date));
  });

  test.each([
    [{ status: 503 }, "hub/unavailable", 5],
    [{ status: 429 }, "hub/rate-limited", 5],
    [{ status: 429, headers: { "retry-after": "3600" } }, "hub/rate-limited", 1],
    [{ status: 403 }, "hub/forbidden", 1],
    [{ status: 410 }, "hub/refused", 1],
  ] as const)("with nothing but %o is an error", async (fault, code, tries) => {
    const { hub, options, cacheDir } = await setUp();
    hub.fault = () => fault;
    for (const ask of [() => hubFile(model, path, options), () => hubSnapshot(model, options)]) {
      await expect(ask()).rejects.toMatchObject({ code });
      expect(hub.recent()).toHaveLength(tries);
    }
    expect(laidOut(cacheDir)).toEqual([]);
  });

  test("to a server that only sends whole files starts over", async () => {
    const fixture = await setUp();
    inTurn(fixture, [{ cutAfter: 900_000 }, { wholeOnly: true }, { wholeOnly: true }]);
    expect(right(await hubFile(model, path, fixture.options))).toBe(true);
    inTurn(fixture, Array<Fault>(50).fill({ wholeOnly: true, cutAfter: 900_000 }));
    await expect(hubFile(model, path, { ...fixture.options, cacheDir: fixture.cacheDir + "/2" })).rejects.toMatchObject(
      {
        code: "hub/no-ranges",
      },
    );
    inTurn(fixture, [{ wholeOnly: true }]);
    const source = await hubSource(model, path, { ...fixture.options, cacheDir: fixture.cacheDir + "/2" });
    await expect(source.slice(5, 10)).rejects.toMatchObject({ code: "hub/no-ranges" });
  });
});

describe("content", () => {
  test("that is not what the hub announced does not count", async () => {
    const fixture = await setUp();
    inTurn(fixture, Array<Fault>(9).fill({ garbled: true }));
    await expect(hubFile(model, path, fixture.options)).rejects.toMatchObject({
      code: "hub/corrupt",
      where: `owner/name, ${path}`,
      expected: `content with the hash ${hash}`,
    });
    expect(
      laidOut(join(fixture.cacheDir, "models--owner--name/blobs")).map((line) => line.split(":")[1]),
    ).not.toContain(" 2000000");
    expect(existsSync(fixture.blob)).toBe(false);
    expect(existsSync(join(fixture.cacheDir, "models--owner--name/snapshots"))).toBe(false);
    inTurn(fixture, [{ garbled: true, cutAfter: 700_000 }, {}, {}]);
    expect(right(await hubFile(model, path, fixture.options))).toBe(true); // half of it was wrong: once more, whole
  });

  test("of another length than announced is an error", async () => {
    const { hub, options } = await setUp();
    const headers = { "content-length": "5" };
    hub.fault = ({ server }) => (server === "cdn" ? { status: 200, headers, body: "12345" } : undefined);
    await expect(hubFile(model, path, options)).rejects.toMatchObject({ code: "hub/invalid-answer", received: "5" });
  });

  test.each([
    ["shorter", 700_001, 1],
    ["as long, and right", 2_000_000, 0],
    ["longer", 2_000_001, 1],
    ["wrong from the start", 300_000, 2],
    ["wrong, and whole", 2_000_000, 1],
  ])("left by an earlier download: %s", async (kind, length, requests) => {
    const fixture = await setUp();
    mkdirSync(dirname(fixture.partial), { recursive: true });
    const left = Buffer.concat([weights, Buffer.from("x")]).subarray(0, length);
    writeFileSync(fixture.partial, kind.startsWith("wrong") ? left.map((byte) => ~byte) : left);
    const steps: HubProgress[] = [];
    const onProgress = (step: HubProgress): void => void steps.push(step);
    expect(right(await hubFile(model, path, { ...fixture.options, onProgress }))).toBe(true);
    expect(ranges(fixture)).toHaveLength(requests);
    const kept = kind === "shorter" ? 700_001 : requests === 0 ? 2_000_000 : 0;
    expect(steps.at(-1)).toMatchObject({ bytes: 2_000_000, filesDone: 1, resumed: kept });
    if (kind === "shorter") expect(ranges(fixture)).toEqual(["bytes=700001-1999999"]);
  });
});

describe("an abort", () => {
  const reason = new Error("enough");
  const running = async ({ options }: HubFixture, signal: AbortSignal, extra: object = {}): Promise<unknown> =>
    hubFile(model, path, { ...options, signal, ...extra }).catch((error: unknown) => error);

  test("stops a download at once, and the next goes on where it was", async () => {
    const fixture = await setUp();
    fixture.hub.fault = () => ({ slow: 3 });
    let there = 0;
    for (const at of [1, 400_000, 1_200_000]) {
      const stop = new AbortController();
      const onProgress = ({ bytes }: HubProgress): void => {
        if (bytes >= at && bytes > there) stop.abort(reason);
      };
      expect(await running(fixture, stop.signal, { onProgress })).toBe(reason);
      expect(statSync(fixture.partial).size).toBeGreaterThan(there);
      there = statSync(fixture.partial).size;
      expect(existsSync(fixture.blob)).toBe(false);
      expect(existsSync(`${fixture.cacheDir}/.locks/models--owner--name/${hash}.interpretune.lock`)).toBe(false);
    }
    expect(right(await hubFile(model, path, fixture.options))).toBe(true);
    expect(ranges(fixture).at(-1)).toBe(`bytes=${there}-1999999`);
  });

  test.each([
    ["before the start", () => ({}), 0],
    ["while the hub is silent", () => ({ slow: 60_000 }), 50],
    ["while it waits to try again", () => ({ status: 503, headers: { "retry-after": "60" } }), 50],
  ] as const)("%s", async (_, fault, after) => {
    const fixture = await setUp();
    fixture.hub.fault = fault;
    const stop = new AbortController();
    if (after === 0) stop.abort(reason);
    else setTimeout(() => stop.abort(reason), after);
    const start = performance.now();
    expect(await running(fixture, stop.signal)).toBe(reason);
    expect(performance.now() - start).toBeLessThan(20_000);
  });

  test("while another download of the same file runs", async () => {
    const fixture = await setUp();
    fixture.hub.fault = () => ({ slow: 10 });
    const first = hubFile(model, path, fixture.options);
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 100);
    expect(await running(fixture, stop.signal)).toBe(reason);
    fixture.hub.fault = () => undefined;
    expect(right(await first)).toBe(true);
  });
});

test("one of several that fails stops the others, which keep what they have", async () => {
  const fixture = await hubFixture();
  const names = ["a.bin", "b.bin", "c.bin"];
  fixture.hub.add({ id: model.repo, files: Object.fromEntries(names.map((name, i) => [name, noise(500_000, i)])) });
  fixture.hub.fault = ({ server, path }) =>
    server === "cdn" ? (path.endsWith("b.bin") ? { slow: 10, garbled: true } : { slow: 150 }) : undefined;
  await expect(hubSnapshot(model, fixture.options)).rejects.toMatchObject({ code: "hub/corrupt" });
  const blobs = laidOut(join(fixture.cacheDir, "models--owner--name/blobs"));
  expect(blobs.filter((line) => line.includes(".incomplete"))).not.toEqual([]);
  fixture.hub.fault = () => undefined;
  const { folder } = await hubSnapshot(model, fixture.options);
  for (const [i, name] of names.entries())
    expect(noise(500_000, i).equals(readFileSync(join(folder, name)))).toBe(true);
  expect(fixture.hub.requests.filter(({ range }) => range !== undefined)).not.toEqual([]);
});
