import { afterAll, describe, expect, test } from "vitest";
import { collect } from "../../test/support/collect.ts";
import {
  add,
  addRows,
  axis,
  broadcastTo,
  cast,
  concat,
  detach,
  gather,
  leaf,
  matmul,
  mean,
  mul,
  mulDims,
  numberToBfloat16,
  numberToFloat16,
  placeholder,
  randomUniform,
  range,
  reshape,
  scatterAdd,
  scatterNDAdd,
  putRows,
  sizeOf,
  slice,
  softmax,
  sub,
  sum,
  transpose,
  uniformAt,
  type Axis,
  type Tensor,
} from "../graph/index.ts";
import { memory, ortNode, reference, Runtime, type Backend } from "./index.ts";

/** A backend that counts what it is asked to do. */
function counting(
  inner: Backend,
  bytes = 0,
): Backend & { compiled: number; ran: number; disposed: number; live: number } {
  const counter = {
    ...inner,
    caches: true,
    compiled: 0,
    ran: 0,
    disposed: 0,
    live: 0,
    compile: async (plan: Parameters<Backend["compile"]>[0]) => {
      counter.compiled++;
      counter.live++;
      const made = await inner.compile(plan);
      let dead = false;
      return {
        bytes: made.bytes + bytes,
        run: (...args: Parameters<typeof made.run>) => {
          if (dead) throw new Error("a graph ran after it was disposed");
          counter.ran++;
          return made.run(...args);
        },
        dispose: async () => {
          if (!dead) counter.live--;
          dead = true;
          counter.disposed++;
          await made.dispose();
        },
      };
    },
  };
  return counter;
}

const ort = ortNode({ threads: 2 });
const runtime = new Runtime({ backend: ort });
afterAll(() => runtime.dispose());

const numbers = (size: number, f: (i: number) => number = (i) => Math.sin(i)): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => f(i));
const vector = (size: number, n: Axis): Tensor => leaf(numbers(size), [size], { shape: [n] });

describe("realize", () => {
  test("keeps the shape of a tree and everything in it that is no tensor", async () => {
    const x = leaf(Float32Array.of(1, 2), [2]);
    const tree = {
      a: [add(x, 1), "text"] as const,
      b: { c: mul(x, 2), leaf: x, none: undefined },
      n: 3,
      when: new Date(0),
    };
    const done = await runtime.realize(tree);
    expect(done.a[0].data).toEqual(Float32Array.of(2, 3));
    expect(done.b.c.data).toEqual(Float32Array.of(2, 4));
    expect(done.b.leaf).toBe(x);
    expect([done.a[1], done.b.none, done.n, done.when]).toEqual(["text", undefined, 3, tree.when]);
  });

  test("computes together, in one graph, what is asked together", async () => {
    const backend = counting(reference);
    const own = new Runtime({ backend });
    const x = leaf(Float32Array.of(1), [1]);
    await own.realize([add(x, 1), [add(x, 1)], mul(add(x, 1), 3)]);
    expect([backend.compiled, backend.ran]).toEqual([1, 1]);
  });

  test("gives an output that turns out to be a leaf, or another output", async () => {
    const x = leaf(Float32Array.of(1, 2), [2]);
    const [a, b, c] = await runtime.realize([add(x, 0), detach(mul(x, 3)), mul(x, 3)]);
    expect([a.data, b.data, c.data]).toEqual([Float32Array.of(1, 2), Float32Array.of(3, 6), Float32Array.of(3, 6)]);
  });

  test("nothing to compute, nothing compiled", async () => {
    const backend = counting(reference);
    const x = leaf(Float32Array.of(1), [1]);
    expect(await new Runtime({ backend }).realize({ x, y: 1 })).toEqual({ x, y: 1 });
    expect(backend.compiled).toBe(0);
  });

  test("expressions do not hold results", async () => {
    const x = leaf(Float32Array.of(1), [1]);
    const y = add(x, 5);
    await runtime.realize(y);
    expect(() => y.data).toThrow("this tensor is an expression, not data");
  });
});

