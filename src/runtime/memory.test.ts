import { describe, expect, test } from "vitest";
import { collect } from "../../test/support/collect.ts";
import {
  add,
  axis,
  gather,
  gelu,
  gradients,
  leaf,
  matmul,
  mul,
  reshape,
  slice,
  softmax,
  sum,
  transpose,
  type Dim,
  type Tensor,
} from "../graph/index.ts";
import { memory, Runtime } from "./index.ts";

const [width, vocabulary, heads, batch] = [64, 4000, 4, 4];
const weight = (...dims: number[]): Tensor =>
  leaf(new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(0.01), dims, { role: "weight" });
const embedding = weight(vocabulary, width);
const layers = Array.from({ length: 2 }, () => ({
  qkv: weight(width, 3 * width),
  out: weight(width, width),
  up: weight(width, 4 * width),
  down: weight(4 * width, width),
}));

/** Logits [batch, pos, vocabulary], 8 MB at 128 positions, and every layer's heads. */
function forward(tokens: Tensor): { logits: Tensor; z: Tensor[] } {
  const [rows, pos] = tokens.shape as [Dim, Dim];
  const split = (x: Tensor): Tensor => transpose(reshape(x, [rows, pos, heads, width / heads]), [0, 2, 1, 3]);
  let x = gather(embedding, tokens);
  const z = layers.map(({ qkv, out, up, down }) => {
    const all = matmul(x, qkv);
    const [q, k, v] = [0, 1, 2].map((i) => split(slice(all, 2, i * width, (i + 1) * width)));
    const mixed = transpose(matmul(softmax(matmul(q!, k!, { transposeB: true })), v!), [0, 2, 1, 3]);
    x = add(x, matmul(reshape(mixed, [rows, pos, width]), out));
    x = add(x, matmul(gelu(matmul(x, up)), down));
    return mixed;
  });
  return { logits: matmul(x, embedding, { transposeB: true }), z };
}

function tokens(pos: number): Tensor {
  return leaf(new BigInt64Array(batch * pos), [batch, pos], { shape: [axis("batch"), axis("pos")] });
}

/** Resident memory of the process once garbage is gone. */
async function resident(): Promise<number> {
  await collect(undefined, 4);
  return process.memoryUsage.rss() / 1e6;
}

/** Memory is level when it grows by less than this after the warm-up; one set of results is 8 MB. */
const megabytes = 64;

describe("memory is level", () => {
  test("over 200 analyses of changing lengths", async () => {
    const runtime = new Runtime({ threads: 1 });
    const analyses = [
      (t: Tensor) => forward(t).logits,
      (t: Tensor) => forward(t).z,
      (t: Tensor) => slice(forward(t).logits, 1, -1),
      (t: Tensor) => {
        const { logits, z } = forward(t);
        return gradients(sum(slice(logits, 1, -1)), z);
      },
    ];
    const lengths = (i: number): number => 8 + ((i * 37) % 121);
    let start = 0;
    for (let i = 0; i < 240; i++) {
      if (i === 40) start = await resident();
      await runtime.realize(analyses[i % analyses.length]!(tokens(lengths(i))));
    }
    expect((await resident()) - start).toBeLessThan(megabytes);
    expect(runtime.compilations).toBe(analyses.length);
    await runtime.dispose();
  });

  test("over 120 graphs that make room for each other", async () => {
    const runtime = new Runtime({ threads: 1, cacheBytes: 4e6 });
    const input = tokens(64);
    let start = 0;
    for (let i = 0; i < 150; i++) {
      if (i === 30) start = await resident();
      await runtime.realize(mul(forward(input).logits, i + 2), { weights: "packed" });
    }
    expect((await resident()) - start).toBeLessThan(megabytes);
    await runtime.dispose();
  });

  test("results leave the ledger with their data", async () => {
    const runtime = new Runtime({ threads: 1 });
    const results = (): number => memory.entries().filter((e) => e.owner === "results").length;
    const before = results();
    let held: Tensor | undefined = await runtime.realize(forward(tokens(16)).logits);
    expect(results()).toBeGreaterThan(0);
    expect(memory.entries().some((e) => e.owner === "results" && e.bytes === held!.data.byteLength)).toBe(true);
    held = undefined;
    await collect(() => results() <= before);
    expect(results()).toBeLessThanOrEqual(before);
    await runtime.dispose();
  });
});
