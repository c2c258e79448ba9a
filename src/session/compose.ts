/** @file From a configuration to the parts of a session, in the published order. */
import { randomInt } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Dataset } from "../data/index.ts";
import { canonicalJson, jsonHash, type Json, type JsonObject } from "../formats/index.ts";
import { HookedModel, type Tokenizer } from "../model/index.ts";
import { defaultRuntime } from "../runtime/index.ts";
import type { Sae } from "../sae/index.ts";
import { canonicalAdapters, type Adapter } from "./adapters.ts";
import { sessionFileOf, treeOfInput, type SessionFile } from "./config/read.ts";
import { snaked } from "./config/schema.ts";
import type { DataModuleConfig, ModuleConfig } from "./config/types.ts";
import { merged, type Located } from "./config/yaml.ts";
import { composeDataModule, type ComposedDataModule, type DataModuleDefinition } from "./dataModule.ts";
import { SessionError } from "./errors.ts";
import { environmentRecord, makeExperimentFolder } from "./experiment.ts";
import { openLog, type Log } from "./log.ts";
import { modelOf, saesOf, tokenizerOf, type LoadContext } from "./modelSource.ts";
import { answersOf, composeModule, type ComposedModule, type ModuleBase, type ModuleDefinition } from "./module.ts";
import { localResources } from "./resources.ts";
import { RteBoolqDataModule, RteBoolqModule } from "./rteBoolq.ts";
import type { SessionConfig, SessionOverrides, SessionState } from "./session.ts";

/** The sides as they are given in TypeScript. */
export interface GivenSides<M extends object, D extends object> {
  readonly moduleCls?: ModuleDefinition<M> | undefined;
  readonly datamoduleCls?: DataModuleDefinition<D> | undefined;
  readonly module?: (M & ModuleBase) | undefined;
  readonly datamodule?: (D & ComposedDataModule<object>) | undefined;
}