describe("axes", () => {
  test("one compiled graph serves all sizes", async () => {
    const own = new Runtime({ backend: ort });
    for (const size of [5, 1, 300, 0, 5]) {
      const n = axis("n");
      const x = vector(size, n);
      const y = await own.realize({
        total: mul(sum(x), sizeOf(n, "float32")),
        at: add(range(n), sizeOf(n)),
        pair: matmul(reshape(x, [n, 1]), reshape(x, [1, n])),
      });
      expect(y.at.toArray()).toEqual(Array.from({ length: size }, (_, i) => i + size));
      expect(y.pair.dims).toEqual([size, size]);
    }
    expect(own.compilations).toBe(1);
    await own.dispose();
  });

  test("two lengths are two axes, and one axis twice is another graph", async () => {
    const own = new Runtime({ backend: counting(reference) });
    const [n, m] = [axis("n"), axis("m")];
    const both = (a: Axis, b: Axis, size: number): Tensor => concat([vector(3, a), vector(size, b)], 0);
    expect((await own.realize(both(n, m, 4))).dims).toEqual([7]);
    await own.realize(both(m, n, 6));
    expect(own.compilations).toBe(1);
    await own.realize(both(axis("n"), axis("n"), 3));
    expect(own.compilations).toBe(1);
    await own.realize(both(n, n, 3));
    expect(own.compilations).toBe(2);
  });

  test("an axis with two sizes is an error that names it", async () => {
    const n = axis("pos");
    await expect(runtime.realize(add(vector(3, n), vector(4, n)))).rejects.toThrow(
      "axis pos has two sizes; in data[pos]:float32; expected 3; got 4",
    );
    const [a, b] = [vector(2, n), leaf(numbers(9), [9], { shape: [mulDims(n, 4)] })];
    await expect(runtime.realize({ sum: add(sum(a), sum(b)) })).rejects.toThrow(
      "axis 4·pos has two sizes; in data[4·pos]:float32; expected 8; got 9",
    );
  });

  test("a size nobody knows is an error that names it", async () => {
    for (const own of [runtime, new Runtime({ backend: reference })])
      await expect(own.realize(range(axis("pos")))).rejects.toThrow(
        "the size of axis pos is not known (give the axis a size, or feed",
      );
    expect((await runtime.realize(range(axis("pos", 3)))).toArray()).toEqual([0, 1, 2]);
  });

  test("of size 0 pass through every kind of operation", async () => {
    const [n, m] = [axis("n"), axis("m")];
    const x = leaf(new Float32Array(0), [0, 4], { shape: [n, 4] });
    const y = leaf(numbers(8), [2, 4], { shape: [m, 4] });
    const asked = {
      product: matmul(x, y, { transposeB: true }),
      inner: matmul(x, x, { transposeA: true }),
      sum: sum(x, 0),
      softmax: softmax(x),
      merged: reshape(x, [-1]),
      split: reshape(x, [n, 2, 2]),
      moved: transpose(reshape(x, [n, 2, 2]), [1, 2, 0]),
      joined: concat([x, y], 0),
      cut: slice(x, 1, 1),
      rows: gather(x, leaf(new BigInt64Array(0), [0], { shape: [m2] }), 0),
      stretched: reshape(broadcastTo(reshape(x, [n, 1, 4]), [n, m, 4]), [mulDims(n, m), 4]),
    };
    const found = await runtime.realize(asked);
    const expected = await new Runtime({ backend: reference }).realize(asked);
    for (const name of Object.keys(asked) as (keyof typeof asked)[]) {
      expect([name, found[name].dims]).toEqual([name, expected[name].dims]);
      expect(found[name].toArray()).toBeAllClose(expected[name].toArray(), 1e-6);
    }
  });
  const m2 = axis("none");
});

