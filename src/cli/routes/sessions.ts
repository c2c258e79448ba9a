/** @file Commands on sessions. */
import { buildCommand, type Command } from "@stricli/core";
import type { RunFlags } from "../commands/run.ts";
import type { OpsFlags } from "../commands/ops.ts";
import type { RegistryFlags } from "../commands/registry.ts";
import type { CliContext } from "../context.ts";
import { booleanFlag, docs, positiveInteger, shared, textFlag } from "../flags.ts";

const { model, threads, json, offline, saes } = shared;

export const run: Command<CliContext> = buildCommand<RunFlags, [], CliContext>({
  loader: async () => (await import("../commands/run.ts")).run,
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
      report: { ...shared.report, brief: `${shared.report.brief} (analyze)` },
      resume: {
        ...textFlag("FILE", "Go on from this checkpoint (train); without a file, with the store in --out (analyze)"),
        inferEmpty: true,
        optional: true,
      },
      threads,
      dryRun: booleanFlag("Check everything and print what would be run, as a session file"),
      options: booleanFlag("List every option"),
      schema: booleanFlag("Print the JSON Schema of session files, for editors"),
      offline,
      json,
    },
  },
  docs: docs(
    "Run a session that YAML files describe",
    "Files have the published shape (shared_config, registered_cfg); those in the folder IT_CONFIG_DEFAULTS come first. IT_ANALYSIS_OP_PATHS lists collections of ops, IT_OP_PRECEDENCE those whose names go before.",
    `interpretune run --config rte.yaml --run-command test --model models/gpt2 --data rte/validation.jsonl
interpretune run --config rte.yaml --run-command train --adapters lightning --out models/tuned
interpretune run --config rte.yaml --set eval-batch-size=2 --dry-run
interpretune run --schema > session.schema.json`,
  ),
});

export const registry: Command<CliContext> = buildCommand<RegistryFlags, [string?, string?], CliContext>({
  loader: async () => (await import("../commands/registry.ts")).registry,
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
      offline,
      json,
    },
  },
  docs: docs(
    "Show the sessions that are known by name",
    "What describe prints is a session file: interpretune run takes it.",
    `interpretune registry
interpretune registry describe rte_demo.gpt2.sae_lens > rte.yaml`,
  ),
});

export const ops: Command<CliContext> = buildCommand<OpsFlags, [string?], CliContext>({
  loader: async () => (await import("../commands/ops.ts")).ops,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [
        {
          parse: String,
          placeholder: "OP",
          brief: "Name, alias or composition a.b.c [default = list all]",
          optional: true,
        },
      ],
    },
    flags: {
      components: {
        ...textFlag("DIR", "Shared component whose ops are listed as well: folder or id; repeat for more"),
        variadic: true,
        optional: true,
      },
      offline,
      json,
    },
  },
  docs: docs(
    "Show the ops that analyses are made of, or what one reads, writes and needs",
    "Collections that IT_ANALYSIS_OP_PATHS lists are among them; IT_OP_PRECEDENCE names those that keep their names.",
    "interpretune ops\ninterpretune ops logit_diffs_attr_ablation",
  ),
});
