/** @file Saving a model as a folder: in the layout of its Hugging Face family, or as TransformerLens has it. */
import { makeFolder } from "../../formats/disk/folder.ts";
import { writeCheckpoint, writeFileAtomic, type TensorData } from "../../formats/index.ts";
import { leaf, transpose, type DataArray } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { defaultRuntime, type Runtime } from "../../runtime/index.ts";
import { parseModelConfig, type ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import { readFamilyConfig, type Family, type HfConfig, type TensorTable } from "../families/family.ts";
import { familyByArchitecture } from "../families/table.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { copyTokenizer, saveTokenizer } from "../tokenizer/save.ts";
import { parametersOf } from "../weights/parameters.ts";
import type { ModelParameters } from "../weights/processing.ts";
import { nativeTensors } from "./native.ts";
import { rowsOf } from "./readWeights.ts";

export interface SaveOptions {
  /** `huggingface`: the layout of the family that `cfg.original_architecture` names. Default: that if the model fits it, else `native`. */
  layout?: "huggingface" | "native";
  /** Further keys for config.json (ids of special tokens, say), such as the `hfConfig` the model was loaded with. */
  hfConfig?: HfConfig;
  /** A tokenizer that is saved along, with the tokens that were added to it: see `saveTokenizer`. */
  tokenizer?: Tokenizer;
  /** A folder whose tokenizer files are copied along, where no tokenizer is given. */
  tokenizerFrom?: string;
  maxShardBytes?: number;
  runtime?: Runtime;
}

/** What was written. */
export interface SavedModel {
  readonly layout: "huggingface" | "native";
  readonly files: readonly string[];
}

/**
 * Writes config.json and model.safetensors (float32; shards where larger than `maxShardBytes`) into a folder, which is made
 * if need be. Loading it again gives the same model, bit for bit. Processed or hand-made models that no family's
 * config.json can describe are written in the native layout.
 *
 * @throws ModelError when the family's layout is asked for and cannot hold the model; FormatError when the folder cannot
 *   be written
 * @example
 * ```ts
 * await saveModel("my-model", model); // { layout: "huggingface", files: ["config.json", "model.safetensors"] }
 * ```
 */
export async function saveModel(
  folder: string,
  model: ModelParameters,
  options: SaveOptions = {},
): Promise<SavedModel> {
  const { default: paths } = await import("node:path");
  const { runtime = defaultRuntime(), hfConfig = {} } = options;
  const { cfg, weights } = withTie(model);
  const family = options.layout === "native" ? undefined : familyByArchitecture(cfg.original_architecture);
  const misfit = family ? whyNot(family, { cfg, weights }) : "no family has its original_architecture";
  if (options.layout === "huggingface" && misfit !== undefined)
    throw new ModelError("the model does not fit the layout of its Hugging Face family", {
      code: "model/layout",
      where: cfg.original_architecture,
      received: misfit,
      hint: 'leave out layout, or set it to "native"',
    });
  const fitting = misfit === undefined ? family : undefined;
  const config = fitting ? familyConfig(fitting, { cfg, weights }, hfConfig) : cfg;
  const tensors = joinTensors(fitting ? fitting.tensors : nativeTensors(cfg), { cfg, weights }, config, runtime);
  await makeFolder(folder);
  const files = await writeCheckpoint(folder, tensors, { maxShardBytes: options.maxShardBytes });
  const text = JSON.stringify(config, null, 2) + "\n";
  await writeFileAtomic(paths.join(folder, "config.json"), text);
  const { tokenizer, tokenizerFrom } = options;
  if (tokenizer !== undefined) files.push(...(await saveTokenizer(folder, tokenizer)));
  else if (tokenizerFrom !== undefined) files.push(...(await copyTokenizer(folder, tokenizerFrom)));
  return { layout: fitting ? "huggingface" : "native", files: ["config.json", ...files] };
}

/** A model is tied when its unembedding is a view of its embedding, whatever the configuration says. */
function withTie({ cfg, weights }: ModelParameters): ModelParameters {
  const tied = weights.get("unembed.W_U") === transpose(weights.get("embed.W_E")!);
  return { cfg: { ...cfg, tie_word_embeddings: tied }, weights };
}

function familyConfig(family: Family, { cfg, weights }: ModelParameters, extra: HfConfig): HfConfig {
  const { rope_parameters: _, dtype: __, ...kept } = extra;
  const said = family.toHf(cfg, (param) => weights.has(param) && !isZeroBias(param, weights.get(param)!));
  const { default_prepend_bos } = cfg;
  const named = { architectures: [family.architecture], model_type: family.modelType, torch_dtype: "float32" };
  return { ...kept, ...said, ...named, default_prepend_bos };
}

/** What a family's files cannot say about a model. */
function whyNot(family: Family, model: ModelParameters): string | undefined {
  const { cfg, weights } = model;
  const hf = familyConfig(family, model, {});
  const rows = rowsOf(family.tensors, cfg).filter((row) => typeof row.need !== "function" || row.need(hf));
  const held = new Set([...rows.flatMap((row) => row.params), ...(cfg.tie_word_embeddings ? ["unembed.W_U"] : [])]);
  const homeless = [...weights].find(([param, x]) => !held.has(param) && !isZeroBias(param, x));
  if (homeless !== undefined) return `${homeless[0]} has no place in its files`;
  try {
    const back = parseModelConfig(readFamilyConfig(family, hf, family.modelType));
    const unsaid = ["model_name", "original_architecture", "initializer_range", "init_mode", "default_prepend_bos"];
    const keys = (Object.keys(cfg) as (keyof ModelConfig)[]).filter((key) => !unsaid.includes(key));
    const different = keys.find((key) => JSON.stringify(back[key]) !== JSON.stringify(cfg[key]));
    return (
      different && `${different} would be ${JSON.stringify(back[different])}, not ${JSON.stringify(cfg[different])}`
    );
  } catch (error) {
    if (error instanceof ModelError) return error.received ?? error.message;
    throw error;
  }
}

/** A bias that can be left out: new models have one everywhere, Hugging Face's families do not. */
function isZeroBias(param: string, { storage }: Tensor): boolean {
  return /\.b_\w+$/.test(param) && storage?.data?.every((value: number | bigint) => value === 0) === true;
}

/** The tensors of a file, each computed when its turn comes. A bias the file must have and the model lacks is 0. */
function joinTensors(
  table: TensorTable,
  { cfg, weights }: ModelParameters,
  hf: HfConfig,
  runtime: Runtime,
): Map<string, TensorData> {
  const parameters = parametersOf(cfg);
  const made = new Map<string, TensorData>();
  for (const { name, params, shapes, layout, need } of rowsOf(table, cfg)) {
    if (typeof need === "function" && !need(hf)) continue;
    if (need === "optional" && !params.some((param) => weights.has(param))) continue;
    const parts = params.map((param, i) => {
      const x = weights.get(param);
      if (x !== undefined) return x;
      if (["bias", "extra"].includes(parameters.get(param)!.kind)) return zeros(shapes[i]!);
      throw new ModelError("the model lacks a parameter", {
        code: "model/weight",
        where: cfg.model_name,
        expected: param,
      });
    });
    const x = layout.join(parts, shapes);
    const data = async (): Promise<DataArray> => (await runtime.realize(x)).data;
    made.set(name, { dtype: "float32", shape: layout.fileShape(shapes), data });
  }
  return made;
}

function zeros(shape: readonly number[]): Tensor {
  const size = shape.reduce((product, n) => product * n, 1);
  return leaf(new Float32Array(size), shape, { role: "weight", name: "zero bias" });
}
