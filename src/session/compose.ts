/** @file From a configuration to the parts of a session, in the published order. */
import { randomInt } from "node:crypto";
import { join } from "node:path";
import type { Dataset } from "../data/index.ts";
import { jsonHash, type HubOptions, type JsonObject } from "../formats/index.ts";
import { HookedModel, type Tokenizer } from "../model/index.ts";
import { defaultRuntime } from "../runtime/index.ts";
import type { LatentModel } from "../sae/index.ts";
import { trainable, type Lora, type Trainable } from "../train/index.ts";
import { adaptersOf, type AdaptedModel } from "./adapted.ts";
import { canonicalAdapters, type Adapter } from "./adapters.ts";
import { loadComponent, type SharedComponent } from "./component.ts";
import { sessionFileOf, treeOfInput, type SessionFile } from "./config/read.ts";
import { checkAdapters, checkDeferral, checkProtocol, crossValidated, present } from "./checks.ts";
import type { DataModuleConfig, ModuleConfig } from "./config/types.ts";
import { merged, plain, type Located } from "./config/yaml.ts";
import {
  composeDataModule,
  type ComposedDataModule,
  type DataModuleDefinition,
  type MadeDataModule,
} from "./dataModule.ts";
import { SessionError } from "./errors.ts";
import { environmentRecord, makeExperimentFolder } from "./experiment.ts";
import { openLog } from "./log.ts";
import { memProfiler } from "./memProfiler.ts";
import type { ComponentOptions } from "./manifest.ts";
import { modelOf, saesOf, tokenizerOf, type LoadContext } from "./modelSource.ts";
import {
  answersOf,
  composeModule,
  type ComposedModule,
  type MadeModule,
  type ModuleBase,
  type ModuleDefinition,
} from "./module.ts";
import { opCollectionsAt } from "./opPaths.ts";
import { withPrompt } from "./promptRef.ts";
import { recordedConfig, withoutLogging, writeRecord } from "./record.ts";
import { hubResources } from "./resources.ts";
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
  const { logStream = process.stderr } = overrides;
  const hub: HubOptions = { signal: overrides.signal, ...overrides.hub };
  const { packages, resources } = overrides;
  const sharing = { packages, hub, resources };
  const named = merged(tree, overridesTree(overrides));
  const components = await componentsOf(named, overrides.components, sharing);
  const { env = process.env } = overrides;
  const opCollections = await opCollectionsAt(env["IT_ANALYSIS_OP_PATHS"] ?? "", components, sharing);
  const whole = await withPrompt(named, sharing);
  const definitions = [...(overrides.definitions ?? []), ...components.flatMap((each) => each.definitions)];
  const file = sessionFileOf(whole, { userNames: definitions.map(({ name }) => name) });
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
    runCfg: { ...file.runCfg, preferOps: file.runCfg.preferOps ?? namesIn(env["IT_OP_PRECEDENCE"] ?? "") },
    trainer: file.trainer,
    seed: seedOf(file.seedEverything, env["IT_GLOBAL_SEED"]),
  };

  const experimentFolder = await makeExperimentFolder(moduleCfg.coreLogDir, moduleCfg.experimentTag);
  logger.attach(join(experimentFolder, "session.log"));
  const { memprofilerCfg } = moduleCfg;
  const profilers = memprofilerCfg["enabled"] === true ? [memProfiler(memprofilerCfg)] : [];
  const extensions = [...(overrides.extensions ?? []), ...profilers];
  for (const { connect } of extensions) connect?.({ cfg: moduleCfg, experimentFolder });

  const context: LoadContext = {
    resources: { ...hubResources(hub), ...overrides.resources },
    hub,
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

  const seed = cfg.seed ?? 0;
  const loaded = new ModelHolder(() => loadModel(moduleCfg, moduleDefinition, tokenizer, seed, overrides, context));
  const saes: LatentModel[] = [];
  const loadAll = async (): Promise<HookedModel> => {
    const model = await loaded.load();
    if (saes.length === 0) saes.push(...(await givenSaes(moduleCfg, seed, overrides, context)));
    return model;
  };
  const data: MadeDataModule<D> =
    given.datamodule !== undefined
      ? { composed: given.datamodule, base: given.datamodule }
      : composeDataModule(dataDefinition as DataModuleDefinition<D>, {
          cfg: datamoduleCfg,
          logger,
          tokenizer,
          answers: answersOf(moduleCfg),
          data: isDataset(overrides.data) ? overrides.data : undefined,
          resources: context.resources,
          hub,
          module: () => made.base,
        });
  const made: MadeModule<A, M> =
    given.module !== undefined
      ? { composed: given.module as ComposedModule<A, M> & ModuleBase, base: given.module }
      : composeModule<A, M>(moduleDefinition as ModuleDefinition<M>, {
          cfg: moduleCfg,
          adapters,
          logger,
          tokenizer,
          experimentFolder,
          seed,
          model: () => loaded.model,
          saes: () => saes,
          datamodule: () => data.base,
          hparams: config,
        });
  const { composed: datamodule } = data;
  const { composed: module } = made;
  checkProtocol(given.module === undefined ? undefined : module, ["model", "answers"], "module");
  checkProtocol(given.datamodule === undefined ? undefined : datamodule, ["batches", "evalBatchSize"], "datamodule");
  if (!moduleCfg.deferModelInit && given.module === undefined) await loadAll();
  await callOptional(module, "loadMetric");
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
    sharedComponents: components,
    opCollections,
    extensions,
    loadModel: loadModelOf,
    lora: () => loaded.lora,
    trainModel: () => {
      if (given.module === undefined) return loaded.train();
      throw new SessionError("a module that was composed before keeps its model", {
        code: "session/train",
        hint: "give the session the module's definition as moduleCls",
      });
    },
    names,
  };
}

