/** @file One SAE in training: its learner, schedules, statistics of its latents, and all that must be resumed. */
import type { JsonObject } from "../../formats/index.ts";
import type { Runtime } from "../../runtime/index.ts";
import type { SaeArrays } from "../../sae/index.ts";
import { TrainError } from "../errors.ts";
import { denseLearner } from "./denseLearner.ts";
import { initialParameters } from "./init.ts";
import { kinds } from "./kinds.ts";
import type { SaeLearner, SaeStepResult } from "./learner.ts";
import { batchTopKCount } from "./losses.ts";
import { scheduledSteps, type SaeOfRun, type SaeTrainingOptions } from "./options.ts";
import type { TrainedState } from "./save.ts";
import { saeSchedule, sparsityCoefficient } from "./schedule.ts";
import { sparseLearner, trainsSparsely } from "./sparse/learner.ts";
import { thinsOut } from "./sparse/thresholdLearner.ts";
import { thinningLearner } from "./thinningLearner.ts";

/** What is logged of a step, by SAELens' names. */
export type SaeMetrics = Readonly<Record<string, number>>;

/** A trainer as a checkpoint holds it. */
export interface TrainerState {
  readonly tensors: SaeArrays;
  readonly record: JsonObject;
}

export interface SaeTrainer {
  readonly sae: SaeOfRun;
  /** Steps taken. */
  readonly steps: number;
  /** @param x [tokens, d_in] @param target [tokens, d_out], `x` itself but for a transcoder */
  step(x: Float32Array, target: Float32Array): Promise<SaeMetrics>;
  /** Activations are multiplied by it; set before the first step. */
  scalingFactor: number;
  trained(metadata: Readonly<Record<string, unknown>>): TrainedState;
  /** log10 of the share of tokens on which each latent fired, [d_sae]. */
  sparsity(): Float32Array;
  state(): TrainerState;
  restore(state: TrainerState): Promise<void>;
  dispose(): Promise<void>;
}

const makeLearner = (
  sae: SaeOfRun,
  start: SaeArrays,
  options: SaeTrainingOptions,
  runtime: Runtime,
): Promise<SaeLearner> | SaeLearner => {
  const tokens = options.trainBatchSizeTokens;
  if (kinds[sae.architecture].ranks === "batch" && batchTopKCount(sae, tokens) === 0)
    throw new TrainError("no latent would ever be active", {
      code: "train/sae-config",
      where: "k",
      expected: `at least 1 / ${tokens}, one latent a batch`,
      received: String(sae.k),
    });
  const adam = { betas: [options.adamBeta1, options.adamBeta2] as const, eps: options.adamEps };
  const make = trainsSparsely(sae, tokens) ? sparseLearner : thinsOut(sae, tokens) ? thinningLearner : denseLearner;
  return make(sae, start, { tokens, runtime, adam });
};

/** Σ over features of the variance over tokens of x [tokens, width]. */
function totalVariance(x: Float32Array, width: number): number {
  const tokens = x.length / width;
  const means = new Float64Array(width);
  let squares = 0;
  for (let at = 0; at < x.length; at += width)
    for (let c = 0; c < width; c++) {
      const value = x[at + c]!;
      means[c]! += value;
      squares += value * value;
    }
  return squares / tokens - means.reduce((sum, m) => sum + (m / tokens) ** 2, 0);
}

const scaled = (x: Float32Array, factor: number): Float32Array => (factor === 1 ? x : x.map((value) => value * factor));

