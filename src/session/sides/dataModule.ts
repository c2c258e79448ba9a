/** @file The data's side of a session: what every data module has, and how one is defined. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import {
  openDataset,
  type Answer,
  type Batch,
  type ChatFormat,
  type Dataset,
  type PromptStyle,
} from "../../data/index.ts";
import type { HubOptions } from "../../formats/index.ts";
import type { HookedModel, Tokenizer } from "../../model/index.ts";
import type { AtOptions } from "../config/places.ts";
import type { DataModuleConfig, PromptConfig } from "../config/types.ts";
import { SessionError } from "../errors.ts";
import type { Resources } from "../load/resources.ts";
import type { Log } from "../log.ts";
import type { LifecycleHook, Split } from "../protocol.ts";
import { KeptBatches, splitBatches } from "./batches.ts";
import type { DataModuleBase, ModuleBase } from "./sides.ts";

/** What a data module may do at the moments of a session. */
export type DataModuleHooks = {
  /** Gets data ready, before anything is set up. */
  readonly prepareData?: (model: HookedModel) => void | Promise<void>;
  readonly setup?: () => void | Promise<void>;
} & { readonly [H in Exclude<LifecycleHook, "prepareData" | "setup">]?: () => void | Promise<void> };

/** A data module as it is defined: a function from what every data module has to what this one adds or replaces. */
export interface DataModuleDefinition<D extends object = object> {
  readonly kind: "datamodule";
  readonly name: string;
  readonly create: (base: DataModuleBase) => D;
}

/** A composed data module. */
export type ComposedDataModule<D extends object> = Omit<DataModuleBase, keyof D> & D;

/**
 * Defines a data module. What the function returns is added to what every data module has; `batches`, `dataset` and
 * hooks such as `prepareData` may be replaced.
 * @example
 * const Sentences = defineDataModule("Sentences", () => ({
 *   dataset: () => datasetOf(() => [{ value: { input_ids: [5, 6, 7], label: 1 }, where: "by hand" }], { name: "hand" }),
 * }));
 * Sentences.name; // "Sentences"
 */
export function defineDataModule<
  D extends object & DataModuleHooks & Partial<Pick<DataModuleBase, "batches" | "dataset">>,
>(name: string, create: (base: DataModuleBase) => D): DataModuleDefinition<D> {
  return { kind: "datamodule", name, create };
}

/** What a data module is made from. */
export interface DataModuleParts {
  readonly cfg: DataModuleConfig;
  readonly logger: Log;
  readonly tokenizer: Tokenizer | undefined;
  /** Answers that the configuration names; null: the task's. */
  readonly answers: readonly Answer[] | null;
  /** Rows that are given instead of files. */
  readonly data: Dataset | undefined;
  readonly resources: Resources;
  readonly hub: HubOptions;
  readonly at: AtOptions;
  readonly module: () => ModuleBase;
}

/** A composed data module, and the same object as every data module is seen. */
export interface MadeDataModule<D extends object> {
  readonly composed: ComposedDataModule<D>;
  readonly base: DataModuleBase;
}

/** Composes a data module. */
export function composeDataModule<D extends object>(
  definition: DataModuleDefinition<D>,
  parts: DataModuleParts,
): MadeDataModule<D> {
  const { cfg, logger, tokenizer } = parts;
  const kept = new Map<string, KeptBatches>();
  const batches = (split: Split): AsyncIterable<Batch> => {
    const size = split === "train" ? cfg.trainBatchSize : cfg.evalBatchSize;
    const key = `${source(split, cfg)} ${size}`;
    let found = kept.get(key);
    if (found === undefined) kept.set(key, (found = new KeptBatches(() => read(split, size))));
    return found;
  };
  async function* read(split: Split, batchSize: number): AsyncGenerator<Batch> {
    try {
      const data = await base.dataset(split);
      warnOfKind(data, cfg, logger);
      const { model } = base.module;
      const { addBosToken } = cfg.tokenizerKwargs;
      const options = {
        tokenizer,
        answers: parts.answers ?? undefined,
        prompt: promptStyle(cfg.promptCfg),
        chat: chatFormat(cfg),
        batchSize,
        paddingSide: paddingSide(cfg),
        prependBos: addBosToken ?? (model.cfg.default_prepend_bos ? undefined : false),
        maxLength: model.cfg.n_ctx,
        vocabSize: model.cfg.d_vocab,
      };
      yield* splitBatches(data, options, cfg.padTo);
    } catch (error) {
      // What failed is not kept: after a cure the next iteration reads anew.
      kept.clear();
      throw error;
    }
  }
  const base: DataModuleBase = {
    name: definition.name,
    cfg,
    logger,
    tokenizer,
    evalBatchSize: cfg.evalBatchSize,
    trainBatchSize: cfg.trainBatchSize,
    get module() {
      return parts.module();
    },
    dataset: (split) => (parts.data === undefined ? openSplit(split, cfg, parts) : Promise.resolve(parts.data)),
    batches,
    trainDataloader: () => base.batches("train"),
    valDataloader: () => base.batches("validation"),
    testDataloader: () => base.batches("test"),
    predictDataloader: () => base.batches("predict"),
  };
  const composed: object = base;
  Object.assign(composed, { prepareData: () => undefined, setup: () => undefined });
  Object.defineProperties(composed, Object.getOwnPropertyDescriptors(definition.create(base)));
  return { composed: composed as ComposedDataModule<D>, base };
}

