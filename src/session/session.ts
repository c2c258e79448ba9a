/** @file The session: two sides composed for a set of adapters, and their lifecycle. */
import type { Dataset } from "../data/index.ts";
import type { HubOptions, JsonObject } from "../formats/index.ts";
import { inspectAs } from "../graph/inspect.ts";
import type { HookedModel, Tokenizer } from "../model/index.ts";
import type { Runtime } from "../runtime/index.ts";
import type { LatentModel } from "../sae/index.ts";
import type { Adapter } from "./adapters.ts";
import { loadComponent, type SharedComponent } from "./components/component.ts";
import { compose } from "./compose/compose.ts";
import { readConfigTree, treeOfInput, withOptions } from "./config/read.ts";
import type { ConfigInput, DataModuleConfig, ModuleConfig, RunConfig, TrainerConfig } from "./config/types.ts";
import type { ComposedDataModule, DataModuleDefinition } from "./sides/dataModule.ts";
import { callHook, type Actor } from "./lifecycle.ts";
import type { Log, LogStream } from "./record/log.ts";
import type { LoadContext } from "./load/modelSource.ts";
import type { ComposedModule, ModuleBase, ModuleDefinition, OptimizerPlan } from "./sides/module.ts";
import type { AnalysisSession, LifecycleHook } from "./protocol.ts";
import type { OpCollection } from "./components/opFile.ts";
import { checkOverrides, overrideNames } from "./compose/overrides.ts";
import { Registry, type AdaptersOfKey, type RegistryKey } from "./components/registry.ts";
import type { Resources } from "./load/resources.ts";
import type { RteBoolqSteps } from "./sides/rteBoolq.ts";
import type { Lora, Trainable } from "../train/index.ts";

/** Something beside the two sides that acts at the moments of a session, such as a profiler. */
export interface Extension {
  readonly name: string;
  /** When the session is made, before the model is. */
  readonly connect?: (session: { readonly cfg: ModuleConfig; readonly experimentFolder: string }) => void;
  readonly hooks: { readonly [H in LifecycleHook]?: () => void | Promise<void> };
}

/** What a session may be given that no file can hold. */
export interface SessionExtras {
  /** Already loaded, or the path to load instead of what the configuration says. */
  readonly model?: HookedModel | string;
  readonly tokenizer?: Tokenizer;
  /** Already loaded, or paths, instead of `sae_cfgs`. */
  readonly saes?: readonly (LatentModel | string)[];
  /** Rows, a file of them, or a file for each split. */
  readonly data?: Dataset | string | ConfigInput<"DataFiles">;
  readonly evalBatchSize?: number;
  readonly trainBatchSize?: number;
  /** Only the first rows of each split. */
  readonly limit?: number;
  readonly runtime?: Runtime;
  /** How the hub is asked for what is given by its id. */
  readonly hub?: HubOptions;
  /** What stands behind the names of models, SAEs and data instead. */
  readonly resources?: Partial<Resources>;
  readonly extensions?: readonly Extension[];
  /** Modules and data modules that a file may name beside the bundled ones. */
  readonly definitions?: readonly (ModuleDefinition | DataModuleDefinition)[];
  /** Shared components, loaded or by folder or id: their modules may be named, and runs know their ops. */
  readonly components?: readonly (SharedComponent | string)[];
  /** Installed packages whose code components that are given by name may run. Default none. */
  readonly packages?: readonly string[];
  /**
   * Default `process.env`. `IT_CONFIG_DEFAULTS` names a folder of files that come first, `IT_ANALYSIS_OP_PATHS` op
   * collections, `IT_OP_PRECEDENCE` those that `prefer_ops` names; `IT_GLOBAL_SEED` is a seed.
   */
  readonly env?: Readonly<Partial<Record<string, string>>>;
  /** Where log lines go beside the file. Default stderr; null: nowhere. */
  readonly logStream?: LogStream | null;
  readonly signal?: AbortSignal;
  readonly onProgress?: LoadContext["onProgress"];
}

/** What differs from a file or a registry entry. */
export interface SessionOverrides<A extends readonly Adapter[] = readonly Adapter[]> extends SessionExtras {
  readonly adapterCtx?: A;
  readonly sharedCfg?: ConfigInput<"SharedConfig">;
  readonly datamoduleCfg?: ConfigInput<"DataModuleConfig">;
  readonly moduleCfg?: ConfigInput<"ModuleConfig">;
  readonly runCfg?: ConfigInput<"RunConfig">;
  readonly trainer?: ConfigInput<"TrainerConfig">;
  readonly seedEverything?: number | boolean;
}

/** A session in TypeScript. Without classes the two sides are those of the tutorials. */
export interface SessionOptions<
  A extends readonly Adapter[],
  M extends object,
  D extends object,
> extends SessionOverrides<A> {
  readonly moduleCls?: ModuleDefinition<M>;
  readonly datamoduleCls?: DataModuleDefinition<D>;
  /** Composed already: taken as they are. */
  readonly module?: M & ModuleBase;
  readonly datamodule?: D & ComposedDataModule<object>;
}

