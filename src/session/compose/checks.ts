/** @file What must hold between the options of a session before anything is made. */
import { canonicalJson } from "../../formats/index.ts";
import type { Adapter } from "../adapters.ts";
import type { DataModuleConfig, ModuleConfig } from "../config/types.ts";
import { SessionError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { SessionOverrides } from "./overrides.ts";

const tokenizerOptions = ["tokenizerIdOverrides", "tokenizerKwargs", "specialTokensDict"] as const;

/** The data's side takes from the model's what it lacks to have a tokenizer; both are told apart where they differ. */
export function crossValidated(
  data: DataModuleConfig,
  module: ModuleConfig,
  { model, tokenizer }: SessionOverrides,
  logger: Log,
): DataModuleConfig {
  const lacks = data.tokenizerName === null && data.modelNameOrPath === "";
  const same = (key: (typeof tokenizerOptions)[number]): boolean =>
    canonicalJson(data[key]) === canonicalJson(module[key]);
  if (!lacks) {
    const differing = tokenizerOptions.filter((key) => !same(key));
    if (differing.length > 0)
      logger.warn(`the two sides differ in ${differing.join(", ")}; the data's side is tokenised with its own`);
    return data;
  }
  const { modelNameOrPath, tokenizerName } = module;
  const isGiven = model !== undefined || tokenizer !== undefined;
  if (!isGiven && (modelNameOrPath !== "" || tokenizerName !== null))
    logger.warn("the data's side names no tokenizer; it takes the model's");
  const options = Object.fromEntries(tokenizerOptions.map((key) => [key, over(module[key], data[key])]));
  return { ...data, modelNameOrPath, tokenizerName, ...options };
}

/** The second's own entries over the first's. */
const over = (below: object, above: object): object => ({
  ...below,
  ...Object.fromEntries(Object.entries(above).filter(([, value]) => value !== null)),
});

/** Options that need an adapter which is not there are an error. */
export function checkAdapters(
  adapters: readonly Adapter[],
  { tlCfg, saeCfgs }: ModuleConfig,
  { saes = [] }: SessionOverrides,
  where?: string,
): void {
  const needs = (option: string, adapter: Adapter): never => {
    throw new SessionError(`${option} needs the adapter ${adapter}`, {
      code: "session/adapters",
      where,
      received: adapters.join("+"),
      hint: `add ${adapter} to adapter_ctx`,
    });
  };
  const lens = adapters.includes("sae_lens") || adapters.includes("transformer_lens");
  if (!adapters.includes("sae_lens") && (saeCfgs.length > 0 || saes.length > 0)) needs("an SAE", "sae_lens");
  if (!lens && tlCfg !== null) needs("tl_cfg", "transformer_lens");
}

/** A model that comes later cannot say what its forward pass takes. */
export function checkDeferral({ signatureColumns }: DataModuleConfig, { deferModelInit }: ModuleConfig): void {
  if (deferModelInit && signatureColumns === null)
    throw new SessionError("a deferred model needs signature_columns", {
      code: "session/config",
      where: "datamodule_cfg",
      hint: "list the columns that its forward pass takes, such as [input, labels]",
    });
}

/** What is given as a side must have what sides have. */
export function checkProtocol(side: object | undefined, members: readonly string[], role: string): void {
  const missing = side === undefined ? [] : members.filter((name) => !(name in side));
  if (missing.length > 0)
    throw new SessionError(`what is given as ${role} is none`, {
      code: "session/protocol",
      expected: members.join(", "),
      received: `nothing called ${missing.join(", ")}`,
    });
}
