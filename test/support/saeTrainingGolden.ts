/** @file Goldens of SAE training: three steps of SAELens' trainer for each architecture. */
import { readFileSync } from "node:fs";
import { parseTrainedSae, type TrainedSaeConfig } from "../../src/train/sae/config.ts";
import { sharedPath } from "./goldens.ts";
import { goldenTensors, type GoldenTensors } from "./saeGolden.ts";

export const saeTrainingCases = [
  "standard-l1",
  "standard-l1-warm-up-lp",
  "standard-no-input-bias",
  "gated",
  "jumprelu-step",
  "jumprelu-tanh-pre-act",
  "jumprelu-quadratic",
  "topk",
  "topk-unscaled-no-dead",
  "batchtopk",
  "matryoshka-batchtopk",
  "matryoshka-batchtopk-own-aux",
] as const;

export interface GoldenStep {
  readonly loss: number;
  readonly losses: Readonly<Record<string, number>>;
  readonly coefficients: Readonly<Record<string, number>>;
  readonly learning_rate: number;
  readonly gradient_norm_before_clipping: number;
  readonly l0: number;
}

export interface SaeTrainingGolden {
  readonly cfg: TrainedSaeConfig;
  readonly lr: number;
  readonly deadFeatureWindow: number;
  readonly steps: readonly GoldenStep[];
  readonly tensors: GoldenTensors;
  /** Parameters before the first step. */
  readonly start: ReadonlyMap<string, { dims: readonly number[]; data: Float32Array }>;
}

interface GoldenJson {
  readonly config: Readonly<Record<string, unknown>>;
  readonly trainer: { readonly lr: number; readonly dead_feature_window: number };
  readonly steps: readonly GoldenStep[];
}

export async function saeTrainingGolden(name: string): Promise<SaeTrainingGolden> {
  const folder = sharedPath(`goldens/sae-training/${name}`);
  const json = JSON.parse(readFileSync(`${folder}/golden.json`, "utf8")) as GoldenJson;
  const tensors = await goldenTensors(`${folder}/golden.safetensors`);
  const { dtype, device, reshape_activations, metadata, use_sparse_activations, ...own } = json.config;
  void [dtype, device, reshape_activations, metadata, use_sparse_activations];
  const cfg = parseTrainedSae(own);
  const start = startOf(tensors, json.trainer.lr, json.steps.length);
  if (cfg.preActLossCoefficient !== null)
    readClampedThreshold(tensors, start, json.steps[0]!.losses["pre_act_loss"]! / cfg.preActLossCoefficient);
  return {
    cfg,
    lr: json.trainer.lr,
    deadFeatureWindow: json.trainer.dead_feature_window,
    steps: json.steps,
    tensors,
    start,
  };
}

/**
 * A threshold that fell below 0 on the way was set to 0 there, which cannot be undone: where latent 0 started is read off
 * the recorded loss, Σ relu(threshold − pre)·‖W_dec‖ over dead latents, which is linear in it.
 */
function readClampedThreshold(tensors: GoldenTensors, start: SaeTrainingGolden["start"], recorded: number): void {
  const pre = tensors.get("step0.hidden_pre")!;
  const [tokens, latents] = pre.dims as [number, number];
  const dead = tensors.get("step0.dead_mask")!.data;
  const { data: W_dec, dims } = start.get("W_dec")!;
  const width = dims[1]!;
  const threshold = start.get("threshold")!.data;
  let [loss, slope] = [0, 0];
  for (let j = 0; j < latents; j++) {
    const norm = Math.sqrt(W_dec.subarray(j * width, (j + 1) * width).reduce((sum, w) => sum + w * w, 0));
    for (let n = 0; n < tokens; n++) {
      const below = threshold[j]! - pre.data[n * latents + j]!;
      if (below > 0) loss += (below * dead[j]! * norm) / tokens;
      if (below > 0 && j === 0) slope += norm / tokens;
    }
  }
  threshold[0]! -= (loss - recorded) / slope;
}

/**
 * The files' `init.*` and `step<i>.param.*` all hold the parameters after the last step. Those before the first are the
 * same minus what Adam did with the recorded gradients, in float64.
 */
function startOf(tensors: GoldenTensors, lr: number, steps: number): SaeTrainingGolden["start"] {
  const names = [...tensors.keys()].filter((name) => name.startsWith("init.")).map((name) => name.slice(5));
  const gradient = (step: number, name: string): Float32Array => tensors.get(`step${step}.grad.${name}`)!.data;
  const clip = Array.from({ length: steps }, (_, step) => {
    const norm = Math.sqrt(names.reduce((sum, name) => sum + gradient(step, name).reduce((s, g) => s + g * g, 0), 0));
    return Math.min(1, 1 / (norm + 1e-6));
  });
  return new Map(
    names.map((name) => {
      const { dims, data } = tensors.get(`init.${name}`)!;
      const start = Float32Array.from(data, (end, i) => {
        let [m, v, moved] = [0, 0, 0];
        for (let step = 0; step < steps; step++) {
          const g = gradient(step, name)[i]! * clip[step]!;
          m = 0.9 * m + 0.1 * g;
          v = 0.999 * v + 0.001 * g * g;
          moved += (lr * (m / (1 - 0.9 ** (step + 1)))) / (Math.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8);
        }
        return end + moved;
      });
      return [name, { dims, data: start }];
    }),
  );
}