/** The two sides by the names under which loops take them. */
export type Components<A extends Adapter, M extends object, D extends object> = {
  readonly datamodule: ComposedDataModule<D>;
} & ("lightning" extends A ? { readonly model: ComposedModule<A, M> } : { readonly module: ComposedModule<A, M> });

/** A resolved configuration. */
export interface SessionConfig {
  readonly adapterCtx: readonly Adapter[];
  readonly datamoduleCfg: DataModuleConfig;
  readonly moduleCfg: ModuleConfig;
  readonly runCfg: RunConfig;
  readonly trainer: TrainerConfig;
  readonly seed: number | null;
}

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
  readonly names: { readonly datamodule: string; readonly module: string };
}

/**
 * A session: a data module and a module, composed for adapters. The type knows what the adapters add: without `sae_lens`
 * there is no `session.module.saes`, with `lightning` the components are called `datamodule` and `model`.
 * @example
 * const session = await Session.fromRegistry("rte_demo.gpt2.sae_lens", {
 *   model: "models/gpt2",
 *   saes: ["saes/blocks.9.hook_z", "saes/blocks.10.hook_z"],
 *   data: "rte/validation.jsonl",
 *   evalBatchSize: 2,
 *   moduleCfg: { coreLogDir: "runs/logs" },
 * });
 * await session.init();
 * session.module.saes.length; // 2
 * await session.end();
 */
export class Session<
  A extends Adapter = Adapter,
  M extends object = object,
  D extends object = object,
