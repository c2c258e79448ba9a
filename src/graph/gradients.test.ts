import { describe, expect, test } from "vitest";
import { evaluate, evaluator } from "../../test/support/evaluate.ts";
import { operationCases } from "../../test/support/operationCases.ts";
import { fc, Sampler } from "../../test/support/sampler.ts";
import {
  abs,
  add,
  axis,
  cast,
  detach,
  equal,
  floor,
  gradientHook,
  gradients,
  leaf,
  max,
  maximum,
  mean,
  mul,
  operations,
  pow,
  relu,
  slice,
  sqrt,
  sub,
  sum,
  takeRows,
  topK,
  where,
  greater,
  type OperationName,
  type Tensor,
} from "./index.ts";

const names = Object.keys(operations) as OperationName[];
const differentiable = names.filter((name) => typeof operations[name].gradient === "function");

/** A scalar whose derivative with respect to `y` varies from entry to entry and with `y` itself. */
function scalarOf(y: Tensor): Tensor {
  const weights = leaf(
    Float64Array.from({ length: evaluate(y)[0]!.length }, (_, i) => Math.cos(i + 1)),
    evaluator([y])()[0]!.dims,
    { shape: y.shape },
  );
  return sum(mul(weights, mul(y, y)));
}

const step = 1e-5;

/** ∂s/∂x by central differences. */
function numericGradient(s: Tensor, x: Tensor): Float64Array {
  const value = evaluator([s]);
  const data = Float64Array.from(x.data as Float64Array);
  return Float64Array.from(data, (_, i) => {
    const at = (h: number): number => {
      const moved = Float64Array.from(data);
      moved[i]! += h;
      return value(new Map([[x, moved]]))[0]!.data[0]!;
    };
    return (at(step) - at(-step)) / (2 * step);
  });
}

/** Compares derivatives in every leaf that the scalar depends on with central differences. */
function checkGradient(s: Tensor, leaves: readonly Tensor[]): void {
  const found = evaluate(...gradients(s, leaves));
  leaves.forEach((x, i) => expect(found[i]!).toBeAllClose(numericGradient(s, x), 1e-6));
}

/** Runs a property over expressions of one operation, float64 throughout. */
function forAll(name: OperationName, runs: number, check: (y: Tensor, leaves: readonly Tensor[]) => void): void {
  let checked = 0;
  fc.assert(
    fc.property(fc.gen(), (draw) => {
      const s = new Sampler(draw, "float64");
      const y = operationCases[name](s);
      if (y.dtype !== "float64") return; // the indices of TopK
      check(y, s.numbers);
      checked++;
    }),
    { seed: 20, numRuns: runs },
  );
  expect(checked).toBeGreaterThanOrEqual(runs / 4);
}

describe("derivatives agree with finite differences", () => {
  for (const name of differentiable)
    if (name === "Cast")
      test("Cast", () => {
        // A cast to float64 rounds nothing; the derivative of one to float32 is checked below by its dtype.
        const x = leaf(new Float32Array([1, 2]), [2]);
        const [dx] = gradients(sum(mul(cast(x, "float64"), 3)), [x]);
        expect(dx!.dtype).toBe("float32");
        expect(evaluate(dx!)[0]).toEqual(Float64Array.of(3, 3));
      });
    else
      test(name, () =>
        forAll(name, 40, (y, leaves) => {
          checkGradient(scalarOf(y), leaves);
        }),
      );
});

describe("derivatives of derivatives agree with finite differences", () => {
  for (const name of differentiable.filter((n) => n !== "Cast"))
    test(name, () =>
      forAll(name, 12, (y, leaves) => {
        const first = gradients(scalarOf(y), leaves);
        const s = first.map((g) => scalarOf(g)).reduce(add);
        checkGradient(s, leaves);
      }),
    );
});

describe("operations without a derivative", () => {
  for (const name of names.filter((n) => !differentiable.includes(n)))
    test(`${name} says why`, () => {
      const rule = operations[name].gradient;
      expect(typeof rule !== "function" && rule.notDifferentiable).toMatch(/\w{3}/);
    });
});

const vector = (...x: number[]): Tensor => leaf(Float64Array.from(x), [x.length], { name: "x" });

