import { describe, expect, test } from "vitest";
import { fc } from "../../test/support/sampler.ts";
import { addDims, axis, divideDims, evaluateDim, mulDims, productOf, sameDim, subDims, type Dim } from "./axis.ts";

const names = ["batch", "pos", "past"] as const;
const [batch, pos, past] = names.map((name) => axis(name)) as [Dim, Dim, Dim];

describe("canonical forms", () => {
  test("equal polynomials are equal however they are made", () => {
    expect(sameDim(addDims(past, pos), addDims(pos, past))).toBe(true);
    expect(sameDim(mulDims(batch, addDims(past, pos)), addDims(mulDims(pos, batch), mulDims(batch, past)))).toBe(true);
    expect(sameDim(productOf([batch, 2, pos, 3]), productOf([6, pos, batch]))).toBe(true);
    expect(sameDim(subDims(addDims(past, pos), past), pos)).toBe(true);
    expect(subDims(pos, pos)).toBe(0);
    expect(subDims(addDims(pos, 3), pos)).toBe(3);
    expect(mulDims(pos, 0)).toBe(0);
    expect(mulDims(1, pos)).toBe(pos);
  });
  test("two axes of one name are two axes", () => {
    expect(sameDim(axis("pos"), axis("pos"))).toBe(false);
    expect(sameDim(axis("pos", 3), 3)).toBe(false);
  });
  test("division is exact or not at all", () => {
    expect(divideDims(mulDims(batch, 12), 4)).toSatisfy((d: Dim) => sameDim(d, mulDims(batch, 3)));
    expect(divideDims(mulDims(batch, pos), pos)).toSatisfy((d: Dim) => sameDim(d, batch));
    expect(divideDims(addDims(mulDims(batch, pos), mulDims(2, pos)), pos)).toSatisfy((d: Dim) =>
      sameDim(d, addDims(batch, 2)),
    );
    expect(divideDims(addDims(past, pos), addDims(pos, past))).toBe(1);
    expect(divideDims(batch, 2)).toBeUndefined();
    expect(divideDims(batch, pos)).toBeUndefined();
    expect(divideDims(6, 4)).toBeUndefined();
    expect(divideDims(6, 0)).toBeUndefined();
    expect(divideDims(0, 5)).toBe(0);
  });
  test("text", () => {
    expect(String(addDims(past, pos))).toBe("pos + past");
    expect(String(mulDims(batch, mulDims(2, pos)))).toBe("2·batch·pos");
    expect(String(subDims(pos, 1))).toBe("pos - 1");
    expect(String(subDims(2, pos))).toBe("-pos + 2");
    expect(String(subDims(past, pos))).toBe("past - pos");
  });
  test("an unknown size is named", () => {
    expect(() => evaluateDim(addDims(pos, 1), new Map())).toThrow("the size of axis pos is not known");
    expect(evaluateDim(addDims(axis("n", 4), 1), new Map())).toBe(5);
  });
});

type Expression = { readonly dim: Dim; readonly value: number };

/** Random sums, differences and products of axes beside their values. */
const expression: fc.Arbitrary<Expression> = fc.letrec<{ e: Expression }>((tie) => ({
  e: fc.oneof(
    { maxDepth: 4, depthSize: "small" },
    fc.integer({ min: -3, max: 5 }).map((n): Expression => ({ dim: n, value: n })),
    fc.constantFrom(0, 1, 2).map((i): Expression => ({ dim: [batch, pos, past][i]!, value: [2, 3, 7][i]! })),
    fc
      .tuple(tie("e"), tie("e"), fc.constantFrom("+", "-", "*"))
      .map(([a, b, op]): Expression =>
        op === "+"
          ? { dim: addDims(a.dim, b.dim), value: a.value + b.value }
          : op === "-"
            ? { dim: subDims(a.dim, b.dim), value: a.value - b.value }
            : { dim: mulDims(a.dim, b.dim), value: a.value * b.value },
      ),
  ),
})).e;

const sizes = new Map(
  [batch, pos, past].map((d, i): [number, number] => [
    (d as Exclude<Dim, number>).terms[0]!.atoms[0]!.id,
    [2, 3, 7][i]!,
  ]),
);

describe("arithmetic agrees with numbers", () => {
  test("values", () =>
    fc.assert(
      fc.property(expression, ({ dim, value }) => {
        expect(evaluateDim(dim, sizes)).toBe(value + 0); // never −0
      }),
      { seed: 1, numRuns: 300 },
    ));
  test("quotients", () =>
    fc.assert(
      fc.property(expression, expression, (a, b) => {
        const quotient = divideDims(a.dim, b.dim);
        if (quotient !== undefined && !(a.dim === 0 && b.dim === 0))
          expect(evaluateDim(quotient, sizes) * b.value + 0).toBe(a.value + 0);
      }),
      { seed: 2, numRuns: 300 },
    ));
  test("a product divides by its factor", () =>
    fc.assert(
      fc.property(expression, fc.constantFrom<Dim>(batch, pos, past, 2, 3), (a, b) => {
        expect(divideDims(mulDims(a.dim, b), b)).toSatisfy((d: Dim) => sameDim(d, a.dim));
      }),
      { seed: 3, numRuns: 200 },
    ));
});