> implements AnalysisSession {
  readonly cfg: SessionConfig;
  readonly module: ComposedModule<A, M> & AnalysisSession["module"];
  readonly datamodule: ComposedDataModule<D> & AnalysisSession["datamodule"];
  readonly experimentFolder: string;
  readonly logger: Log;
  /** Versions, provider, threads, commit. */
  readonly environment: JsonObject;
  readonly record: JsonObject;
  readonly sharedComponents: readonly SharedComponent[];
  /** Those that `IT_ANALYSIS_OP_PATHS` names. */
  readonly opCollections: readonly OpCollection[];
  readonly #extensions: readonly Extension[];
  readonly #loadModel: () => Promise<HookedModel>;
  readonly #lora: () => Lora | undefined;
  readonly #trainModel: () => Trainable;
  readonly #names: SessionState<A, M, D>["names"];
  #initialized: Promise<void> | undefined;
  #ended: Promise<void> | undefined;
  #currentHook: LifecycleHook | undefined;

  /** Use {@link Session.create}, {@link Session.fromConfig} or {@link Session.fromRegistry}. @internal */
  constructor(state: SessionState<A, M, D>) {
    this.cfg = state.cfg;
    this.module = state.module as ComposedModule<A, M> & AnalysisSession["module"];
    this.datamodule = state.datamodule as ComposedDataModule<D> & AnalysisSession["datamodule"];
    this.experimentFolder = state.experimentFolder;
    this.logger = state.logger;
    this.environment = state.environment;
    this.record = state.record;
    this.sharedComponents = state.sharedComponents;
    this.opCollections = state.opCollections;
    this.#extensions = state.extensions;
    this.#loadModel = state.loadModel;
    this.#lora = state.lora;
    this.#trainModel = state.trainModel;
    this.#names = state.names;
  }

  /**
   * A session from options.
   * @throws SessionError for options that do not fit, adapters that do not go together, files that are not there; the
   *   errors of loading a model, a tokenizer or an SAE
   * @example
   * const session = await Session.create({ model, data: "rte/validation.jsonl", moduleCfg: { coreLogDir: "runs/logs" } });
   * session.cfg.adapterCtx; // ["core"]
   */
  static async create<
    const A extends readonly Adapter[] = readonly ["core"],
    M extends object = RteBoolqSteps,
    D extends object = object,
  >(options: SessionOptions<A, M, D>): Promise<Session<A[number], M, D>> {
    const { moduleCls, datamoduleCls, module, datamodule, ...rest } = options;
    checkOverrides(rest, overrideNames, "Session.create");
    return new Session(
      await compose<A[number], M, D>(treeOfInput({}), rest, { moduleCls, datamoduleCls, module, datamodule }),
    );
  }

  /**
   * A session from YAML files of the published shape; later files win over earlier ones, overrides over files.
   * @param overrides.set options by name as text, as `--set` gives them
   * @throws SessionError with file, line and column
   * @example
   * const session = await Session.fromConfig("rte.yaml", { set: [["core-log-dir", "runs/logs"]], evalBatchSize: 2 });
   * session.cfg.datamoduleCfg.evalBatchSize; // 2
   */
  static async fromConfig<const A extends readonly Adapter[] = readonly ["core"]>(
    paths: string | readonly string[],
    overrides: SessionOverrides<A> & {
      readonly set?: readonly (readonly [name: string, value: string])[];
    } = {},
  ): Promise<Session<A[number], RteBoolqSteps>> {
    const { set, ...rest } = overrides;
    checkOverrides(rest, overrideNames, "Session.fromConfig");
    const tree = await readConfigTree(typeof paths === "string" ? [paths] : paths, rest);
    return new Session(await compose(withOptions(tree, set), rest, {}));
  }

  /**
   * A session from an entry of a registry.
   * @param key such as `rte_demo.gpt2.sae_lens`, or the parts of one
   * @param options.registry default: the bundled one
   * @throws SessionError naming near keys when there is none of this name
   */
  static async fromRegistry<
    const K extends RegistryKey,
    const A extends readonly Adapter[] = readonly AdaptersOfKey<K>[],
  >(
    key: K,
    options: SessionOverrides<A> & { readonly registry?: Registry } = {},
  ): Promise<Session<A[number], RteBoolqSteps>> {
    const { registry = await Registry.bundled(), ...overrides } = options;
    checkOverrides(overrides, overrideNames, "Session.fromRegistry");
    const entry = registry.get(key);
    return new Session(
      await compose(entry.tree, { ...overrides, adapterCtx: overrides.adapterCtx ?? entry.adapters }, {}),
    );
  }

  /**
   * A session from a shared component: an entry of its registry, with its modules and its ops.
   * @param source its folder, or its id on the hub
   * @throws SessionError as {@link loadComponent} and {@link Session.fromRegistry}
   * @example
   * await Session.fromHub("components/none", "rte_demo.gpt2.core").catch((error: Error) => error.name); // "SessionError"
   */
  static async fromHub<const K extends RegistryKey, const A extends readonly Adapter[] = readonly AdaptersOfKey<K>[]>(
    source: string,
    key: K,
    overrides: SessionOverrides<A> = {},
  ): Promise<Session<A[number], RteBoolqSteps>> {
    const { packages, hub, resources, components = [] } = overrides;
    const own = await loadComponent(source, { packages, hub, resources });
    return Session.fromRegistry(key, { ...overrides, registry: own.registry, components: [...components, own] });
  }

  /** Its adapters, its two sides, and its folder. */
  toString(): string {
    const { cfg, experimentFolder } = this;
    const { modelNameOrPath, taskName } = cfg.moduleCfg;
    const named = (name: string, of: string): string => (of === "" ? name : `${name} (${of})`);
    return [
      `Session: ${cfg.adapterCtx.join(", ")}`,
      `module ${named(this.#names.module, modelNameOrPath)}`,
      `datamodule ${named(this.#names.datamodule, taskName)}`,
      `files in ${experimentFolder}`,
    ].join("\n  ");
  }

  static {
    inspectAs(this, String);
  }

  /** The two sides by the names under which loops take them. */
  get components(): Components<A, M, D> {
    const { datamodule, module } = this;
    const named: object = this.cfg.adapterCtx.includes("lightning")
      ? { datamodule, model: module }
      : { datamodule, module };
    return named as Components<A, M, D>;
  }

  /** The adapters that `lora_cfg` asks for, on the model as its files have it; undefined where there are none. */
  get lora(): Lora | undefined {
    return this.#lora();
  }

  /** The hook that is being called. */
  get currentHook(): LifecycleHook | undefined {
    return this.#currentHook;
  }

  /** Prepares data, sets both sides up, configures optimisers. The second call does nothing. */
  init(): Promise<void> {
    return (this.#initialized ??= this.#init());
  }

  async #init(): Promise<void> {
    const model = await this.#loadModel();
    const [data, module] = this.#actors();
    await this.#act(data!, "prepareData", model);
    await this.#act(data!, "setup");
    await this.#act(module!, "setup", this.datamodule);
    for (const extension of this.#actors().slice(2)) await this.#act(extension, "setup");
    if (this.cfg.moduleCfg.optimizerInit === null) return;
    const plan = (await this.#act(module!, "configureOptimizers")) as
      OptimizerPlan | readonly OptimizerPlan[] | undefined;
    const holder: object = this.module;
    Reflect.set(holder, "optimizers", plan === undefined ? [] : Array.isArray(plan) ? plan : [plan]);
  }

  /** Lets both sides and the extensions act, data module first. */
  async call(hook: LifecycleHook): Promise<void> {
    for (const actor of this.#actors()) await this.#act(actor, hook);
  }

  /**
   * Makes the module's model one that can be trained: a copy, so that the model that was given stays as it is; with
   * adapters only they can. From the second call on it is the same.
   */
  async trainable(): Promise<Trainable> {
    await this.init();
    return this.#trainModel();
  }

  /** Ends the session once: later calls do nothing, whatever phases there were. */
  end(): Promise<void> {
    return (this.#ended ??= this.call("onSessionEnd"));
  }

  /** As {@link end}, at the end of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }

  #actors(): Actor[] {
    return [
      { role: "datamodule", name: this.#names.datamodule, hooks: this.datamodule },
      { role: "module", name: this.#names.module, hooks: this.module },
      ...this.#extensions.map(({ name, hooks }): Actor => ({ role: "extension", name, hooks })),
    ];
  }

  async #act(actor: Actor, hook: LifecycleHook, ...args: readonly unknown[]): Promise<unknown> {
    this.#currentHook = hook;
    try {
      return await callHook(actor, hook, this.logger, ...args);
    } finally {
      this.#currentHook = undefined;
    }
  }
}
