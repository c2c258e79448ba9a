import { expect, it } from "vitest";
import { aligned, toJson, write } from "./output.ts";
import { describeFailure, exitCodeOf, CliError, Interrupted } from "./failure.ts";

it("writes JSON without NaN, infinities and typed arrays", () => {
  const value = { nan: NaN, up: Infinity, list: Float32Array.of(0.5, NaN, -Infinity), ids: [1, 2], none: undefined };
  expect(toJson(value)).toBe('{"nan":null,"up":null,"list":[0.5,null,null],"ids":[1,2]}');
});

it("aligns columns by what they take on screen", () => {
  expect(
    aligned([
      ["a", "東京", "x"],
      ["long", "b", ""],
    ]),
  ).toBe("  a     東京  x\n  long  b");
});

it("breaks the last column where the terminal ends", () => {
  const rows = [
    ["op", "what it does"],
    ["logit_diffs", "Logit differences at the positions of answers."],
  ];
  const lines = aligned(rows, 40).split("\n");
  expect(lines).toEqual([
    "  op           what it does",
    "  logit_diffs  Logit differences at the",
    "               positions of answers.",
  ]);
  expect(aligned(rows)).toBe(aligned(rows, 200));
  expect(aligned(rows).split("\n")).toHaveLength(2);
});

it("waits for a slow reader", async () => {
  let drained: (() => void) | undefined;
  let done = false;
  const stream = { write: () => false, once: (_: "drain", listener: () => void) => (drained = listener) };
  const writing = write(stream, "text").then(() => (done = true));
  await Promise.resolve();
  expect(done).toBe(false);
  drained!();
  await writing;
  expect(done).toBe(true);
});

it("tells faults, interruptions and bugs apart", () => {
  const fault = new CliError("the file cannot be used", { code: "cli/input", where: "a.json" });
  expect(describeFailure(fault, false)).toBe("error: the file cannot be used; in a.json");
  expect(exitCodeOf(fault)).toBe(1);
  expect(exitCodeOf(new Interrupted("SIGTERM", 143))).toBe(143);
  expect(describeFailure(new TypeError("x is not a function\n    at y"), false)).toBe(
    "error: TypeError: x is not a function (unexpected; INTERPRETUNE_DEBUG=1 shows where)",
  );
  expect(describeFailure(new TypeError("x"), true)).toContain("output.test.ts");
});