/** The shared components that a file names, and those that were given. */
async function componentsOf(
  tree: Located,
  given: readonly (SharedComponent | string)[] = [],
  sharing: ComponentOptions,
): Promise<SharedComponent[]> {
  const list = tree.kind === "map" ? tree.entries.get("components")?.value : undefined;
  const items = list?.kind === "list" ? list.items.map(plain) : [];
  const named = items.filter((item) => typeof item === "string");
  return Promise.all(
    [...named, ...given].map(async (each) => (typeof each === "string" ? loadComponent(each, sharing) : each)),
  );
}

async function callOptional(side: object, name: string): Promise<void> {
  const found: unknown = Reflect.get(side, name);
  if (typeof found === "function") await Reflect.apply(found, side, []);
}

/** A model that is loaded once, when it is wanted. */
class ModelHolder {
  readonly #make: () => Promise<AdaptedModel>;
  #loading: Promise<AdaptedModel> | undefined;
  #model: HookedModel | undefined;
  #lora: Lora | undefined;
  #trainable: Trainable | undefined;

  constructor(make: () => Promise<AdaptedModel>) {
    this.#make = make;
  }

  async load(): Promise<HookedModel> {
    const { model, lora } = await (this.#loading ??= this.#make());
    this.#lora = lora;
    return (this.#model ??= model);
  }

  get lora(): Lora | undefined {
    return this.#lora;
  }

  /** From here on the model is a copy that can be trained, or of its own only the adapters are. */
  train(): Trainable {
    if (this.#trainable === undefined) {
      const { model } = this;
      this.#trainable = this.#lora === undefined ? trainable(model) : { ...this.#lora, model };
      this.#model = this.#trainable.model;
    }
    return this.#trainable;
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
  const { sharedCfg, runCfg, trainer, seedEverything, evalBatchSize, trainBatchSize, limit, saes } = given;
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
    ...present({ sharedConfig: sharedCfg, runCfg, trainer, seedEverything }),
    registeredCfg: { datamoduleCfg, moduleCfg },
  });
}

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

function definitionOf<K extends "module" | "datamodule", T extends { readonly kind: K; readonly name: string }>(
  kind: K,
  name: string | null,
  bundled: T,
  definitions: readonly (ModuleDefinition | DataModuleDefinition)[],
): T {
  const own = definitions.find((each) => each.kind === kind && each.name === name);
  return own === undefined ? bundled : (own as object as T);
}

/** Names with commas between them; null where there is none. */
function namesIn(text: string): readonly string[] | null {
  const names = text.split(",").map((name) => name.trim());
  return names.some((name) => name !== "") ? names.filter((name) => name !== "") : null;
}

function seedOf(given: number | boolean | null, environment: string | undefined): number | null {
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
  seed: number,
  { model: given }: SessionOverrides,
  context: LoadContext,
): Promise<AdaptedModel> {
  const own = given instanceof HookedModel ? given : await definition.modelInit?.(cfg);
  if (own === undefined) return modelOf(cfg, tokenizer, seed, context);
  const lora = await adaptersOf(own, cfg, seed);
  return { model: lora?.model ?? own, lora };
}

async function givenSaes(
  cfg: ModuleConfig,
  seed: number,
  { saes = [] }: SessionOverrides,
  context: LoadContext,
): Promise<readonly LatentModel[]> {
  const loaded = saes.filter((sae) => typeof sae !== "string");
  return loaded.length > 0 ? loaded : saesOf(cfg, seed, context);
}
