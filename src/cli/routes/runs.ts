/** @file Commands on runs of the four analyses: made, written out, drawn. */
import { buildCommand, type Command } from "@stricli/core";
import type { AnalyzeFlags } from "../commands/analyze.ts";
import type { ExportFlags } from "../commands/export.ts";
import type { ReportFlags } from "../commands/report.ts";
import type { DemoFlags } from "../commands/demo.ts";
import type { CliContext } from "../context.ts";
import { analysisList, booleanFlag, docs, layerList, positiveInteger, shared, textFlag } from "../flags.ts";

const { model, saes, errorTerm, threads, json, offline, streaming } = shared;

export const analyze: Command<CliContext> = buildCommand<AnalyzeFlags, [], CliContext>({
  loader: async () => (await import("../commands/analyze.ts")).analyze,
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
      streaming,
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
      report: shared.report,
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

export const exportStore: Command<CliContext> = buildCommand<ExportFlags, [string], CliContext>({
  loader: async () => (await import("../commands/export.ts")).exportStore,
  parameters: {
    positional: {
      kind: "tuple",
      parameters: [{ parse: String, placeholder: "DIR", brief: "Store of `interpretune analyze --out`" }],
    },
    flags: {
      json: booleanFlag("Everything as one JSON document, the tables of each analysis [default]"),
      csv: booleanFlag("One table over all analyses as CSV"),
      table: {
        kind: "enum",
        values: ["latents", "examples", "batches"],
        default: "latents",
        brief: "The table for --csv",
      },
      batches: {
        ...textFlag("OUT", "Instead: Parquet files in this folder, a row per batch as published; dense, so large"),
        optional: true,
      },
    },
  },
  docs: docs(
    "Write the store of a run to stdout as JSON or CSV, or into a folder in the published layout",
    "Effects are unmasked; numbers that are not finite are null.",
    `interpretune export runs/rte --json > rte.json
interpretune export runs/rte --csv --table latents > latents.csv
interpretune export runs/rte --batches rte-batches`,
  ),
});

export const report: Command<CliContext> = buildCommand<ReportFlags, [string], CliContext>({
  loader: async () => (await import("../commands/report.ts")).report,
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
      data: {
        ...textFlag("DATA", "What dashboards are computed from: file or id [default = the run's examples]"),
        optional: true,
      },
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

export const demo: Command<CliContext> = buildCommand<DemoFlags, [], CliContext>({
  loader: async () => (await import("../commands/demo.ts")).demo,
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
