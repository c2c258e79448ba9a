import { describe, expect, test } from "vitest";
import { collect } from "../../test/support/collect.ts";
import {
  add,
  axis,
  exp,
  leaf,
  matmul,
  mul,
  reshape,
  slice,
  sum,
  transpose,
  type SizeNames,
  type Tensor,
} from "../graph/index.ts";
import { memory, reference, Runtime, type Forecast } from "./index.ts";

const plain = new Runtime({ backend: reference });
const batch = axis("batch");
const data = (rows: number, width: number): Tensor =>
  leaf(new Float32Array(rows * width), [rows, width], { shape: [batch, width] });
const weight = (...dims: number[]): Tensor =>
  leaf(new Float32Array(dims.reduce((a, b) => a * b, 1)), dims, { role: "weight", name: "w" });

/** The parts a case is about, of 4-byte numbers. */
const numbers = (forecast: Forecast): SizeNames =>
  Object.fromEntries(Object.entries(forecast).map(([name, bytes]) => [name, bytes / 4]));

describe("counts", () => {
  const x = data(10, 3);
  const w = weight(3, 5);
  test("what is fed, what lives at one time, what comes out", () => {
    const forecast = plain.forecast(sum(matmul(x, w)));
    expect(numbers(forecast)).toEqual({
      weights: 15,
      packed: 0,
      views: 0,
      inputs: 30,
      intermediates: 51, // the product and the sum
      outputs: 1,
      total: 97,
    });
    expect(numbers(plain.forecast(sum(matmul(x, w)), { weights: "packed" }))).toMatchObject({
      weights: 15,
      packed: 15,
    });
  });
  test("elementwise operations write over what nobody needs any more", () => {
    expect(numbers(plain.forecast(exp(mul(exp(x), 2)))).intermediates).toBe(30);
    const e = exp(x);
    expect(numbers(plain.forecast(mul(e, exp(e)))).intermediates).toBe(60);
    expect(numbers(plain.forecast([e, exp(e)]))).toMatchObject({ intermediates: 60, outputs: 60 });
  });
  test("a reshape is the same buffer, a transpose is not", () => {
    expect(numbers(plain.forecast(reshape(exp(x), [-1]))).intermediates).toBe(30);
    expect(numbers(plain.forecast(transpose(exp(x)))).intermediates).toBe(60);
  });
  test("a value goes after its last user", () => {
    const wide = matmul(x, weight(3, 100)); // 1000
    const narrow = matmul(wide, weight(100, 2)); // 20
    expect(numbers(plain.forecast(matmul(narrow, weight(2, 40)))).intermediates).toBe(1020);
    expect(numbers(plain.forecast([matmul(narrow, weight(2, 40)), sum(wide)])).intermediates).toBeGreaterThan(1400);
  });
  test("views of weights that move data, once", () => {
    const part = transpose(slice(weight(3, 10), 1, 0, 5)); // 15, and 15 below it at that time only
    const y = matmul(x, part, { transposeB: true });
    expect(numbers(plain.forecast([y, add(y, 1)]))).toMatchObject({ weights: 30, views: 15 });
    expect(numbers(plain.forecast(matmul(x, reshape(weight(15), [3, 5])))).views).toBe(0);
  });
  test("a leaf of known size stands for any data of that size", () => {
    expect(numbers(plain.forecast(exp(data(1000, 3)))).total).toBe(3 * 3000);
  });
});

/** Attention-free blocks over 1024 × 192 values, with logits: some 50 MB, so that nothing else is as large. */
function forward(x: Tensor, weights: readonly Tensor[], head: Tensor): Tensor {
  const last = weights.reduce((y, w) => add(y, matmul(exp(matmul(y, w)), w, { transposeB: true })), x);
  return matmul(last, head);
}

test("resident memory grows by what was forecast, within a factor of two", async () => {
  const [rows, width, vocabulary] = [1024, 192, 12000];
  const weights = Array.from({ length: 3 }, () => weight(width, 4 * width));
  const head = weight(width, vocabulary);
  const own = new Runtime({ threads: 1 });
  const logits = forward(data(rows, width), weights, head);
  const forecast = own.forecast(logits);
  await own.realize(forward(data(2, width), weights, head));
  await collect(undefined, 4);
  const [rss, ledger] = [process.memoryUsage.rss(), memory.bytes];
  const result = await own.realize(logits);
  const grown = process.memoryUsage.rss() - rss;
  expect(memory.bytes - ledger).toBe(forecast.outputs);
  expect(result.data.byteLength).toBe(forecast.outputs);
  const needed = forecast.intermediates + forecast.outputs;
  expect(needed).toBeGreaterThan(90e6);
  expect(grown).toBeGreaterThan(needed / 2);
  expect(grown).toBeLessThan(needed * 2);
  await own.dispose();
});
