/** @file The model's side of a session: what every module has, what adapters add, and how one is defined. */
import { defaultAnswers, type Answer, type Batch } from "../../data/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import type { HookedModel, TokenBatch, Tokenizer } from "../../model/index.ts";
import { rowsOf } from "../../model/run/batch.ts";
import { spliceHooks, type LatentModel } from "../../sae/index.ts";
import { Metrics } from "../../train/metrics.ts";
import type { Adapter } from "../adapters.ts";
import type { ClassNode, Config, ModuleConfig } from "../config/types.ts";
import { SessionError } from "../errors.ts";
import type { LifecycleHook } from "../protocol.ts";
import type { Log } from "../log.ts";
import type { DataModuleBase, ModuleBase } from "./sides.ts";

/** An optimiser of training with the schedule of its learning rate. */
export interface OptimizerPlan {
  readonly optimizer: ClassNode;
  readonly lrScheduler?: ClassNode & Config<"LrSchedulerConfig">;
}

/** What a module may do at the moments of a session. */
export type ModuleHooks = {
  readonly setup?: (datamodule: DataModuleBase) => void | Promise<void>;
  /** After the model is there: whatever metrics need. */
  readonly loadMetric?: () => void | Promise<void>;
  /** Default: what `optimizer_init` and `lr_scheduler_init` say. */
  readonly configureOptimizers?: () => OptimizerPlan | readonly OptimizerPlan[];
} & {
  readonly [H in Exclude<LifecycleHook, "setup" | "prepareData" | "configureOptimizers">]?: () => void | Promise<void>;
};

/** The steps that a module may have. */
export interface ModuleSteps {
  /** The loss of a batch, as an expression. */
  readonly trainingStep?: (batch: Batch, index: number) => unknown;
  readonly validationStep?: (batch: Batch, index: number) => unknown;
  readonly testStep?: (batch: Batch, index: number) => unknown;
  readonly predictStep?: (batch: Batch, index: number) => unknown;
  /** Stands in for an op. */
  readonly analysisStep?: (batch: Batch, index: number) => unknown;
}

/** What each adapter adds to a module. */
export interface AdapterParts {
  readonly core: {
    /** After `configureOptimizers`. */
    optimizers: readonly OptimizerPlan[];
  };
  readonly lightning: {
    optimizers: readonly OptimizerPlan[];
    /** The configuration, as a trainer's logger takes it. */
    readonly hparams: JsonObject;
  };
  readonly transformer_lens: {
    /** How the weights were processed; null: they are the file's own. */
    readonly tlCfg: Config<"TlConfig"> | null;
  };
  readonly sae_lens: {
    readonly saes: readonly LatentModel[];
    /** The model with the SAEs in place of their hook points. */
    readonly spliced: HookedModel;
    /**
     * Names of the points inside the SAEs, in the order of `sae_cfgs`.
     * @param options.targetLayers only those at these layers; `match` decides alone where it is given
     */
    constructNamesFilter(options?: {
      readonly targetLayers?: readonly number[];
      readonly match?: (name: string, layers: readonly number[] | undefined) => boolean;
    }): string[];
  };
}

type Intersection<U> = (U extends unknown ? (x: U) => void : never) extends (x: infer I) => void ? I : never;
/** What a set of adapters adds. */
export type PartsOf<A extends Adapter> = Intersection<AdapterParts[A]>;

/** A composed module. */
export type ComposedModule<A extends Adapter, M extends object> = Omit<ModuleBase, keyof M> & PartsOf<A> & M;

/** A module as it is defined: a function from what every module has to its steps and hooks. */
export interface ModuleDefinition<M extends object = object> {
  readonly kind: "module";
  readonly name: string;
  readonly create: (base: ModuleBase) => M;
  /** Sees the configuration before anything is made of it. */
  readonly beforeConfig?: (cfg: ModuleConfig, logger: Log) => ModuleConfig;
  /** Makes the model, where no configuration says how. */
  readonly modelInit?: (cfg: ModuleConfig) => HookedModel | Promise<HookedModel>;
}

/**
 * Defines a module. What the function returns (steps, hooks, anything else) is added to what every module has.
 * @param options.beforeConfig sees the configuration before anything is made of it
 * @param options.modelInit makes the model, where no configuration says how
 * @example
 * import { defineModule, type Batch } from "interpretune";
 * const Plain = defineModule("Plain", (module) => ({
 *   async testStep(batch: Batch) {
 *     const loss = await module.forward(batch, (traced) => traced.loss);
 *     module.log("loss", loss.item(), batch.dims[0]);
 *   },
 * }));
 * Plain.name; // "Plain"
 */
export function defineModule<M extends object & ModuleSteps & ModuleHooks>(
  name: string,
  create: (base: ModuleBase) => M,
  options: Pick<ModuleDefinition, "beforeConfig" | "modelInit"> = {},
): ModuleDefinition<M> {
  return { kind: "module", name, create, ...options };
}

/** What a module is made from. */
export interface ModuleParts {
  readonly cfg: ModuleConfig;
  readonly adapters: readonly Adapter[];
  readonly logger: Log;
  readonly tokenizer: Tokenizer | undefined;
  readonly experimentFolder: string;
  readonly seed: number;
  readonly model: () => HookedModel;
  readonly saes: () => readonly LatentModel[];
  readonly datamodule: () => DataModuleBase;
  readonly hparams: JsonObject;
}

