/** @file What a session is recorded as: its configuration as a file would say it, and what that hashes to. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Json, JsonObject } from "../formats/index.ts";
import type { SessionFile } from "./config/read.ts";
import { snaked } from "./config/schema.ts";
import type { SessionConfig } from "./session.ts";

/** The configuration as a file would say it. */
export function recordedConfig(
  { adapterCtx, datamoduleCfg, moduleCfg, runCfg, trainer, seed }: SessionConfig,
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
    trainer: snaked("TrainerConfig", trainer),
    seed_everything: seed,
  };
  return JSON.parse(JSON.stringify(config)) as JsonObject;
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
  await writeFile(
    join(folder, "environment.json"),
    `${JSON.stringify({ ...(environment as JsonObject), config_hash }, null, 2)}\n`,
  );
  await writeFile(join(folder, "config.yaml"), stringify(config));
}