describe("numbers", () => {
  test("int64 beyond 2⁵³ stays exact on ONNX Runtime", async () => {
    const big = 2n ** 60n + 1n;
    const x = leaf(BigInt64Array.of(big), [1]);
    expect((await runtime.realize(add(x, 2))).data).toEqual(BigInt64Array.of(big + 2n));
  });
  test("scalars", async () => {
    const x = leaf(Float32Array.of(3), []);
    const y = await runtime.realize(mul(x, x));
    expect([y.item(), y.dims]).toEqual([9, []]);
  });
  test("float16 and bfloat16 leaves and results", async () => {
    const values = [1, -0.5, 3.140625, 65504];
    const halves = leaf(Uint16Array.from(values, numberToFloat16), [4], { dtype: "float16" });
    const brains = leaf(Uint16Array.from(values, numberToBfloat16), [4], { dtype: "bfloat16" });
    for (const own of [runtime, new Runtime({ backend: reference })]) {
      const y = await own.realize({
        half: cast(halves, "float32"),
        brain: mul(cast(brains, "float32"), 2),
        toHalf: cast(mul(cast(brains, "float32"), 0.5), "float16"),
        toBrain: cast(add(cast(halves, "float32"), 1), "bfloat16"),
      });
      expect(y.half.toArray()).toEqual(values);
      expect(y.brain.toArray()).toEqual([2, -1, 6.28125, 131072]);
      expect(y.toHalf.data).toEqual(Uint16Array.from([0.5, -0.25, 1.5703125, 32768], numberToFloat16));
      expect(y.toBrain.data).toEqual(Uint16Array.from([2, 0.5, 4.140625, 65505], numberToBfloat16));
    }
  });
  test("random numbers are the engine's own on every backend", async () => {
    const n = axis("n", 6);
    const asked = mul(randomUniform(leaf(BigInt64Array.of(5n), []), [n, 2]), 1.5);
    const expected = Float32Array.from({ length: 12 }, (_, i) => Math.fround(uniformAt(5, i) * 1.5));
    for (const own of [runtime, new Runtime({ backend: reference })])
      expect((await own.realize(asked)).data).toEqual(expected);
  });
});

describe("compiled graphs", () => {
  test("are found by structure, not by data or names", async () => {
    const own = new Runtime({ backend: counting(reference) });
    const model = (size: number, scale: number, name: string): Tensor =>
      mul(softmax(vector(size, axis(name)), 0), scale);
    await own.realize(model(3, 2, "a"));
    await own.realize(model(5, 2, "b"));
    expect(own.compilations).toBe(1);
    await own.realize(model(5, 3, "b"));
    expect(own.compilations).toBe(2);
  });

  test("the least recently used ones make room, and are disposed", async () => {
    const backend = counting(reference, 1_000_000);
    const own = new Runtime({ backend, cacheBytes: 6e6 }); // three graphs of 2 MB
    const x = leaf(Float32Array.of(1), [1]);
    const before = memory.entries().filter((e) => e.owner === "compiled graphs").length;
    const ask = async (k: number): Promise<void> => void (await own.realize(mul(x, k + 1)));
    for (const k of [1, 2, 3]) await ask(k);
    expect([backend.compiled, backend.live]).toEqual([3, 3]);
    await ask(1);
    await ask(4); // drops 2
    expect([backend.compiled, backend.live, backend.disposed]).toEqual([4, 3, 1]);
    await ask(1);
    await ask(3);
    expect(backend.compiled).toBe(4);
    await ask(2);
    expect(backend.compiled).toBe(5);
    await own.dispose();
    expect(backend.live).toBe(0);
    expect(memory.entries().filter((e) => e.owner === "compiled graphs").length).toBe(before);
  });

  test("asked for twice at once are compiled once", async () => {
    const backend = counting(reference);
    const own = new Runtime({ backend });
    const x = leaf(Float32Array.of(1), [1]);
    await Promise.all([
      own.realize(mul(x, 7)),
      own.realize(mul(x, 7)),
      own.realize(mul(leaf(Float32Array.of(2), [1]), 7)),
    ]);
    expect(backend.compiled).toBe(1);
  });

  test("are not dropped while others still run", async () => {
    const backend = counting(ort);
    const own = new Runtime({ backend, cacheBytes: 0 });
    const x = leaf(Float32Array.of(1), [1]);
    const all = await Promise.all([...Array(8).keys()].map((k) => own.realize(mul(x, (k % 3) + 2))));
    await own.dispose();
    expect(all.map((y) => y.item())).toEqual([2, 3, 4, 2, 3, 4, 2, 3]);
    expect(backend.live).toBe(0);
  });

  test("one that fails does not stop the next", async () => {
    const n = axis("n");
    const bad = runtime.realize(add(vector(2, n), vector(3, n)));
    const good = runtime.realize(add(vector(2, n), 1));
    await expect(bad).rejects.toThrow("two sizes");
    expect((await good).dims).toEqual([2]);
  });

  test("an index outside its axis is an error of the run, not a crash", async () => {
    const x = leaf(numbers(4), [4]);
    await expect(runtime.realize(gather(x, leaf(BigInt64Array.of(9n), [1])))).rejects.toThrow(
      "ONNX Runtime could not run a graph",
    );
    await expect(
      new Runtime({ backend: reference }).realize(gather(x, leaf(BigInt64Array.of(9n), [1]))),
    ).rejects.toThrow("Gather: index 9 is outside an axis of size 4");
  });
});

