import { describe, expect, test } from "vitest";
import { evaluate } from "../../../test/support/evaluate.ts";
import { fc, Sampler, sizeOfDim } from "../../../test/support/sampler.ts";
import {
  add,
  addDims,
  axis,
  broadcastTo,
  cast,
  concat,
  div,
  equal,
  gather,
  gelu,
  gradients,
  leaf,
  lessEqual,
  matmul,
  max,
  mean,
  mul,
  printGraph,
  range,
  reshape,
  slice,
  softmax,
  sqrt,
  sub,
  sum,
  takeRows,
  topK,
  transpose,
  unsqueeze,
  where,
  type Dim,
  type Tensor,
} from "../index.ts";
import { topological } from "../traverse.ts";
import { narrow } from "./narrow.ts";
import { simplify } from "./simplify.ts";

/** Numbers computed on the way to some outputs. */
const work = (outputs: readonly Tensor[]): number =>
  topological(outputs).reduce(
    (n, x) => n + (x.storage === undefined ? x.shape.map(sizeOfDim).reduce((a, b) => a * b, 1) : 0),
    0,
  );

interface Model {
  readonly batch: Dim;
  readonly pos: Dim;
  /** [batch, pos, vocabulary] */
  readonly logits: Tensor;
  /** Values on the way, each [batch, pos, …]. */
  readonly values: readonly Tensor[];
  readonly weights: readonly Tensor[];
}

const width = 4;
const heads = 2;
const vocabulary = 5;

/** A small transformer whose details are drawn: how it masks, normalises, splits heads and projects. */
function drawModel(s: Sampler, layers = s.int(1, 2)): Model {
  const [batch, pos] = [axis("batch", s.int(1, 3)), axis("pos", s.int(2, 4))];
  const weights: Tensor[] = [];
  const weight = (...shape: number[]): Tensor => {
    const made = s.leaf(shape, "float64", () => s.small());
    weights.push(made);
    return made;
  };
  const at = range(pos);
  const causal = lessEqual(unsqueeze(at, 0), unsqueeze(at, 1)); // [query, key]
  const real = s.leaf([batch, pos], "bool", (i) => (i % 5 === 4 ? 0 : 1));
  const style = s.pick(["causal", "keys", "bias", "perQuery"] as const);
  const mask = (scores: Tensor): Tensor => {
    if (style === "causal") return where(causal, scores, -1e9);
    if (style === "bias") return add(scores, mul(cast(equal(cast(causal, "float64"), 0), "float64"), -1e9));
    const seen = reshape(real, [batch, 1, 1, pos]);
    if (style === "keys") return where(seen, scores, -1e9);
    return add(where(causal, where(seen, scores, -1e9), -1e9), reshape(cast(real, "float64"), [batch, 1, pos, 1]));
  };
  const norm = (x: Tensor): Tensor => {
    const centred = sub(x, mean(x, -1, { keepDims: true }));
    return add(
      mul(div(centred, sqrt(add(mean(mul(centred, centred), -1, { keepDims: true }), 1e-3))), weight(width)),
      weight(width),
    );
  };
  const split = (x: Tensor): Tensor => transpose(reshape(x, [batch, pos, heads, width / heads]), [0, 2, 1, 3]);

  const tokens = cast(s.index([batch, pos], vocabulary), "int64");
  let x = add(
    gather(weight(vocabulary, width), tokens),
    gather(weight(6, width), s.flip() ? at : add(mul(tokens, 0), at)),
  );
  const values: Tensor[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const n = norm(x);
    const [q, k, v] = [0, 1, 2].map(() => split(matmul(n, weight(width, width), { transposeB: s.flip() })));
    const z = transpose(matmul(softmax(mask(matmul(q!, k!, { transposeB: true }))), v!), [0, 2, 1, 3]);
    values.push(z);
    x = add(x, matmul(reshape(z, [batch, pos, width]), weight(width, width)));
    x = add(x, matmul(gelu(add(matmul(norm(x), weight(width, 3)), weight(3))), weight(3, width)));
    values.push(x);
  }
  return { batch, pos, logits: matmul(norm(x), weight(width, vocabulary)), values, weights };
}

/** A part of a [batch, pos, …] value, picked in one of the ways people do. */
function drawPart(s: Sampler, { batch, pos }: Model, x: Tensor): Tensor {
  switch (s.pick(["last", "from", "rows", "several", "later", "whole"] as const)) {
    case "last":
      return slice(x, 1, -1);
    case "from":
      return slice(x, 1, 1);
    case "rows":
      return takeRows(x, s.index([batch, 1], pos));
    case "several":
      return takeRows(x, s.index([batch, 2], pos));
    case "later":
      return topK(max(slice(mul(x, 2), 1, 0, 1), [1]), 1).values;
    default:
      return x;
  }
}

