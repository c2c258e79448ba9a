/** @file From a module's configuration to its tokenizer, its model and its SAEs. */
import type { HubOptions, Json, JsonObject } from "../../formats/index.ts";
import {
  factorAttention,
  HookedModel,
  loadTokenizer,
  processWeights,
  TokenizerError,
  type FactoredParameters,
  type FactoringOptions,
  type ModelConfigInput,
  type ModelParameters,
  type Tokenizer,
} from "../../model/index.ts";
import type { Runtime } from "../../runtime/index.ts";
import { loadLatentModel, type LatentModel } from "../../sae/index.ts";
import type { AtOptions } from "../config/places.ts";
import type { Config, ModuleConfig, SharedConfig } from "../config/types.ts";
import { SessionError } from "../errors.ts";
import type { Log } from "../log.ts";
import { adaptersOf, type AdaptedModel } from "./adapted.ts";
import { customSae } from "./customSae.ts";
import type { Resources } from "./resources.ts";
import { withVocabulary } from "./vocabulary.ts";

export interface LoadContext {
  readonly resources: Resources;
  readonly hub: HubOptions;
  readonly at: AtOptions;
  readonly logger: Log;
  readonly runtime: Runtime | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((progress: { bytes: number; totalBytes: number }) => void) | undefined;
}

/** The model's name: what is shared, else what `tl_cfg` says. */
const nameOf = ({ modelNameOrPath, tlCfg }: ModuleConfig): string => modelNameOrPath || (tlCfg?.modelName ?? "");

const ownModel = (cfg: ModuleConfig): JsonObject | undefined =>
  [cfg.tlCfg?.cfg ?? {}, cfg.modelCfg].find((sizes) => Object.keys(sizes).length > 0);

/** `pad_token_id: 50256` and `pad_token: <pad>` as the tokenizer's options name them. */
function specialOf({ tokenizerIdOverrides, specialTokensDict }: SharedConfig): Record<string, number | string> {
  const short = (name: string): string => name.replace(/_token(_id)?$/, "");
  return Object.fromEntries(
    [...Object.entries(specialTokensDict), ...Object.entries(tokenizerIdOverrides)].map(([name, value]) => [
      short(name),
      value,
    ]),
  );
}

const modelOptions = ["registered_cfg.module_cfg.model_name_or_path", "registered_cfg.module_cfg.tl_cfg.model_name"];

/** The tokenizer: that of `tokenizer_name`, else the model's; undefined where there is none. */
export async function tokenizerOf(
  shared: SharedConfig,
  cfg: ModuleConfig,
  { resources, hub, at }: LoadContext,
): Promise<Tokenizer | undefined> {
  const own = shared.tokenizerName;
  if (own === null && nameOf(cfg) === "" && ownModel(cfg) !== undefined) return undefined;
  const { paddingSide, addBosToken } = shared.tokenizerKwargs;
  const options = {
    hub,
    special: specialOf(shared),
    addTokens: Object.values(shared.specialTokensDict),
    ...(paddingSide === null ? {} : { paddingSide }),
    ...(addBosToken === null ? {} : { defaultPrependBos: addBosToken }),
  };
  const names = ["datamodule_cfg.tokenizer_name", "module_cfg.tokenizer_name", "datamodule_cfg.model_name_or_path"];
  return at([...names.map((name) => `registered_cfg.${name}`), ...modelOptions], async () => {
    const path = await resources.model(own ?? (shared.modelNameOrPath || nameOf(cfg)));
    return loadTokenizer(path, options).catch((error: unknown): undefined => {
      if (own === null && error instanceof TokenizerError && error.code === "tokenizer/missing") return undefined;
      throw error;
    });
  });
}