describe("weights", () => {
  const weight = (name = "w"): Tensor => leaf(numbers(12), [3, 4], { role: "weight", name });

  test("packed or fed, the numbers are equal", async () => {
    const own = new Runtime({ backend: ort });
    const n = axis("n", 5);
    const x = leaf(numbers(20), [5, 4], { shape: [n, 4] });
    const w = weight();
    const y = add(matmul(x, w, { transposeB: true }), sum(w));
    const fed = await own.realize(y);
    const before = memory.entries().find((e) => e.object === "graph with packed weights");
    const packed = await own.realize(y, { weights: "packed" });
    expect(packed.data).toEqual(fed.data);
    expect(before).toBeUndefined();
    expect(memory.entries().find((e) => e.object === "graph with packed weights")?.bytes).toBeGreaterThanOrEqual(
      w.data.byteLength,
    );
    expect(own.compilations).toBe(2);
    await own.dispose();
  });

  test.each([10, 300])("packed or fed, the numbers are equal: %i rows", async (rows) => {
    const own = new Runtime({ backend: ort });
    const large = (f: (i: number) => number): Tensor => leaf(numbers(rows * 200, f), [rows, 200], { role: "weight" });
    const y = matmul(matmul(leaf(numbers(400), [2, 200]), large(Math.cos), { transposeB: true }), large(Math.sin));
    const [fed, packed] = [await own.realize(y), await own.realize(y, { weights: "packed" })];
    expect(packed.toArray()).toBeAllClose(fed.toArray(), 1e-5);
    await own.dispose();
  });

  test("a packed graph is for its own weights, a fed one for all", async () => {
    const own = new Runtime({ backend: counting(reference) });
    const x = leaf(numbers(4), [1, 4]);
    const [a, b] = [
      weight(),
      leaf(
        numbers(12, (i) => i),
        [3, 4],
        { role: "weight" },
      ),
    ];
    for (const w of [a, b, a]) await own.realize(matmul(x, w, { transposeB: true }));
    expect(own.compilations).toBe(1);
    for (const w of [a, b, a]) await own.realize(matmul(x, w, { transposeB: true }), { weights: "packed" });
    expect(own.compilations).toBe(3);
  });

  test("views that move or change data are computed once, and in the ledger", async () => {
    const backend = counting(ort);
    const own = new Runtime({ backend });
    const x = leaf(numbers(4), [1, 4]);
    const w = weight("blocks.0.W");
    const ask = (k: number): Promise<Tensor> =>
      own.realize(matmul(mul(x, k), mul(slice(w, 0, 1, 3), 2), { transposeB: true }));
    const first = await ask(2);
    expect([backend.compiled, backend.live]).toEqual([2, 1]); // the view's own graph is gone again
    await collect(undefined, 3); // nobody holds the expression of the view but its weight
    const second = await ask(2);
    expect(second.data).toEqual(first.data);
    expect(backend.compiled).toBe(2);
    expect(memory.entries().filter((e) => e.owner === "weight views")).toMatchObject([
      { object: "Tensor (2, 4)", bytes: 32 },
    ]);
    await own.dispose();
  });

  test.each([0, 1, 2])("slices of weights along axis %i need no graph of their own", async (axisOf) => {
    const backend = counting(ort);
    const own = new Runtime({ backend });
    const stored = leaf(
      numbers(4 * 6 * 5, (i) => i),
      [8, 15],
      { role: "weight" },
    );
    const part = slice(reshape(stored, [4, 6, 5]), axisOf, 1, 4);
    const given = leaf(Float32Array.of(0), [1]);
    const expected = await new Runtime({ backend: reference }).realize(part);
    expect(await own.realize(add(part, given))).toMatchObject({ dims: expected.dims, data: expected.data });
    expect(backend.compiled).toBe(1);
    expect(memory.entries()).toContainEqual(
      expect.objectContaining({ owner: "weight views", bytes: expected.data.byteLength }),
    );
    await own.dispose();
  });

  test("views are let go with their weight", async () => {
    const views = (): number => memory.entries().filter((e) => e.owner === "weight views").length;
    await collect(() => views() === 0);
    const ask = async (): Promise<void> => {
      await runtime.realize(matmul(leaf(numbers(4), [1, 4]), mul(weight(), 3), { transposeB: true }));
      expect(views()).toBe(1);
    };
    await ask();
    await collect(() => views() === 0);
    expect(views()).toBe(0);
  });

  test("free views are not copied: a transpose beside a product, a reshape", async () => {
    const backend = counting(reference);
    const own = new Runtime({ backend });
    const w = weight();
    await own.realize(matmul(leaf(numbers(4), [1, 4]), transpose(reshape(reshape(w, [12]), [3, 4]))));
    expect(backend.compiled).toBe(1);
  });

  test("a weight stretched over axes is not a view: its size changes", async () => {
    const n = axis("n");
    const w = leaf(Float32Array.of(1, 2), [2], { role: "weight" });
    for (const size of [3, 5]) {
      const x = leaf(numbers(size * 2), [size, 2], { shape: [n, 2] });
      expect((await runtime.realize(add(x, broadcastTo(w, [n, 2])))).dims).toEqual([size, 2]);
    }
  });

  test("a view alone is just a result", async () => {
    expect((await runtime.realize(sum(weight(), 1))).dims).toEqual([3]);
  });
});

