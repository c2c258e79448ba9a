import { describe, expect, test } from "vitest";
import { evaluate } from "../../../test/support/evaluate.ts";
import {
  add,
  and,
  cast,
  constant,
  div,
  erf,
  exp,
  gelu,
  greater,
  leaf,
  maximum,
  minimum,
  not,
  pow,
  sigmoid,
  softplus,
  type DType,
  type Tensor,
} from "../index.ts";

const vector = (...x: number[]): Tensor => leaf(Float64Array.from(x), [x.length]);
const at = (f: (x: Tensor) => Tensor, ...x: number[]): number[] => [...evaluate(f(vector(...x)))[0]!];

describe("values", () => {
  // The C library's values.
  const erfs = {
    1e-8: 1.1283791670955126e-8,
    0.1: 0.1124629160182849,
    0.5: 0.5204998778130465,
    1: 0.8427007929497149,
    1.5: 0.9661051464753107,
    2: 0.9953222650189527,
    2.4: 0.999311486103355,
    2.5: 0.999593047982555,
    2.6: 0.9997639655834707,
    3: 0.9999779095030014,
    4: 0.9999999845827421,
    5: 0.9999999999984626,
    7: 1,
  };
  test("erf is exact to the last digits", () => {
    for (const [x, y] of Object.entries(erfs)) {
      const [positive, negative] = at(erf, Number(x), -Number(x));
      expect(Math.abs(positive! / y - 1)).toBeLessThan(4e-16);
      expect(negative).toBe(-positive!);
    }
    expect(at(erf, 0, NaN, Infinity, -Infinity)).toEqual([0, NaN, 1, -1]);
  });
  test("erf has no step where its two formulas meet", () => {
    const [low, high] = at(erf, 2.5 - 1e-9, 2.5);
    expect((high! - low!) / 1e-9).toBeCloseTo((2 / Math.sqrt(Math.PI)) * Math.exp(-6.25), 6);
  });
  test("activations saturate instead of overflowing", () => {
    expect(at(sigmoid, -1000, 0, 1000)).toEqual([0, 0.5, 1]);
    expect(at(softplus, -1000, 1000)).toEqual([0, 1000]);
    expect(at((x) => gelu(x), -1000, 1000).map((y) => y + 0)).toEqual([0, 1000]);
    expect(at((x) => gelu(x, { approximate: "tanh" }), -1000, 1000).map((y) => y + 0)).toEqual([0, 1000]);
  });
  test("NaN wins every maximum and minimum", () => {
    const [a, b] = [vector(NaN, 1), vector(1, NaN)];
    expect([...evaluate(maximum(a, b))[0]!, ...evaluate(minimum(a, b))[0]!]).toEqual([NaN, NaN, NaN, NaN]);
  });
  test("integers divide and raise as integers", () => {
    const int = (...x: number[]): Tensor => leaf(Int32Array.from(x), [x.length]);
    expect([...evaluate(div(int(7, -7), int(2, 2)))[0]!]).toEqual([3, -3]);
    expect([...evaluate(pow(int(2, 2), int(3, -1)))[0]!]).toEqual([8, 0]);
  });
  test("casts round and truncate", () => {
    const to = (dtype: DType, ...x: number[]): number[] => [...evaluate(cast(vector(...x), dtype))[0]!];
    expect(to("int32", 1.9, -1.9, 0)).toEqual([1, -1, 0]);
    expect(to("bool", 0.5, 0, -3)).toEqual([1, 0, 1]);
    expect(to("bfloat16", 1.00390625, 3.14159)).toEqual([1, 3.140625]);
    expect(to("float16", 65520, 0.1)).toEqual([Infinity, 0.0999755859375]);
  });
});

describe("errors name the operation, the shapes and the types", () => {
  const x = leaf(new Float32Array(6), [2, 3], { name: "x" });
  const y = leaf(new Float32Array(4), [4]);
  const ints = leaf(new Int32Array(3), [3], { name: "ids" });
  const cases: { readonly [message: string]: () => Tensor } = {
    "Add: shapes do not broadcast: [2, 3] and [4]; in axis -1 (3 against 4; only a literal 1 stretches)": () =>
      add(x, y),
    "Add: dtypes differ: float32[2, 3] and int32[3] (cast one of them)": () => add(x, ints),
    "Exp: needs a floating-point tensor, got ids[3]:int32 (cast it to float32)": () => exp(ints),
    "Add: needs number tensors, got bool (cast it to float32)": () => add(greater(x, 0), greater(x, 1)),
    "And: needs bool tensors, got float32 (compare it with something)": () => and(x, x),
    "Not: needs a bool tensor, got x[2, 3]:float32": () => not(x),
    "constant: 0.5 is not a whole number, as int32 needs (cast the tensor it meets to float32)": () => add(ints, 0.5),
    "Add: both operands are numbers (use constant(x))": () => add(1, 2),
  };
  for (const [message, build] of Object.entries(cases)) test(message, () => expect(build).toThrow(message));
  test("constants have a type", () => expect(constant(3, "int64").dtype).toBe("int64"));
});