/** The model of a configuration, its adapters on it, and its weights processed as `tl_cfg` says. */
export async function modelOf(
  cfg: ModuleConfig,
  tokenizer: Tokenizer | undefined,
  seed: number,
  context: LoadContext,
): Promise<AdaptedModel> {
  refuseUnsupported(cfg);
  const { resources, hub, at, runtime, signal, onProgress } = context;
  const sizes = nameOf({ ...cfg, tlCfg: null }) === "" ? ownModel(cfg) : undefined;
  const loaded =
    sizes === undefined
      ? await at(modelOptions, async () =>
          HookedModel.load(await resources.model(nameOf(cfg)), { runtime, signal, onProgress, hub }),
        )
      : HookedModel.fromConfig(sizes as JsonObject & ModelConfigInput, { runtime });
  const { runtime: running, weightPolicy } = loaded;
  // As published, the vocabulary grows before weights are processed; adapters belong to the weights as files have them.
  const grown = new HookedModel({
    ...withVocabulary(loaded, tokensOf(cfg, tokenizer)),
    tokenizer,
    runtime: running,
    weightPolicy,
  });
  const lora = await adaptersOf(grown, cfg, seed, context);
  const computing = { runtime: running, signal };
  const { cfg: sized, weights, dispose } = await processed(lora?.model ?? grown, cfg.tlCfg, computing);
  const prepended = cfg.tlCfg === null ? sized : { ...sized, default_prepend_bos: cfg.tlCfg.defaultPrependBos };
  const model = new HookedModel({
    cfg: prepended,
    weights,
    tokenizer,
    runtime: running,
    weightPolicy,
    release: () => {
      dispose?.();
      loaded.dispose();
    },
  });
  return { model, lora };
}

async function processed(
  model: ModelParameters,
  tl: Config<"TlConfig"> | null,
  computing: FactoringOptions,
): Promise<ModelParameters & Partial<FactoredParameters>> {
  const { cfg, weights } = model;
  if (tl === null) return { cfg, weights };
  const all = tl.preset === "from_pretrained";
  const { foldLn, centerWritingWeights, centerUnembed, foldValueBiases } = tl;
  const options = {
    foldLn: foldLn ?? all,
    centerWritingWeights: centerWritingWeights ?? all,
    centerUnembed: centerUnembed ?? all,
    foldValueBiases: foldValueBiases ?? all,
  };
  const views = Object.values(options).includes(true) ? processWeights(model, options) : { cfg, weights };
  return tl.refactorFactoredAttnMatrices ? factorAttention(views, computing) : views;
}

/** A causal head by the end of its class's name. */
const causalHead = /(ForCausalLM|LMHeadModel|ForConditionalGeneration)$/;

function refuseUnsupported({ hfFromPretrainedCfg: hf, addSaesOnInit, saeCfgs }: ModuleConfig): void {
  const refuse = (option: string, received: Json, hint: string): never => {
    throw new SessionError("this option asks for something that is not here", {
      code: "session/unsupported",
      where: option,
      received: JSON.stringify(received),
      hint,
    });
  };
  const head = hf.modelHead || hf.defaultHead;
  if (!causalHead.test(head))
    refuse("hf_from_pretrained_cfg.model_head", head, "language models with a causal head are loaded");
  if (Object.keys(hf.bitsandbytesconfig).length > 0)
    refuse(
      "hf_from_pretrained_cfg.bitsandbytesconfig",
      hf.bitsandbytesconfig,
      "a quantised model is loaded from a .gguf file",
    );
  if (addSaesOnInit && saeCfgs.length === 0) refuse("add_saes_on_init", true, "name SAEs in sae_cfgs");
}

/** How many tokens there are at least: as published, what overrides and added tokens name has an embedding. */
function tokensOf({ tokenizerIdOverrides, specialTokensDict }: SharedConfig, tokenizer: Tokenizer | undefined): number {
  const added = Object.values(specialTokensDict).map((token) => tokenizer?.idOf(token) ?? -1);
  return 1 + Math.max(-1, ...Object.values(tokenizerIdOverrides), ...added);
}

/** The SAEs and transcoders of a configuration, in its order; those of a configuration alone drawn from the seed. */
export async function saesOf(
  cfg: ModuleConfig,
  seed: number,
  { resources, hub, at, signal }: LoadContext,
): Promise<LatentModel[]> {
  const saes: LatentModel[] = [];
  for (const [i, { path, release, saeId, hookName, cfg: own }] of cfg.saeCfgs.entries()) {
    signal?.throwIfAborted();
    if (Object.keys(own).length > 0) {
      saes.push(customSae(own, hookName, seed + i, `sae_cfgs.${i}`));
      continue;
    }
    const options = ["path", "sae_id", "release"].map((name) => `registered_cfg.module_cfg.sae_cfgs.${i}.${name}`);
    const sae = await at(options, async () =>
      loadLatentModel(path ?? (await resources.sae(release, saeId)), {
        hub,
        ...(hookName === null ? {} : { hookName }),
      }),
    );
    saes.push(sae);
  }
  return saes;
}
