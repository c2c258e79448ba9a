import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { collect } from "../../test/support/collect.ts";
import {
  add,
  axis,
  broadcastTo,
  cast,
  constant,
  leaf,
  matmul,
  mul,
  neg,
  placeholder,
  printGraph,
  slice,
  softmax,
  sum,
  transpose,
  type Tensor,
} from "./index.ts";

const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2], { name: "x" });

test("data prints with its first values, and is nested lists in JSON; an expression is neither", () => {
  const cube = leaf(
    BigInt64Array.from({ length: 12 }, (_, i) => BigInt(i)),
    [2, 3, 2],
  );
  expect(String(cube)).toBe("Tensor([2, 3, 2]:int64 0, 1, 2, 3, 4, 5, 6, 7, …)");
  expect(inspect({ x })).toContain("Tensor([2, 2]:float32 1, 2, 3, 4)");
  expect(String(neg(x))).toBe("Tensor(Neg[2, 2]:float32)");
  expect(JSON.stringify({ x, cube })).toBe('{"x":[[1,2],[3,4]],"cube":[[[0,1],[2,3],[4,5]],[[6,7],[8,9],[10,11]]]}');
  expect([leaf(Float32Array.of(5), []), leaf(new Float32Array(0), [2, 0])].map((y) => y.toJSON())).toEqual([
    5,
    [[], []],
  ]);
  expect(() => JSON.stringify(neg(x))).toThrow("is an expression, not data");
});

describe("interning", () => {
  test("the same expression twice is one object", () => {
    const build = (): Tensor => softmax(add(matmul(x, transpose(x)), mul(sum(x, 1, { keepDims: true }), 2)));
    expect(build()).toBe(build());
  });
  test("other attributes, operands or orders are other objects", () => {
    const built = [
      softmax(x, 0),
      softmax(x, 1),
      add(x, 1),
      add(x, 2),
      add(1, x),
      slice(x, 0, 1),
      slice(x, 1, 1),
      slice(x, 1, 0, 1),
      constant(0),
      constant(-0),
      constant(0, "int32"),
      cast(x, "float64"),
      cast(x, "int32"),
      sum(x, 0),
      sum(x, 0, { keepDims: true }),
      matmul(x, x),
      matmul(x, x, { transposeA: true }),
      matmul(x, x, { transposeB: true }),
    ];
    expect(new Set(built).size).toBe(built.length);
  });
  test("leaves are themselves: equal data, two objects", () => {
    const data = Float32Array.of(1);
    expect(leaf(data, [1])).not.toBe(leaf(data, [1]));
  });
  test("a leaf takes the array as it is", () => {
    const data = Float32Array.of(1, 2);
    expect(leaf(data, [2]).data).toBe(data);
  });
  test.each([4, 500])("nothing is kept of %i expressions that nobody holds", async (count) => {
    const factors = Array.from({ length: count }, (_, i) => constant(1000.5 + i));
    const own = leaf(new Float32Array(4), [2, 2]);
    const deep = (() => {
      const made = factors.map((factor) => mul(own, factor));
      expect(own.users!.size).toBe(count);
      return new WeakRef(made.reduce((y, x) => add(y, x)));
    })();
    await collect(() => deep.deref() === undefined && own.users!.size === 0);
    expect(deep.deref()).toBeUndefined();
    expect(own.users!.size).toBe(0);
  });
  test("equal expressions are one object, among few and among many", () => {
    const axes = [axis("a"), axis("b")];
    const factors = [0, -0, 1.5];
    const constants = factors.map((factor) => constant(factor));
    for (const count of [2, 40]) {
      const own = leaf(new Float32Array(1), [1]);
      const build = (): Tensor[] => [
        ...Array.from({ length: count }, (_, i) => broadcastTo(own, [i + 2])),
        ...axes.map((a) => broadcastTo(own, [a])),
        ...constants.map((factor) => mul(own, factor)),
      ];
      const [first, again] = [build(), build()];
      first.forEach((x, i) => expect(again[i]).toBe(x));
      expect(new Set(first).size).toBe(count + 5);
    }
  });
  test("an expression that is still held stays, with what it is made of", async () => {
    const y = add(mul(x, 17), 23);
    await collect(undefined, 3);
    expect(add(mul(x, 17), 23)).toBe(y);
  });
});

describe("reading", () => {
  test("a leaf's numbers", () => {
    expect(x.data).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(x.dims).toEqual([2, 2]);
    expect(leaf(BigInt64Array.of(2n ** 53n), [1]).toArray()).toEqual([2 ** 53]);
    expect(leaf(BigInt64Array.of(7n), []).item()).toBe(7);
  });
  test("an expression has none, and says so", () => {
    expect(() => add(x, 1).data).toThrow(
      "this tensor is an expression, not data: Add[2, 2]:float32 (await realize(tensor), or return it from model.run)",
    );
    expect(() => x.item()).toThrow("item() is for tensors of one element; got shape [2, 2]");
    expect(() => placeholder([2], "float32", "tokens").data).toThrow("tokens is a placeholder and has no data");
  });
});

describe("leaves check what they are given", () => {
  test("size", () => {
    expect(() => leaf(new Float32Array(3), [2, 2], { name: "w" })).toThrow(
      "data does not fill its shape; in w; expected 4 elements for [2, 2]; got 3",
    );
  });
  test("array type", () => {
    expect(() => leaf(new Float32Array(2), [2], { dtype: "int64" })).toThrow(
      "data of a int64 leaf has the wrong array type; in data; expected BigInt64Array; got Float32Array",
    );
    expect(() => leaf(new Uint16Array(2), [2])).toThrow("a Uint16Array holds float16 or bfloat16 (pass dtype)");
  });
  test("named axes", () => {
    const n = axis("n");
    expect(() => leaf(new Float32Array(6), [2, 3], { shape: [n, n] })).toThrow("expected [n, n]; got [2, 3]");
    expect(() => leaf(new Float32Array(2), [2], { shape: [axis("n", 3)] })).toThrow("expected [n]; got [2]");
    expect(() => leaf(new Float32Array(2), [2], { shape: [3] })).toThrow("expected [3]; got [2]");
    expect(() => leaf(new Float32Array(2), [2], { shape: [2, 1] })).toThrow("expected [2, 1]; got [2]");
    expect(leaf(new Float32Array(4), [2, 2], { shape: [n, n] }).shape).toEqual([n, n]);
  });
});

test("a graph prints with shapes and attributes", () => {
  const n = axis("pos");
  const tokens = leaf(new Float32Array(4), [2, 2], { shape: [n, 2], name: "resid" });
  expect(printGraph(softmax(add(tokens, 1), 0))).toBe(
    [
      "%0 = Leaf(resid) : [pos, 2] float32",
      "%1 = Constant() {value: 1, dtype: float32} : [] float32",
      "%2 = Add(%0, %1) : [pos, 2] float32",
      "%3 = Softmax(%2) {axis: 0} : [pos, 2] float32",
    ].join("\n"),
  );
});