/** Makes the parts of a session. */
export async function compose<A extends Adapter, M extends object, D extends object>(
  tree: Located,
  overrides: SessionOverrides,
  given: GivenSides<M, D>,
): Promise<SessionState<A, M, D>> {
  const { definitions = [], extensions = [], logStream = process.stderr } = overrides;
  const file = sessionFileOf(merged(tree, overridesTree(overrides)), {
    userNames: definitions.map(({ name }) => name),
  });
  const adapters = canonicalAdapters(overrides.adapterCtx ?? file.adapterCtx ?? ["core"]);
  const { moduleCls, datamoduleCls } = file.registeredCfg;
  const moduleDefinition = given.moduleCls ?? definitionOf("module", moduleCls, RteBoolqModule, definitions);
  const dataDefinition =
    given.datamoduleCls ?? definitionOf("datamodule", datamoduleCls, RteBoolqDataModule, definitions);

  const raw = withModelPath(file.registeredCfg, overrides.model);
  const logger = openLog(raw.moduleCfg.loggingLevel, logStream);
  const datamoduleCfg = crossValidated(raw.datamoduleCfg, raw.moduleCfg, overrides, logger);
  const moduleCfg = moduleDefinition.beforeConfig?.(raw.moduleCfg, logger) ?? raw.moduleCfg;
  checkAdapters(adapters, moduleCfg, overrides);
  checkDeferral(datamoduleCfg, moduleCfg);
  const cfg: SessionConfig = {
    adapterCtx: adapters,
    datamoduleCfg,
    moduleCfg,
    runCfg: file.runCfg,
    seed: seedOf(file.seedEverything),
  };

  const experimentFolder = await makeExperimentFolder(moduleCfg.coreLogDir, moduleCfg.experimentTag);
  logger.attach(join(experimentFolder, "session.log"));
  for (const { connect } of extensions) connect?.({ cfg: moduleCfg, experimentFolder });

  const context: LoadContext = {
    resources: { ...localResources, ...overrides.resources },
    logger,
    runtime: overrides.runtime,
    signal: overrides.signal,
    onProgress: overrides.onProgress,
  };
  const tokenizer = await tokenizerFor(datamoduleCfg, moduleCfg, overrides, context);
  const config = recordedConfig(cfg, file);
  const environment = await environmentRecord(overrides.runtime ?? defaultRuntime());
  const record: JsonObject = { config, config_hash: jsonHash(withoutLogging(config)), environment };
  if (moduleCfg.logEnvDetails) await writeRecord(experimentFolder, record);

  const loaded = new ModelHolder(() => loadModel(moduleCfg, moduleDefinition, tokenizer, overrides, context));
  const saes: Sae[] = [];
  const loadAll = async (): Promise<HookedModel> => {
    const model = await loaded.load();
    if (saes.length === 0) saes.push(...(await givenSaes(moduleCfg, overrides, context)));
    return model;
  };
  const datamodule: ComposedDataModule<D> =
    given.datamodule ??
    composeDataModule(dataDefinition as DataModuleDefinition<D>, {
      cfg: datamoduleCfg,
      logger,
      tokenizer,
      answers: answersOf(moduleCfg),
      data: isDataset(overrides.data) ? overrides.data : undefined,
      resources: context.resources,
      module: () => module as object as ModuleBase,
    });
  const module: ComposedModule<A, M> =
    (given.module as ComposedModule<A, M> | undefined) ??
    composeModule<A, M>(moduleDefinition as ModuleDefinition<M>, {
      cfg: moduleCfg,
      adapters,
      logger,
      tokenizer,
      experimentFolder,
      seed: cfg.seed ?? 0,
      model: () => loaded.model,
      saes: () => saes,
      datamodule: () => datamodule as object as ComposedDataModule<object>,
      hparams: config,
    });
  checkProtocol(given.module === undefined ? undefined : module, ["model", "answers"], "module");
  checkProtocol(given.datamodule === undefined ? undefined : datamodule, ["batches", "evalBatchSize"], "datamodule");
  if (!moduleCfg.deferModelInit && given.module === undefined) await loadAll();
  if ("loadMetric" in module && typeof module.loadMetric === "function") await module.loadMetric();
  const loadModelOf =
    given.module === undefined ? loadAll : (): Promise<HookedModel> => Promise.resolve(given.module!.model);
  const names = {
    datamodule: given.datamodule?.name ?? dataDefinition.name,
    module: given.module?.name ?? moduleDefinition.name,
  };
  return {
    cfg,
    module,
    datamodule,
    experimentFolder,
    logger,
    environment,
    record,
    extensions,
    loadModel: loadModelOf,
    names,
  };
}

/** A model that is loaded once, when it is wanted. */
class ModelHolder {
  readonly #make: () => Promise<HookedModel>;
  #loading: Promise<HookedModel> | undefined;
  #model: HookedModel | undefined;

  constructor(make: () => Promise<HookedModel>) {
    this.#make = make;
  }

  async load(): Promise<HookedModel> {
    this.#model = await (this.#loading ??= this.#make());
    return this.#model;
  }

