import { describe, expect, test } from "vitest";
import { evaluate } from "../../../test/support/evaluate.ts";
import { axis, leaf, randomUniform, uniformAt, type Tensor } from "../index.ts";

const seed = (n: bigint): Tensor => leaf(BigInt64Array.of(n), [], { name: "seed" });
const draw = (n: bigint, size: number): Float64Array => evaluate(randomUniform(seed(n), [size]))[0]!;

describe("uniform numbers", () => {
  const n = 100_000;
  const x = draw(7n, n);
  test("depend on the seed and the position only", () => {
    expect(draw(7n, 50)).toEqual(x.slice(0, 50));
    expect(evaluate(randomUniform(seed(7n), [axis("rows", 5), 10]))[0]).toEqual(x.slice(0, 50));
    expect(draw(8n, 50)).not.toEqual(x.slice(0, 50));
    expect(draw(7n + 2n ** 32n, 50)).not.toEqual(x.slice(0, 50));
    expect(uniformAt(7, 3)).toBe(x[3]);
  });
  test("lie in [0, 1) and are exact in float32", () => {
    expect(x.every((v) => v >= 0 && v < 1 && Math.fround(v) === v)).toBe(true);
  });
  test("have the moments of the uniform distribution", () => {
    const mean = x.reduce((a, b) => a + b, 0) / n;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / n;
    expect(Math.abs(mean - 0.5)).toBeLessThan(4 / Math.sqrt(12 * n));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.001);
  });
  test("fill 64 bins evenly (χ² at 63 degrees of freedom, 4 σ)", () => {
    const bins = new Float64Array(64);
    for (const v of x) bins[Math.floor(v * 64)]!++;
    const chi = bins.reduce((a, count) => a + (count - n / 64) ** 2 / (n / 64), 0);
    expect(Math.abs(chi - 63)).toBeLessThan(4 * Math.sqrt(2 * 63));
  });
  test("are not correlated with their neighbours, nor with the next seed's", () => {
    const y = draw(8n, n);
    const correlation = (other: (i: number) => number): number => {
      let sum = 0;
      for (let i = 0; i < n - 1; i++) sum += (x[i]! - 0.5) * (other(i) - 0.5);
      return (sum / n) * 12;
    };
    expect(Math.abs(correlation((i) => x[i + 1]!))).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(correlation((i) => y[i]!))).toBeLessThan(4 / Math.sqrt(n));
  });
});

test("the seed is an int64 scalar leaf", () => {
  const wrong = leaf(Int32Array.of(1), []);
  expect(() => randomUniform(wrong, [2])).toThrow("RandomUniform: the seed is an int64 scalar leaf; got data[]:int32");
});
