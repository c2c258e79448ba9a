/**
 * @file Training steps of SAEs (losses, gradients, clipping, Adam, firing statistics) against SAELens' trainer, batch 4096,
 * d_in 768. With `PEERS_PYTHON=<python that has sae_lens>` SAELens runs right after each of ours.
 *
 * `SAE_BENCH=topk:24576,standard:6144` runs a part of it.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { uniformAt } from "../src/graph/index.ts";
import { Runtime } from "../src/runtime/index.ts";
import { denseLearner } from "../src/train/sae/denseLearner.ts";
import { parseTrainedSae } from "../src/train/sae/config.ts";
import { initialParameters } from "../src/train/sae/init.ts";
import { sparseLearner, trainsSparsely } from "../src/train/sae/sparse/learner.ts";
import { report, timed } from "./lib.ts";

const tokens = 4096;
const dIn = 768;
const bars: Readonly<Record<string, number>> = { standard: 1.8, jumprelu: 1.8, topk: 5, batchtopk: 5 };
const chosen = (
  process.env["SAE_BENCH"] ??
  Object.keys(bars)
    .flatMap((a) => [`${a}:6144`, `${a}:24576`])
    .join(",")
)
  .split(",")
  .map((item) => item.split(":") as [string, string]);

/** Gaussian enough: sums of four uniforms. */
function normal(size: number, seed: number): Float32Array {
  const out = new Float32Array(size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < 4; j++) out[i]! += (uniformAt(seed, 4 * i + j) - 0.5) * Math.sqrt(3);
  return out;
}

/** Seconds of a step of SAELens' trainer; undefined where it is not set up. */
function peer(architecture: string, dSae: string): number | undefined {
  const python = process.env["PEERS_PYTHON"];
  if (python === undefined) return undefined;
  const script = join(import.meta.dirname, "../../../bench/peers/saeTraining.py");
  const args = ["train", "--archs", architecture, "--d-sae", dSae, "--batch", String(tokens), "--d-in", String(dIn)];
  const { stdout, stderr, status } = spawnSync(python, [script, ...args], { encoding: "utf8" });
  if (status === 0) return (JSON.parse(stdout.trim().split("\n").at(-1)!) as { seconds: number }).seconds;
  process.stderr.write(`SAELens: ${stderr.trim().split("\n").at(-1) ?? "failed"}\n`);
  return undefined;
}

const x = normal(tokens * dIn, 2);
for (const [architecture, dSae] of chosen) {
  const cfg = parseTrainedSae({ architecture, dIn, dSae: Number(dSae), k: 64 });
  const runtime = new Runtime();
  const options = { tokens, runtime, adam: { betas: [0.9, 0.999], eps: 1e-8 } } as const;
  const make = trainsSparsely(cfg, tokens) ? sparseLearner : denseLearner;
  const learner = await make(cfg, initialParameters(cfg, 0), options);
  const step = (): Promise<unknown> => learner.step({ x, target: x, lr: 3e-4, coefficient: 1 });
  const { median } = await timed(step, { repeat: 3, warmup: 1 });
  await learner.dispose();
  await runtime.dispose();
  const theirs = peer(architecture, dSae);
  const seconds = median / 1000;
  const rate = (s: number): string => `${Math.round(tokens / s)} tokens/s`;
  const ratio = theirs === undefined ? null : theirs / seconds;
  const bar = bars[architecture]!;
  // The bar of the top-k kinds is for the wide SAE.
  const counts = bar < 5 || dSae === "24576";
  report({
    row: 5,
    what: `SAE training step, ${architecture}, d_sae ${dSae}`,
    ours: rate(seconds),
    theirs: theirs === undefined ? "not set up" : `${rate(theirs)} (SAELens)`,
    ratio,
    bar: counts ? `≥ ${bar}×` : "",
    holds: ratio === null || !counts ? null : ratio >= bar,
  });
}