describe("kinks, ties and edges", () => {
  test("both sides of a maximum share a tie", () => {
    const [a, b] = [vector(1, 2, 3), vector(1, 5, 0)];
    const [da, db] = evaluate(...gradients(sum(maximum(a, b)), [a, b]));
    expect([da, db]).toEqual([Float64Array.of(0.5, 0, 1), Float64Array.of(0.5, 1, 0)]);
  });
  test("all largest entries share the derivative of max", () => {
    const x = vector(4, 1, 4, 4);
    expect(evaluate(...gradients(max(x), [x]))[0]).toBeAllClose([1 / 3, 0, 1 / 3, 1 / 3], 1e-15);
  });
  test("relu and abs have slope 0 at 0", () => {
    const x = vector(0, -1, 2);
    const [dRelu] = evaluate(...gradients(sum(relu(x)), [x]));
    const [dAbs] = evaluate(...gradients(sum(abs(x)), [x]));
    expect([dRelu, dAbs]).toEqual([Float64Array.of(0, 0, 1), Float64Array.of(0, -1, 1)]);
  });
  test("a power of 0", () => {
    const [a, b] = [vector(0, 0, 0, -2), vector(0, 1, 2, 3)];
    expect(evaluate(...gradients(sum(pow(a, b)), [a]))[0]).toEqual(Float64Array.of(0, 1, 0, 12));
    const c = vector(1, 2);
    expect(evaluate(...gradients(sum(pow(vector(0, 2), c)), [c]))[0]).toBeAllClose([0, 4 * Math.log(2)], 1e-15);
  });
  test("the side that where does not choose gets 0, even where its derivative is infinite", () => {
    const x = vector(0, 4);
    const y = where(greater(x, 0), sqrt(where(greater(x, 0), x, 1)), 0);
    expect(evaluate(...gradients(sum(y), [x]))[0]).toEqual(Float64Array.of(0, 0.25));
  });
  test("a tensor used twice gets both contributions", () => {
    const x = vector(1, 2);
    expect(evaluate(...gradients(sum(add(mul(x, x), x)), [x]))[0]).toEqual(Float64Array.of(3, 5));
  });
  test("a derivative by the scalar itself is 1", () => {
    const s = sum(vector(1, 2));
    expect(evaluate(...gradients(s, [s]))[0]).toEqual(Float64Array.of(1));
  });
  test("the mean over axes of unknown size divides by their product", () => {
    const [batch, pos] = [axis("batch", 2), axis("pos", 3)];
    const x = leaf(new Float64Array(6), [2, 3], { shape: [batch, pos] });
    expect(evaluate(...gradients(mean(x), [x]))[0]).toBeAllClose(new Array<number>(6).fill(1 / 6), 1e-15);
  });
});

describe("detach and hooks", () => {
  test("nothing flows through detach, the rest does", () => {
    const x = vector(1, 2);
    const s = sum(mul(x, detach(x)));
    expect(evaluate(...gradients(s, [x]))[0]).toEqual(Float64Array.of(1, 2));
  });
  test("recon + detach(x − recon) has the value of x and the derivative of recon", () => {
    const x = vector(1, 2);
    const recon = mul(x, 3);
    const y = add(recon, detach(sub(x, recon)));
    expect(evaluate(y)[0]).toEqual(Float64Array.of(1, 2));
    expect(evaluate(...gradients(sum(y), [x]))[0]).toEqual(Float64Array.of(3, 3));
  });
  test("a gradient hook sees and replaces the gradient", () => {
    const x = vector(1, 2);
    const seen: Tensor[] = [];
    const hooked = gradientHook(mul(x, 2), (g) => {
      seen.push(g);
      return mul(g, 10);
    });
    const [dx] = evaluate(...gradients(sum(mul(hooked, 3)), [x]));
    expect(dx).toEqual(Float64Array.of(60, 60));
    expect(evaluate(seen[0]!)[0]).toEqual(Float64Array.of(3, 3));
  });
  test("a gradient hook below a selection sees the whole gradient", () => {
    const x = leaf(new Float64Array(6), [3, 2]);
    let shape: readonly unknown[] = [];
    const hooked = gradientHook(mul(x, 2), (g) => {
      shape = g.shape;
    });
    const [dx] = gradients(sum(slice(mul(hooked, 3), 0, 2)), [x]);
    expect(evaluate(dx!)[0]).toEqual(Float64Array.of(0, 0, 0, 0, 6, 6));
    expect(shape).toEqual([3, 2]);
  });
});

describe("errors", () => {
  const x = leaf(new Float32Array(4), [2, 2], { name: "resid" });
  test("only scalars have gradients", () => {
    expect(() => gradients(x, [x])).toThrow("gradients: needs a scalar, got resid[2, 2]:float32 (sum it first)");
    const n = leaf(new Int32Array(1), [1], { name: "n" });
    expect(() => gradients(n, [n])).toThrow("needs a floating-point scalar, got n[1]:int32");
  });
  test("a tensor the scalar does not depend on is an error, not 0", () => {
    const other = leaf(new Float32Array(2), [2], { name: "blocks.0.hook_z" });
    expect(() => gradients(sum(x), [x, other])).toThrow(
      "gradients: ReduceSum[]:float32 does not depend on blocks.0.hook_z[2]:float32",
    );
  });
  test("a tensor reached only through steps names the step and the path", () => {
    expect(() => gradients(sum(mul(floor(add(x, 1)), 2)), [x])).toThrow(
      "no derivative reaches resid[2, 2]:float32 by Leaf → Add → Floor → Mul → ReduceSum: Floor stops it, it is piecewise constant; in Floor[2, 2]:float32",
    );
    expect(() => gradients(sum(cast(equal(x, 1), "float32")), [x])).toThrow(
      "Leaf → Equal → Cast → ReduceSum: Cast stops it",
    );
    expect(() => gradients(sum(cast(topK(x, 1).indices, "float32")), [x])).toThrow(
      "Leaf → TopK → Cast → ReduceSum: Cast",
    );
    expect(() => gradients(sum(detach(x)), [x])).toThrow("Detach stops it, detach stops gradients");
  });
  test("an index has no derivative", () => {
    const index = leaf(new BigInt64Array(2), [1, 2], { name: "positions" });
    const y = takeRows(leaf(new Float32Array(6), [1, 3, 2]), index);
    expect(() => gradients(sum(y), [index])).toThrow("no derivative reaches positions[1, 2]:int64 by Leaf → TakeRows");
  });
});
