/** @file What every SAE learner offers: a step, and its state in SAELens' names and shapes. */
import type { SaeArray, SaeArrays } from "../../sae/index.ts";
import type { AdamOptions } from "../learner/optimizers.ts";
import type { TrainedSaeConfig } from "./config.ts";
import { kinds } from "./kinds.ts";

export interface SaeStepInput {
  /** [tokens, d_in] */
  readonly x: Float32Array;
  /** [tokens, d_out]; `x` but for a transcoder. */
  readonly target: Float32Array;
  readonly lr: number;
  /** The sparsity coefficient of this step. */
  readonly coefficient: number;
  /** [d_sae], 1 where a latent is dead; undefined where none is. */
  readonly dead?: Float32Array | undefined;
}

/** What a step came to. */
export interface SaeStepResult {
  readonly loss: number;
  readonly terms: Readonly<Record<string, number>>;
  /** Norm of all gradients before clipping. */
  readonly gradientNorm: number;
  /** [d_sae]: on how many tokens each latent fired. */
  readonly fired: Float32Array;
  /** Latents of tokens that are active, or near enough to their threshold to move it. */
  readonly touched: number;
  /** The smallest latent that is not 0, as ranked; undefined where none fired. */
  readonly smallest: number | undefined;
}

/** Everything that decides the next step: `parameter.<name>`, `exp_avg.<name>`, `exp_avg_sq.<name>`. */
export interface SaeLearnerState {
  readonly tensors: SaeArrays;
  readonly steps: number;
  /** Whether the next step touches all latents or active ones only, where it may be either. */
  readonly touches?: "all" | "active" | undefined;
}

export interface SaeLearner {
  /** @throws TrainError for a loss that is not finite; nothing has changed then */
  step(input: SaeStepInput): Promise<SaeStepResult>;
  /** Parameters in SAELens' names and shapes, copied. */
  parameters(): SaeArrays;
  /** A copy. */
  state(): SaeLearnerState;
  restore(state: SaeLearnerState): void | Promise<void>;
  dispose(): Promise<void>;
}

/** What Adam has beside its rate, which the schedule sets. */
export type AdamMoments = Pick<AdamOptions, "betas" | "eps">;

/** Gradients are clipped to this norm before Adam, as SAELens does. */
export const clipNorm = 1;

/** Names and shapes of what an architecture trains. */
export function parameterShapes({ architecture, dIn, dOut, dSae }: TrainedSaeConfig): Map<string, readonly number[]> {
  const { gates, jumps, skips } = kinds[architecture];
  const own = gates ? ["b_gate", "b_mag", "r_mag"] : jumps ? ["b_enc", "threshold"] : ["b_enc"];
  return new Map<string, readonly number[]>([
    ["W_enc", [dIn, dSae]],
    ["W_dec", [dSae, dOut]],
    ["b_dec", [dOut]],
    ...own.map((name): [string, readonly number[]] => [name, [dSae]]),
    ...(skips ? [["W_skip", [dOut, dIn]] as [string, readonly number[]]] : []),
  ]);
}

/** A matrix with its axes exchanged. */
export function transposed({ dims, data }: SaeArray): SaeArray {
  const [rows, columns] = dims as [number, number];
  const out = new Float32Array(data.length);
  // In blocks, so that both sides stay in the cache.
  for (let r0 = 0; r0 < rows; r0 += 64)
    for (let c0 = 0; c0 < columns; c0 += 64)
      for (let r = r0; r < Math.min(rows, r0 + 64); r++)
        for (let c = c0; c < Math.min(columns, c0 + 64); c++) out[c * rows + r] = data[r * columns + c]!;
  return { dims: [columns, rows], data: out };
}
