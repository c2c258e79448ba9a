/**
 * @file Training of SAEs whose latents are those above a threshold (standard, JumpReLU), touching only these: where few
 * are active, one product for the encoder and sums over (token, active latent) pairs are all there is to a step.
 */
import { axis, leaf, matmul, placeholder } from "../../../graph/index.ts";
import type { CompiledFunction, Runtime } from "../../../runtime/index.ts";
import type { SaeArrays } from "../../../sae/index.ts";
import { TrainError } from "../../errors.ts";
import type { TrainedSaeConfig } from "../config.ts";
import { kinds } from "../kinds.ts";
import type { AdamMoments, SaeLearner, SaeStepInput, SaeStepResult } from "../learner.ts";
import { heldCounts, holdSae } from "./held.ts";
import { fitsMemory, kernelMemory, memoryBytes } from "./memory.ts";
import { weightGradients } from "./pairs.ts";

/** The sparsity loss of one pair, and what it says of the derivatives; everything before division by the tokens. */
interface Sparsity {
  /** What the loss is called. */
  readonly term: string;
  /** The loss of a latent of this value. */
  loss(value: number, norm: number, cfg: TrainedSaeConfig): number;
  /** Its derivative by the latent. */
  byLatent(value: number, norm: number, cfg: TrainedSaeConfig): number;
  /** Its derivative by the norm of the latent's row of W_dec. */
  byNorm(value: number, norm: number, cfg: TrainedSaeConfig): number;
  /** The estimate of its derivative by the pre-activation near the threshold, where the loss itself jumps there. */
  atJump(cfg: TrainedSaeConfig): number;
}

const saturation = (value: number, norm: number, { jumpreluTanhScale: scale }: TrainedSaeConfig): number =>
  scale * (1 - Math.tanh(value * norm * scale) ** 2);

const sparsities: { readonly [Name in "l1" | "step" | "tanh"]: Sparsity } = {
  l1: {
    term: "l1_loss",
    loss: (value, norm) => value * norm,
    byLatent: (_, norm) => norm,
    byNorm: (value) => value,
    atJump: () => 0,
  },
  step: {
    term: "l0_loss",
    loss: (value) => (value === 0 ? 0 : 1),
    byLatent: () => 0,
    byNorm: () => 0,
    atJump: ({ jumpreluBandwidth }) => 1 / jumpreluBandwidth,
  },
  tanh: {
    term: "l0_loss",
    loss: (value, norm, { jumpreluTanhScale: scale }) => Math.tanh(value * norm * scale),
    byLatent: (value, norm, cfg) => norm * saturation(value, norm, cfg),
    byNorm: (value, norm, cfg) => value * saturation(value, norm, cfg),
    atJump: () => 0,
  },
};

/** The sparsity loss of a configuration; undefined for one that is about more than single pairs. */
function sparsityOf(cfg: TrainedSaeConfig): Sparsity | undefined {
  const { jumps, ranks, gates, transcodes } = kinds[cfg.architecture];
  if (ranks || gates || transcodes) return undefined;
  if (!jumps) return cfg.lpNorm === 1 ? sparsities.l1 : undefined;
  const { jumpreluSparsityLossMode: mode, preActLossCoefficient } = cfg;
  return mode === "quadratic" || preActLossCoefficient !== null ? undefined : sparsities[mode];
}

/** The share of latents up to which pairs are summed faster than products are made: about one in twenty. */
export const mostActive: number = 1 / 20;
/** Tokens of one product: its pre-activations are looked through while they are still near. */
const chunk = 256;

/** Pairs of all tokens, and of one more, so that there is always room for a token's. */
const roomOf = ({ dSae }: TrainedSaeConfig, tokens: number): number => Math.ceil(tokens * dSae * mostActive) + dSae;
const countsOf = (cfg: TrainedSaeConfig, tokens: number): number[] => [
  ...heldCounts(cfg, tokens),
  ...[tokens * cfg.dIn, cfg.dSae, chunk * cfg.dSae, ...Array.from({ length: 6 }, () => roomOf(cfg, tokens))],
];

