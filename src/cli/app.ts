/** @file The commands and their flags. Nothing heavy is imported here: each command loads what it needs when it runs. */
import { buildApplication, buildCommand, buildRouteMap, text_en, type Application } from "@stricli/core";
import type { ActivationsFlags } from "./commands/activations.ts";
import type { AnalyzeFlags } from "./commands/analyze.ts";
import type { CacheFlags } from "./commands/cache.ts";
import type { PushFlags } from "./commands/push.ts";
import type { DemoFlags } from "./commands/demo.ts";
import type { ExportFlags } from "./commands/export.ts";
import type { GenerateFlags } from "./commands/generate.ts";
import type { InfoFlags } from "./commands/info.ts";
import type { ListFlags } from "./commands/models.ts";
import type { ReportFlags } from "./commands/report.ts";
import type { RegistryFlags } from "./commands/registry.ts";
import type { RunFlags } from "./commands/run.ts";
import type { SaeForwardFlags } from "./commands/saeForward.ts";
import type { TokenizeFlags } from "./commands/tokenize.ts";
import type { CliContext } from "./context.ts";
import { describeFailure, describeUsageFault, exitCodeOf } from "./failure.ts";
import {
  cacheActivationsFlags,
  trainSaeFlags,
  type CacheActivationsFlags,
  type TrainSaeFlags,
} from "./trainSaeFlags.ts";
import { analysisList, booleanFlag, layerList, positiveInteger, shared, textFlag } from "./flags.ts";

const { model, saes, errorTerm, threads, json, offline } = shared;

/** A command's text: what it does, then an example to copy. */
const docs = (brief: string, more: string, example: string): { brief: string; fullDescription: string } => ({
  brief,
  fullDescription: `${brief}.${more === "" ? "" : ` ${more}`}\n\nEXAMPLE\n${example.replace(/^/gm, "  ")}`,
});

const analyze = buildCommand<AnalyzeFlags, [], CliContext>({
  loader: async () => (await import("./commands/analyze.ts")).analyze,
  parameters: {
    flags: {
      model: { ...model, optional: true, brief: `${model.brief} [default = the demo that comes with the package]` },
      saes,
      data: {
        ...textFlag(
          "DATA",
          "JSONL or Parquet: RTE or BoolQ rows, {prompt, answers, label}, {input_ids, label}; or id (rte, owner/name:config)",
        ),
        optional: true,
      },
      split: { ...textFlag("NAME", "Split of a data set given by its id [default = validation]"), optional: true },
      analyses: {
        kind: "parsed",
        parse: analysisList,
        optional: true,
        placeholder: "LIST",
        brief: "Which of base,sae,grad,ablation [default = all four]",
      },
      layers: {
        kind: "parsed",
        parse: layerList,
        optional: true,
        placeholder: "LIST",
        brief: "Report latents of the SAEs at these layers only; all SAEs stay spliced",
      },
      answers: {
        ...textFlag("LIST", "One per class: ids (2,3) or vocabulary strings (Yes,No; text:2) [default = the task's]"),
        optional: true,
      },
      prompt: {
        kind: "enum",
        values: ["package", "inline"],
        default: "package",
        brief: "How two texts become a question",
      },
      chat: booleanFlag("Put the model's chat template around prompts"),
      diff: {
        kind: "enum",
        values: ["mean", "best-other"],
        default: "mean",
        brief: "Right answer's logit minus this of the others",
      },
      ablate: {
        kind: "enum",
        values: ["answer", "all"],
        default: "answer",
        brief: "Zero a latent at the answer position or at all",
      },
      batchSize: {
        kind: "parsed",
        parse: positiveInteger,
        default: "8",
        placeholder: "N",
        brief: "Examples per batch",
      },
      paddingSide: { kind: "enum", values: ["left", "right"], default: "left", brief: "Where shorter rows are padded" },
      limit: {
        kind: "parsed",
        parse: positiveInteger,
        optional: true,
        placeholder: "N",
        brief: "Only the first N examples",
      },
      positions: {
        kind: "enum",
        values: ["explicit", "tlLegacy", "padded"],
        default: "explicit",
        brief: "Positions count real tokens, follow TransformerLens' guess, or count padding",
      },
      effects: {
        kind: "enum",
        values: ["masked", "all"],
        default: "masked",
        brief: "Tables of ablations: effects that leave the answer right, as published, or all (stored are all)",
      },
      errorTerm,
      threads,
      out: { ...textFlag("DIR", "Folder for the store [default = results are only printed]"), optional: true },
      resume: booleanFlag("Continue the store in --out"),
      report: {
        ...textFlag("FILE", "Also write the run as one HTML page [default place = report.html in --out]"),
        inferEmpty: true,
        optional: true,
      },
      offline,
      json,
    },
  },
  docs: docs(
    "Run the four analyses over a data set: logit differences without and with SAEs, gradient and ablation attributions",
    "Prints tables and leaves a store of Parquet shards in --out; a run that was stopped goes on with --resume.",
    `interpretune analyze --model models/gpt2 --saes saes/blocks.9.hook_z --saes saes/blocks.10.hook_z \\
    --data rte/validation.jsonl --limit 8 --out runs/rte
interpretune analyze --model gpt2 --saes gpt2-small-hook-z-kk/blocks.9.hook_z --data rte --limit 8`,
  ),
});

