/** Attention that nobody looks into is one operator, and its numbers are those of the attention that is written out. */
import { describe, expect, test } from "vitest";
import {
  add,
  axis,
  constant,
  leaf,
  lessEqual,
  matmul,
  mul,
  placeholder,
  range,
  reshape,
  select,
  softmax,
  sum,
  transpose,
  where,
  type Dim,
  type Tensor,
} from "../src/graph/index.ts";
import { HookedModel, tokenBatch, type ModelConfigInput, type TokenBatch } from "../src/model/index.ts";
import { provenanceOf, reference, Runtime } from "../src/runtime/index.ts";
import { describeWithGoldens, goldenTensors, sharedPath } from "./support/goldens.ts";
import { goldenBatch, numbersOf, padded } from "./support/model.ts";
import { notCausal, randomModel, shapes } from "./support/random.ts";

const fusing = new Runtime({ threads: 1 });
const plain = new Runtime({ threads: 1, fuse: false });
const exact = new Runtime({ backend: reference });

const wide = (cfg: ModelConfigInput): ModelConfigInput => ({ ...cfg, d_head: 8 });
const at = (model: HookedModel, runtime: Runtime): HookedModel =>
  new HookedModel({ cfg: model.cfg, weights: model.weights, runtime });
const fusedIn = (x: Tensor): number | undefined => provenanceOf(x)?.fusedAttention;

const rows = [
  [3, 1, 4, 1, 5, 9, 2],
  [2, 7, 1],
  [8, 28, 18, 2, 8],
];
const equal = rows.map((row) => [...row, ...row].slice(0, 6));
const batches: { readonly [name: string]: TokenBatch } = {
  "one row": tokenBatch(equal.slice(0, 1)),
  "rows of one length": tokenBatch(equal),
  "left padding": tokenBatch(padded(rows, "left", 0).ids, { mask: padded(rows, "left", 0).mask }),
  "right padding": tokenBatch(padded(rows, "right", 0).ids, { mask: padded(rows, "right", 0).mask }),
};

describe.each(Object.keys(shapes))("a model of %s's shape", (shape) => {
  const model = randomModel(wide(shapes[shape]!), 5);
  test.each(Object.keys(batches))(
    "%s: every layer is fused; written out and in float64 it is the same",
    async (name) => {
      const batch = batches[name]!;
      const [fused, written, oracle] = await Promise.all(
        [fusing, plain, exact].map(async (runtime) => at(model, runtime).run(batch)),
      );
      expect([fused!, written!, oracle!].map(fusedIn)).toEqual([3, 0, 0]);
      expect(numbersOf(fused!)).toBeAllClose(numbersOf(written!), 1e-5);
      expect(numbersOf(fused!)).toBeAllClose(numbersOf(oracle!), 1e-5);
    },
  );

  test("hooks around it stay what they are", async () => {
    const names = ["blocks.*.hook_q", "blocks.*.hook_v", "blocks.*.hook_z", "blocks.*.hook_resid_post"];
    const [fused, written] = await Promise.all(
      [fusing, plain].map(async (runtime) => at(model, runtime).runWithCache(batches["left padding"]!, { names })),
    );
    expect(fused!.cache.names.length).toBeGreaterThanOrEqual(12);
    for (const [name, x] of fused!.cache) {
      expect(fusedIn(x)).toBe(3);
      expect(numbersOf(x), name).toBeAllClose(numbersOf(written!.cache.get(name)), 1e-5);
    }
  });
});

