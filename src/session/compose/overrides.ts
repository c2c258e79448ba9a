/** @file Names of what a session may be given beside its file or entry. */
import { optionsCheck, type OptionNames, type OptionsCheck } from "../../graph/options.ts";
import { SessionError } from "../errors.ts";
import type { SessionOverrides } from "../session.ts";

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
