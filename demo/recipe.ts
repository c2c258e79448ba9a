/** @file Everything that decides what the demo becomes. */
import type { SaeOfRunInput, TrainSaeOptions } from "../src/train/index.ts";
import type { ModelRecipe } from "./model.ts";

const model: ModelRecipe = {
  seed: 1,
  sizes: { n_layers: 3, d_model: 64, n_heads: 4, d_head: 16, d_mlp: 256, n_ctx: 96 },
  steps: 6_000,
  batch: 32,
  questions: 6,
  learningRate: 2e-3,
  warmUp: 100,
  weightDecay: 0.01,
  every: 500,
};

const saes: Omit<TrainSaeOptions, "model" | "data"> & { readonly sae: readonly SaeOfRunInput[] } = {
  sae: ["blocks.1.hook_resid_post", "blocks.2.attn.hook_z"].map((hookName) => ({
    hookName,
    architecture: "topk",
    dSae: 256,
    k: 8,
  })),
  seed: 1,
  trainingTokens: 1954 * 1024,
  trainBatchSizeTokens: 1024,
  storeBatchSizePrompts: 64,
  contextSize: 64,
  promptsOneByOne: true,
  lr: 1e-3,
  lrDecaySteps: 400,
};

export const recipe: Recipe = {
  model,
  saes,
  /** Examples of each split that is not trained on. */
  held: 1000,
  /** Sums are split among threads: another number gives slightly other weights. */
  threads: 2,
};

export interface Recipe {
  readonly model: ModelRecipe;
  readonly saes: typeof saes;
  readonly held: number;
  readonly threads: number;
}