function property(seed: number, runs: number, check: (s: Sampler) => void): void {
  fc.assert(
    fc.property(fc.gen(), (g) => check(new Sampler(g, "float64"))),
    { seed, numRuns: runs },
  );
}

describe("values", () => {
  test("do not change, whatever is picked of however many outputs", () => {
    let [before, after] = [0, 0];
    property(4, 150, (s) => {
      const model = drawModel(s);
      const pool = [model.logits, ...model.values];
      const outputs = Array.from({ length: s.int(1, 3) }, () => drawPart(s, model, s.pick(pool)));
      const expected = evaluate(...outputs);
      for (const rewritten of [narrow(outputs), simplify(narrow(simplify(outputs)))]) {
        expect(rewritten.map((x) => x.shape.map(String))).toEqual(outputs.map((x) => x.shape.map(String)));
        evaluate(...rewritten).forEach((found, i) => expect(found).toBeAllClose(expected[i]!, 1e-12));
        before += work(outputs);
        after += work(rewritten);
      }
    });
    expect(after).toBeLessThan(0.9 * before);
  });

  test("of a sequence of moves do not change", () =>
    property(5, 200, (s) => {
      const shape: Dim[] = [s.dim(2, 3), s.dim(2, 4), 2, 3];
      const moves: ((x: Tensor) => Tensor)[] = [
        (x) => transpose(x, s.permutation(x.rank)),
        (x) =>
          mul(
            x,
            s.leaf(s.broadcastable(x.shape), "float64", () => s.small()),
          ),
        (x) => where(s.bool(s.broadcastable(x.shape)), x, 0),
        (x) => reshape(x, [...x.shape, 1]),
        (x) => (x.rank > 2 ? reshape(x, [...x.shape.slice(0, 2), -1]) : x),
        (x) => sum(x, s.int(0, x.rank - 1), { keepDims: true }),
        (x) => softmax(x, s.int(0, x.rank - 1)),
        (x) => broadcastTo(x, [2, ...x.shape]),
        (x) => concat([x, x], s.int(0, x.rank - 1)),
        (x) => {
          const at = s.int(0, x.rank - 1);
          const size = x.shape[at]!;
          return sizeOfDim(size) < 2 ? x : slice(x, at, s.int(0, 1), s.flip() ? addDims(size, -1) : undefined);
        },
        (x) => {
          if (x.rank < 2) return x;
          const [axisAt, batchAxis] = s.permutation(x.rank) as [number, number];
          return takeRows(x, s.index([x.shape[batchAxis]!, 1], x.shape[axisAt]!), { axis: axisAt, batchAxis });
        },
      ];
      let x: Tensor = s.leaf(shape, "float64", () => s.small());
      for (let i = s.int(2, 8); i > 0 && x.shape.map(sizeOfDim).reduce((a, b) => a * b, 1) < 200; i--)
        x = s.pick(moves)(x);
      expect(evaluate(...simplify(narrow(simplify([x]))))[0]).toBeAllClose(evaluate(x)[0]!, 1e-12);
    }));
});

