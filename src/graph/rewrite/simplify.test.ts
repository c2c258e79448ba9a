import { describe, expect, test } from "vitest";
import { evaluate } from "../../../test/support/evaluate.ts";
import {
  add,
  addDims,
  axis,
  broadcastTo,
  cast,
  detach,
  div,
  gradientHook,
  leaf,
  matmul,
  mul,
  neg,
  pad,
  putRows,
  reshape,
  slice,
  softmax,
  sub,
  sum,
  takeRows,
  transpose,
  type Tensor,
} from "../index.ts";
import { simplify } from "./simplify.ts";

const batch = axis("batch", 2);
const pos = axis("pos", 3);
const x = leaf(
  Float32Array.from({ length: 24 }, (_, i) => i - 7),
  [2, 3, 4],
  { shape: [batch, pos, 4] },
);
const m = leaf(
  Float32Array.from({ length: 20 }, (_, i) => i / 3),
  [5, 4],
);
const last = leaf(BigInt64Array.of(2n, 1n), [2, 1], { shape: [batch, 1] });
const one = takeRows(x, last); // [batch, 1, 4]
const first = leaf(BigInt64Array.of(0n, 0n), [2, 1], { shape: [batch, 1] });
const w = leaf(
  Float32Array.from({ length: 12 }, (_, i) => i),
  [4, 3],
);

const kept = { keepDims: true };
const scale = leaf(
  Float32Array.from({ length: 6 }, (_, i) => 2 ** i),
  [2, 3, 1],
  { shape: [batch, pos, 1] },
);

/** What an expression becomes. Expressions are interned, so the result is compared by identity. */
const rules: { readonly [name: string]: readonly [Tensor, Tensor] } = {
  "x + 0": [add(x, 0), x],
  "0 + x": [add(0, x), x],
  "x − 0": [sub(x, 0), x],
  "x · 1": [mul(x, 1), x],
  "1 · x": [mul(1, x), x],
  "x / 1": [div(x, 1), x],
  "−(−x)": [neg(neg(x)), x],
  "one after the other": [neg(neg(add(mul(x, 1), 0))), x],
  "reshape of a reshape": [reshape(reshape(x, [batch, pos, 2, 2]), [batch, -1]), reshape(x, [batch, -1])],
  "reshape back": [reshape(reshape(x, [batch, -1]), x.shape), x],
  "transpose of a transpose": [transpose(transpose(x, [1, 0, 2]), [2, 0, 1]), transpose(x, [2, 1, 0])],
  "transpose back": [transpose(transpose(x, [1, 2, 0]), [2, 0, 1]), x],
  "a transposed right operand": [matmul(x, transpose(m)), matmul(x, m, { transposeB: true })],
  "a transposed left operand": [matmul(transpose(x), x), matmul(x, x, { transposeA: true })],
  "a flag undone by a transpose": [matmul(x, transpose(w), { transposeB: true }), matmul(x, w)],
  "a sum of −x": [sum(neg(x), 2), neg(sum(x, 2))],
  "a sum of 3 · x": [sum(mul(x, 3), 1), mul(sum(x, 1), 3)],
  "a sum of s · x": [sum(mul(scale, x), 2, kept), mul(scale, sum(x, 2, kept))],
  "a sum of −x / s": [sum(neg(div(x, scale)), 2, kept), neg(div(sum(x, 2, kept), scale))],
  "a sum of a product's rows": [sum(matmul(m, w), 0), reshape(matmul(sum(m, 0, kept), w), [3])],
  "a sum of a product's rows that keeps its axis": [
    sum(matmul(m, w, { transposeB: false }), 0, kept),
    matmul(sum(m, 0, kept), w),
  ],
  "x · s, s stretched": [mul(x, broadcastTo(scale, x.shape)), mul(x, scale)],
  "−s, s stretched": [neg(broadcastTo(scale, x.shape)), broadcastTo(neg(scale), x.shape)],
  "s · 2 · x, s stretched": [mul(mul(broadcastTo(scale, x.shape), 2), x), mul(mul(scale, 2), x)],
  "taking what was put": [takeRows(putRows(one, last, pos), last), one],
  "cutting padding off": [slice(pad(x, 1, 2, 1), 1, 2, addDims(pos, 2)), x],
  detach: [softmax(detach(x)), softmax(x)],
  "a gradient hook": [
    mul(
      gradientHook(x, () => undefined),
      2,
    ),
    mul(x, 2),
  ],
};

/** What looks like an identity and is none. */
const keeps: { readonly [name: string]: Tensor } = {
  "x · 0": mul(x, 0),
  "0 − x": sub(0, x),
  "1 / x": div(1, x),
  "x + (y − x)": add(x, sub(mul(x, 2), x)),
  "a transpose of other axes beside a product": matmul(transpose(x, [1, 0, 2]), m, { transposeB: true }),
  "a sum of s · x where s differs": sum(mul(scale, x), [1, 2], kept),
  "a sum of s · x that drops axes": sum(mul(scale, x), 2),
  "a whole-number sum of x / 2": sum(div(cast(x, "int32"), 2), 2),
  "taking other rows than were put": takeRows(putRows(one, last, pos), first),
  "a cut through padding": slice(pad(x, 1, 2, 1), 1, 1, addDims(pos, 1)),
  "a cut of another axis": slice(pad(x, 1, 2, 1), 2, 1, 3),
};

describe("identities", () => {
  for (const [name, [before, after]] of Object.entries(rules))
    test(name, () => {
      expect(before).not.toBe(after);
      const [found] = simplify([before]);
      expect(found).toBe(after);
      expect(evaluate(found!)).toEqual(evaluate(before));
    });
});

describe("no identities", () => {
  for (const [name, tensor] of Object.entries(keeps)) test(name, () => expect(simplify([tensor])[0]).toBe(tensor));
});

test("an expression without identities is the same object", () => {
  const y = softmax(matmul(mul(x, 3), m, { transposeB: true }));
  expect(simplify([y, x])).toEqual([y, x]);
  expect(simplify([y])[0]).toBe(y);
});
