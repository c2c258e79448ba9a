/** @file Commands that train SAEs. */
import { buildCommand, type Command } from "@stricli/core";
import type { CliContext } from "../context.ts";
import { docs } from "../flags.ts";
import {
  cacheActivationsFlags,
  trainSaeFlags,
  type CacheActivationsFlags,
  type TrainSaeFlags,
} from "../trainSaeFlags.ts";

export const trainSae: Command<CliContext> = buildCommand<TrainSaeFlags, [], CliContext>({
  loader: async () => (await import("../commands/trainSae.ts")).trainSae,
  parameters: { flags: trainSaeFlags },
  docs: docs(
    "Train sparse autoencoders on a model's activations",
    "SAELens' architectures, options and file format; --out gets an SAE folder, metrics.jsonl and curves.html, which renews itself.",
    `interpretune train-sae --model models/gpt2 --data texts.jsonl --hook-name blocks.8.hook_resid_pre \\
    --architecture batchtopk --d-sae 6144 --top-k 64 --out runs/sae
interpretune train-sae --config sae.yaml --training-tokens 1000000 --resume`,
  ),
});

export const cacheActivations: Command<CliContext> = buildCommand<CacheActivationsFlags, [], CliContext>({
  loader: async () => (await import("../commands/cacheActivations.ts")).cacheActivations,
  parameters: { flags: cacheActivationsFlags },
  docs: docs(
    "Write a model's activations to disk, to train SAEs from",
    "Shards of safetensors, each there whole or not at all. A command that was stopped goes on when it is given again.",
    `interpretune cache-activations --model models/gpt2 --data texts.jsonl --hook-name blocks.8.hook_resid_pre \\
    --context-size 128 --training-tokens 2000000 --out runs/activations
interpretune train-sae --model models/gpt2 --data texts.jsonl --hook-name blocks.8.hook_resid_pre \\
    --activations runs/activations --architecture batchtopk --d-sae 6144 --out runs/sae`,
  ),
});
