/** @file Loading a model's files: a Hugging Face folder, a TransformerLens folder, a GGUF file, or the hub's by id. */
import {
  fileSource,
  openCheckpoint,
  openGguf,
  type GgufValue,
  type HubOptions,
  type TensorFile,
} from "../../formats/index.ts";
import { isObject, parseJson } from "../../formats/json.ts";
import { parseModelConfig, type ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import { readFamilyConfig, type HfConfig } from "../families/family.ts";
import { llamaGgufConfig, llamaGgufIgnored, llamaGgufTensors } from "../families/llamaGguf.ts";
import { familyOf } from "../families/table.ts";
import { findHubModel, type ModelFiles } from "../hub/hubModel.ts";
import type { ModelWeights } from "../weights/weights.ts";
import { isNativeConfig, nativeConfig, nativeIgnored, nativeOtherNames, nativeTensors } from "./native.ts";
import { isTied, neededTensors, readWeights, type ReadOptions, type WeightPlan } from "./readWeights.ts";

/** A model's files, read. */
export interface LoadedModel {
  readonly cfg: ModelConfig;
  /** Views over the tensors of the file, float32. */
  readonly weights: ModelWeights;
  /** Which files the model was in. */
  readonly kind: "huggingface" | "native" | "gguf";
  /** Where a tokenizer may be: the folder, or the metadata of the GGUF file. */
  readonly tokenizerSource: { readonly folder?: string; readonly gguf?: ReadonlyMap<string, GgufValue> };
  /** config.json as it is; empty for GGUF. */
  readonly hfConfig: HfConfig;
  readonly files: readonly string[];
  /** Tensors of the file that the model does not use. */
  readonly unused: readonly string[];
  /** Frees the weights and takes them out of the ledger. */
  dispose(): void;
}

export interface LoadOptions extends ReadOptions {
  /** How the hub is asked for a model that is given by its id. */
  hub?: HubOptions;
}

const CONFIG = "config.json";
const looksFor = `a folder with ${CONFIG} and model.safetensors (or its shards), or a .gguf file`;

/**
 * Loads a model from a folder, a file, or the hub. A path that exists wins; else the name is an id, with a revision perhaps
 * (`gpt2`, `openai-community/gpt2@main`, `owner/name/file.gguf`), and what a run needs comes from the hub's cache or into
 * it: configuration, tokenizer, safetensors rather than PyTorch's files, of shards those with tensors that are needed.
 * Folders are those of Hugging Face (families: gemma2, gpt2, gpt_neox, llama, mistral, qwen2) or small TransformerLens models
 * (config.json with the keys of HookedTransformerConfig); files are GGUF of architecture llama. Weights become float32 leaves
 * in the file's own layout, once; parameters are views of them.
 *
 * @throws ModelError for a path that is no model, an unsupported family or configuration, missing tensors, tensors of a
 *   wrong shape or type; FormatError for damaged files; the signal's reason when aborted
 * @example
 * ```ts
 * const loaded = await loadModelFiles("models/gpt2");
 * loaded.cfg.n_layers; // 12
 * loaded.weights.get("blocks.0.attn.W_Q")!; // [head, d_model, d_head]
 * loaded.dispose();
 * ```
 */
export async function loadModelFiles(path: string, options: LoadOptions = {}): Promise<LoadedModel> {
  options.signal?.throwIfAborted();
  const { stat } = await import("node:fs/promises");
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) {
    const found = await findHubModel(path, { signal: options.signal, ...options.hub }, looksFor);
    return "gguf" in found ? loadGguf(found.gguf, options) : loadFolder(found, options);
  }
  if (stats.isDirectory()) {
    const openWeights: ModelFiles["openWeights"] = ({ needs }) => openCheckpoint(path, { needs });
    return loadFolder({ name: await nameOf(path), folder: path, openWeights }, options);
  }
  if (path.toLowerCase().endsWith(".gguf")) return loadGguf(path, options);
  throw notAModel(
    "this file is not a model",
    path,
    "another file",
    "for a .safetensors file, give the folder it is in",
  );
}

function notAModel(message: string, where: string, received: string, hint?: string): ModelError {
  return new ModelError(message, { code: "model/not-found", where, expected: looksFor, received, hint });
}

async function nameOf(path: string): Promise<string> {
  const { default: paths } = await import("node:path");
  return paths.basename(paths.resolve(path));
}

