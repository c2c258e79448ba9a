/** @file How published SAEs are laid out: a table of loaders, each from files to a configuration and arrays. */
import type { ByteSource, TensorFile } from "../../formats/index.ts";
import { openNpz, openSafetensors, openTorchPickle } from "../../formats/index.ts";
import { isObject, parseJson } from "../../formats/json.ts";
import { SaeError } from "../errors.ts";
import type { SaeArray, SaeArrays } from "../weights/arrays.ts";

type Json = { readonly [key: string]: unknown };

/** What files say, before it is checked. */
export interface SaeContent {
  readonly config: Json;
  readonly arrays: SaeArrays;
}

export interface SaePlace {
  /** What errors call it; for an SAE of a repository it begins with the repository's id. */
  readonly where: string;
  /** Where it hooks in, if the caller says so. */
  readonly hookName: string | undefined;
}

/** One layout. */
export interface SaeLoader {
  /** The files of an SAE at a path, the telling one first; undefined where a path cannot be one of this layout. */
  readonly files: (path: string) => readonly string[] | undefined;
  /** Reads these files and closes them. */
  readonly read: (files: readonly ByteSource[], place: SaePlace) => Promise<SaeContent>;
}

/** SAELens' own files. */
export const weightsName = "sae_weights.safetensors";
const configName = "cfg.json";

const inFolder = (folder: string, file: string): string => (folder === "" ? file : `${folder}/${file}`);

const gemmaScope: SaeLoader = {
  files: (path) => [path.endsWith(".npz") ? path : inFolder(path, "params.npz")],
  read: ([archive], place) => readGemmaScope(archive!, place),
};

/** The layouts that are read, by SAELens' names of its loaders; a path is tried in this order. */
export const saeLoaders: Readonly<Record<string, SaeLoader>> = {
  /** SAELens' folders of any version. */
  native: {
    files(path) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      const folder = name === configName || name === weightsName ? path.slice(0, -name.length - 1) : path;
      return [configName, weightsName].map((file) => inFolder(folder, file));
    },
    read: async ([config, weights]) => ({
      config: await readObject(config!),
      arrays: await readArrays(await openSafetensors(weights!)),
    }),
  },
  /** Gemma Scope: an archive `params.npz`. */
  gemma_2: gemmaScope,
  /** Gemma Scope's transcoders, likewise. */
  gemma_2_transcoder: gemmaScope,
  /** Kissane et al.'s attention SAEs: a PyTorch file, and its configuration beside it. */
  connor_rob_hook_z: {
    files: (path) => (path.endsWith(".pt") ? [path, path.replace(/\.pt$/, "_cfg.json")] : undefined),
    read: ([weights, config]) => readHookZ(weights!, config!),
  },
  /** One safetensors file with the configuration in its metadata. */
  safetensors: {
    files: (path) => (path.endsWith(".safetensors") ? [path] : undefined),
    read: ([file]) => readSingle(file!),
  },
};

async function readObject(source: ByteSource): Promise<Json> {
  const bytes = new Uint8Array(await source.slice(0).finally(() => source.close()));
  const value = parseJson(bytes, source.name);
  if (isObject(value)) return value;
  throw new SaeError("the SAE configuration is not an object", {
    code: "sae/config",
    where: source.name,
    received: Array.isArray(value) ? "an array" : typeof value,
  });
}

async function readArrays(file: TensorFile): Promise<SaeArrays> {
  try {
    const data = await file.readManyFloat32();
    const pairs = file.names.map((name): [string, SaeArray] => [
      name,
      { dims: file.info(name).shape, data: data.get(name)! },
    ]);
    return Object.fromEntries(pairs);
  } finally {
    await file.close();
  }
}

/** Widths read off W_enc, for layouts whose configuration leaves them out. */
function widths(arrays: SaeArrays, where: string): { d_in: number; d_sae: number } {
  const [d_in, d_sae] = arrays["W_enc"]?.dims ?? [];
  if (d_in !== undefined && d_sae !== undefined) return { d_in, d_sae };
  throw new SaeError("the SAE file has no encoder matrix", {
    code: "sae/tensor",
    where,
    expected: "W_enc [d_in, d_sae]",
    received: Object.keys(arrays).join(", "),
  });
}