const exportStore = buildCommand<ExportFlags, [string], CliContext>({
  loader: async () => (await import("./commands/export.ts")).exportStore,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [{ parse: String, placeholder: "DIR", brief: "Store of `interpretune analyze --out`" }],
    },
    flags: {
      json: booleanFlag("Everything as one JSON document, both tables of each analysis [default]"),
      csv: booleanFlag("One table over all analyses as CSV"),
      table: { kind: "enum", values: ["latents", "examples"], default: "latents", brief: "The table for --csv" },
    },
  },
  docs: docs(
    "Write the store of a run to stdout as JSON or CSV",
    "Effects are unmasked; numbers that are not finite are null.",
    "interpretune export runs/rte --json > rte.json\ninterpretune export runs/rte --csv --table latents > latents.csv",
  ),
});

const report = buildCommand<ReportFlags, [string], CliContext>({
  loader: async () => (await import("./commands/report.ts")).report,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [{ parse: String, placeholder: "DIR", brief: "Store of `interpretune analyze --out`" }],
    },
    flags: {
      out: { ...textFlag("FILE", "The HTML file to write [default = report.html in the store]"), optional: true },
      model: {
        ...model,
        optional: true,
        brief: "The run's model: with its SAEs, the strongest latents get dashboards",
      },
      saes,
      data: { ...textFlag("FILE", "What dashboards are computed from [default = the run's examples]"), optional: true },
      limit: {
        kind: "parsed",
        parse: positiveInteger,
        optional: true,
        placeholder: "N",
        brief: "Only the first N rows of --data",
      },
      dashboards: {
        kind: "parsed",
        parse: positiveInteger,
        default: "5",
        placeholder: "N",
        brief: "Latents of each sign at each hook that get a dashboard",
      },
      title: { ...textFlag("T", "Heading of the page [default = Interpretune report]"), optional: true },
      threads,
      offline,
      json,
    },
  },
  docs: docs(
    "Write the store of a run as one HTML page that needs no network",
    "Accuracy, effects of latents, agreement of ablation and gradient, every example, provenance; with the model and its SAEs also latent dashboards.",
    "interpretune report runs/rte --model models/gpt2 --saes saes/blocks.9.hook_z --saes saes/blocks.10.hook_z",
  ),
});