/** Whether an SAE can be trained by touching active latents only, once they are few. */
export const thinsOut = (cfg: TrainedSaeConfig, tokens: number): boolean =>
  sparsityOf(cfg) !== undefined &&
  ["none", "expected_average_only_in"].includes(cfg.normalizeActivations) &&
  cfg.dIn % 4 === 0 &&
  cfg.dSae % 4 === 0 &&
  fitsMemory(countsOf(cfg, tokens));

/** A learner for steps with few active latents. */
export interface ThresholdLearner extends Omit<SaeLearner, "step"> {
  /** @returns undefined where more latents are active than {@link mostActive}; nothing has changed then */
  step(input: SaeStepInput): Promise<SaeStepResult | undefined>;
}

/** @param start in SAELens' shapes */
export async function thresholdLearner(
  cfg: TrainedSaeConfig,
  start: SaeArrays,
  options: { tokens: number; runtime: Runtime; adam: AdamMoments },
): Promise<ThresholdLearner> {
  const { tokens, runtime, adam } = options;
  const { dIn, dSae, jumpreluBandwidth: bandwidth, jumpreluSteToInput: toInput } = cfg;
  const sparsity = sparsityOf(cfg)!;
  const { jumps = false } = kinds[cfg.architecture];
  const room = roomOf(cfg, tokens);
  const memory = await kernelMemory(memoryBytes(countsOf(cfg, tokens)));
  const { kernels } = memory;
  const row = 4 * dIn;
  const held = holdSae(cfg, start, memory, { tokens, adam, ranksByNorm: false });
  const [W_dec, b_dec] = [held.parameter("W_dec"), held.parameter("b_dec")];
  const thresholds = jumps ? held.parameter("threshold").data : new Float32Array(dSae);
  /** [tokens, d_in]: what is missed, then the loss's derivative by the reconstruction. */
  const missed = memory.floats(tokens * dIn);
  const latents = memory.integers(room);
  const tokenOf = memory.integers(room);
  const pre = memory.floats(room);
  const values = memory.floats(room);
  const slopes = memory.floats(room);
  const order = memory.integers(room);
  const lowest = memory.floats(dSae);
  const found = memory.floats(chunk * dSae);
  const begins = new Uint32Array(tokens + 1);

  const weights = leaf(held.encoderWeights.data, [dSae, dIn + 1], { name: "encoder" });
  let compiled: Promise<CompiledFunction<"x", ReturnType<typeof matmul>>> | undefined;
  const compile = (): NonNullable<typeof compiled> =>
    runtime.compile({ x: placeholder([axis("tokens"), dIn + 1], "float32", "x") }, ({ x }) =>
      matmul(x, weights, { transposeB: true }),
    );

  /** The pairs that are active, or near enough to their threshold to move it; undefined where they are too many. */
  async function collect(): Promise<number | undefined> {
    const call = await (compiled ??= compile());
    lowest.data.set(jumps ? thresholds.map((threshold) => threshold - bandwidth / 2) : thresholds);
    let pairs = 0;
    for (let from = 0; from < tokens; from += chunk) {
      const rows = Math.min(chunk, tokens - from);
      const x = held.encoderInput.data.subarray(from * (dIn + 1), (from + rows) * (dIn + 1));
      found.data.set((await call({ x: { dims: [rows, dIn + 1], data: x } })).data as Float32Array); // [rows, d_sae]
      for (let t = 0; t < rows; t++) {
        begins[from + t] = pairs;
        const own = kernels.above(found.at + 4 * t * dSae, lowest.at, dSae, latents.at + 4 * pairs, pre.at + 4 * pairs);
        tokenOf.data.fill(from + t, pairs, pairs + own);
        pairs += own;
        if (pairs > room - dSae) return undefined;
      }
    }
    begins[tokens] = pairs;
    return pairs;
  }

  /** What is not a number counts as active, so that the loss tells of it. */
  const isActive = (p: number): boolean => !(pre.data[p]! <= thresholds[latents.data[p]!]!);

  /** Which pairs are active, and how often each latent is. */
  function gate(pairs: number): Float32Array {
    const fired = new Float32Array(dSae);
    for (let p = 0; p < pairs; p++) {
      values.data[p] = isActive(p) ? pre.data[p]! : 0;
      if (isActive(p)) fired[latents.data[p]!]!++;
    }
    return fired;
  }

  /** Reconstructions, and their derivatives by the latents; returns the mean squared error. */
  function decode(): number {
    const bias = held.gradient("b_dec");
    bias.data.fill(0);
    let squares = 0;
    for (let t = 0; t < tokens; t++) {
      const own = missed.at + t * row;
      const begin = 4 * begins[t]!;
      const pairs = begins[t + 1]! - begins[t]!;
      kernels.scaleAdd(own, held.target.at + t * row, -1, b_dec.at, dIn);
      squares += kernels.addRows(own, own, W_dec.at, latents.at + begin, values.at + begin, pairs, dIn);
      kernels.scaleAdd(own, own, 2 / tokens, held.nothing.at, dIn);
      kernels.dotRows(slopes.at + begin, own, W_dec.at, latents.at + begin, pairs, dIn);
      kernels.addScaled(bias.at, own, 1, dIn);
    }
    return squares / tokens;
  }

  /** Derivatives by the pre-activations, in `slopes`, by the thresholds and by the decoder's norms. */
  function gradients(pairs: number, coefficient: number): { byNorm: Float64Array; loss: number } {
    const byNorm = new Float64Array(dSae);
    const byThreshold = new Float64Array(dSae);
    const weight = coefficient / tokens;
    const jump = weight * sparsity.atJump(cfg);
    let loss = 0;
    for (let p = 0; p < pairs; p++) {
      const j = latents.data[p]!;
      const value = values.data[p]!;
      const norm = held.norms.data[j]!;
      loss += sparsity.loss(value, norm, cfg);
      byNorm[j]! += weight * sparsity.byNorm(value, norm, cfg);
      const slope = slopes.data[p]! + weight * sparsity.byLatent(value, norm, cfg);
      const near = jumps && Math.abs(pre.data[p]! - thresholds[j]!) < bandwidth / 2;
      const estimate = near ? (slope * thresholds[j]!) / bandwidth + jump : 0;
      byThreshold[j]! -= estimate;
      slopes.data[p] = (isActive(p) ? slope : 0) + (toInput ? estimate : 0);
    }
    if (jumps) held.gradient("threshold").data.set(byThreshold);
    return { byNorm, loss: weight * loss };
  }

  /** Derivatives of the weights; returns the square of the norm of all gradients. */
  function weigh(count: number, byNorm: Float64Array): number {
    const pairs = { count, latents, places: tokenOf, tokens: tokenOf, values, slopes, missed, order };
    const squares = weightGradients(kernels, held, pairs, byNorm);
    return jumps ? squares + kernels.squares(held.gradient("threshold").at, dSae) : squares;
  }

  return {
    step: async ({ x, target, lr, coefficient }) => {
      held.take(x, target);
      const pairs = await collect();
      if (pairs === undefined) return undefined;
      const fired = gate(pairs);
      const mse = decode();
      const { byNorm, loss: sparse } = gradients(pairs, coefficient);
      const loss = mse + sparse;
      const gradientNorm = Math.sqrt(weigh(pairs, byNorm));
      if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm))
        throw new TrainError("the loss is not finite; the parameters are as they were before this step", {
          code: "train/not-finite",
          received: `loss ${loss}, norm of the gradients ${gradientNorm}`,
        });
      held.update(lr, gradientNorm);
      const terms = { mse_loss: mse, [sparsity.term]: sparse };
      return { loss, terms, gradientNorm, fired, touched: pairs, smallest: undefined };
    },
    parameters: held.parameters,
    state: held.state,
    restore: held.restore,
    dispose: async () => {
      if (compiled !== undefined) await (await compiled).dispose();
      compiled = undefined;
    },
  };
}