/** Values of the metadata are text, Python's or JSON's. */
async function readSingle(source: ByteSource): Promise<SaeContent> {
  const file = await openSafetensors(source);
  const literals: Readonly<Record<string, unknown>> = { True: true, False: false, None: null };
  const value = (text: string): unknown => {
    if (Object.hasOwn(literals, text)) return literals[text];
    return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  };
  const metadata = Object.fromEntries([...file.metadata].map(([key, text]) => [key, value(text)]));
  const arrays = await readArrays(file);
  return { config: { ...widths(arrays, source.name), ...metadata }, arrays };
}

/** The release gpt2-small-hook-z-kk (Kissane et al. 2024, arXiv 2406.17759): standard SAEs over concatenated heads. */
async function readHookZ(weights: ByteSource, config: ByteSource): Promise<SaeContent> {
  const { act_size, dict_size, act_name } = await readObject(config);
  const arrays = await readArrays(await openTorchPickle(weights));
  return {
    arrays,
    config: {
      architecture: "standard",
      d_in: act_size,
      d_sae: dict_size,
      apply_b_dec_to_input: true,
      normalize_activations: "none",
      reshape_activations: "hook_z",
      metadata: {
        model_name: "gpt2-small",
        hook_name: act_name,
        context_size: 128,
        prepend_bos: true,
        dataset_path: "Skylion007/openwebtext",
      },
    },
  };
}

const siteHooks: Readonly<Record<string, string>> = {
  res: "hook_resid_post",
  mlp: "hook_mlp_out",
  att: "attn.hook_z",
  transcoders: "ln2.hook_normalized",
};

/** The hook point of a Gemma Scope archive, from `gemma-scope-2b-pt-att/layer_7/width_16k/average_l0_31/params.npz`. */
function gemmaScopeHook(path: string): string | undefined {
  const parts = path.split(/[\\/]/);
  if (parts.includes("embedding")) return "hook_embed";
  const layer = parts.map((part) => /^layer_(\d+)$/.exec(part)?.[1]).findLast((found) => found !== undefined);
  const site = parts
    .map((part) => /^gemma-scope-.*-(res|mlp|att|transcoders)\b/.exec(part)?.[1])
    .findLast((s) => s !== undefined);
  return layer === undefined || site === undefined ? undefined : `blocks.${layer}.${siteHooks[site]!}`;
}

/**
 * Gemma Scope (Lieberum et al. 2024, arXiv 2408.05147): JumpReLU, b_dec not subtracted. Embedding SAEs were trained
 * before the model multiplies embeddings by √d_in; `hook_embed` comes after.
 */
async function readGemmaScope(archive: ByteSource, { where, hookName }: SaePlace): Promise<SaeContent> {
  const hook = hookName ?? gemmaScopeHook(where);
  if (hook === undefined) {
    await archive.close();
    throw new SaeError("the path of this Gemma Scope archive does not say where the SAE hooks in", {
      code: "sae/hook-name",
      where,
      expected: "…/gemma-scope-<size>-<pt|it>-<res|mlp|att>/layer_<L>/…/params.npz",
      hint: "pass hookName, such as blocks.7.attn.hook_z",
    });
  }
  const stored = await readArrays(await openNpz(archive));
  const arrays = Object.fromEntries(Object.entries(stored).map(([name, a]) => [name.replace(/^w_/, "W_"), a]));
  const { d_in, d_sae } = widths(arrays, where);
  if (hook.endsWith("hook_embed") && arrays["W_dec"] !== undefined) {
    const root = Math.sqrt(d_in);
    arrays["W_enc"] = { ...arrays["W_enc"]!, data: arrays["W_enc"]!.data.map((w) => w / root) };
    arrays["W_dec"] = { ...arrays["W_dec"], data: arrays["W_dec"].data.map((w) => w * root) };
  }
  const common = { d_in, d_sae, apply_b_dec_to_input: false };
  const metadata = { hook_name: hook, context_size: 1024, prepend_bos: true };
  // A transcoder reads the MLP's input and stands for its output.
  const mlp = /^(blocks\.\d+\.)ln2\.hook_normalized$/.exec(hook)?.[1];
  const config =
    mlp === undefined
      ? { ...common, architecture: "jumprelu", metadata }
      : {
          ...common,
          architecture: "jumprelu_transcoder",
          d_out: arrays["W_dec"]?.dims[1],
          metadata: { ...metadata, hook_name_out: `${mlp}hook_mlp_out` },
        };
  return { config, arrays };
}
