/** docs/differences.md answers every weak point, and what it names is there. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { repository } from "./support/docExamples.ts";

const page = readFileSync(join(repository, "docs/differences.md"), "utf8");
const rows = [...page.matchAll(/^\| (W\d+) \| (.+?) \| (.+?) \| `(.+?)`: (.+?) \|$/gm)].map(
  ([, point, , , file, title]) => ({ point: point!, file: file!, title: title! }),
);

test("all 33, in order", () => {
  expect(rows.map(({ point }) => point)).toEqual(Array.from({ length: 33 }, (_, i) => `W${i + 1}`));
});

test.each(rows)("$point: $file has “$title”", ({ file, title }) => {
  expect(existsSync(join(repository, file))).toBe(true);
  expect(readFileSync(join(repository, file), "utf8")).toContain(title);
});