async function loadFolder({ name, folder, openWeights }: ModelFiles, options: LoadOptions): Promise<LoadedModel> {
  const { default: paths } = await import("node:path");
  const where = paths.join(folder, CONFIG);
  const hfConfig = await readConfig(folder, where);
  const family = isNativeConfig(hfConfig) ? undefined : familyOf(hfConfig, where);
  const { headersOnly, stopAtLayer } = options;
  const parsed = (input: object): ModelConfig => parseModelConfig({ model_name: name, ...input }, where);
  const ofFamily =
    family &&
    parsed({
      original_architecture: family.architecture,
      ...readFamilyConfig(family, hfConfig, where),
      ...ownKeys(hfConfig),
    });
  const planOf = (cfg: ModelConfig): WeightPlan =>
    family
      ? {
          tensors: family.tensors,
          otherNames: (tensor) => (tensor.startsWith(family.prefix) ? [tensor.slice(family.prefix.length)] : []),
          ignored: family.ignored,
          hf: hfConfig,
        }
      : { tensors: nativeTensors(cfg), otherNames: nativeOtherNames, ignored: nativeIgnored, hf: hfConfig };
  const needs =
    ofFamily && stopAtLayer !== undefined ? neededTensors(ofFamily, planOf(ofFamily), stopAtLayer) : undefined;
  const file = await openWeights({ needs, headersOnly });
  try {
    const said =
      ofFamily ??
      parsed(nativeConfig(hfConfig, where, (tensor) => (file.has(tensor) ? file.info(tensor).shape : undefined)));
    const plan = planOf(said);
    const untied = said.tie_word_embeddings && needs === undefined && !(await isTied(file, plan));
    const cfg = untied ? { ...said, tie_word_embeddings: false } : said;
    const kind = family ? "huggingface" : "native";
    return {
      ...(await read(file, cfg, plan, options)),
      kind,
      hfConfig,
      tokenizerSource: { folder },
      files: [where, file.source],
    };
  } finally {
    await file.close();
  }
}

/** Keys of ours in a family's config.json: whether text begins with BOS, which `saveModel` adds, and a name. */
function ownKeys({ default_prepend_bos, model_name }: HfConfig): {
  default_prepend_bos?: boolean;
  model_name?: string;
} {
  return {
    ...(typeof default_prepend_bos === "boolean" && { default_prepend_bos }),
    ...(typeof model_name === "string" && model_name !== "" && { model_name }),
  };
}

async function readConfig(folder: string, where: string): Promise<HfConfig> {
  const { readdir, readFile } = await import("node:fs/promises");
  const bytes = await readFile(where).catch(() => undefined);
  if (bytes === undefined) {
    const names = await readdir(folder);
    const gguf = names.filter((name) => name.toLowerCase().endsWith(".gguf"));
    throw notAModel(
      `the folder has no ${CONFIG}`,
      folder,
      names.length === 0 ? "an empty folder" : names.slice(0, 8).join(", ") + (names.length > 8 ? ", …" : ""),
      gguf.length > 0 ? `give the path of ${gguf[0]} itself` : undefined,
    );
  }
  const config = parseJson(bytes, where);
  if (isObject(config)) return config;
  throw new ModelError("the configuration is not a JSON object", { code: "model/config", where });
}

async function loadGguf(path: string, options: LoadOptions): Promise<LoadedModel> {
  const file = await openGguf(await fileSource(path));
  try {
    const name = file.metadata.get("general.name");
    const cfg = parseModelConfig(
      {
        model_name: typeof name === "string" && name !== "" ? name : await nameOf(path),
        ...(await llamaGgufConfig(file)),
      },
      path,
    );
    const plan: WeightPlan = { tensors: llamaGgufTensors, otherNames: () => [], ignored: llamaGgufIgnored, hf: {} };
    const loaded = await read(file, cfg, plan, options);
    return { ...loaded, kind: "gguf", hfConfig: {}, tokenizerSource: { gguf: file.metadata }, files: [path] };
  } finally {
    await file.close();
  }
}

async function read(
  file: TensorFile,
  cfg: ModelConfig,
  plan: WeightPlan,
  options: LoadOptions,
): Promise<Pick<LoadedModel, "cfg" | "weights" | "unused" | "dispose">> {
  return { cfg, ...(await readWeights(file, cfg, plan, options)) };
}
