/** @file What a session is recorded as: its configuration as a file would say it, and what that hashes to. */
import { join } from "node:path";
import { stringify } from "yaml";
import { canonicalJson, writeFileAtomic, type Json, type JsonObject } from "../../formats/index.ts";
import { snakeCase } from "../config/names.ts";
import type { SessionFile } from "../config/read.ts";
import { fieldsOf, snaked } from "../config/schema.ts";
import type { SessionConfig } from "../config/types.ts";

/** The configuration as a file would say it. */
export function recordedConfig(
  { adapterCtx, datamoduleCfg, moduleCfg, runCfg, trainer, seed }: SessionConfig,
  { registeredCfg }: SessionFile,
  components: readonly string[] = [],
): JsonObject {
  const { moduleCls, datamoduleCls } = registeredCfg;
  const config = {
    adapter_ctx: adapterCtx,
    ...(components.length > 0 && { components }),
    registered_cfg: {
      datamodule_cfg: snaked("DataModuleConfig", datamoduleCfg),
      module_cfg: snaked("ModuleConfig", moduleCfg),
      datamodule_cls: datamoduleCls,
      module_cls: moduleCls,
    },
    run_cfg: snaked("RunConfig", runCfg),
    trainer: snaked("TrainerConfig", trainer),
    seed_everything: seed,
  };
  return JSON.parse(JSON.stringify(config)) as JsonObject;
}

/**
 * A session's file with every default, as a file of the same session.
 * @example
 * const document = sessionDocument(await readSessionFile(["rte.yaml"]));
 * document["adapter_ctx"]; // ["core"]
 */
export function sessionDocument({ sharedConfig: _, ...file }: SessionFile): JsonObject {
  return withShared(JSON.parse(JSON.stringify(snaked("SessionFile", file))) as JsonObject);
}

/** The same for people, and for files: what both sides say alike stands in `shared_config`. */
export function withShared(config: JsonObject): JsonObject {
  const { registered_cfg: sides, ...rest } = config as JsonObject & { readonly registered_cfg: Sides };
  const { datamodule_cfg: data, module_cfg: module, ...classes } = sides;
  const keys = fieldsOf("SharedConfig").map(([name]) => snakeCase(name));
  const alike = keys.filter((key) => canonicalJson(data[key] ?? null) === canonicalJson(module[key] ?? null));
  const without = (side: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(side).filter(([key]) => !alike.includes(key)));
  const shared_config = Object.fromEntries(alike.map((key) => [key, data[key] ?? null]));
  return {
    shared_config,
    ...rest,
    registered_cfg: { datamodule_cfg: without(data), module_cfg: without(module), ...classes },
  };
}

interface Sides extends JsonObject {
  readonly datamodule_cfg: JsonObject;
  readonly module_cfg: JsonObject;
}

const loggingKeys: readonly string[] = [
  "core_log_dir",
  "experiment_tag",
  "logging_level",
  "log_env_details",
  "memprofiler_cfg",
  "save_merged",
];

/** Where and how loudly something is logged, and what is measured or saved beside, does not make it another session. */
export function withoutLogging(value: Json): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return (value as readonly Json[]).map(withoutLogging);
  return Object.fromEntries(
    Object.entries(value as JsonObject).flatMap(([name, item]) =>
      loggingKeys.includes(name) || item === undefined ? [] : [[name, withoutLogging(item)]],
    ),
  );
}

/** Writes what a session ran on into its folder. */
export async function writeRecord(folder: string, { config, config_hash, environment }: JsonObject): Promise<void> {
  await writeFileAtomic(
    join(folder, "environment.json"),
    `${JSON.stringify({ ...(environment as JsonObject), config_hash }, null, 2)}\n`,
  );
  await writeFileAtomic(join(folder, "config.yaml"), stringify(config));
}
