/** @file What a session will be made of: its files, overrides, components and environment, resolved and checked. */
import { randomInt } from "node:crypto";
import type { Dataset } from "../../data/index.ts";
import type { HubOptions, JsonObject } from "../../formats/index.ts";
import { present } from "../../graph/options.ts";
import type { HookedModel } from "../../model/index.ts";
import { canonicalAdapters } from "../adapters.ts";
import { loadComponent, type SharedComponent } from "../components/component.ts";
import type { ComponentOptions } from "../components/manifest.ts";
import { opCollectionsAt, preferredOps } from "../components/opPaths.ts";
import { withPrompt } from "../components/promptRef.ts";
import { atOptions, type AtOptions } from "../config/places.ts";
import {
  inOptions,
  locatedFileOf,
  readConfigTree,
  treeOfInput,
  withOptions,
  type SessionFile,
} from "../config/read.ts";
import type { SessionConfig } from "../config/types.ts";
import { locatedFrom, merged, nodeAt, placeOf, plain, type Located } from "../config/yaml.ts";
import { openLog, type OpenLog } from "../log.ts";
import type { OpCollection } from "../protocol.ts";
import { recordedConfig, withShared } from "../record/record.ts";
import type { DataModuleDefinition } from "../sides/dataModule.ts";
import type { Definition } from "../sides/definitions.ts";
import type { ModuleDefinition } from "../sides/module.ts";
import { RteBoolqDataModule, RteBoolqModule } from "../sides/rteBoolq.ts";
import { checkAdapters, checkDeferral, crossValidated } from "./checks.ts";
import type { GivenSides, SessionOverrides } from "./overrides.ts";

/** A session before anything is made. */
export interface SessionPlan {
  readonly cfg: SessionConfig;
  /** The same as a file would say it. */
  readonly config: JsonObject;
  readonly logger: OpenLog;
  readonly hub: HubOptions;
  readonly at: AtOptions;
  readonly components: readonly SharedComponent[];
  readonly opCollections: readonly OpCollection[];
  readonly moduleDefinition: ModuleDefinition;
  readonly dataDefinition: DataModuleDefinition;
}

/** Options by name as text, as `--set` gives them. */
export type SetOptions = readonly (readonly [name: string, value: string])[];

/**
 * What a session of these files would run on, without making one: everything that files, overrides, components, references
 * and the environment come to, checked, with defaults. It reads as a session file of the same session: what both sides
 * have in common stands in `shared_config`.
 * @param overrides.set options by name as text, as `--set` gives them
 * @throws SessionError as `Session.fromConfig`; for a component that is referred to and cannot be opened
 * @example
 * const config = await resolveSession("rte.yaml", { evalBatchSize: 2 });
 * config["adapter_ctx"]; // ["core"]
 */
export async function resolveSession(
  paths: string | readonly string[],
  overrides: SessionOverrides & { readonly set?: SetOptions } = {},
): Promise<JsonObject> {
  const { set, ...rest } = overrides;
  const tree = await readConfigTree(typeof paths === "string" ? [paths] : paths, rest);
  return withShared((await planOf(withOptions(tree, set), rest, {})).config);
}

/** Resolves and checks a tree of options. */
export async function planOf<M extends object, D extends object>(
  tree: Located,
  overrides: SessionOverrides,
  given: GivenSides<M, D>,
): Promise<SessionPlan> {
  const { logStream = process.stderr, packages, resources, env = process.env } = overrides;
  const hub: HubOptions = { signal: overrides.signal, ...overrides.hub };
  const sharing = { packages, hub, resources };
  const named = merged(tree, overridesTree(overrides));
  const components = await componentsOf(named, overrides.components, sharing);
  const opCollections = await opCollectionsAt(env["IT_ANALYSIS_OP_PATHS"] ?? "", components, sharing);
  const whole = await withPrompt(named, sharing);
  const definitions = [...(overrides.definitions ?? []), ...components.flatMap((each) => each.definitions)];
  const userNames = definitions.map(({ name }) => name);
  const { file, tree: options } = locatedFileOf(whole, { userNames });
  const written = overrides.adapterCtx === undefined && file.adapterCtx !== null;
  const adaptersAt = written ? placeOf(whole, ["adapter_ctx"]) : undefined;
  const adapters = canonicalAdapters(overrides.adapterCtx ?? file.adapterCtx ?? ["core"], adaptersAt);
  const { moduleCls, datamoduleCls } = file.registeredCfg;
  const moduleDefinition = (given.moduleCls ??
    definitionOf("module", moduleCls, RteBoolqModule, definitions)) as ModuleDefinition;
  const dataDefinition =
    given.datamoduleCls ?? definitionOf("datamodule", datamoduleCls, RteBoolqDataModule, definitions);

  const raw = withModelPath(file.registeredCfg, overrides.model);
  const logger = openLog(raw.moduleCfg.loggingLevel, logStream);
  const datamoduleCfg = crossValidated(raw.datamoduleCfg, raw.moduleCfg, overrides, logger);
  const moduleCfg = moduleDefinition.beforeConfig?.(raw.moduleCfg, logger) ?? raw.moduleCfg;
  checkAdapters(adapters, moduleCfg, overrides, adaptersAt);
  checkDeferral(datamoduleCfg, moduleCfg);
  const cfg: SessionConfig = {
    adapterCtx: adapters,
    datamoduleCfg,
    moduleCfg,
    runCfg: { ...file.runCfg, preferOps: file.runCfg.preferOps ?? preferredOps(env) },
    trainer: file.trainer,
    seed: seedOf(file.seedEverything, env["IT_GLOBAL_SEED"]),
  };
  const folders = (overrides.components ?? []).map((each) => (typeof each === "string" ? each : each.folder));
  const config = recordedConfig(cfg, file, [...file.components, ...folders]);
  const at = atOptions(merged(options, modelTree(overrides.model)));
  return { cfg, config, logger, hub, at, components, opCollections, moduleDefinition, dataDefinition };
}

/** The shared components that a file names, and those that were given. */
async function componentsOf(
  tree: Located,
  given: readonly (SharedComponent | string)[] = [],
  sharing: ComponentOptions,
): Promise<SharedComponent[]> {
  const list = nodeAt(tree, ["components"]);
  const items = list?.kind === "list" ? list.items.map(plain) : [];
  const at = atOptions(tree);
  const named = items.map((item, i) =>
    typeof item === "string" ? at([`components.${i}`], () => loadComponent(item, sharing)) : [],
  );
  const others = given.map((each) => (typeof each === "string" ? loadComponent(each, sharing) : each));
  return (await Promise.all([...named, ...others])).flat();
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

export const isDataset = (data: unknown): data is Dataset =>
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

/** The same for whoever looks where an option stands. */
function modelTree(model: HookedModel | string | undefined): Located {
  const side = typeof model === "string" ? { model_name_or_path: model } : {};
  return locatedFrom({ registered_cfg: { datamodule_cfg: side, module_cfg: side } }, inOptions);
}

function definitionOf<K extends "module" | "datamodule", T extends { readonly kind: K; readonly name: string }>(
  kind: K,
  name: string | null,
  bundled: T,
  definitions: readonly Definition[],
): T {
  const own = definitions.find((each) => each.kind === kind && each.name === name);
  return own === undefined ? bundled : (own as object as T);
}

function seedOf(given: number | boolean | null, environment: string | undefined): number | null {
  if (given === true) return randomInt(2 ** 31);
  if (typeof given === "number") return given;
  return environment !== undefined && /^\d+$/.test(environment) ? Number(environment) : null;
}
