/** @file Commands on the hub: what there is, what is kept, what is sent. */
import { buildCommand, type Command } from "@stricli/core";
import type { ListFlags } from "../commands/models.ts";
import type { PushFlags } from "../commands/push.ts";
import type { CacheFlags } from "../commands/cache.ts";
import type { CliContext } from "../context.ts";
import { booleanFlag, docs, shared, textFlag } from "../flags.ts";

const { json } = shared;

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

export const models: Command<CliContext> = buildCommand<ListFlags, [string?], CliContext>({
  loader: async () => (await import("../commands/models.ts")).models,
  parameters: listing,
  docs: docs(
    "List the models that are known by name",
    "Any other model of a supported family loads by its hub id, owner/name.",
    "interpretune models pythia",
  ),
});

export const saesCommand: Command<CliContext> = buildCommand<ListFlags, [string?], CliContext>({
  loader: async () => (await import("../commands/saes.ts")).saes,
  parameters: listing,
  docs: docs(
    "List the pretrained SAEs that are known by name, as --saes takes them",
    "Without a filter releases are listed, else the SAEs with all its words in their release, model, id or Neuronpedia id.",
    'interpretune saes gpt2-small\ninterpretune saes "gemma-2-2b canonical"',
  ),
});

export const push: Command<CliContext> = buildCommand<PushFlags, [string, string], CliContext>({
  loader: async () => (await import("../commands/push.ts")).push,
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

export const cache: Command<CliContext> = buildCommand<CacheFlags, [string?], CliContext>({
  loader: async () => (await import("../commands/cache.ts")).cache,
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
