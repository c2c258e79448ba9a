import { describe, expect, test } from "vitest";
import { leaf } from "../../graph/index.ts";
import { realize } from "../../runtime/index.ts";
import {
  fromHeads,
  fusedBias,
  fusedColumns,
  fusedRows,
  fusedRowsBias,
  interleavedMerged,
  interleavedToHeads,
  merged,
  onePlus,
  same,
  toHeads,
  transposed,
  type Layout,
  type Shape,
} from "./layouts.ts";

const [H, D, E, F] = [3, 5, 4, 7]; // heads, d_model, d_head, d_mlp

interface Case {
  readonly name: string;
  readonly layout: Layout;
  readonly params: readonly Shape[];
  readonly file: Shape;
  /** Where in the file entry `at` of parameter `part` stands. */
  readonly source: (part: number, at: readonly number[]) => readonly number[];
}

const head = [H, D, E];
const cases: Case[] = [
  { name: "same", layout: same, params: [[D, F]], file: [D, F], source: (_, at) => at },
  { name: "transposed", layout: transposed, params: [[D, F]], file: [F, D], source: (_, [d, f]) => [f!, d!] },
  {
    name: "merged",
    layout: merged,
    params: [[H, E, D]],
    file: [H * E, D],
    source: (_, [h, e, d]) => [h! * E + e!, d!],
  },
  { name: "merged bias", layout: merged, params: [[H, E]], file: [H * E], source: (_, [h, e]) => [h! * E + e!] },
  { name: "toHeads", layout: toHeads, params: [head], file: [H * E, D], source: (_, [h, d, e]) => [h! * E + e!, d!] },
  {
    name: "fromHeads",
    layout: fromHeads,
    params: [[H, E, D]],
    file: [D, H * E],
    source: (_, [h, e, d]) => [d!, h! * E + e!],
  },
  {
    name: "fusedColumns",
    layout: fusedColumns,
    params: [head, head, head],
    file: [D, 3 * H * E],
    source: (part, [h, d, e]) => [d!, part * H * E + h! * E + e!],
  },
  {
    name: "fusedBias",
    layout: fusedBias,
    params: [
      [H, E],
      [H, E],
      [H, E],
    ],
    file: [3 * H * E],
    source: (part, [h, e]) => [part * H * E + h! * E + e!],
  },
  {
    name: "fusedRows",
    layout: fusedRows,
    params: [head, head, head],
    file: [3 * H * E, D],
    source: (part, [h, d, e]) => [(h! * 3 + part) * E + e!, d!],
  },
  {
    name: "fusedRowsBias",
    layout: fusedRowsBias,
    params: [
      [H, E],
      [H, E],
      [H, E],
    ],
    file: [3 * H * E],
    source: (part, [h, e]) => [(h! * 3 + part) * E + e!],
  },
  {
    name: "interleavedToHeads",
    layout: interleavedToHeads,
    params: [head],
    file: [H * E, D],
    source: (_, [h, d, e]) => [h! * E + interleaved(e!), d!],
  },
  {
    name: "interleavedMerged",
    layout: interleavedMerged,
    params: [[H, E]],
    file: [H * E],
    source: (_, [h, e]) => [h! * E + interleaved(e!)],
  },
];

/** Entry `e` of a head that rotates halves, in a head that rotates neighbours: (i, i + E/2) are (2i, 2i + 1). */
function interleaved(e: number): number {
  return e < E / 2 ? 2 * e : 2 * (e - E / 2) + 1;
}

const sizeOf = (shape: Shape): number => shape.reduce((product, size) => product * size, 1);
const flat = (at: readonly number[], shape: Shape): number => at.reduce((sum, i, axis) => sum * shape[axis]! + i, 0);
const unflat = (index: number, shape: Shape): number[] =>
  shape.map((size, axis) => Math.floor(index / sizeOf(shape.slice(axis + 1))) % size);

describe.each(cases)("$name", ({ layout, params, file, source }) => {
  const data = Float32Array.from({ length: sizeOf(file) }, (_, i) => i + 0.5);
  const x = leaf(data, file, { role: "weight", name: "x" });

  test("says the shape of the file and finds every entry in it", async () => {
    expect(layout.fileShape(params)).toEqual(file);
    const parts = await realize(layout.split(x, params));
    for (const [part, shape] of params.entries()) {
      expect(parts[part]!.dims).toEqual(shape);
      const expected = Array.from(
        { length: sizeOf(shape) },
        (_, i) => data[flat(source(part, unflat(i, shape)), file)]!,
      );
      expect(parts[part]!.toArray()).toEqual(expected);
    }
  });

  test("is written back as it was read", async () => {
    const parts = await realize(layout.split(x, params));
    const written = await realize(layout.join(parts, params));
    expect(written.dims).toEqual(file);
    expect(written.toArray()).toEqual([...data]);
  });
});

test("onePlus is exact both ways from one half on", async () => {
  const stored = Float32Array.of(-0.5, -0.4999999, 0, 1e-9, 0.3, 3.7, 1000.1);
  const x = leaf(stored, [stored.length], { role: "weight", name: "x" });
  const [read] = await realize(onePlus.split(x, [x.dims]));
  expect(read!.toArray()).toEqual([...stored.map((w) => Math.fround(1 + w))]);
  const written = await realize(onePlus.join([read!], [x.dims]));
  const again = await realize(onePlus.split(leaf(written.data, x.dims), [x.dims])[0]!);
  expect(again.toArray()).toEqual(read!.toArray());
});
