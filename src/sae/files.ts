/** @file SAEs on disk: SAELens folders of any age, Gemma Scope archives, single files that carry their configuration. */
import type { TensorFile } from "../formats/index.ts";
import { fileSource, openNpz, openSafetensors, writeFileAtomic, writeSafetensors } from "../formats/index.ts";
import { parseJson } from "../formats/json.ts";
import type { SaeConfig } from "./config.ts";
import { SaeError } from "./errors.ts";
import type { SaeArray, SaeArrays } from "./prepare.ts";

export interface SaeLoadOptions {
  /** Where it hooks in; wins over what its files say. Needed for Gemma Scope archives outside their usual folders. */
  hookName?: string;
}

/** What files say, before it is checked. */
export interface SaeFiles {
  readonly config: object;
  readonly arrays: SaeArrays;
  readonly where: string;
}

type Json = { readonly [key: string]: unknown };
const weightsName = "sae_weights.safetensors";

/** Reads whichever layout lies at `path`: a folder with cfg.json or params.npz, or one of the files themselves. */
export async function readSaeFiles(path: string, options: SaeLoadOptions): Promise<SaeFiles> {
  const files = await readLayout(path, options);
  if (options.hookName === undefined) return files;
  const { metadata, ...rest } = files.config as Json;
  return { ...files, config: { ...rest, metadata: { ...(metadata as Json), hook_name: options.hookName } } };
}

async function readLayout(given: string, options: SaeLoadOptions): Promise<SaeFiles> {
  const { stat } = await import("node:fs/promises");
  const { default: path } = await import("node:path");
  const isFile = async (name: string): Promise<boolean> =>
    stat(name).then(
      (s) => s.isFile(),
      () => false,
    );
  const folder = ["cfg.json", weightsName].includes(path.basename(given)) ? path.dirname(given) : given;
  if (await isFile(path.join(folder, "cfg.json")))
    return readFolder(folder, path.join(folder, "cfg.json"), path.join(folder, weightsName));
  for (const file of [given, path.join(given, "params.npz")])
    if (file.endsWith(".npz") && (await isFile(file))) return readGemmaScope(file, options);
  if (given.endsWith(".safetensors") && (await isFile(given))) return readSingle(given);
  const exists = await stat(given).then(
    () => true,
    () => false,
  );
  throw new SaeError(exists ? "there is no SAE at this path" : "the SAE's path does not exist", {
    code: "sae/not-found",
    where: given,
    expected: `a folder with cfg.json and ${weightsName}, or with params.npz, or a .safetensors or .npz file`,
  });
}

async function readFolder(folder: string, configFile: string, weightsFile: string): Promise<SaeFiles> {
  const source = await fileSource(configFile);
  const bytes = new Uint8Array(await source.slice(0).finally(() => source.close()));
  const config = asObject(parseJson(bytes, configFile), configFile);
  return { config, arrays: await readArrays(await openSafetensors(await fileSource(weightsFile))), where: folder };
}

function asObject(value: unknown, where: string): object {
  if (typeof value === "object" && value !== null) return value;
  throw new SaeError("the SAE configuration is not an object", { code: "sae/config", where, received: typeof value });
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

/** One safetensors file with the configuration in its metadata, values as text (Python's or JSON's). */
async function readSingle(path: string): Promise<SaeFiles> {
  const file = await openSafetensors(await fileSource(path));
  const literals: Readonly<Record<string, unknown>> = { True: true, False: false, None: null };
  const value = (text: string): unknown => {
    if (Object.hasOwn(literals, text)) return literals[text];
    return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  };
  const metadata = Object.fromEntries([...file.metadata].map(([key, text]) => [key, value(text)]));
  const arrays = await readArrays(file);
  return { config: { ...widths(arrays, path), ...metadata }, arrays, where: path };
}

const siteHooks: Readonly<Record<string, string>> = {
  res: "hook_resid_post",
  mlp: "hook_mlp_out",
  att: "attn.hook_z",
};

/** The hook point of a Gemma Scope archive, from `gemma-scope-2b-pt-att/layer_7/width_16k/average_l0_31/params.npz`. */
function gemmaScopeHook(path: string): string | undefined {
  const parts = path.split(/[\\/]/);
  if (parts.some((part) => part.includes("transcoder")))
    throw new SaeError("this SAE architecture is not supported", {
      code: "sae/architecture",
      where: path,
      received: "a transcoder",
    });
  if (parts.includes("embedding")) return "hook_embed";
  const layer = parts.map((part) => /^layer_(\d+)$/.exec(part)?.[1]).findLast((found) => found !== undefined);
  const site = parts.map((part) => /^gemma-scope-.*-(res|mlp|att)\b/.exec(part)?.[1]).findLast((s) => s !== undefined);
  return layer === undefined || site === undefined ? undefined : `blocks.${layer}.${siteHooks[site]!}`;
}

/**
 * Gemma Scope (Lieberum et al. 2024, arXiv 2408.05147): JumpReLU, b_dec not subtracted. Embedding SAEs were trained
 * before the model multiplies embeddings by √d_in; `hook_embed` comes after.
 */
async function readGemmaScope(path: string, options: SaeLoadOptions): Promise<SaeFiles> {
  const hook = options.hookName ?? gemmaScopeHook(path);
  if (hook === undefined)
    throw new SaeError("the path of this Gemma Scope archive does not say where the SAE hooks in", {
      code: "sae/hook-name",
      where: path,
      expected: "…/gemma-scope-<size>-<pt|it>-<res|mlp|att>/layer_<L>/…/params.npz",
      hint: "pass hookName, such as blocks.7.attn.hook_z",
    });
  const stored = await readArrays(await openNpz(await fileSource(path)));
  const arrays = Object.fromEntries(Object.entries(stored).map(([name, a]) => [name.replace(/^w_/, "W_"), a]));
  const { d_in, d_sae } = widths(arrays, path);
  if (hook.endsWith("hook_embed") && arrays["W_dec"] !== undefined) {
    const root = Math.sqrt(d_in);
    arrays["W_enc"] = { ...arrays["W_enc"]!, data: arrays["W_enc"]!.data.map((w) => w / root) };
    arrays["W_dec"] = { ...arrays["W_dec"], data: arrays["W_dec"].data.map((w) => w * root) };
  }
  const config: Json = {
    architecture: "jumprelu",
    d_in,
    d_sae,
    apply_b_dec_to_input: false,
    metadata: { hook_name: hook, context_size: 1024, prepend_bos: true },
  };
  return { config, arrays, where: path };
}

/** Writes SAELens' own layout; cfg.json comes last, so a folder with it is whole. */
export async function writeSaeFiles(folder: string, cfg: SaeConfig, arrays: SaeArrays): Promise<void> {
  const { mkdir } = await import("node:fs/promises");
  const { default: path } = await import("node:path");
  await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
    throw new SaeError("the SAE's folder cannot be made", { code: "sae/write", where: folder, cause });
  });
  const tensors = Object.entries(arrays).map(
    ([name, { dims, data }]) => [name, { dtype: "float32", shape: dims, data }] as const,
  );
  await writeSafetensors(path.join(folder, weightsName), Object.fromEntries(tensors));
  const { architecture, k, rescale_acts_by_decoder_norm, ...shared } = cfg;
  const own = architecture === "topk" ? { k, rescale_acts_by_decoder_norm } : {};
  const json = JSON.stringify({ ...shared, dtype: "float32", device: "cpu", ...own, architecture }, null, 1);
  await writeFileAtomic(path.join(folder, "cfg.json"), [new TextEncoder().encode(json)]);
}