describe("attention is written out where somebody looks into it", () => {
  const model = at(randomModel(wide(shapes["gpt2"]!), 6), fusing);
  const batch = batches["rows of one length"]!;
  test.each(["hook_pattern", "hook_attn_scores"])("%s is asked for in one layer", async (point) => {
    const { cache, logits } = await model.runWithCache(batch, { names: `blocks.1.attn.${point}` });
    expect(fusedIn(logits)).toBe(2);
    expect(cache.names).toHaveLength(1);
  });
  test("scores are hooked", async () => {
    const hooks = [{ filter: "blocks.0.attn.hook_attn_scores", hook: (x: Tensor) => mul(x, 2) }];
    expect(fusedIn(await model.run(batch, { hooks }))).toBe(2);
  });
  test("a gradient passes it", async () => {
    const { hooks } = await model.gradients(batch, ({ logits }) => sum(select(logits, 1, -1)), {
      names: "blocks.1.hook_resid_pre",
    });
    expect(fusedIn(hooks["blocks.1.hook_resid_pre"]!)).toBe(1);
  });
  test("only the last position is asked for", async () => {
    expect(fusedIn(await model.run(batch, ({ logits }) => select(logits, 1, -1)))).toBe(2);
  });
  test.each(Object.keys(notCausal))("%s", async (name) => {
    expect(fusedIn(await at(randomModel(wide(notCausal[name]!), 7), fusing).run(batch))).toBe(0);
  });
  test("heads are not a multiple of eight long", async () => {
    expect(fusedIn(await at(randomModel(shapes["gpt2"]!, 7), fusing).run(batch))).toBe(0);
  });
});

/** Attention of x [batch, pos, 16] over itself, two heads, as the model writes it. */
function attend(x: Tensor): Tensor {
  const [batch, pos] = x.shape as [Dim, Dim];
  const heads = transpose(reshape(x, [batch, pos, 2, 8]), [0, 2, 1, 3]);
  const [key, query] = [reshape(range(pos), [1, 1, 1, pos]), reshape(range(pos), [1, 1, pos, 1])];
  const bias = where(lessEqual(key, query), constant(0), constant(-Infinity));
  const pattern = softmax(add(matmul(heads, heads, { transposeB: true }), bias), -1);
  return transpose(matmul(pattern, heads), [0, 2, 1, 3]); // [batch, pos, 2, 8]
}

test.each([
  [0, 3],
  [2, 0],
])("%i rows of %i positions are computed without the operator, which would take the process down", async (b, p) => {
  const axes = [axis("batch"), axis("pos"), 16] as const;
  const data = (rows: number, length: number): Tensor =>
    leaf(new Float32Array(rows * length * 16).fill(0.3), [rows, length, 16], { shape: axes });
  const x = placeholder(axes, "float32", "x");
  const run = await fusing.compile({ x }, (inputs) => attend(inputs.x));
  const some = await run({ x: data(2, 3) });
  const none = await run({ x: data(b, p) });
  expect([some, none].map((y) => [y.dims, fusedIn(y)])).toEqual([
    [[2, 3, 2, 8], 1],
    [[b, p, 2, 8], 0],
  ]);
  const realized = await fusing.realize(attend(data(b, p)));
  expect([realized.dims, fusedIn(realized)]).toEqual([[b, p, 2, 8], 0]);
});

const families = { gpt2: 3, "llama-gqa": 3, qwen2: 3, "mistral-window": 3, "gpt-neox-parallel": 3, gemma2: 0 };
describe.each(Object.entries(families))("%s", (family, layers) => {
  const folder = `goldens/families/${family}`;
  const activations = `goldens/hooked/${family}/raw.activations.safetensors`;
  describeWithGoldens("fused, against TransformerLens", [folder, activations], () => {
    test("logits", async () => {
      const model = await HookedModel.load(sharedPath(folder), { runtime: fusing });
      const golden = await goldenTensors(sharedPath(activations));
      const batch = goldenBatch(golden);
      const logits = await model.run(batch);
      expect(fusedIn(logits)).toBe(layers);
      expect(numbersOf(logits)).toBeAllClose(golden.numbers("logits"));
      expect(numbersOf(logits)).toBeCloseToLargest(numbersOf(await at(model, plain).run(batch)), 1e-5);
      model.dispose();
    });
  });
});