describe("compile", () => {
  async function scaled(own: Runtime, w: Tensor, built: { count: number }) {
    const x = placeholder([axis("batch"), 4], "float32", "x");
    return own.compile({ x }, ({ x: input }) => {
      built.count++;
      return { y: matmul(input, w, { transposeB: true }), mean: mean(input) };
    });
  }
  const w = leaf(numbers(12), [3, 4], { role: "weight" });

  test("traces and compiles once for all sizes", async () => {
    const own = new Runtime({ backend: ort });
    const built = { count: 0 };
    const run = await scaled(own, w, built);
    for (const size of [2, 7, 1]) {
      const data = numbers(size * 4, (i) => i);
      const { y, mean: average } = await run({ x: { dims: [size, 4], data } });
      expect(y.dims).toEqual([size, 3]);
      expect(average.item()).toBeCloseTo((size * 4 - 1) / 2, 5);
      const expected = await own.realize(matmul(leaf(data, [size, 4]), w, { transposeB: true }));
      expect(y.toArray()).toBeAllClose(expected.toArray(), 1e-6);
    }
    expect(built.count).toBe(1);
    await run.dispose();
    await own.dispose();
  });

  test("survives being dropped for other graphs", async () => {
    const own = new Runtime({ backend: ort, cacheBytes: 0 });
    const run = await scaled(own, w, { count: 0 });
    await own.realize(mul(w, 3));
    const { y } = await run({ x: leaf(numbers(8), [2, 4]) });
    expect(y.dims).toEqual([2, 3]);
    await run.dispose();
    expect((await run({ x: leaf(numbers(4), [1, 4]) })).y.dims).toEqual([1, 3]);
    await own.dispose();
  });

  test("results go into the next call", async () => {
    const x = placeholder([axis("n")], "float32", "x");
    const double = await runtime.compile({ x }, (inputs) => mul(inputs.x, 2));
    let y: Tensor = leaf(Float32Array.of(1, 3), [2]);
    for (let i = 0; i < 3; i++) y = await double({ x: y });
    expect(y.data).toEqual(Float32Array.of(8, 24));
  });

  test("wrong arguments are errors that name them", async () => {
    const run = await scaled(runtime, w, { count: 0 });
    await expect(run({} as { x: Tensor })).rejects.toThrow(
      "a compiled function was called without an argument; expected x",
    );
    await expect(run({ x: leaf(numbers(6), [2, 3]) })).rejects.toThrow(
      "argument x does not fit; expected x[batch, 4]:float32; got Float32Array [2, 3]",
    );
    await expect(run({ x: leaf(new Int32Array(4), [1, 4]) })).rejects.toThrow("argument x does not fit");
    const stray = placeholder([1], "float32", "stray");
    const x = placeholder([1], "float32", "x");
    await expect(runtime.compile({ x }, () => add(x, stray))).rejects.toThrow(
      "uses a placeholder that is not among its inputs",
    );
    await expect(runtime.realize(add(x, 1))).rejects.toThrow("x is a placeholder and has no data");
  });
});

