import { describe, expect, it } from "vitest";
import { evenOdds, meanInterval, pearson, ranks, resample, spearman, spread } from "./statistics.ts";

describe("spread", () => {
  it("is that of all values, those that are 0 and not given included", () => {
    // statistics.stdev and statistics.quantiles(n=4, method="inclusive") of [0, 0, 0, 0, 0.25, -0.5, 1.5, 0] in Python.
    const { sd, ...order } = spread(Float64Array.of(0.25, -0.5, 1.5), 8);
    expect(sd).toBeCloseTo(0.5815235531404922, 14);
    expect(order).toEqual({ min: -0.5, q25: 0, median: 0, q75: 0.0625, max: 1.5 });
  });

  it("of nothing but zeros, of one value, of values alone", () => {
    expect(spread(new Float64Array(), 3)).toEqual({ sd: 0, min: 0, q25: 0, median: 0, q75: 0, max: 0 });
    expect(spread(Float64Array.of(2), 1)).toEqual({ sd: NaN, min: 2, q25: 2, median: 2, q75: 2, max: 2 });
    // 1, 2, 3, 4: quartiles 1.75, 2.5, 3.25; sd = sqrt(5 / 3)
    const { sd, ...order } = spread(Float64Array.of(4, 1, 3, 2), 4);
    expect(sd).toBeCloseTo(Math.sqrt(5 / 3), 14);
    expect(order).toEqual({ min: 1, q25: 1.75, median: 2.5, q75: 3.25, max: 4 });
  });
});

describe("bootstrap", () => {
  it("draws n of n examples, the same for the same seed", () => {
    const [n, resamples] = [7, 200];
    const counts = resample(n, { resamples, seed: 3 });
    for (let r = 0; r < resamples; r++) {
      let drawn = 0;
      for (let example = 0; example < n; example++) drawn += counts[example * resamples + r]!;
      expect(drawn).toBe(n);
    }
    expect(resample(n, { resamples, seed: 3 })).toEqual(counts);
    expect(resample(n, { resamples, seed: 4 })).not.toEqual(counts);
    // Each example is drawn `resamples` times on average: binomial of 1400 draws, sd = sqrt(1400 · 6) / 7 = 13.1.
    for (let example = 0; example < n; example++) {
      const drawn = counts.subarray(example * resamples, (example + 1) * resamples).reduce((a, b) => a + b, 0);
      expect(Math.abs(drawn - resamples)).toBeLessThan(4 * 13.1);
    }
  });

  it("of one example in ten follows the binomial distribution", () => {
    // K ~ Binomial(10, 0.1): P(K = 0) = 0.349, P(K ≤ 2) = 0.930, P(K ≤ 3) = 0.987. The mean is K / 10.
    const counts = resample(10, { resamples: 2000 });
    expect(meanInterval(Int32Array.of(4), Float64Array.of(1), counts, 10, 0.95)).toEqual([0, expect.closeTo(0.3, 12)]);
    expect(meanInterval(Int32Array.of(4), Float64Array.of(-1), counts, 10, 0.8)).toEqual([expect.closeTo(-0.2, 12), 0]);
  });

  it("of many examples agrees with the normal interval", () => {
    const n = 200;
    const values = Float64Array.from({ length: n }, (_, i) => Math.sin(i * i)); // no two alike
    const mean = values.reduce((a, b) => a + b, 0) / n;
    const { sd } = spread(values, n);
    const [low, high] = meanInterval(Int32Array.from(values.keys()), values, resample(n, { resamples: 4000 }), n, 0.95);
    const half = (1.96 * sd) / Math.sqrt(n);
    expect(Math.abs(low - (mean - half))).toBeLessThan(0.08 * half);
    expect(Math.abs(high - (mean + half))).toBeLessThan(0.08 * half);
  });

  it("of what never varies is a point", () => {
    const every = Int32Array.of(0, 1, 2);
    expect(meanInterval(every, Float64Array.of(2, 2, 2), resample(3, {}), 3, 0.95)).toEqual([2, 2]);
  });
});

describe("correlation", () => {
  // Python: statistics.correlation of these lists and of their mean ranks.
  const [a, b] = [
    [1, 2, 2, 3, 5, 5, 5, 8],
    [2, 1, 4, 4, 3, 9, 7, 7],
  ];

  it("of values, and of ranks with ties", () => {
    expect([...ranks(a)]).toEqual([1, 2.5, 2.5, 4, 6, 6, 6, 8]);
    expect([...ranks(b)]).toEqual([2, 1, 4.5, 4.5, 3, 8, 6.5, 6.5]);
    expect(pearson(a, b)).toBeCloseTo(0.7095301883685983, 14);
    expect(spearman(a, b)).toBeCloseTo(0.7144097497387377, 14);
  });

  it("of ranks is 1 under any rising curve, and -1 under any falling one", () => {
    const cubes = a.map((value) => value ** 3);
    expect(spearman(a, cubes)).toBeCloseTo(1, 14);
    expect(pearson(a, cubes)).toBeLessThan(0.96);
    expect(
      spearman(
        a,
        cubes.map((value) => -value),
      ),
    ).toBeCloseTo(-1, 14);
  });

  it("with what does not vary is not a number", () => {
    expect([pearson([1, 1], [1, 2]), spearman([1, 2], [3, 3]), pearson([], [])]).toEqual([NaN, NaN, NaN]);
  });
});

it("odds of changes in two directions are exact", () => {
  // 2 · (C(9, 0) + C(9, 1)) / 2⁹ = 20 / 512; in Python's integers, 2 · Σ C(1500, i ≤ 700) / 2¹⁵⁰⁰.
  expect(evenOdds(1, 8)).toBeCloseTo(0.0390625, 14);
  expect(evenOdds(8, 1)).toBeCloseTo(0.0390625, 14);
  expect(evenOdds(700, 800)).toBeCloseTo(0.010559255466711544, 10);
  expect([evenOdds(0, 0), evenOdds(3, 3)]).toEqual([1, 1]);
});
