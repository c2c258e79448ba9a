/** @file What a session may be given beside its file or entry, and the names of it. */
import type { Dataset } from "../../data/index.ts";
import type { HubOptions } from "../../formats/index.ts";
import { optionsCheck, type OptionNames, type OptionsCheck } from "../../graph/options.ts";
import type { HookedModel, Tokenizer } from "../../model/index.ts";
import type { Runtime } from "../../runtime/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import type { Adapter } from "../adapters.ts";
import type { SharedComponent } from "../components/component.ts";
import type { ConfigInput } from "../config/types.ts";
import { SessionError } from "../errors.ts";
import type { Extension } from "../lifecycle.ts";
import type { LoadContext } from "../load/modelSource.ts";
import type { Resources } from "../load/resources.ts";
import type { LogStream } from "../log.ts";
import type { ComposedDataModule, DataModuleDefinition } from "../sides/dataModule.ts";
import type { ModuleDefinition } from "../sides/module.ts";
import type { ModuleBase } from "../sides/sides.ts";

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

/** The sides as they are given in TypeScript. Without classes they are those of the tutorials. */
export interface GivenSides<M extends object, D extends object> {
  readonly moduleCls?: ModuleDefinition<M> | undefined;
  readonly datamoduleCls?: DataModuleDefinition<D> | undefined;
  /** Composed already: taken as they are. */
  readonly module?: (M & ModuleBase) | undefined;
  readonly datamodule?: (D & ComposedDataModule<object>) | undefined;
}

/** A session in TypeScript. */
export interface SessionOptions<A extends readonly Adapter[], M extends object, D extends object>
  extends SessionOverrides<A>, GivenSides<M, D> {}

export const checkOverrides: OptionsCheck = optionsCheck(SessionError, "session/options");

export const overrideNames: OptionNames<SessionOverrides> = {
  model: true,
  tokenizer: true,
  saes: true,
  data: true,
  evalBatchSize: true,
  trainBatchSize: true,
  limit: true,
  runtime: true,
  hub: true,
  resources: true,
  extensions: true,
  definitions: true,
  components: true,
  packages: true,
  env: true,
  logStream: true,
  signal: true,
  onProgress: true,
  adapterCtx: true,
  sharedCfg: true,
  datamoduleCfg: true,
  moduleCfg: true,
  runCfg: true,
  trainer: true,
  seedEverything: true,
};
