/** @file Leaves that change in a run. */
import { describe, expect, it } from "vitest";
import { add, axis, cast, gradients, leaf, mul, placeholder, sub, sum, type Tensor } from "../graph/index.ts";
import { memory } from "./ledger.ts";
import { reference } from "./reference.ts";
import { Runtime } from "./runtime.ts";
import type { RuntimeError } from "./errors.ts";

describe.each([
  ["ort-node", () => new Runtime()],
  ["reference", () => new Runtime({ backend: reference })],
])("updates on %s", (_name, make) => {
  it("give leaves new values in the run that reads the old ones", async () => {
    const runtime = make();
    const a = leaf(Float32Array.of(1, 2), [2], { name: "a" });
    const b = leaf(Float32Array.of(10, 20), [2], { name: "b" });
    const before = mul(a, b);
    const { product } = await runtime.update(
      { product: before },
      new Map<Tensor, Tensor>([
        [a, b],
        [b, a],
      ]),
    );
    expect(product.toArray()).toEqual([10, 40]);
    expect([a.toArray(), b.toArray()]).toEqual([
      [10, 20],
      [1, 2],
    ]);
    expect((await runtime.realize(add(a, mul(b, 100)))).toArray()).toEqual([110, 220]);
    await runtime.dispose();
  });

  it("change nothing where the result is not accepted", async () => {
    const runtime = make();
    const w = leaf(Float32Array.of(3), [1]);
    const loss = sum(mul(w, w));
    const updates = new Map([[w, sub(w, gradients(loss, [w])[0]!)]]);
    const { loss: seen } = await runtime.update({ loss }, updates, { accept: ({ loss: l }) => l.item() < 9 });
    expect([seen.item(), w.item()]).toEqual([9, 3]);
    await runtime.update({ loss }, updates, { accept: ({ loss: l }) => l.item() <= 9 });
    expect(w.item()).toBe(-3);
    await runtime.dispose();
  });

  it("are compiled once and called with data of any length", async () => {
    const runtime = make();
    const total = leaf(Float32Array.of(0), [], { name: "total" });
    const x = placeholder([axis("batch")], "float32", "x");
    const step = await runtime.compileUpdate({ x }, (given) => ({
      result: { seen: sum(given.x) },
      updates: new Map([[total, add(total, sum(given.x))]]),
    }));
    const seen: number[] = [];
    for (const data of [[1], [2, 3], [4, 5, 6]])
      seen.push((await step({ x: { dims: [data.length], data: Float32Array.from(data) } })).seen.item());
    expect(seen).toEqual([1, 5, 15]);
    expect(total.item()).toBe(21);
    await step.dispose();
    await runtime.dispose();
  });
});

describe("updates", () => {
  it("use two buffers in turn, and the second one stands in the ledger", async () => {
    const runtime = new Runtime();
    const w = leaf(new Float32Array(1000), [1000], { name: "turned" });
    const first = w.data;
    const updates = new Map([[w, add(w, 1)]]);
    await runtime.update({}, updates);
    const second = w.data;
    const held = memory.entries().filter(({ name }) => name === "turned");
    expect(held.map(({ owner, bytes }) => [owner, bytes])).toEqual([["updates", 4000]]);
    await runtime.update({}, updates);
    expect([w.data === first, second === first]).toEqual([true, false]);
    await runtime.update({}, updates);
    expect([w.data === second, w.toArray()[7]]).toEqual([true, 3]);
    await runtime.dispose();
  });

  it("hold what a leaf of several types stores", async () => {
    const runtime = new Runtime();
    const half = leaf(Uint16Array.of(0x3f80), [1], { dtype: "bfloat16" });
    const count = leaf(BigInt64Array.of(4n), [1]);
    await runtime.update(
      {},
      new Map([
        [half, cast(mul(cast(half, "float32"), 2), "bfloat16")],
        [count, add(count, 1)],
      ]),
    );
    expect([half.data[0], count.data[0]]).toEqual([0x4000, 5n]);
    await runtime.dispose();
  });

  it.each<[string, () => [Tensor, Tensor]]>([
    ["a weight", () => [leaf(new Float32Array(2), [2], { role: "weight" }), leaf(new Float32Array(2), [2])]],
    ["another shape", () => [leaf(new Float32Array(2), [2]), leaf(new Float32Array(3), [3])]],
    ["another type", () => [leaf(new Float32Array(2), [2]), leaf(new Int32Array(2), [2])]],
    ["an expression as target", () => [add(leaf(new Float32Array(2), [2]), 1), leaf(new Float32Array(2), [2])]],
  ])("refuse %s", async (_name, make) => {
    const runtime = new Runtime();
    const refused = runtime.update({}, new Map([make()]));
    await expect(refused).rejects.toMatchObject({ code: "runtime/update" } satisfies Partial<RuntimeError>);
  });
});