const activations = buildCommand<ActivationsFlags, [], CliContext>({
  loader: async () => (await import("./commands/activations.ts")).activations,
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

const saeForward = buildCommand<SaeForwardFlags, [], CliContext>({
  loader: async () => (await import("./commands/saeForward.ts")).saeForward,
  parameters: {
    flags: {
      sae: textFlag("SAE", "SAE folder, file or id"),
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
    "Run an SAE on activations and write every hook point of it",
    "",
    "interpretune sae-forward --sae saes/blocks.9.hook_z --input acts.safetensors --out latents.safetensors",
  ),
});

const generate = buildCommand<GenerateFlags, [], CliContext>({
  loader: async () => (await import("./commands/generate.ts")).generate,
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

const tokenize = buildCommand<TokenizeFlags, [], CliContext>({
  loader: async () => (await import("./commands/tokenize.ts")).tokenize,
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

const info = buildCommand<InfoFlags, [string], CliContext>({
  loader: async () => (await import("./commands/info.ts")).info,
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

const run = buildCommand<RunFlags, [], CliContext>({
  loader: async () => (await import("./commands/run.ts")).run,
  parameters: {
    flags: {
      config: { ...textFlag("FILE", "Session file; repeat for more, later ones win"), variadic: true, optional: true },
      runCommand: {
        kind: "enum",
        values: ["analyze", "train", "fit", "test", "validate", "predict"],
        optional: true,
        brief: "What to run [default = only compose the session]",
      },
      adapters: { ...textFlag("LIST", "Instead of adapter_ctx, such as core,sae_lens"), optional: true },
      model: { ...model, brief: "Instead of model_name_or_path: a model folder, .gguf file or hub id", optional: true },
      saes: { ...saes, brief: "Instead of sae_cfgs: SAE folder, file or id; repeat for more" },
      data: { ...textFlag("DATA", "Instead of dataset_path: JSONL or Parquet, or a hub id"), optional: true },
      evalBatchSize: {
        kind: "parsed",
        parse: positiveInteger,
        optional: true,
        placeholder: "N",
        brief: "Rows per batch",
      },
      limitBatches: {
        kind: "parsed",
        parse: positiveInteger,
        optional: true,
        placeholder: "N",
        brief: "Only the first N batches",
      },
      set: {
        ...textFlag("NAME=VALUE", "Any option by name, such as fold-ln=true; repeat for more"),
        variadic: true,
        optional: true,
      },
      modules: {
        ...textFlag("MODULE", "JavaScript file or package whose modules a session file may name; repeat for more"),
        variadic: true,
        optional: true,
      },
      out: { ...textFlag("DIR", "Folder for the store of analyses, or for the trained model"), optional: true },
      resume: { ...textFlag("FILE", "Checkpoint to go on from (train)"), optional: true },
      threads,
      dryRun: booleanFlag("Check the files and print the whole configuration"),
      options: booleanFlag("List every option"),
      schema: booleanFlag("Print the JSON Schema of session files, for editors"),
      offline,
      json,
    },
  },
  docs: docs(
    "Run a session that YAML files describe",
    "Files have the published shape (shared_config, registered_cfg); those in the folder IT_CONFIG_DEFAULTS come first.",
    `interpretune run --config rte.yaml --run-command test --model models/gpt2 --data rte/validation.jsonl
interpretune run --config rte.yaml --run-command train --adapters lightning --out models/tuned
interpretune run --config rte.yaml --set eval-batch-size=2 --dry-run
interpretune run --schema > session.schema.json`,
  ),
});

const registry = buildCommand<RegistryFlags, [string?, string?], CliContext>({
  loader: async () => (await import("./commands/registry.ts")).registry,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [
        { parse: String, placeholder: "list|describe", brief: "What to show [default = list]", optional: true },
        { parse: String, placeholder: "KEY", brief: "The entry to describe", optional: true },
      ],
    },
    flags: {
      registry: {
        ...textFlag("PATH", "Registry of your own: a folder of <key>.yaml, or one file; repeat for more"),
        variadic: true,
        optional: true,
      },
      json,
    },
  },
  docs: docs(
    "Show the sessions that are known by name",
    "",
    "interpretune registry\ninterpretune registry describe rte_demo.gpt2.sae_lens",
  ),
});

const trainSae = buildCommand<TrainSaeFlags, [], CliContext>({
  loader: async () => (await import("./commands/trainSae.ts")).trainSae,
  parameters: { flags: trainSaeFlags },
  docs: docs(
    "Train sparse autoencoders on a model's activations",
    "SAELens' architectures, options and file format; --out gets an SAE folder, metrics.jsonl and curves.html, which renews itself.",
    `interpretune train-sae --model models/gpt2 --data texts.jsonl --hook-name blocks.8.hook_resid_pre \\
    --architecture batchtopk --d-sae 6144 --top-k 64 --out runs/sae
interpretune train-sae --config sae.yaml --training-tokens 1000000 --resume`,
  ),
});

const cacheActivations = buildCommand<CacheActivationsFlags, [], CliContext>({
  loader: async () => (await import("./commands/cacheActivations.ts")).cacheActivations,
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

const listing = {
  positional: {
    kind: "tuple" as const,
    parameters: [
      {
        parse: String,
        placeholder: "FILTER",
        brief: "Words that all occur in what is listed",
        optional: true as const,
      },
    ],
  } as const,
  flags: { json },
};

const models = buildCommand<ListFlags, [string?], CliContext>({
  loader: async () => (await import("./commands/models.ts")).models,
  parameters: listing,
  docs: docs(
    "List the models that are known by name",
    "Any other model of a supported family loads by its hub id, owner/name.",
    "interpretune models pythia",
  ),
});

const saesCommand = buildCommand<ListFlags, [string?], CliContext>({
  loader: async () => (await import("./commands/saes.ts")).saes,
  parameters: listing,
  docs: docs(
    "List the pretrained SAEs that are known by name, as --saes takes them",
    "Without a filter releases are listed, else the SAEs with all its words in their release, model, id or Neuronpedia id.",
    'interpretune saes gpt2-small\ninterpretune saes "gemma-2-2b canonical"',
  ),
});

const push = buildCommand<PushFlags, [string, string], CliContext>({
  loader: async () => (await import("./commands/push.ts")).push,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [
        { parse: String, placeholder: "DIR", brief: "A store, a saved model, or a folder of SAEs" },
        { parse: String, placeholder: "ID", brief: "owner/name, with @branch perhaps" },
      ],
    },
    flags: {
      private: booleanFlag("Only you see a repository that is made"),
      message: { ...textFlag("TEXT", "Title of the commit"), optional: true },
      title: { ...textFlag("TEXT", "Heading of a store's card [default = the folder's name]"), optional: true },
      license: { ...textFlag("ID", "Licence in a store's card, such as mit"), optional: true },
      json,
    },
  },
  docs: docs(
    "Upload a store, a model or SAEs to the hub",
    "A store becomes a data set with a card. The token is read from HF_TOKEN or from where `hf auth login` keeps it; the repository is made if there is none.",
    "interpretune push runs/rte owner/rte-analyses --private",
  ),
});

const cache = buildCommand<CacheFlags, [string?], CliContext>({
  loader: async () => (await import("./commands/cache.ts")).cache,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [
        { parse: String, placeholder: "list|verify|prune", brief: "What to do [default = list]", optional: true },
      ],
    },
    flags: {
      repo: { ...textFlag("ID", "Only this repository: owner/name or datasets/owner/name"), optional: true },
      cacheDir: {
        ...textFlag("DIR", "The cache's folder [default = HF_HUB_CACHE or Python's default]"),
        optional: true,
      },
      yes: booleanFlag("Remove what verify or prune found"),
      json,
    },
  },
  docs: docs(
    "Show, check and tidy the hub's cache",
    "verify compares every file with its hash; prune removes what no revision needs and unfinished downloads, with --repo a whole repository.",
    `interpretune cache
interpretune cache verify --repo openai-community/gpt2
interpretune cache prune --yes`,
  ),
});

const demo = buildCommand<DemoFlags, [], CliContext>({
  loader: async () => (await import("./commands/demo.ts")).demo,
  parameters: {
    flags: {
      limit: {
        kind: "parsed",
        parse: positiveInteger,
        default: "32",
        placeholder: "N",
        brief: "Only the first N examples",
      },
      report: { ...textFlag("FILE", "The HTML page to write"), default: "demo-report.html" },
      out: { ...textFlag("DIR", "Folder for the store [default = results are only printed]"), optional: true },
      threads,
      json,
    },
  },
  docs: docs(
    "Find the latents that carry a model's answer, with the small model that comes with the package",
    "The four analyses of `analyze`, their tables and a report page; it says whether a passage implies a sentence. Needs no network.",
    "interpretune demo",
  ),
});

/** The application. With `debug`, failures show their stack. */
export function buildCli(debug: boolean): Application<CliContext> {
  const routes = {
    analyze,
    export: exportStore,
    report,
    activations,
    saeForward,
    generate,
    tokenize,
    info,
    run,
    registry,
    cache,
    push,
    models,
    saes: saesCommand,
    trainSae,
    cacheActivations,
    demo,
  };
  return buildApplication(
    buildRouteMap({
      routes,
      docs: { brief: "Open language models up: hooks, sparse autoencoders, exact attribution" },
    }),
    {
      name: "interpretune",
      versionInfo: { getCurrentVersion: async () => (await import("./version.ts")).currentVersion() },
      scanner: { caseStyle: "allow-kebab-for-camel" },
      documentation: { onlyRequiredInUsageLine: true },
      determineExitCode: exitCodeOf,
      localization: {
        text: {
          ...text_en,
          exceptionWhileParsingArguments: describeUsageFault,
          exceptionWhileLoadingCommandFunction: (error) => describeFailure(error, debug),
          exceptionWhileRunningCommand: (error) => describeFailure(error, debug),
          noCommandRegisteredForInput: (what) => `error: ${text_en.noCommandRegisteredForInput(what)}`,
        },
      },
    },
  );
}
