import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { singularValuesOfProduct, type Columns } from "./singularValues.ts";

const matrix = (rows: number, columns: number, next: () => number): Float64Array[] =>
  Array.from({ length: columns }, () => Float64Array.from({ length: rows }, next));
const dot = (x: Float64Array, y: Float64Array): number => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
/** Σ a[c][i] · scale[c] · b[c][j] */
const product = (a: Columns, b: Columns, scale: (c: number) => number = () => 1): number[] =>
  Array.from(a[0]!, (_, i) =>
    Array.from(b[0]!, (__, j) => a.reduce((sum, column, c) => sum + column[i]! * scale(c) * b[c]![j]!, 0)),
  ).flat();

describe("the singular values of a product", () => {
  test("give it back, with orthogonal factors, whatever its rank", () => {
    const shape = fc.record({
      rank: fc.integer({ min: 1, max: 6 }),
      rows: fc.integer({ min: 0, max: 5 }),
      columns: fc.integer({ min: 0, max: 5 }),
      lost: fc.integer({ min: 0, max: 3 }),
      values: fc.infiniteStream(fc.float({ min: -3, max: 3, noNaN: true })),
    });
    fc.assert(
      fc.property(shape, ({ rank, rows, columns, lost, values }) => {
        const next = (): number => values.next().value as number;
        const a = matrix(rank + rows, rank, next);
        const b = matrix(rank + columns, rank, next);
        for (const column of a.slice(0, lost)) column.fill(0);
        if (rank > 1) b[1] = b[0]!.map((x) => 2 * x);
        const { left, values: found, right } = singularValuesOfProduct(a, b);
        const expected = product(a, b);
        const scale = 1 + Math.max(...expected.map(Math.abs));
        for (const [i, value] of product(left, right, (c) => found[c]!).entries())
          expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-10 * scale);
        expect([...found]).toEqual([...found].sort((x, y) => y - x));
        for (const [i, v] of right.entries())
          for (const [j, w] of right.entries()) expect(dot(v, w)).toBeCloseTo(i === j ? 1 : 0, 10);
        for (const [i, u] of left.entries())
          for (const [j, w] of left.entries())
            if (found[i]! > 1e-6 * scale && found[j]! > 1e-6 * scale) expect(dot(u, w)).toBeCloseTo(i === j ? 1 : 0, 8);
      }),
    );
  });

  test("of what is known: a rotated diagonal", () => {
    const [cos, sin] = [Math.cos(0.3), Math.sin(0.3)];
    // [[cos, -sin], [sin, cos]] · diag(2, 5)
    const a = [Float64Array.of(2 * cos, 2 * sin), Float64Array.of(-5 * sin, 5 * cos)];
    const b = [Float64Array.of(1, 0), Float64Array.of(0, 1)];
    expect(Array.from(singularValuesOfProduct(a, b).values, (x) => x.toFixed(12))).toEqual([
      (5).toFixed(12),
      (2).toFixed(12),
    ]);
  });

  test("of thin matrices that are too short", () => {
    const a = [Float64Array.of(1), Float64Array.of(2)];
    const b = [Float64Array.of(3), Float64Array.of(4)];
    const { left, values, right } = singularValuesOfProduct(a, b);
    expect(product(left, right, (c) => values[c]!)[0]).toBeCloseTo(11, 12);
  });
});
