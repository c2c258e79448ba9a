/** @file From a configuration to the parts of a session, in the published order. */
import { join } from "node:path";
import { jsonHash, type JsonObject } from "../../formats/index.ts";
import { HookedModel, type HookSpec, type Tokenizer } from "../../model/index.ts";
import { defaultRuntime } from "../../runtime/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { trainable, type Lora, type Trainable } from "../../train/index.ts";
import type { Adapter } from "../adapters.ts";
import type { SharedComponent } from "../components/component.ts";
import type { DataModuleConfig, ModuleConfig, SessionConfig } from "../config/types.ts";
import type { Located } from "../config/yaml.ts";
import { SessionError } from "../errors.ts";
import type { Extension } from "../lifecycle.ts";
import { adaptersOf, type AdaptedModel } from "../load/adapted.ts";
import { modelOf, saesOf, tokenizerOf, type LoadContext } from "../load/modelSource.ts";
import { hubResources } from "../load/resources.ts";
import type { Log } from "../log.ts";
import type { OpCollection } from "../protocol.ts";
import { environmentRecord, makeExperimentFolder } from "../record/experiment.ts";
import { memProfiler } from "../record/memProfiler.ts";
import { withoutLogging, writeRecord } from "../record/record.ts";
import {
  composeDataModule,
  type ComposedDataModule,
  type DataModuleDefinition,
  type MadeDataModule,
} from "../sides/dataModule.ts";
import {
  answersOf,
  composeModule,
  type ComposedModule,
  type MadeModule,
  type ModuleDefinition,
} from "../sides/module.ts";
import type { ModuleBase } from "../sides/sides.ts";
import { checkProtocol } from "./checks.ts";
import type { GivenSides, SessionOverrides } from "./overrides.ts";
import { isDataset, planOf } from "./plan.ts";

/** What a session is made of. @internal */
export interface SessionState<A extends Adapter, M extends object, D extends object> {
  readonly cfg: SessionConfig;
  readonly module: ComposedModule<A, M>;
  readonly datamodule: ComposedDataModule<D>;
  readonly experimentFolder: string;
  readonly logger: Log;
  readonly environment: JsonObject;
  readonly record: JsonObject;
  readonly sharedComponents: readonly SharedComponent[];
  readonly opCollections: readonly OpCollection[];
  readonly extensions: readonly Extension[];
  readonly loadModel: () => Promise<HookedModel>;
  readonly lora: () => Lora | undefined;
  readonly trainModel: () => Trainable;
  readonly underHooks: <T>(hooks: readonly HookSpec[], work: () => Promise<T>) => Promise<T>;
  readonly names: { readonly datamodule: string; readonly module: string };
}

/** Makes the parts of a session. */
export async function compose<A extends Adapter, M extends object, D extends object>(
  tree: Located,
  overrides: SessionOverrides,
  given: GivenSides<M, D>,
): Promise<SessionState<A, M, D>> {
  const plan = await planOf(tree, overrides, given);
  const { cfg, config, logger, hub, at, components, opCollections, moduleDefinition, dataDefinition } = plan;
  const { adapterCtx: adapters, datamoduleCfg, moduleCfg } = cfg;

  const experimentFolder = await makeExperimentFolder(moduleCfg.coreLogDir, moduleCfg.experimentTag);
  logger.attach(join(experimentFolder, "session.log"));
  const { memprofilerCfg } = moduleCfg;
  const profilers = memprofilerCfg["enabled"] === true ? [memProfiler(memprofilerCfg)] : [];
  const extensions = [...(overrides.extensions ?? []), ...profilers];
  for (const { connect } of extensions) connect?.({ cfg: moduleCfg, experimentFolder });

  const context: LoadContext = {
    resources: { ...hubResources(hub), ...overrides.resources },
    hub,
    at,
    logger,
    runtime: overrides.runtime,
    signal: overrides.signal,
    onProgress: overrides.onProgress,
  };
  const tokenizer = await tokenizerFor(datamoduleCfg, moduleCfg, overrides, context);
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
          at,
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
    underHooks: (hooks, work) => loaded.under(hooks, work),
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

  /** Does some work in which the model is a view under hooks; whoever else holds the model does not see them. */
  async under<T>(hooks: readonly HookSpec[], work: () => Promise<T>): Promise<T> {
    const { model } = this;
    const view = (this.#model = model.withHooks(hooks));
    try {
      return await work();
    } finally {
      if (this.#model === view) this.#model = model;
    }
  }

  get model(): HookedModel {
    if (this.#model !== undefined) return this.#model;
    throw new SessionError("the model is not loaded yet", {
      code: "session/deferred",
      hint: "await session.init(), or leave defer_model_init out",
    });
  }
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
  const lora = await adaptersOf(own, cfg, seed, context);
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