/** @param seed of its parameters */
export async function saeTrainer(
  sae: SaeOfRun,
  options: SaeTrainingOptions,
  { runtime, seed }: { runtime: Runtime; seed: number },
): Promise<SaeTrainer> {
  const { dSae, dOut } = sae;
  const learner = await makeLearner(sae, initialParameters(sae, seed), options, runtime);
  const schedule = saeSchedule(options, scheduledSteps(options));
  let steps = 0;
  let scalingFactor = 1;
  let topkThreshold = 0;
  /** Steps since each latent fired. */
  const silent = new Float32Array(dSae);
  /** Tokens on which each latent fired in this window, and tokens of the window. */
  const fired = new Float64Array(dSae);
  let sampled = 0;

  const isDead = (steps: number): boolean => steps > options.deadFeatureWindow;
  const count = (values: ArrayLike<number>, test: (value: number) => boolean): number => {
    let n = 0;
    for (let i = 0; i < values.length; i++) if (test(values[i]!)) n++;
    return n;
  };

  function observe({ fired: now, smallest }: SaeStepResult): void {
    if (steps > 0 && steps % options.featureSamplingWindow === 0) {
      fired.fill(0);
      sampled = 0;
    }
    for (let j = 0; j < dSae; j++) {
      silent[j] = now[j]! > 0 ? 0 : silent[j]! + 1;
      fired[j]! += now[j]!;
    }
    sampled += options.trainBatchSizeTokens;
    const rate = sae.topkThresholdLr;
    if (smallest !== undefined) topkThreshold = (1 - rate) * topkThreshold + rate * smallest;
  }

  const trainer: SaeTrainer = {
    sae,
    get steps() {
      return steps;
    },
    get scalingFactor() {
      return scalingFactor;
    },
    set scalingFactor(factor) {
      scalingFactor = factor;
    },
    step: async (given, wanted) => {
      const x = scaled(given, scalingFactor);
      const target = wanted === given ? x : wanted;
      const anyDead = silent.some(isDead);
      const dead = anyDead ? Float32Array.from(silent, (n) => (isDead(n) ? 1 : 0)) : undefined;
      const coefficient = sparsityCoefficient(sae, steps);
      const lr = schedule.rates[0]!;
      const result = await learner.step({ x, target, lr, coefficient, dead });
      observe(result);
      schedule.step();
      steps++;
      const tokens = options.trainBatchSizeTokens;
      const terms = Object.entries(result.terms).map(([name, value]) => [`losses/${name}`, value]);
      return {
        "losses/overall_loss": result.loss,
        ...(Object.fromEntries(terms) as SaeMetrics),
        "metrics/explained_variance": 1 - result.terms["mse_loss"]! / totalVariance(target, dOut),
        "metrics/l0": result.fired.reduce((a, b) => a + b, 0) / tokens,
        ...(kinds[sae.architecture].ranks === "batch" && { "metrics/topk_threshold": topkThreshold }),
        "metrics/gradient_norm": result.gradientNorm,
        "sparsity/dead_features": count(silent, isDead),
        "sparsity/mean_passes_since_fired": silent.reduce((a, b) => a + b, 0) / dSae,
        "sparsity/below_1e-5": count(fired, (n) => n / sampled < 1e-5),
        "details/current_learning_rate": lr,
        "details/coefficient": coefficient,
        "details/n_training_samples": steps * tokens,
      };
    },
    trained: (metadata) => ({
      parameters: learner.parameters(),
      topkThreshold,
      scalingFactor,
      metadata: {
        ...metadata,
        ...(sampled > 0 && {
          l0: fired.reduce((a, b) => a + b, 0) / sampled,
          num_dead_features: count(silent, isDead),
        }),
      },
    }),
    sparsity: () => Float32Array.from(fired, (n) => Math.log10(n / Math.max(sampled, 1) + 1e-10)),
    state: () => {
      const { tensors, steps: updates, touches = null } = learner.state();
      return {
        tensors: {
          ...tensors,
          silent: { dims: [dSae], data: silent.slice() },
          // Counts beyond what float32 holds, in two parts.
          fired: { dims: [dSae], data: Float32Array.from(fired) },
          fired_rest: { dims: [dSae], data: Float32Array.from(fired, (n) => n - Math.fround(n)) },
        },
        record: { steps, updates, scalingFactor, topkThreshold, sampled, touches },
      };
    },
    restore: async ({ tensors: { silent: since, fired: often, fired_rest: rest, ...tensors }, record }) => {
      const at = record as Record<string, number>;
      const touches = record["touches"] === "active" ? "active" : "all";
      await learner.restore({ tensors, steps: at["updates"]!, touches });
      silent.set(since!.data);
      often!.data.forEach((n, j) => (fired[j] = n + rest!.data[j]!));
      scalingFactor = at["scalingFactor"]!;
      topkThreshold = at["topkThreshold"]!;
      sampled = at["sampled"]!;
      for (steps = 0; steps < at["steps"]!; steps++) schedule.step();
    },
    dispose: () => learner.dispose(),
  };
  return trainer;
}
