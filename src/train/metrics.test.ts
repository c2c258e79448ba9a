import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sharedPath } from "../../test/support/goldens.ts";
import { ClassCounts, Metrics, taskMetrics } from "./metrics.ts";

interface Case {
  readonly case: object;
  readonly labels: readonly number[];
  readonly predictions: readonly number[];
  readonly accuracy: number;
  readonly matthews: number;
  readonly f1_macro: number;
  readonly f1_binary_positive_1?: number;
}
const { classification } = JSON.parse(readFileSync(sharedPath("goldens/optim/metrics.json"), "utf8")) as {
  classification: readonly Case[];
};

describe("metrics of classes", () => {
  it.each(classification)("are scikit-learn's, however the examples are batched: $case", (golden) => {
    for (const size of [1, 3, 7, golden.labels.length]) {
      const counts = new ClassCounts();
      for (let at = 0; at < golden.labels.length; at += size)
        counts.add(golden.labels.slice(at, at + size), golden.predictions.slice(at, at + size));
      expect(counts.examples).toBe(golden.labels.length);
      expect(counts.accuracy).toBeCloseTo(golden.accuracy, 14);
      expect(counts.matthews).toBeCloseTo(golden.matthews, 14);
      expect(counts.macroF1).toBeCloseTo(golden.f1_macro, 14);
      if (golden.f1_binary_positive_1 !== undefined) expect(counts.f1).toBeCloseTo(golden.f1_binary_positive_1, 14);
    }
  });

  it("say of nothing that it is not a number, and of a class that is nowhere that it is 0", () => {
    const counts = new ClassCounts();
    expect([counts.accuracy, counts.f1, counts.macroF1, counts.matthews]).toEqual([NaN, NaN, NaN, NaN]);
    counts.add([0, 0], [0, 0]);
    expect([counts.accuracy, counts.f1, counts.macroF1, counts.matthews]).toEqual([1, 0, 1, 0]);
    expect(() => counts.add([1], [])).toThrow("1 labels for 0 predictions");
  });

  it("are logged beside means, under the names of the task", () => {
    const metrics = new Metrics();
    metrics.add("loss", 2, 1);
    metrics.add("loss", 1, 3);
    for (const task of ["cb", "cola"]) {
      metrics.addClasses([0, 1], [0, 0], taskMetrics(task));
      metrics.addClasses([2], [2], taskMetrics(task));
    }
    const { loss, accuracy, f1, matthews_correlation } = metrics.values;
    expect([loss, accuracy]).toEqual([1.25, 2 / 3]);
    expect(f1).toBeCloseTo((2 / 3 + 0 + 1) / 3, 14);
    expect(matthews_correlation).toBeCloseTo(3 / Math.sqrt(24), 14);
    const again = new Metrics();
    again.restore(JSON.parse(JSON.stringify(metrics.state())) as ReturnType<Metrics["state"]>);
    expect(again.values).toEqual(metrics.values);
    metrics.clear();
    expect(metrics.values).toEqual({});
  });
});