  get model(): HookedModel {
    if (this.#model !== undefined) return this.#model;
    throw new SessionError("the model is not loaded yet", {
      code: "session/deferred",
      hint: "await session.init(), or leave defer_model_init out",
    });
  }
}

/** What TypeScript gives beside files, as a tree over them. */
function overridesTree(given: SessionOverrides): Located {
  const { sharedCfg, runCfg, seedEverything, evalBatchSize, trainBatchSize, limit, saes } = given;
  const paths = saes?.filter((sae) => typeof sae === "string");
  const files =
    given.data === undefined || isDataset(given.data)
      ? {}
      : typeof given.data === "string"
        ? { datasetPath: given.data, dataFiles: { train: null, validation: null, test: null, predict: null } }
        : { dataFiles: given.data };
  const datamoduleCfg = { ...given.datamoduleCfg, ...files, ...present({ evalBatchSize, trainBatchSize, limit }) };
  const saeCfgs = paths !== undefined && paths.length > 0 ? { saeCfgs: paths.map((path) => ({ path })) } : {};
  const moduleCfg = { ...given.moduleCfg, ...saeCfgs };
  return treeOfInput({
    ...present({ sharedConfig: sharedCfg, runCfg, seedEverything }),
    registeredCfg: { datamoduleCfg, moduleCfg },
  });
}

/** Without the fields that are undefined. */
const present = <T extends object>(fields: T): Partial<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;

const isDataset = (data: unknown): data is Dataset =>
  typeof data === "object" && data !== null && Symbol.asyncIterator in data;

/** A path that is given goes before what files say, on both sides. */
function withModelPath(
  sides: SessionFile["registeredCfg"],
  model: HookedModel | string | undefined,
): SessionFile["registeredCfg"] {
  if (typeof model !== "string") return sides;
  const path = { modelNameOrPath: model };
  return { ...sides, datamoduleCfg: { ...sides.datamoduleCfg, ...path }, moduleCfg: { ...sides.moduleCfg, ...path } };
}

const tokenizerOptions = ["tokenizerIdOverrides", "tokenizerKwargs", "specialTokensDict"] as const;

/** The data's side takes from the model's what it lacks to have a tokenizer; both are told apart where they differ. */
function crossValidated(
  data: DataModuleConfig,
  module: ModuleConfig,
  { model, tokenizer }: SessionOverrides,
  logger: Log,
): DataModuleConfig {
  const lacks = data.tokenizerName === null && data.modelNameOrPath === "";
  const same = (key: (typeof tokenizerOptions)[number]): boolean =>
    canonicalJson(data[key] as Json) === canonicalJson(module[key] as Json);
  if (!lacks) {
    const differing = tokenizerOptions.filter((key) => !same(key));
    if (differing.length > 0)
      logger.warn(`the two sides differ in ${differing.join(", ")}; the data's side is tokenised with its own`);
    return data;
  }
  const { modelNameOrPath, tokenizerName } = module;
  const isGiven = model !== undefined || tokenizer !== undefined;
  if (!isGiven && (modelNameOrPath !== "" || tokenizerName !== null))
    logger.warn("the data's side names no tokenizer; it takes the model's");
  const options = Object.fromEntries(
    tokenizerOptions.map((key) => [
      key,
      Object.keys(present(data[key])).length > 0 && !same(key) ? pick(data, module, key) : module[key],
    ]),
  );
  return { ...data, modelNameOrPath, tokenizerName, ...options };
}

/** The data side's own options over the model's. */
function pick(data: DataModuleConfig, module: ModuleConfig, key: (typeof tokenizerOptions)[number]): object {
  const own = Object.entries(data[key]).filter(([, value]) => value !== null);
  return { ...module[key], ...Object.fromEntries(own) };
}

function definitionOf<K extends "module" | "datamodule", T extends { readonly kind: K; readonly name: string }>(
  kind: K,
  name: string | null,
  bundled: T,
  definitions: readonly (ModuleDefinition | DataModuleDefinition)[],
): T {
  const own = definitions.find((each) => each.kind === kind && each.name === name);
  return own === undefined ? bundled : (own as object as T);
}

function checkAdapters(
  adapters: readonly Adapter[],
  { tlCfg, saeCfgs }: ModuleConfig,
  { saes = [] }: SessionOverrides,
): void {
  const needs = (option: string, adapter: Adapter): never => {
    throw new SessionError(`${option} needs the adapter ${adapter}`, {
      code: "session/adapters",
      received: adapters.join("+"),
      hint: `add ${adapter} to adapter_ctx`,
    });
  };
  const lens = adapters.includes("sae_lens") || adapters.includes("transformer_lens");
  if (!adapters.includes("sae_lens") && (saeCfgs.length > 0 || saes.length > 0)) needs("an SAE", "sae_lens");
  if (!lens && tlCfg !== null) needs("tl_cfg", "transformer_lens");
}

function checkDeferral({ signatureColumns }: DataModuleConfig, { deferModelInit }: ModuleConfig): void {
  if (deferModelInit && signatureColumns === null)
    throw new SessionError("a deferred model needs signature_columns", {
      code: "session/config",
      where: "datamodule_cfg",
      hint: "list the columns that its forward pass takes, such as [input, labels]",
    });
}

function checkProtocol(side: object | undefined, members: readonly string[], role: string): void {
  const missing = side === undefined ? [] : members.filter((name) => !(name in side));
  if (missing.length > 0)
    throw new SessionError(`what is given as ${role} is none`, {
      code: "session/protocol",
      expected: members.join(", "),
      received: `nothing called ${missing.join(", ")}`,
    });
}

function seedOf(given: number | boolean | null): number | null {
  const environment = process.env["IT_GLOBAL_SEED"];
  if (given === true) return randomInt(2 ** 31);
  if (typeof given === "number") return given;
  return environment !== undefined && /^\d+$/.test(environment) ? Number(environment) : null;
}

async function tokenizerFor(
  data: DataModuleConfig,
  cfg: ModuleConfig,
  { tokenizer, model }: SessionOverrides,
  context: LoadContext,
): Promise<Tokenizer | undefined> {
  if (tokenizer !== undefined) return tokenizer;
  if (model instanceof HookedModel) return model.hasTokenizer ? model.tokenizer : undefined;
  return tokenizerOf(data, cfg, context);
}

async function loadModel(
  cfg: ModuleConfig,
  definition: ModuleDefinition,
  tokenizer: Tokenizer | undefined,
  { model }: SessionOverrides,
  context: LoadContext,
): Promise<HookedModel> {
  if (model instanceof HookedModel) return model;
  return (await definition.modelInit?.(cfg)) ?? modelOf(cfg, tokenizer, context);
}

async function givenSaes(
  cfg: ModuleConfig,
  { saes = [] }: SessionOverrides,
  context: LoadContext,
): Promise<readonly Sae[]> {
  const loaded = saes.filter((sae) => typeof sae !== "string");
  return loaded.length > 0 ? loaded : saesOf(cfg, context);
}

/** The configuration as a file would say it. */
function recordedConfig(
  { adapterCtx, datamoduleCfg, moduleCfg, runCfg, seed }: SessionConfig,
  { registeredCfg }: SessionFile,
): JsonObject {
  const { moduleCls, datamoduleCls } = registeredCfg;
  const config = {
    adapter_ctx: adapterCtx,
    registered_cfg: {
      datamodule_cfg: snaked("DataModuleConfig", datamoduleCfg),
      module_cfg: snaked("ModuleConfig", moduleCfg),
      datamodule_cls: datamoduleCls,
      module_cls: moduleCls,
    },
    run_cfg: snaked("RunConfig", runCfg),
    seed_everything: seed,
  };
  return JSON.parse(JSON.stringify(config)) as JsonObject;
}

const loggingKeys: readonly string[] = ["core_log_dir", "experiment_tag", "logging_level", "log_env_details"];

/** Where and how loudly something is logged does not make it another session. */
function withoutLogging(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return (value as readonly Json[]).map(withoutLogging);
  return Object.fromEntries(
    Object.entries(value as JsonObject).flatMap(([name, item]) =>
      loggingKeys.includes(name) || item === undefined ? [] : [[name, withoutLogging(item)]],
    ),
  );
}

async function writeRecord(folder: string, { config, config_hash, environment }: JsonObject): Promise<void> {
  await writeFile(
    join(folder, "environment.json"),
    `${JSON.stringify({ ...(environment as JsonObject), config_hash }, null, 2)}\n`,
  );
  await writeFile(join(folder, "config.yaml"), stringify(config));
}
