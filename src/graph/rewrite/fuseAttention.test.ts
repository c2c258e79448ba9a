import { describe, expect, test } from "vitest";
import { evaluate } from "../../../test/support/evaluate.ts";
import {
  add,
  and,
  axis,
  constant,
  div,
  greater,
  leaf,
  lessEqual,
  matmul,
  mul,
  range,
  reshape,
  softmax,
  sub,
  tanh,
  transpose,
  where,
  type Tensor,
} from "../index.ts";
import { topological } from "../traverse.ts";
import { fuseAttention } from "./fuseAttention.ts";
import { simplify } from "./simplify.ts";

const batch = axis("batch", 2);
const pos = axis("pos", 5);
const numbers = (seed: number, width: number): Tensor =>
  leaf(
    Float32Array.from({ length: 10 * width }, (_, i) => Math.sin(seed + 1.7 * i)),
    [2, 5, width],
    { shape: [batch, pos, width] },
  );
const [q, k, v] = [numbers(1, 32), numbers(2, 32), numbers(3, 32)];
const [shared, sharedValues] = [numbers(4, 16), numbers(5, 16)];
const split = (x: Tensor): Tensor => transpose(reshape(x, [batch, pos, -1, 8]), [0, 2, 1, 3]); // [batch, head, pos, 8]
const query = reshape(range(pos), [1, 1, pos, 1]);
const key = reshape(range(pos), [1, 1, 1, pos]);
const causal = lessEqual(key, query);
const biasOf = (allowed: Tensor): Tensor => where(allowed, constant(0), constant(-Infinity));
const real = leaf(Uint8Array.of(0, 0, 1, 1, 1, 1, 1, 1, 1, 0), [2, 1, 1, 5], {
  shape: [batch, 1, 1, pos],
  dtype: "bool",
});

interface Parts {
  scores?: (raw: Tensor) => Tensor;
  bias?: Tensor;
  pattern?: (scores: Tensor) => Tensor;
  finish?: (mixed: Tensor) => Tensor;
}

/** Attention as it is written down, with parts exchanged. */
function written({ scores, bias = biasOf(causal), pattern, finish }: Parts = {}): Tensor {
  const scaled = transpose(div(reshape(q, [batch, pos, 4, 8]), 3), [0, 2, 1, 3]);
  const raw = matmul(scaled, split(k), { transposeB: true });
  const masked = add(scores?.(raw) ?? raw, bias);
  const mixed = matmul(pattern?.(masked) ?? softmax(masked, -1), split(v));
  return finish?.(mixed) ?? transpose(mixed, [0, 2, 1, 3]);
}

/** Two heads of keys and values for four of queries. */
function grouped(): Tensor {
  const groups = (x: Tensor): Tensor => reshape(x, [batch, 2, 2, pos, -1]);
  const one = (x: Tensor): Tensor => reshape(split(x), [batch, 2, 1, pos, 8]);
  const raw = reshape(matmul(groups(split(q)), one(shared), { transposeB: true }), [batch, 4, pos, pos]);
  const pattern = softmax(add(raw, biasOf(causal)), -1);
  return transpose(reshape(matmul(groups(pattern), one(sharedValues)), [batch, 4, pos, 8]), [0, 2, 1, 3]);
}

/** A row that sees nothing is 0. */
function withEmptyRows(): Tensor {
  const bias = biasOf(and(real, causal));
  const seen = greater(bias.max(-1, { keepDims: true }), constant(-Infinity));
  return written({ bias, pattern: (scores) => where(seen, softmax(where(seen, scores, 0), -1), 0) });
}

const fusedNodes = (outputs: readonly Tensor[]): Tensor[] =>
  topological(outputs).filter((x) => x.op.name === "CausalAttention");

const window = and(causal, greater(key, sub(query, 3)));
const recognised: { readonly [name: string]: [Tensor, { [attribute: string]: number }] } = {
  plain: [written(), { heads: 4, kvHeads: 4, scale: 1 / 3, softCap: 0, window: 0 }],
  "a window": [written({ bias: biasOf(window) }), { window: 3 }],
  "a soft cap": [written({ scores: (raw) => mul(tanh(div(raw, 2)), 2) }), { softCap: 2 }],
  padding: [written({ bias: biasOf(and(causal, real)) }), { window: 0 }],
  "rows that see nothing": [withEmptyRows(), { window: 0 }],
  "shared keys and values": [grouped(), { heads: 4, kvHeads: 2, scale: 1 }],
};

describe("becomes one operation of the same value", () => {
  test.each(Object.keys(recognised))("%s", (name) => {
    const [attention, attributes] = recognised[name]!;
    const [made] = fuseAttention(simplify([attention]));
    const [node, ...more] = fusedNodes([made!]);
    expect(more).toEqual([]);
    expect(node!.attributes).toMatchObject(attributes);
    expect(topological([made!]).some((x) => x.op.name === "Softmax")).toBe(false);
    // Padded queries see no key: they are NaN, fused or not.
    const seen = name === "padding" ? (_: number, i: number): boolean => i >= 2 * 32 : (): boolean => true;
    const [found, expected] = evaluate(made!, attention).map((x) => x.filter(seen));
    expect(found).toBeAllClose(expected!, 1e-12);
  });
});

const other = numbers(6, 32);
const scoresOf = (x: Tensor): Tensor => topological([x]).find((node) => node.op.name === "Softmax")!.inputs[0]!;
const stays: { readonly [name: string]: readonly Tensor[] } = {
  "scores that are asked for": [written(), scoresOf(written())],
  "a pattern with another user": [written(), softmax(scoresOf(written()), -1).sum(-1)],
  "a mask of later keys": [written({ bias: biasOf(lessEqual(query, key)) })],
  "no mask": [written({ bias: biasOf(real) })],
  "a finite bias": [written({ bias: where(causal, constant(0), constant(-100)) })],
  "a mask of another order of axes": [
    written({ bias: biasOf(lessEqual(reshape(range(pos), [1, 1, pos, 1]), reshape(range(pos), [1, 1, 1, pos]))) }),
  ],
  "a softmax over queries": [written({ pattern: (scores) => softmax(scores, 2) })],
  "another cap inside than outside": [written({ scores: (raw) => mul(tanh(div(raw, 2)), 3) })],
  "heads before positions": [written({ finish: (mixed) => mixed })],
  "a pattern that is changed": [written({ pattern: (scores) => mul(softmax(scores, -1), 0.5) })],
  "nothing of the kind": [matmul(other, other, { transposeB: true })],
};
test.each(Object.keys(stays))("stays as it is: %s", (name) => {
  const outputs = simplify(stays[name]!);
  expect(fuseAttention(outputs)).toEqual(outputs);
});

test("what comes before and after is rebuilt around it", () => {
  const first = written();
  const next = reshape(first, [batch, pos, 32]);
  const outputs = [add(next, 1), matmul(next, leaf(new Float32Array(32 * 4).fill(0.1), [32, 4]))];
  const made = fuseAttention(simplify(outputs));
  expect(fusedNodes(made)).toHaveLength(1);
  const expected = evaluate(...outputs);
  evaluate(...made).forEach((x, i) => expect(x).toBeAllClose(expected[i]!, 1e-12));
});
