/** @file Row 7: how much of the machine's matrix-product rate a whole forward pass reaches. */
import { leaf, matmul } from "../src/graph/index.ts";
import { Runtime } from "../src/runtime/index.ts";
import { forwardFlops, gpt2Small, HookedModel, randomIds, report, timed } from "./lib.ts";

/** Best of three large products with packed weights, GFLOP/s. */
export async function gemmPeak(runtime: Runtime): Promise<number> {
  let best = 0;
  for (const [m, k, n] of [
    [1024, 1024, 1024],
    [1024, 768, 3072],
    [1024, 3072, 4096],
  ] as const) {
    const a = leaf(new Float32Array(m * k).fill(0.5), [m, k]);
    const w = leaf(new Float32Array(k * n).fill(0.25), [k, n], { role: "weight" });
    const product = matmul(a, w);
    const { min } = await timed(() => runtime.realize(product, { weights: "packed" }), { repeat: 15 });
    best = Math.max(best, (2 * m * k * n) / min / 1e6);
  }
  return best;
}

const runtime = new Runtime();
const model = HookedModel.fromConfig(gpt2Small, { seed: 1, runtime });
const bars = { packed: { 1024: 0.85, 128: 0.8 }, fed: { 1024: 0.75, 128: 0.68 } } as const;
for (const weights of ["packed", "fed"] as const)
  for (const [batch, length] of [
    [1, 1024],
    [2, 128],
  ] as const) {
    const ids = model.batch(randomIds(batch, length));
    const before = await gemmPeak(runtime);
    const { min } = await timed(() => model.run(ids, { weights }), { repeat: 7 });
    const peak = Math.max(before, await gemmPeak(runtime));
    const rate = forwardFlops(batch, length) / min / 1e6;
    const bar = bars[weights][length];
    report({
      row: 7,
      what: `GEMM share, forward [${batch},${length}], weights ${weights}`,
      ours: `${rate.toFixed(0)} GFLOP/s`,
      theirs: `${peak.toFixed(0)} GFLOP/s (peak)`,
      ratio: rate / peak,
      bar: `≥ ${bar}`,
      holds: rate / peak >= bar,
    });
  }
await runtime.dispose();
