import { expect, test } from "vitest";
import { GraphError } from "./errors.ts";
import { optionsCheck, type OptionNames } from "./options.ts";

interface Options {
  size?: number;
  useErrorTerm?: boolean;
}
const names: OptionNames<Options> = { size: true, useErrorTerm: true };
const check = optionsCheck(GraphError, "graph/options");

test("known names pass, whatever their values", () => {
  check({}, names, "f");
  check({ size: undefined, useErrorTerm: 1 }, names, "f");
});

test.each([
  ["useErrorTerms", "did you mean useErrorTerm?"],
  ["use_error_term", "did you mean useErrorTerm?"],
  ["zise", "did you mean size?"],
  ["returnType", undefined],
  ["toString", undefined],
])("%s is refused", (received, hint) => {
  expect(() => check({ size: 1, [received]: 1 }, names, "f")).toThrow(
    expect.objectContaining({
      code: "graph/options",
      expected: "one of size, useErrorTerm",
      received,
      hint,
    }),
  );
});
