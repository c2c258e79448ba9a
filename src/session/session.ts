/** @file The session: two sides composed for a set of adapters, and their lifecycle. */
import type { JsonObject } from "../formats/index.ts";
import { inspectAs } from "../graph/inspect.ts";
import type { HookedModel, HookSpec } from "../model/index.ts";
import type { Lora, Trainable } from "../train/index.ts";
import type { Adapter } from "./adapters.ts";
import { loadComponent, type SharedComponent } from "./components/component.ts";
import { Registry, type AdaptersOfKey, type RegistryKey } from "./components/registry.ts";
import { compose, type SessionState } from "./compose/compose.ts";
import { checkOverrides, overrideNames, type SessionOptions, type SessionOverrides } from "./compose/overrides.ts";
import { readConfigTree, treeOfInput, withOptions } from "./config/read.ts";
import type { SessionConfig } from "./config/types.ts";
import { callHook, type Actor, type Extension } from "./lifecycle.ts";
import type { Log } from "./log.ts";
import type { AnalysisSession, LifecycleHook, OpCollection } from "./protocol.ts";
import type { ComposedDataModule } from "./sides/dataModule.ts";
import type { ComposedModule, OptimizerPlan } from "./sides/module.ts";
import type { RteBoolqSteps } from "./sides/rteBoolq.ts";

/** The two sides by the names under which loops take them. */
export type Components<A extends Adapter, M extends object, D extends object> = {
  readonly datamodule: ComposedDataModule<D>;
} & ("lightning" extends A ? { readonly model: ComposedModule<A, M> } : { readonly module: ComposedModule<A, M> });

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
  readonly #underHooks: SessionState<A, M, D>["underHooks"];
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
    this.#underHooks = state.underHooks;
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

  /** Does some work in which `module.model` is a view under hooks; the model itself has none of them. */
  underHooks<T>(hooks: readonly HookSpec[], work: () => Promise<T>): Promise<T> {
    return this.#underHooks(hooks, work);
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
