import { describe, expect, test } from "vitest";
import { ModelError } from "../errors.ts";
import { candidates, nextToken, parseSampling, type Candidates, type SamplingOptions } from "./sampling.ts";

const none = new Map<number, number>();
const logits = [1, 3, 2, 0, 2];

/** Probability of each id, 0 where it is not a candidate. */
function spread({ ids, probabilities }: Candidates, size = logits.length): number[] {
  const out = new Array<number>(size).fill(0);
  ids.forEach((id, i) => (out[id] = probabilities[i]!));
  return out;
}
const distribution = (options: SamplingOptions, counts: ReadonlyMap<number, number> = none): number[] =>
  spread(candidates(logits, parseSampling(options), counts));

/** Softmax of the given scores; the others get nothing. */
function softmax(scores: readonly (number | null)[]): number[] {
  const weights = scores.map((s) => (s === null ? 0 : Math.exp(s)));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}

describe("the distribution of the next token", () => {
  test("is the softmax of the logits over the temperature", () => {
    expect(distribution({})).toBeAllClose(softmax(logits), 1e-12);
    expect(distribution({ temperature: 0.5 })).toBeAllClose(softmax([2, 6, 4, 0, 4]), 1e-12);
  });

  test("with top-k keeps the k likeliest and those as likely as the k-th", () => {
    expect(distribution({ topK: 1 })).toEqual([0, 1, 0, 0, 0]);
    expect(distribution({ topK: 2 })).toBeAllClose(softmax([null, 3, 2, null, 2]), 1e-12);
    expect(distribution({ topK: 4 })).toBeAllClose(softmax([1, 3, 2, null, 2]), 1e-12);
    expect(distribution({ topK: 50 })).toBeAllClose(softmax(logits), 1e-12);
  });

  test("with top-p keeps the fewest whose mass exceeds p, the one that crosses included", () => {
    // e³, e², e², e and 1 over their sum 38.58: 0.521, 0.192, 0.192, 0.070, 0.026; added up 0.521, 0.712, 0.904, 0.974, 1.
    const kept = (p: number): number[] => distribution({ topP: p }).flatMap((x, id) => (x > 0 ? [id] : []));
    expect(kept(0.01)).toEqual([1]);
    expect(kept(0.5)).toEqual([1]);
    expect(kept(0.53)).toEqual([1, 2]);
    expect(kept(0.75)).toEqual([1, 2, 4]);
    expect(kept(0.95)).toEqual([0, 1, 2, 4]);
    expect(kept(0.98)).toEqual([0, 1, 2, 3, 4]);
    expect(kept(1)).toEqual([0, 1, 2, 3, 4]);
    expect(distribution({ topP: 0.75 })).toBeAllClose(softmax([null, 3, 2, null, 2]), 1e-12);
  });

  test("top-p agrees with a full sort on a large vocabulary", () => {
    const many = Array.from({ length: 4000 }, (_, i) => 6 * Math.sin(i * 12.9898) * Math.cos(i * 78.233));
    const probabilities = softmax(many);
    for (const topP of [0.1, 0.5, 0.9, 0.999]) {
      const order = [...many.keys()].sort((a, b) => probabilities[b]! - probabilities[a]!);
      let mass = 0;
      const wanted = order.filter((id) => {
        const keep = mass <= topP;
        mass += probabilities[id]!;
        return keep;
      });
      const { ids } = candidates(many, parseSampling({ topP }), none);
      expect([...ids]).toEqual(wanted);
    }
  });

  test("frequency penalty is subtracted per occurrence, after the temperature", () => {
    const counts = new Map([
      [1, 2],
      [3, 1],
    ]);
    expect(distribution({ frequencyPenalty: 0.75 }, counts)).toBeAllClose(softmax([1, 1.5, 2, -0.75, 2]), 1e-12);
    expect(distribution({ frequencyPenalty: 0.75, temperature: 2 }, counts)).toBeAllClose(
      softmax([0.5, 0, 1, -0.75, 1]),
      1e-12,
    );
  });

  test("repetition penalty divides positive and multiplies negative logits, before the temperature", () => {
    const counts = new Map([
      [0, 5],
      [1, 1],
    ]);
    const scores = [-1, 3, 0.5];
    const made = spread(candidates(scores, parseSampling({ repetitionPenalty: 2, temperature: 0.5 }), counts), 3);
    expect(made).toBeAllClose(softmax([-4, 3, 1]), 1e-12);
  });

  test("logits that are NaN or all −∞ are an error", () => {
    expect(() => candidates([1, NaN, 0], parseSampling({}), none)).toThrow(ModelError);
    expect(() => candidates([-Infinity, -Infinity], parseSampling({}), none)).toThrow(/not finite/);
    expect(spread(candidates([-Infinity, 0], parseSampling({}), none), 2)).toEqual([0, 1]);
  });
});

describe("the next token", () => {
  const draw = (options: SamplingOptions, step: number, counts = none, row = 0): number =>
    nextToken(logits, parseSampling(options), { counts, row, step });

  test("is drawn with its probability", () => {
    const n = 20000;
    const seen = new Array<number>(logits.length).fill(0);
    for (let step = 0; step < n; step++) seen[draw({ seed: 7 }, step)]!++;
    softmax(logits).forEach((p, id) => {
      const sigma = Math.sqrt(n * p * (1 - p));
      expect(Math.abs(seen[id]! - n * p), `token ${id}`).toBeLessThan(4 * sigma);
    });
  });

  test("never is one that top-k or top-p excludes", () => {
    for (let step = 0; step < 500; step++) {
      expect([1, 2, 4]).toContain(draw({ topK: 2, temperature: 5 }, step));
      expect([1, 2]).toContain(draw({ topP: 0.53 }, step));
    }
  });

  test("depends on seed, row and step only", () => {
    const tokens = (seed: number, row: number): number[] =>
      Array.from({ length: 50 }, (_, step) => draw({ seed }, step, none, row));
    expect(tokens(3, 0)).toEqual(tokens(3, 0));
    expect(tokens(3, 0)).not.toEqual(tokens(4, 0));
    expect(tokens(3, 0)).not.toEqual(tokens(3, 1));
  });

  test("greedy: the largest after penalties; temperature 0: the largest as it is", () => {
    const counts = new Map([[1, 4]]);
    expect(draw({ greedy: true }, 0)).toBe(1);
    expect(draw({ greedy: true, frequencyPenalty: 1 }, 0, counts)).toBe(2);
    expect(draw({ temperature: 0, frequencyPenalty: 1 }, 0, counts)).toBe(1);
  });
});

test("wrong options are named", () => {
  expect(() => parseSampling({ topK: 5, topP: 0.5 })).toThrow(ModelError);
  const wrong: SamplingOptions[] = [
    { topK: 5, topP: 0.5 },
    { topK: 0 },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.1 },
    { temperature: -1 },
    { temperature: NaN },
    { repetitionPenalty: 0 },
    { seed: -1 },
  ];
  for (const options of wrong) {
    try {
      parseSampling(options);
      expect.unreachable(JSON.stringify(options));
    } catch (error) {
      expect((error as ModelError).received).toContain(Object.keys(options)[0]);
    }
  }
});
