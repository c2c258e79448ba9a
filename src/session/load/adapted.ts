/** @file A session's model with the low-rank adapters that its configuration asks for, and what is saved of it. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { HubOptions } from "../../formats/index.ts";
import { present } from "../../graph/options.ts";
import { projectionFiles, saveModel, type HookedModel } from "../../model/index.ts";
import { addLora, loadLora, mergeLora, saveLora, settled, type Lora, type LoraOptions } from "../../train/index.ts";
import { adapterFiles, isAdapterFolder } from "../../train/lora/peft.ts";
import { snakeCase } from "../config/names.ts";
import type { AtOptions } from "../config/places.ts";
import type { Config, ModuleConfig } from "../config/types.ts";
import { SessionError } from "../errors.ts";

/** A model, and the adapters that are in it. */
export interface AdaptedModel {
  readonly model: HookedModel;
  readonly lora: Lora | undefined;
}

const given = (cfg: Config<"LoraConfig">): string[] =>
  Object.entries(cfg).flatMap(([name, value]) => (value === null ? [] : [name]));

/** Fields that adapters which are there already say themselves. */
const ownOfAdapters: readonly string[] = [
  "r",
  "loraAlpha",
  "targetModules",
  "excludeModules",
  "layersToTransform",
  "rankPattern",
  "alphaPattern",
  "useRslora",
  "loraDropout",
  "initLoraWeights",
];

/**
 * The adapters of a configuration on a model as its files have it: new ones drawn from the seed, or those of a folder or
 * of an id.
 * @throws SessionError for options that do not go together; TrainError for modules that are not in the model
 */
export async function adaptersOf(
  model: HookedModel,
  cfg: ModuleConfig,
  seed: number,
  { hub, at }: { readonly hub: HubOptions; readonly at: AtOptions },
): Promise<Lora | undefined> {
  const { loraCfg } = cfg.hfFromPretrainedCfg;
  const fields = loraCfg === null ? [] : given(loraCfg);
  if (loraCfg === null || fields.length === 0) return undefined;
  const refuse = (received: string, hint: string): never => {
    throw new SessionError("options of the adapters do not go together", {
      code: "session/lora",
      where: "hf_from_pretrained_cfg.lora_cfg",
      received,
      hint,
    });
  };
  if (cfg.tlCfg?.refactorFactoredAttnMatrices === true)
    refuse("refactor_factored_attn_matrices", "adapters are on the weights of the files: leave one of them out");
  const { path } = loraCfg;
  if (path !== null) {
    const twice = fields.filter((name) => ownOfAdapters.includes(name)).map(snakeCase);
    if (twice.length > 0) refuse(`path and ${twice.join(", ")}`, "adapters that are there say this themselves");
    return at(["registered_cfg.module_cfg.hf_from_pretrained_cfg.lora_cfg.path"], () => loadLora(model, path, hub));
  }
  const value = <T>(x: T | null): T | undefined => x ?? undefined;
  const options: LoraOptions = present({
    rank: value(loraCfg.r),
    exclude: value(loraCfg.excludeModules),
    layers: value(loraCfg.layersToTransform),
    rankPattern: value(loraCfg.rankPattern),
    alphaPattern: value(loraCfg.alphaPattern),
    rankStabilized: value(loraCfg.useRslora),
    init: value(loraCfg.initLoraWeights),
    dropout: value(loraCfg.loraDropout),
  });
  return addLora(model, { ...options, alpha: loraCfg.loraAlpha ?? 8, targets: loraCfg.targetModules, seed });
}

/** What saving needs of a session. */
export interface SavableSession {
  readonly cfg: { readonly moduleCfg: ModuleConfig };
  readonly module: { readonly model: HookedModel };
  /** The adapters that its configuration asks for. */
  readonly lora: Lora | undefined;
}

/** What was saved: the model, or its adapters, with the merged model beside them where that is asked for. */
export interface SavedModelOrAdapters {
  readonly kind: "model" | "adapters";
  readonly folder: string;
  readonly merged?: string;
}

/**
 * Saves a session's model as it is now: as a folder that loads like any other; with adapters (`lora_cfg`), these alone in
 * PEFT's layout, and with `save_merged` the model with them in its weights in `merged`. Adapters of a model of no
 * Hugging Face family, for which PEFT has no names, are saved merged.
 * @throws FormatError when the folder cannot be written
 * @example
 * const session = await Session.create({
 *   model: "models/gpt2",
 *   data: { train: "rte/validation.jsonl", validation: "rte/validation.jsonl" },
 *   trainBatchSize: 2,
 *   moduleCfg: {
 *     coreLogDir: "runs/logs",
 *     optimizerInit: { classPath: "AdamW", initArgs: { lr: 1e-3 } },
 *     hfFromPretrainedCfg: { loraCfg: { r: 2, targetModules: ["c_attn"] } },
 *   },
 *   runCfg: { maxSteps: 1 },
 * });
 * await runTraining(session);
 * const { kind } = await saveTrained("my-adapters", session);
 * kind; // "adapters"
 */
export async function saveTrained(folder: string, session: SavableSession): Promise<SavedModelOrAdapters> {
  const { lora } = session;
  if (lora !== undefined) return saveAdapters(folder, session, lora);
  return saveModelAlone(folder, session, settled(session.module.model));
}

/** Saves adapters of a session, those it has now or had before. @internal */
export async function saveAdapters(folder: string, session: SavableSession, lora: Lora): Promise<SavedModelOrAdapters> {
  if (projectionFiles(lora.base.cfg) === undefined) return saveModelAlone(folder, session, await mergeLora(lora));
  const merged = join(folder, "merged");
  // Of the adapters that were in this folder, not of these.
  if (await isAdapterFolder(folder)) await rm(merged, { recursive: true, force: true });
  await saveLora(folder, lora);
  const { loraCfg } = session.cfg.moduleCfg.hfFromPretrainedCfg;
  if (loraCfg?.saveMerged !== true) return { kind: "adapters", folder };
  await saveWhole(merged, session, await mergeLora(lora));
  return { kind: "adapters", folder, merged };
}

/** Adapters that were saved in this folder before would be taken for the model's. */
async function saveModelAlone(
  folder: string,
  session: SavableSession,
  model: HookedModel,
): Promise<SavedModelOrAdapters> {
  if (await isAdapterFolder(folder))
    for (const name of ["merged", ...adapterFiles]) await rm(join(folder, name), { recursive: true, force: true });
  await saveWhole(folder, session, model);
  return { kind: "model", folder };
}

async function saveWhole(folder: string, { module }: SavableSession, model: HookedModel): Promise<void> {
  const tokenizer = module.model.hasTokenizer ? module.model.tokenizer : undefined;
  await saveModel(folder, model, { runtime: model.runtime, ...(tokenizer === undefined ? {} : { tokenizer }) });
}