const paddingSide = (cfg: DataModuleConfig): "left" | "right" => cfg.tokenizerKwargs.paddingSide ?? "left";

/** Which file a split is read from: all but train are the rows of `validation`, where they have none of their own. */
function source(split: Split, { dataFiles }: DataModuleConfig): string {
  return split === "train" || split === "validation" ? split : dataFiles[split] === null ? "validation" : split;
}

async function openSplit(
  split: Split,
  cfg: DataModuleConfig,
  { resources, hub, at }: Pick<DataModuleParts, "resources" | "hub" | "at">,
): Promise<Dataset> {
  const name = source(split, cfg) as Split;
  const options = [`data_files.${name}`, "dataset_path", "task_name"].map(
    (path) => `registered_cfg.datamodule_cfg.${path}`,
  );
  return at(options, async () => {
    const path =
      cfg.dataFiles[name] ?? (await inDatasetPath(name, cfg)) ?? (await resources.dataset(cfg.taskName, name));
    return openDataset(path, { split: name, hub, ...(cfg.limit === null ? {} : { limit: cfg.limit }) });
  });
}

const extensions = ["jsonl", "parquet", "json"];

async function inDatasetPath(split: Split, { datasetPath }: DataModuleConfig): Promise<string | undefined> {
  if (datasetPath === null) return undefined;
  const found = await stat(datasetPath).catch(() => undefined);
  // What is no path is an id of the hub, which has splits.
  if (found === undefined) return datasetPath;
  if (!found.isDirectory()) {
    if (split !== "train") return datasetPath;
    throw noSplit(split, datasetPath, "one file, which is read as validation");
  }
  const paths = extensions.map((extension) => join(datasetPath, `${split}.${extension}`));
  for (const path of paths) if ((await stat(path).catch(() => undefined))?.isFile() === true) return path;
  throw noSplit(split, datasetPath, "a folder without it");
}

const noSplit = (split: Split, where: string, received: string): SessionError =>
  new SessionError(`there is no file for the split ${split}`, {
    code: "session/not-found",
    where,
    expected: `data_files.${split}, or ${split}.jsonl or ${split}.parquet in dataset_path`,
    received,
  });

/** The prompt of a configuration. */
function promptStyle({ style, custTaskPrompt, ctxQuestionJoin, questionSuffix }: PromptConfig): PromptStyle {
  if (custTaskPrompt !== null) return custTaskPrompt;
  if (ctxQuestionJoin === null && questionSuffix === null) return style;
  return { style, join: ctxQuestionJoin ?? undefined, suffix: questionSuffix ?? undefined };
}

const handWritten: readonly string[] = ["gemma-chat", "llama3-chat"] satisfies readonly ChatFormat[];

function chatFormat({ promptCfg, custTokenizationPattern: pattern }: DataModuleConfig): ChatFormat {
  if (promptCfg.chat !== "plain" || pattern === null) return promptCfg.chat;
  return handWritten.includes(pattern) ? (pattern as ChatFormat) : "plain";
}

function warnOfKind({ kind, name }: Dataset, { taskName }: DataModuleConfig, logger: Log): void {
  if ((kind === "rte" || kind === "boolq") && taskName !== "" && kind !== taskName)
    logger.warn(`${name} has rows of ${kind}, but task_name is ${taskName}; their own answers are used`);
}
