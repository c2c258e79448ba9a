/** @file Commands on one model or SAE. */
import { buildCommand, type Command } from "@stricli/core";
import type { ActivationsFlags } from "../commands/activations.ts";
import type { SaeForwardFlags } from "../commands/saeForward.ts";
import type { GenerateFlags } from "../commands/generate.ts";
import type { TokenizeFlags } from "../commands/tokenize.ts";
import type { InfoFlags } from "../commands/info.ts";
import type { CliContext } from "../context.ts";
import { booleanFlag, docs, positiveInteger, shared, textFlag } from "../flags.ts";

const { model, saes, errorTerm, threads, json, offline } = shared;

export const activations: Command<CliContext> = buildCommand<ActivationsFlags, [], CliContext>({
  loader: async () => (await import("../commands/activations.ts")).activations,
  parameters: {
    flags: {
      model,
      text: { ...textFlag("T", "Text to run the model on"), optional: true },
      tokens: { ...textFlag("FILE", 'JSON {"input_ids": [[…]], "attention_mask": [[…]]}'), optional: true },
      saes,
      errorTerm,
      names: {
        ...textFlag("GLOB", "Hook points, or logits; * matches any characters; repeat for more [default = *]"),
        variadic: true,
        optional: true,
      },
      gradOf: {
        ...textFlag(
          "EXPR|FILE",
          'Also gradients of "logit:ID-logit:ID", or of JSON {"right": [id per row], "wrong": […]}',
        ),
        optional: true,
      },
      threads,
      out: textFlag("FILE", "The .safetensors file to write"),
      offline,
      json,
    },
  },
  docs: docs(
    "Write activations, logits and gradients of a model to a safetensors file",
    "Tensors are named by hook point, gradients grad.<name>; their scalar is the sum over rows at each row's last real position.",
    `interpretune activations --model models/gpt2 --text "The Eiffel Tower is in" \\
    --names "blocks.*.hook_resid_post" --names logits --out eiffel.safetensors`,
  ),
});

export const saeForward: Command<CliContext> = buildCommand<SaeForwardFlags, [], CliContext>({
  loader: async () => (await import("../commands/saeForward.ts")).saeForward,
  parameters: {
    flags: {
      sae: textFlag("SAE", "Folder, file or id of the SAE or transcoder"),
      input: textFlag(
        "FILE",
        "A .safetensors file with the tensor `input`, [..., d_in] (hook_z: [..., n_heads, d_head])",
      ),
      out: textFlag("FILE", "The .safetensors file to write"),
      errorTerm: booleanFlag("Add the error term (and hook_sae_error)"),
      threads,
      offline,
      json,
    },
  },
  docs: docs(
    "Run an SAE or a transcoder on activations and write every hook point of it",
    "",
    "interpretune sae-forward --sae saes/blocks.9.hook_z --input acts.safetensors --out latents.safetensors",
  ),
});

export const generate: Command<CliContext> = buildCommand<GenerateFlags, [], CliContext>({
  loader: async () => (await import("../commands/generate.ts")).generate,
  parameters: {
    flags: {
      model,
      prompt: { ...textFlag("P", "Text to continue"), optional: true },
      tokens: { ...textFlag("FILE", 'JSON {"input_ids": [[…]], "attention_mask": [[…]]}'), optional: true },
      maxNewTokens: {
        kind: "parsed",
        parse: positiveInteger,
        default: "50",
        placeholder: "N",
        brief: "Tokens to add at most",
      },
      greedy: booleanFlag("Take the likeliest token each time instead of sampling"),
      chat: booleanFlag("Put the model's chat template around the prompt"),
      threads,
      offline,
      json,
    },
  },
  docs: docs(
    "Continue a prompt",
    "",
    'interpretune generate --model models/SmolLM2.gguf --prompt "What is the capital of France?" --chat --greedy',
  ),
});

export const tokenize: Command<CliContext> = buildCommand<TokenizeFlags, [], CliContext>({
  loader: async () => (await import("../commands/tokenize.ts")).tokenize,
  parameters: {
    flags: {
      model: { ...model, brief: "Model folder (its tokenizer.json), .gguf file or hub id" },
      text: textFlag("T", "Text to tokenise"),
      chat: booleanFlag("Put the model's chat template around the text"),
      offline,
      json,
    },
  },
  docs: docs(
    "Show the tokens of a text",
    "",
    'interpretune tokenize --model models/gpt2 --text "The Eiffel Tower is in"',
  ),
});

export const info: Command<CliContext> = buildCommand<InfoFlags, [string], CliContext>({
  loader: async () => (await import("../commands/info.ts")).info,
  parameters: {
    positional: { kind: "tuple", parameters: [{ parse: String, placeholder: "M", brief: model.brief }] },
    flags: {
      batchSize: {
        kind: "parsed",
        parse: positiveInteger,
        default: "8",
        placeholder: "N",
        brief: "Rows of the memory forecast",
      },
      length: {
        kind: "parsed",
        parse: positiveInteger,
        default: "128",
        placeholder: "N",
        brief: "Tokens per row of the memory forecast",
      },
      offline,
      json,
    },
  },
  docs: docs("Show a model's family, sizes, hook points and memory forecast", "", "interpretune info models/gpt2"),
});
