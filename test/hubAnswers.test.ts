/**
 * Downloads from a hub with anything wrong in its answers: a file that is right or a FormatError, soon, and nothing wrong
 * on the disk. `FULL=1` damages them 100 000 times.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FormatError, hubFile, hubFiles, hubSnapshot, type HubOptions } from "../src/formats/index.ts";
import { full } from "./support/full.ts";
import { laidOut, newFolder } from "./support/hubFixture.ts";

const numRuns = full ? 100_000 : 100;

const model = { type: "model", repo: "owner/name" } as const;
const commit = "c0ffee".repeat(7).slice(0, 40);
const config = '{"n": 1}';
const weights = "weights".repeat(20);
const sha1 = createHash("sha1").update(`blob ${config.length}\0${config}`).digest("hex");
const sha256 = createHash("sha256").update(weights).digest("hex");

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

const json = { "content-type": "application/json" };
const listing = [
  { type: "directory", oid: "0".repeat(40), size: 0, path: "sub" },
  { type: "file", oid: sha1, size: config.length, path: "config.json" },
  {
    type: "file",
    oid: "1".repeat(40),
    size: weights.length,
    path: "sub/model.safetensors",
    lfs: { oid: sha256, size: weights.length, pointerSize: 130 },
    xetHash: "2".repeat(64),
  },
];

/** What a hub answers, as data that can be damaged. */
function answers(url: string, method: string): Answer {
  const { pathname } = new URL(url);
  if (pathname.includes("/revision/"))
    return { status: 200, headers: { ...json }, body: JSON.stringify({ _id: "1", id: "owner/name", sha: commit }) };
  if (pathname.includes("/tree/")) return { status: 200, headers: { ...json }, body: JSON.stringify(listing) };
  const [content, etag] = pathname.endsWith("config.json") ? [config, sha1] : [weights, sha256];
  const headers = {
    "x-repo-commit": commit,
    etag: `"${etag}"`,
    "content-length": String(content.length),
    "x-linked-etag": `"${etag}"`,
    "x-linked-size": String(content.length),
  };
  return { status: 200, headers, body: method === "HEAD" ? "" : content };
}

/** One thing that is wrong with the answers of one kind. */
const damage = fc.record({
  kind: fc.constantFrom("revision", "tree", "HEAD", "config.json", "model.safetensors"),
  what: fc.oneof(
    fc.record({
      status: fc.constantFrom(200, 201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 416, 418, 429, 500, 503),
    }),
    fc.record({
      header: fc.constantFrom(
        ...["x-repo-commit", "x-linked-etag", "x-linked-size", "etag", "content-length", "content-range"],
        ...["content-encoding", "location", "link", "retry-after", "x-error-code", "x-error-message", "content-type"],
      ),
      value: fc.oneof(
        fc.constantFrom("", "-1", "1e99", "0", "NaN", "99999999999999999999", "../../x", '"', "W/", "bytes 0-1/2"),
        fc.constantFrom("EntryNotFound", "GatedRepo", "RevisionNotFound", '<http://hub/x>; rel="next"', "//", "gzip"),
        fc.string({ unit: "binary-ascii", maxLength: 80 }),
      ),
    }),
    fc.record({ at: fc.nat(400), put: fc.string({ unit: "binary", maxLength: 8 }), cut: fc.nat(20) }),
    fc.record({
      body: fc.oneof(
        fc.json({ maxDepth: 4 }),
        fc.constantFrom(
          "",
          "null",
          "[]",
          "{}",
          "[null]",
          '{"sha": {}}',
          "[".repeat(5000),
          '[{"__proto__": {"size": 1}}]',
        ),
        fc.jsonValue().map((value) =>
          JSON.stringify([
            { ...listing[1], path: value },
            { ...listing[2], size: value },
          ]),
        ),
        fc.jsonValue().map((value) => JSON.stringify({ sha: value })),
      ),
    }),
  ),
});
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

function damaged(answer: Answer, { what }: Damage): Answer {
  if ("status" in what) return { ...answer, status: what.status };
  if ("header" in what) return { ...answer, headers: { ...answer.headers, [what.header]: what.value } };
  if ("body" in what) return { ...answer, body: what.body };
  const { at, put, cut } = what;
  return { ...answer, body: answer.body.slice(0, at) + put + answer.body.slice(at + cut) };
}

/** A hub whose answers are damaged so, in this process. */
const hubWith =
  (faults: readonly Damage[], onRequest: () => void): typeof fetch =>
  (input, init) => {
    onRequest();
    const url = input instanceof Request ? input.url : String(input);
    const method = init?.method ?? "GET";
    let answer = answers(url, method);
    for (const fault of faults)
      if (fault.kind === "HEAD" ? method === "HEAD" : method === "GET" && url.includes(fault.kind))
        answer = damaged(answer, fault);
    const empty = method === "HEAD" || [204, 304].includes(answer.status);
    const headers = new Headers();
    for (const [name, value] of Object.entries(answer.headers))
      try {
        headers.append(name, value);
      } catch {
        // no server can send that
      }
    return Promise.resolve(new Response(empty ? null : answer.body, { status: answer.status, headers }));
  };

test(`${numRuns} damaged answers`, async () => {
  const folder = newFolder();
  const outside = laidOut(folder);
  const ends = { right: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 2 }), fc.nat(2), async (faults, way) => {
      const cacheDir = join(folder, "cache");
      let requests = 0;
      rmSync(cacheDir, { recursive: true, force: true });
      mkdirSync(cacheDir);
      const options: HubOptions = {
        cacheDir,
        endpoint: "http://hub",
        token: "",
        offline: false,
        retryDelay: 0,
        fetch: hubWith(faults, () => requests++),
      };
      const ask = [
        () => hubFile(model, "config.json", options),
        () => hubSnapshot(model, options),
        () => hubFiles(model, options),
      ][way]!;
      const result = await ask().catch((error: unknown) => error);
      expect(requests).toBeLessThan(100);
      if (result instanceof Error) {
        expect(result, String(result.stack)).toBeInstanceOf(FormatError);
        ends.refused++;
      } else ends.right++;
      // Whatever is there under a hash has that hash, and nothing is anywhere else.
      for (const line of laidOut(cacheDir)) {
        const blob = /blobs\/([0-9a-f]+): /.exec(line)?.[1];
        if (blob?.length !== 40 && blob?.length !== 64) continue;
        const bytes = readFileSync(join(cacheDir, "models--owner--name/blobs", blob));
        const prefix = blob.length === 40 ? `blob ${bytes.length}\0` : "";
        const hash = createHash(blob.length === 40 ? "sha1" : "sha256");
        expect(hash.update(prefix).update(bytes).digest("hex")).toBe(blob);
      }
      rmSync(cacheDir, { recursive: true, force: true });
      expect(laidOut(folder)).toEqual(outside);
    }),
    { numRuns },
  );
  expect(ends.right).toBeGreaterThan(numRuns / 20);
  expect(ends.refused).toBeGreaterThan(numRuns / 20);
}, 3_600_000);
