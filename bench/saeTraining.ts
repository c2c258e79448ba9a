/**
 * @file Training steps of SAEs (losses, gradients, clipping, Adam, firing statistics) against SAELens' trainer, batch 4096,
 * d_in 768. With `PEERS_PYTHON=<python that has sae_lens>` SAELens runs right after each of ours.
 *
 * Standard and JumpReLU also with biases or thresholds at which 64 latents of a token are active, as after some training:
 * the peer's step takes as long as at the start then.
 *
 * `SAE_BENCH=topk:24576,standard:6144,standard:6144:64` runs a part of it.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { uniformAt } from "../src/graph/index.ts";
import { Runtime } from "../src/runtime/index.ts";
import type { SaeArrays } from "../src/sae/index.ts";
import { denseLearner } from "../src/train/sae/denseLearner.ts";
import { parseTrainedSae } from "../src/train/sae/config.ts";
import { initialParameters } from "../src/train/sae/init.ts";
import { sparseLearner, trainsSparsely } from "../src/train/sae/sparse/learner.ts";
import { thinsOut } from "../src/train/sae/sparse/thresholdLearner.ts";
import { thinningLearner } from "../src/train/sae/thinningLearner.ts";
import { report, timed } from "./lib.ts";

const tokens = 4096;
const dIn = 768;
const bars: Readonly<Record<string, number>> = { standard: 1.8, jumprelu: 1.8, topk: 5, batchtopk: 5 };
const chosen = (
  process.env["SAE_BENCH"] ??
  Object.keys(bars)
    .flatMap((a) => [`${a}:6144`, `${a}:24576`, ...(a.endsWith("topk") ? [] : [`${a}:6144:64`, `${a}:24576:64`])])
    .join(",")
)
  .split(",")
  .map((item) => item.split(":") as [string, string, string | undefined]);

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

/** Sets biases or thresholds so that about `active` latents of a token are active, going by some tokens and latents. */
function thinOut(start: SaeArrays, dSae: number, active: number): SaeArrays {
  const seen: number[] = [];
  for (let t = 0; t < 64; t++)
    for (let j = 0; j < 256; j++) {
      let pre = 0;
      for (let i = 0; i < dIn; i++) pre += x[t * dIn + i]! * start["W_enc"]!.data[i * dSae + j]!;
      seen.push(pre);
    }
  const least = seen.sort((a, b) => b - a)[Math.round((seen.length * active) / dSae)]!;
  const [name, value] = start["threshold"] === undefined ? ["b_enc", -least] : ["threshold", least];
  return { ...start, [name]: { dims: [dSae], data: new Float32Array(dSae).fill(value) } };
}

const x = normal(tokens * dIn, 2);
for (const [architecture, dSae, active] of chosen) {
  const cfg = parseTrainedSae({ architecture, dIn, dSae: Number(dSae), k: 64 });
  const runtime = new Runtime();
  const options = { tokens, runtime, adam: { betas: [0.9, 0.999], eps: 1e-8 } } as const;
  const make = trainsSparsely(cfg, tokens) ? sparseLearner : thinsOut(cfg, tokens) ? thinningLearner : denseLearner;
  const start = initialParameters(cfg, 0);
  const learner = await make(cfg, active === undefined ? start : thinOut(start, cfg.dSae, Number(active)), options);
  const l0: number[] = [];
  const step = async (): Promise<void> => {
    const { fired } = await learner.step({ x, target: x, lr: 3e-5, coefficient: 0 });
    l0.push(fired.reduce((sum, n) => sum + n, 0) / tokens);
  };
  const { median } = await timed(step, { repeat: 3, warmup: 2 });
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
    what: `SAE training step, ${architecture}, d_sae ${dSae}, ${Math.round(l0.at(-1)!)} latents of a token active`,
    ours: rate(seconds),
    theirs: theirs === undefined ? "not set up" : `${rate(theirs)} (SAELens)`,
    ratio,
    bar: counts ? `≥ ${bar}×` : "",
    holds: ratio === null || !counts ? null : ratio >= bar,
  });
}
