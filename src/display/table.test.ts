import { describe, expect, it } from "vitest";
import { csvLine, fixed, general } from "./numbers.ts";
import { Table } from "./table.ts";

describe("numbers as C prints them", () => {
  // Each right-hand side is what Python 3 prints for `format(x, "g")` and `f"{x:.4f}"`.
  it.each([
    [0.056, "0.056"],
    [1, "1"],
    [4, "4"],
    [-0, "-0"],
    [0.0001, "0.0001"],
    [0.00001, "1e-05"],
    [123456.7, "123457"],
    [1234567, "1.23457e+06"],
    [12345.25, "12345.2"],
    [1e300, "1e+300"],
    [-2.5, "-2.5"],
    [NaN, "nan"],
    [-Infinity, "-inf"],
    [999999.5, "1e+06"],
    [100000, "100000"],
  ])("%g of %s is %s", (value, text) => {
    expect(general(value)).toBe(text);
  });
  it.each([
    [1 / 32, 4, "0.0312"],
    [3 / 32, 4, "0.0938"],
    [-1 / 32, 4, "-0.0312"],
    [0.5, 0, "0"],
    [1.5, 0, "2"],
    [2.675, 2, "2.67"],
    [-0.00001, 4, "-0.0000"],
    [NaN, 4, "nan"],
    [66.666666, 2, "66.67"],
  ])("%s with %s decimals is %s", (value, decimals, text) => {
    expect(fixed(value, decimals)).toBe(text);
  });
});

describe("a table", () => {
  const table = new Table(
    [
      { key: "name", label: "Name", wrap: 12 },
      { key: "share", label: "Share" },
      { key: "n", label: "N" },
    ],
    [
      ["a|b", 0.25, 3],
      ["two words and averyveryverylongone", 1, 12],
      ["日本\x1b[31m", NaN, null],
    ],
    "A title",
  );

  it("is drawn as a grid", () => {
    expect(String(table)).toBe(
      [
        "A title",
        "+--------------+---------+-----+",
        "| Name         |   Share | N   |",
        "+==============+=========+=====+",
        "| a|b          |    0.25 | 3   |",
        "+--------------+---------+-----+",
        "| two words    |    1    | 12  |",
        "| and          |         |     |",
        "| averyveryver |         |     |",
        "| ylongone     |         |     |",
        "+--------------+---------+-----+",
        "| 日本\\x1b[31m |  nan    |     |",
        "+--------------+---------+-----+",
      ].join("\n"),
    );
  });

  it("is Markdown, JSON and CSV", () => {
    expect(table.toMarkdown().split("\n").slice(0, 3)).toEqual([
      "| Name         |   Share | N   |",
      "|:-------------|--------:|:----|",
      "| a\\|b         |    0.25 | 3   |",
    ]);
    expect(table.toJSON()[2]).toEqual({ name: "日本\x1b[31m", share: null, n: null });
    expect(table.toCSV()).toBe(
      "name,share,n\r\na|b,0.25,3\r\ntwo words and averyveryverylongone,1,12\r\n日本\x1b[31m,,\r\n",
    );
  });

  it("may be empty", () => {
    expect(String(new Table([{ key: "a", label: "A" }], []))).toBe("+-----+\n| A   |\n+=====+");
  });
});

it("CSV cells are quoted where they must be", () => {
  expect(csvLine(['a"b', "c,d", "e\nf", 1.5, undefined, [1, 2], true])).toBe(
    '"a""b","c,d","e\nf",1.5,,"[1,2]",true\r\n',
  );
});
