/**
 * @file Answers of the hub, mutated: the commit of a revision, a listing, a file's headers. What comes of them is a right
 * answer or a FormatError, soon. `FULL=1` mutates them 100 000 times.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { commitOf, fileHead, listing } from "../src/formats/hub/api.ts";
import { hubSettings } from "../src/formats/hub/settings.ts";
import { FormatError } from "../src/formats/index.ts";
import { hubFixture, noise } from "./support/hubFixture.ts";

const runs = process.env["FULL"] === "1" ? 100_000 : 300;
const ref = { type: "model", repo: "owner/name" } as const;

interface Answer {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
}

/** Bytes or letters overwritten, put in, cut out, doubled; numbers and texts that parsers stumble over. */
const damage = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    cut: fc.nat(12),
    put: fc.oneof(
      fc.constantFrom("", '"', "{", "}", "[", "]", "null", "-1", "1e999", "__proto__", "../..", "\\u0000", "\n", "NaN"),
      fc.constantFrom("[[[[[[[[", '{"a":', "9007199254740993", "http://127.0.0.1:1/", "text/html", "0", "ÿ"),
      fc.string({ maxLength: 6 }),
    ),
  }),
  { minLength: 1, maxLength: 3 },
);
type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never;

function damaged(text: string, steps: Damage): string {
  for (const { at, cut, put } of steps) {
    const from = Math.floor(at * text.length);
    text = text.slice(0, from) + put + text.slice(from + cut);
  }
  return text;
}

test("mutated answers", { timeout: 3_600_000 }, async () => {
  const { hub, options } = await hubFixture({ pageSize: 2 });
  const commit = hub.add({
    id: ref.repo,
    files: { "config.json": "{}", "model.safetensors": noise(300), "a/b.txt": "b", "c.txt": "c" },
  });
  const asks = [
    (settings: Settings) => commitOf(settings, ref),
    (settings: Settings) => listing(settings, ref, commit),
    (settings: Settings) => fileHead(settings, ref, "model.safetensors"),
    (settings: Settings) => fileHead(settings, ref, "config.json"),
  ];
  type Settings = Awaited<ReturnType<typeof hubSettings>>;

  // What the server says, once.
  const recorded = new Map<string, Answer>();
  const recording: typeof fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const response = await fetch(input, init);
    const body = new Uint8Array(await response.clone().arrayBuffer());
    recorded.set(`${init?.method ?? "GET"} ${url}`, { status: response.status, headers: [...response.headers], body });
    return response;
  };
  const recordingSettings = await hubSettings({ ...options, fetch: recording });
  const right = [];
  for (const ask of asks) right.push(await ask(recordingSettings));
  expect(recorded.size).toBeGreaterThan(4);
  expect(right[1]).toHaveLength(4);

  let refused = 0;
  const mutation = fc.record({
    ask: fc.nat(asks.length - 1),
    which: fc.nat(100),
    what: fc.constantFrom("body", "body", "header", "name", "status"),
    header: fc.nat(100),
    status: fc.constantFrom(200, 201, 204, 206, 300, 302, 304, 400, 401, 403, 404, 410, 418),
    steps: damage,
  });
  const check = async ({
    ask,
    which,
    what,
    header,
    status,
    steps,
  }: typeof mutation extends fc.Arbitrary<infer T> ? T : never): Promise<void> => {
    let number = 0;
    const replay: typeof fetch = (input, init) => {
      const url = input instanceof Request ? input.url : String(input);
      const answer = recorded.get(`${init?.method ?? "GET"} ${url}`);
      if (answer === undefined) return Promise.reject(new TypeError("fetch failed"));
      const mutated = number++ === which % 3;
      const headers = new Headers();
      for (const [i, [name, value]] of answer.headers.entries()) {
        const mine = mutated && i === header % answer.headers.length;
        const [newName, newValue] = [
          mine && what === "name" ? damaged(name, steps) : name,
          mine && what === "header" ? damaged(value, steps) : value,
        ];
        try {
          headers.append(newName, newValue);
        } catch {
          // No HTTP client lets such a header through.
        }
      }
      const code = mutated && what === "status" ? status : answer.status;
      const text = new TextDecoder("latin1").decode(answer.body);
      const bytes = Uint8Array.from(mutated && what === "body" ? damaged(text, steps) : text, (c) => c.charCodeAt(0));
      const empty = init?.method === "HEAD" || [204, 304].includes(code);
      return Promise.resolve(new Response(empty ? null : bytes, { status: code, headers }));
    };
    const start = performance.now();
    const settings = { ...recordingSettings, fetch: replay };
    const result: unknown = await asks[ask]!(settings).catch((error: unknown) => error);
    if (result instanceof Error) {
      refused++;
      if (!(result instanceof FormatError)) throw result;
      expect(result.code).toMatch(/^hub\//);
    } else if (ask === 0) expect(result).toMatch(/^[0-9a-f]{40}$/);
    else if (ask === 1) expect(JSON.stringify(result)).not.toMatch(/"path":"[^"]*\.\.\//);
    expect(performance.now() - start).toBeLessThan(5000);
  };
  await fc.assert(fc.asyncProperty(mutation, check), { numRuns: runs });
  expect(refused).toBeGreaterThan(runs / 10);
});
