/** @file Row 12: peak resident size of load + four analyses at GPT-2-small's shape, whatever the number of latents. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { analyzeBatch } from "../src/analysis/run/batch.ts";
import { gpt2Small, HookedModel, hookZSaes, randomIds, report } from "./lib.ts";

const active = process.argv[2];
if (active !== undefined) {
  const model = HookedModel.fromConfig(gpt2Small, { seed: 1 });
  const saes = await hookZSaes(model, Number(active));
  let pairs = 0;
  for (let i = 0; i < 3; i++) {
    const tokens = randomIds(2, 262).flat();
    const result = await analyzeBatch(model, saes, {
      index: i,
      dims: [2, 262],
      tokens,
      mask: tokens.map(() => 1),
      answerIndices: [261, 261],
      labels: [0, 1],
      classes: 2,
      answerIds: [5297, 2949, 5297, 2949],
      examples: [2 * i, 2 * i + 1],
    });
    pairs += result.logit_diffs_attr_ablation!.latents.length;
  }
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
  console.log(JSON.stringify({ pairs, peak }));
} else {
  const measure = (n: number): { pairs: number; peak: number } =>
    JSON.parse(
      spawnSync(process.execPath, [fileURLToPath(import.meta.url), String(n)], { encoding: "utf8" }).stdout,
    ) as { pairs: number; peak: number };
  const [few, many] = [measure(7), measure(667)];
  const gb = (x: number): string => `${(x / 1e9).toFixed(2)} GB`;
  for (const { pairs, peak } of [few, many])
    report({
      row: 12,
      what: `peak RSS, load + four analyses, ${Math.round(pairs / 3)} pairs a batch`,
      ours: gb(peak),
      theirs: "4.45 GB gradient, 6.4 GB ablation (recorded)",
      ratio: 4.45e9 / peak,
      bar: "≤ 2 GB",
      holds: peak <= 2e9,
    });
}