describe("abort", () => {
  test("before the run, and while it waits", async () => {
    const x = leaf(Float32Array.of(1), [1]);
    await expect(runtime.realize(mul(x, 2), { signal: AbortSignal.abort() })).rejects.toThrow("aborted");
    const controller = new AbortController();
    const first = runtime.realize(mul(x, 3));
    const second = runtime.realize(mul(x, 4), { signal: controller.signal });
    controller.abort(new Error("enough"));
    expect((await first).item()).toBe(3);
    await expect(second).rejects.toThrow("enough");
  });
});

describe("determinism", () => {
  const count = 40_000;
  const [width, size] = [8, 50];
  const updates = leaf(
    numbers(count * width, (i) => Math.sin(i * 1.7) * 10 ** (i % 7)),
    [count, width],
  );
  const index = leaf(
    BigInt64Array.from({ length: count }, (_, i) => BigInt((i * i) % size)),
    [count],
  );
  const wide = leaf(
    BigInt64Array.from({ length: count * width }, (_, i) => BigInt((i * 31) % size)),
    [count, width],
  );
  const batched = leaf(updates.data, [4, count / 4, width]);
  const lists = leaf(BigInt64Array.from(index.data as BigInt64Array), [4, count / 4]);
  const sums: { readonly [name: string]: Tensor } = {
    addRows: addRows(updates, index, 0, size),
    scatterAdd: scatterAdd(updates, wide, 0, size),
    scatterNDAdd: scatterNDAdd(updates, reshape(index, [count, 1]), [size, width]),
    putRows: putRows(batched, lists, size),
    sum: sum(updates, 0),
    product: matmul(updates, updates, { transposeA: true }),
    softmax: softmax(reshape(updates, [-1])),
  };
  for (const [name, y] of Object.entries(sums))
    test(`${name}: three runs on two threads, equal bits`, async () => {
      const runs = [await runtime.realize(y), await runtime.realize(y), await runtime.realize(sub(y, 0))];
      expect(runs[1]!.data).toEqual(runs[0]!.data);
      expect(runs[2]!.data).toEqual(runs[0]!.data);
    });
});