describe("work", () => {
  const s = (): Sampler => new Sampler(fc.sample(fc.gen(), { seed: 9, numRuns: 1 })[0]!, "float64");

  test("the last position's logits leave one query in the last layer", () => {
    const model = drawModel(s(), 2);
    const [narrowed] = narrow([slice(model.logits, 1, -1)]);
    const text = printGraph(narrowed!);
    expect(text).toMatch(/Softmax\(.*\) \{axis: 3\} : \[batch, 2, pos, pos\]/); // the first layer's pattern
    expect(text).toMatch(/Softmax\(.*\) \{axis: 3\} : \[batch, 2, 1, pos\]/); // the last layer's
    expect(text).toMatch(new RegExp(`MatMul.*\\[batch, 1, ${vocabulary}\\]`));
    expect(text).not.toMatch(new RegExp(`\\[batch, pos, ${vocabulary}\\]`));
    expect(text.match(/Gelu.*/g)!.map((line) => line.includes("[batch, 1, 3]"))).toEqual([false, true]);
  });

  test("so do rows that differ from one batch entry to the next", () => {
    const drawn = s();
    const model = drawModel(drawn, 1);
    const text = printGraph(...narrow([takeRows(model.logits, drawn.index([model.batch, 1], model.pos))]));
    expect(text).toMatch(/Softmax.*\[batch, 2, 1, pos\]/);
    expect(text).not.toMatch(/Gelu.*pos/);
  });

  test("what another output needs whole is computed once, whole", () => {
    const model = drawModel(s(), 2);
    const [z] = model.values;
    const outputs = narrow([slice(model.logits, 1, -1), z!]);
    expect(outputs[1]).toBe(z);
    expect(topological(outputs)).toContain(z);
    expect(work(outputs)).toBe(work(narrow([slice(model.logits, 1, -1)])));
  });

  test("different parts of one value are cut from the whole", () => {
    const x = leaf(new Float64Array(12), [1, 6, 2]);
    const y = mul(x, 2);
    const outputs = narrow([slice(y, 1, 0, 1), slice(y, 1, 5)]);
    expect(outputs).toEqual([slice(y, 1, 0, 1), slice(y, 1, 5)]);
  });

  test("a list that may be longer than the axis is taken last", () => {
    const [pos, n] = [axis("pos", 2), axis("n", 9)];
    const x = leaf(new Float64Array(2), [1, 2], { shape: [1, pos] });
    const many = leaf(new BigInt64Array(9), [1, 9], { shape: [1, n] });
    const wide = leaf(new Float64Array(6), [3, 2]);
    const list = leaf(new BigInt64Array(15), [3, 5]);
    for (const y of [takeRows(mul(x, 2), many), takeRows(mul(wide, 2), list)]) expect(narrow([y])[0]).toBe(y);
  });

  test("nothing to narrow, nothing rebuilt", () => {
    const model = drawModel(s(), 1);
    expect(narrow([model.logits])[0]).toBe(model.logits);
  });
});

describe("gradients of narrowed scalars", () => {
  /** The same scalar twice: picking entries, which narrows, and weighing all by 0 and 1, which cannot. */
  function scalars(s: Sampler, { batch, pos, logits }: Model): [narrowed: Tensor, whole: Tensor] {
    const y = mul(logits, logits);
    const [rows, length] = [sizeOfDim(batch), sizeOfDim(pos)];
    const at = Array.from({ length: rows }, () => s.int(0, length - 1));
    const last = s.flip();
    const picked = (i: number): number => (last ? length - 1 : at[Math.floor(i / length)]!);
    const hot = s.leaf([batch, pos, 1], "float64", (i) => Number(i % length === picked(i)));
    const index = s.leaf([batch, 1], "int64", (i) => at[i]!);
    return [sum(last ? slice(y, 1, -1) : takeRows(y, index)), sum(mul(y, hot))];
  }

  test("are whole, and equal those that were not narrowed, by every path", () =>
    property(6, 60, (s) => {
      const model = drawModel(s);
      const wrt = [s.pick(model.values), s.pick(model.values), s.pick(model.weights)];
      const [narrowed, whole] = scalars(s, model);
      expect(work(narrow([narrowed]))).toBeLessThan(work(narrow([whole])));
      const found = gradients(narrowed, wrt);
      const expected = gradients(whole, wrt);
      expect(found.map((g) => g.shape.map(String))).toEqual(wrt.map((x) => x.shape.map(String)));
      const values = evaluate(...found, ...simplify(narrow(simplify(found))));
      evaluate(...expected).forEach((e, i) => {
        expect(values[i]!).toBeAllClose(e, 1e-9);
        expect(values[i + expected.length]!).toBeAllClose(e, 1e-9);
      });
    }));

  test("the derivative by a value that a selection lies below", () => {
    const x = leaf(Float64Array.of(1, 2, 3, 4), [1, 4, 1]);
    const picked = slice(mul(x, x), 1, 2); // narrowed itself
    const [g] = gradients(sum(mul(picked, picked)), [picked]);
    expect(evaluate(g!)[0]).toEqual(Float64Array.of(18, 32));
  });

  test("are computed for the positions that matter", () => {
    const s = new Sampler(fc.sample(fc.gen(), { seed: 9, numRuns: 1 })[0]!, "float64");
    const model = drawModel(s, 2);
    const [g] = gradients(sum(slice(model.logits, 1, -1)), [model.values[2]!]); // the last layer's heads
    const text = printGraph(...simplify(narrow(simplify([slice(g!, 1, -1)]))));
    expect(text).not.toMatch(new RegExp(`\\[batch, pos, ${vocabulary}\\]`));
    expect(text.split("\n").at(-1)).toMatch(/\[batch, 1, 2, 2\]/);
  });
});
