/** Imports point up the list of folders in docs/design.md, and index.ts only re-exports. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = fileURLToPath(new URL("../src", import.meta.url));
const rooms = [
  "graph",
  "runtime",
  "formats",
  "display",
  "model",
  "sae",
  "data",
  "train",
  "session",
  "analysis",
  "report",
  "cli",
];

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter(
  (f) => f.endsWith(".ts") && !f.endsWith(".test.ts") && !f.endsWith(".d.ts"),
);
const roomOf = (file: string): string => file.split(/[/\\]/)[0]!;
const importsOf = (file: string): string[] =>
  [...readFileSync(join(src, file), "utf8").matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((m) =>
    relative(src, resolve(dirname(join(src, file)), m[1]!)),
  );

test("every file is in a known room", () => {
  expect([...new Set(files.map(roomOf))].filter((r) => r !== "index.ts" && !rooms.includes(r))).toEqual([]);
});

test("imports point one way", () => {
  const wrong = files
    .filter((f) => f !== "index.ts")
    .flatMap((f) =>
      importsOf(f)
        .filter((to) => rooms.indexOf(roomOf(to)) > rooms.indexOf(roomOf(f)))
        .map((to) => `${f} → ${to}`),
    );
  expect(wrong).toEqual([]);
});

test("files of a room import each other one way, types included", () => {
  // A tensor is an operation over tensors, and an operation's rules are written in tensors.
  const algebra = /^graph[/\\](tensor|operation|intern|namedShape|broadcast|ops[/\\]\w+)\.ts$/;
  const imports = new Map(files.map((f) => [f, importsOf(f).filter((to) => files.includes(to))]));
  const reached = (from: string): Set<string> => {
    const seen = new Set<string>();
    const waiting = [...imports.get(from)!];
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop())
      if (!seen.has(at)) {
        seen.add(at);
        waiting.push(...imports.get(at)!);
      }
    return seen;
  };
  const circular = files.filter((f) => !algebra.test(f) && reached(f).has(f));
  expect(circular).toEqual([]);
});

test("every index.ts only re-exports", () => {
  const statement = /^(export (type )?(\*|\{)[^;]*? from "[^"]+"|export \* as \w+ from "[^"]+");$/gm;
  const comment = /\/\*\*[^]*?\*\//g;
  const doors = files.filter((f) => /(^|[/\\])index\.ts$/.test(f));
  const wrong = doors.filter((f) =>
    readFileSync(join(src, f), "utf8").replaceAll(comment, "").replaceAll(statement, "").trim(),
  );
  expect(wrong).toEqual([]);
});

test("what a file exports as a value, another one uses", () => {
  /** Found by their names at run time, or in the page of a report, whose modules are joined as text. */
  const excepted = /^(cli[/\\]commands|report[/\\](page|script)|analysis[/\\]dashboards[/\\]card)|figureSvg|png\.ts$/;
  const root = join(src, "..");
  const everywhere = ["src", "test", "bench", "demo", "examples"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((f) => f.endsWith(".ts"))
      .map((f) => join(root, folder, f)),
  );
  const users = new Map<string, number>();
  for (const file of everywhere)
    for (const word of new Set(readFileSync(file, "utf8").match(/[A-Za-z_$][\w$]*/g)))
      users.set(word, (users.get(word) ?? 0) + 1);
  const unused = files
    .filter((f) => !excepted.test(f))
    .flatMap((f) =>
      [...readFileSync(join(src, f), "utf8").matchAll(/^export (?:const|(?:async )?function\*?|class) (\w+)/gm)]
        .filter(([, name]) => users.get(name!) === 1)
        .map(([, name]) => `${f}: ${name}`),
    );
  expect(unused).toEqual([]);
});

test("no any, no double casts", () => {
  const wrong = files.filter((f) =>
    /(:\s*any\b(?! number)|\bas any\b|as unknown as)/.test(readFileSync(join(src, f), "utf8")),
  );
  expect(wrong).toEqual([]);
});

test("every error that is thrown on purpose is in the package's root", () => {
  const root = readFileSync(join(src, "index.ts"), "utf8");
  const errors = files.flatMap((f) =>
    [...readFileSync(join(src, f), "utf8").matchAll(/^export class (\w+) extends InterpretuneError\b/gm)].map(
      (m) => m[1]!,
    ),
  );
  expect(errors.length).toBeGreaterThan(5);
  expect(errors.filter((name) => !new RegExp(`\\b${name}\\b`).test(root))).toEqual([]);
});