/** A composed module, and the same object as every module is seen. */
export interface MadeModule<A extends Adapter, M extends object> {
  readonly composed: ComposedModule<A, M>;
  readonly base: ModuleBase;
}

/** Composes a module: the base, what the adapters add, what the definition adds. */
export function composeModule<A extends Adapter, M extends object>(
  definition: ModuleDefinition<M>,
  parts: ModuleParts,
): MadeModule<A, M> {
  const { cfg, logger, tokenizer, experimentFolder, seed } = parts;
  const inputs = new WeakMap<Batch, TokenBatch>();
  const metrics = new Metrics();
  const splices = (): ReturnType<typeof spliceHooks> | undefined =>
    cfg.addSaesOnInit && parts.saes().length > 0
      ? spliceHooks(parts.saes(), { useErrorTerm: cfg.useErrorTerm })
      : undefined;
  const base: ModuleBase = {
    name: definition.name,
    cfg,
    logger,
    tokenizer,
    experimentFolder,
    seed,
    get model() {
      return parts.model();
    },
    get datamodule() {
      return parts.datamodule();
    },
    answers: answersOf(cfg) ?? taskAnswers(cfg.taskName),
    get runDefaults() {
      const { paddingSide } = parts.datamodule().cfg.tokenizerKwargs;
      return { positions: cfg.positions, useErrorTerm: cfg.useErrorTerm, paddingSide: paddingSide ?? "left" };
    },
    state: { currentEpoch: 0, globalStep: 0 },
    metrics,
    log: (name, value, examples) => metrics.add(name, value, examples),
    logDict(values, examples) {
      for (const [name, value] of Object.entries(values)) metrics.add(name, value, examples);
    },
    input(batch) {
      let made = inputs.get(batch);
      if (made === undefined) {
        made = base.model.batch(rowsOf(batch.tokens, batch.dims), {
          attentionMask: rowsOf(batch.mask, batch.dims),
          positions: cfg.positions,
          paddingSide: base.runDefaults.paddingSide,
        });
        inputs.set(batch, made);
      }
      return made;
    },
    forward: (batch, select) => base.model.run(base.input(batch), select, { splices: splices() }),
    trace: (batch) => base.model.trace(base.input(batch), { splices: splices() }),
  };
  const added: AdapterBuilders = {
    core: () => ({ optimizers: [] }),
    lightning: () => ({ optimizers: [], hparams: parts.hparams }),
    transformer_lens: () => ({ tlCfg: cfg.tlCfg }),
    sae_lens: () => ({
      get saes() {
        return parts.saes();
      },
      get spliced() {
        return base.model.splice(parts.saes(), { useErrorTerm: cfg.useErrorTerm });
      },
      constructNamesFilter: (options = {}) => namesFilter(parts.saes(), options),
    }),
  };
  // Getters stay getters: the model may come later than the module.
  const composed: object = base;
  const put = (more: object): object => Object.defineProperties(composed, Object.getOwnPropertyDescriptors(more));
  put({ setup: () => undefined, configureOptimizers: () => plannedOptimizer(cfg) });
  for (const adapter of parts.adapters) put(added[adapter]());
  put(definition.create(base));
  return { composed: composed as ComposedModule<A, M>, base };
}

/** What `optimizer_init` and `lr_scheduler_init` say. */
function plannedOptimizer({ optimizerInit, lrSchedulerInit, plLrsCfg }: ModuleConfig): OptimizerPlan[] {
  if (optimizerInit === null) return [];
  return [
    {
      optimizer: optimizerInit,
      ...(lrSchedulerInit === null ? {} : { lrScheduler: { ...lrSchedulerInit, ...plLrsCfg } }),
    },
  ];
}

type AdapterBuilders = { readonly [A in Adapter]: () => AdapterParts[A] };

/** The answers that a configuration names. */
export function answersOf({ entailmentMapping, classificationMapping }: ModuleConfig): readonly Answer[] | null {
  if (entailmentMapping !== null && classificationMapping !== null)
    throw new SessionError("the answers are given twice", {
      code: "session/config",
      received: "entailment_mapping and classification_mapping",
      hint: "leave one of them out",
    });
  return entailmentMapping ?? classificationMapping;
}

const taskAnswers = (task: string): readonly Answer[] | null =>
  task === "rte" || task === "boolq" ? defaultAnswers(task) : null;

const innerHooks = ["input", "acts_pre", "acts_post", "output", "recons", "error"].map((name) => `hook_sae_${name}`);

/** As published: names that end in `hook_sae_acts_post`, at the layers that are asked for. */
function namesFilter(
  saes: readonly LatentModel[],
  options: NonNullable<Parameters<AdapterParts["sae_lens"]["constructNamesFilter"]>[0]>,
): string[] {
  const { targetLayers, match = matchPost } = options;
  const all = saes.flatMap(({ hookNameOut }) => innerHooks.map((inner) => `${hookNameOut}.${inner}`));
  const found = all.filter((name) => match(name, targetLayers));
  if (found.length > 0) return found;
  throw new SessionError("no point inside the SAEs is asked for", {
    code: "session/names-filter",
    expected: `layers of ${saes.map(({ hookNameOut }) => hookNameOut).join(", ") || "SAEs, of which there are none"}`,
    received: targetLayers?.join(", "),
  });
}

const matchPost = (name: string, layers: readonly number[] | undefined): boolean =>
  name.endsWith("hook_sae_acts_post") && (layers?.some((layer) => name.startsWith(`blocks.${layer}.`)) ?? true);
