import { describe, expect, it } from "vitest";
import { DataError } from "./errors.ts";
import { parseRow } from "./rows.ts";

const row = (value: unknown) => parseRow({ value, where: "data.jsonl:7" }, 3);

describe("parseRow", () => {
  it("tells the kind by the fields", () => {
    expect(row({ premise: "P", hypothesis: "H", label: "not_entailment", idx: 0 })).toEqual({
      kind: "rte",
      first: "P",
      second: "H",
      label: 1,
      example: 3,
      where: "data.jsonl:7",
    });
    expect(row({ passage: "P", question: "Q", label: true })).toMatchObject({
      kind: "boolq",
      first: "P",
      second: "Q",
      label: 1,
    });
    expect(row({ prompt: "x", answers: [" a", " b"], label: 0 })).toMatchObject({
      kind: "prompt",
      answers: [" a", " b"],
    });
    expect(row({ prompt: "x", label: 2 })).toMatchObject({ kind: "prompt", answers: null, label: 2 });
    expect(row({ input_ids: [0, 5], label: 1 })).toMatchObject({ kind: "input_ids", ids: [0, 5], answers: null });
  });

  it.each([
    ["entailment", 0],
    [1, 1],
    [0n, 0],
    ["0", 0],
  ])("RTE label %s is class %s", (label, expected) => {
    expect(row({ premise: "", hypothesis: "", label }).label).toBe(expected);
  });

  it.each([
    [false, 0],
    [true, 1],
    [1n, 1],
    ["True", 1],
    ["false", 0],
  ])("BoolQ label %s is class %s", (label, expected) => {
    expect(row({ passage: "", question: "", label }).label).toBe(expected);
  });

  it("reads Parquet's integers", () => {
    expect(row({ input_ids: BigInt64Array.of(4n, 5n), label: 1n })).toMatchObject({ ids: [4, 5], label: 1 });
  });

  const bad: [string, unknown, string][] = [
    ["no object", [1], "object"],
    ["no known field", { sentence: "x", label: 0 }, "premise+hypothesis+label"],
    ["a label of the test split", { premise: "", hypothesis: "", label: -1 }, "no labels"],
    ["a boolean for RTE", { premise: "", hypothesis: "", label: true }, "entailment (0)"],
    ["no label", { passage: "", question: "" }, "false (0) or true (1)"],
    ["an inherited label", { premise: "", hypothesis: "", label: "constructor" }, "entailment (0)"],
    ["a label without an answer", { prompt: "", answers: ["a", "b"], label: 2 }, "index below 2"],
    ["one answer", { prompt: "", answers: ["a"], label: 0 }, "two or more"],
    ["a prompt that is no text", { prompt: 1, label: 0 }, "field prompt"],
    ["no ids", { input_ids: [], label: 0 }, "at least one token id"],
    ["a negative id", { input_ids: [1, -1], label: 0 }, "list of token ids"],
    ["a fractional id", { input_ids: [1.5], label: 0 }, "list of token ids"],
    ["a huge id", { input_ids: [2 ** 31], label: 0 }, "list of token ids"],
  ];
  it.each(bad)("refuses %s, with file and line", (_, value, message) => {
    expect(() => row(value)).toThrow(DataError);
    expect(() => row(value)).toThrow(message);
    expect(() => row(value)).toThrow("data.jsonl:7");
  });
});
