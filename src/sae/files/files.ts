/** @file SAEs wherever they are: a path on this machine, an id of a release, or a folder of a repository on the hub. */
import { makeFolder } from "../../formats/disk/folder.ts";
import { systemCause, systemMessage } from "../../formats/disk/systemError.ts";
import {
  fileSource,
  hubAbsence,
  hubFiles,
  hubSnapshot,
  noneOfThisName,
  parseHubRef,
  writeFileAtomic,
  writeSafetensors,
  type ByteSource,
  type HubOptions,
  type JsonObject,
} from "../../formats/index.ts";
import type { SaeConfig } from "../config/config.ts";
import { metadataKeys, upgradeConfig } from "../config/upgrade.ts";
import { SaeError } from "../errors.ts";
import { architectures } from "../latents/architectures.ts";
import { findSaeRelease, registeredSae, releasesNear } from "../registry/registry.ts";
import type { SaeArrays } from "../weights/arrays.ts";
import { saeLoaders, weightsName, type SaeContent, type SaeLoader } from "./loaders.ts";

export interface SaeLoadOptions {
  /** Where it hooks in; wins over what its files say. Needed for Gemma Scope archives outside their usual folders. */
  hookName?: string;
  /** How the hub is asked for an SAE that is given by its id. */
  hub?: HubOptions;
}

/** What files say, before it is checked. */
export interface SaeFiles extends SaeContent {
  readonly where: string;
}

/** The files of an SAE on this machine. */
interface FoundSae {
  readonly where: string;
  readonly loader: SaeLoader;
  readonly paths: readonly string[];
  /** What the registry says of it, over what the files say. */
  readonly facts?: JsonObject;
}

const expected = [
  `a folder with cfg.json and ${weightsName}, or with params.npz`,
  "a .safetensors, .npz or .pt file",
  "release/id such as gpt2-small-hook-z-kk/blocks.9.hook_z, or owner/repository/folder, each with @revision if need be",
].join("; ");

/** Reads an SAE by its name: a path that exists wins over an id. */
export async function readSaeFiles(name: string, options: SaeLoadOptions): Promise<SaeFiles> {
  const { where, loader, paths, facts } = (await findLocal(name)) ?? (await findOnHub(name, options.hub ?? {}));
  const { hookName } = options;
  const sources: ByteSource[] = [];
  try {
    for (const path of paths) sources.push(await fileSource(path));
    const { config, arrays } = await loader.read(sources, { where, hookName });
    const known = facts === undefined ? config : overlaid(config, facts, where);
    return { config: hookName === undefined ? known : overlaid(known, { hook_name: hookName }, where), arrays, where };
  } finally {
    for (const source of sources) await source.close();
  }
}

/** A configuration with other values for some keys, wherever it keeps them. */
function overlaid(config: SaeContent["config"], facts: JsonObject, where: string): SaeContent["config"] {
  const { metadata, ...rest } = upgradeConfig(config, where);
  const of = (own: boolean): [string, unknown][] =>
    Object.entries(facts).filter(([key]) => metadataKeys.includes(key) !== own);
  return {
    ...rest,
    ...Object.fromEntries(of(true)),
    metadata: { ...(metadata as object), ...Object.fromEntries(of(false)) },
  };
}

async function findLocal(given: string): Promise<FoundSae | undefined> {
  const { stat } = await import("node:fs/promises");
  const statOf = (path: string): Promise<{ isFile(): boolean } | undefined> => stat(path).catch(() => undefined);
  const path = given.replace(/[\\/]+$/, "");
  for (const loader of Object.values(saeLoaders)) {
    const paths = loader.files(path);
    if (paths !== undefined && (await statOf(paths[0]!))?.isFile() === true) return { where: given, loader, paths };
  }
  if ((await statOf(given)) === undefined) return undefined;
  throw new SaeError("there is no SAE at this path", { code: "sae/not-found", where: given, expected });
}

/** What an id says: a repository, the place in it, the layout where it is known. */
interface SaeId {
  readonly repo: string;
  readonly path: string;
  readonly loader?: string;
  readonly facts?: JsonObject;
}

/**
 * An SAE of a release, a repository or a folder by one name: a revision goes to the end.
 * @example
 * saeName("gpt2-small-hook-z-kk@v1", "blocks.9.hook_z"); // "gpt2-small-hook-z-kk/blocks.9.hook_z@v1"
 */
export function saeName(release: string, id: string): string {
  const [revision = ""] = /@(?:refs\/[^@\\]+|[^/@\\]+)$/.exec(release) ?? [];
  const folder = release.slice(0, release.length - revision.length);
  return (id === "" ? folder : `${folder}/${id}`) + revision;
}

function parseId(base: string): SaeId | undefined {
  const slash = base.indexOf("/");
  const head = slash < 0 ? base : base.slice(0, slash);
  const release = findSaeRelease(head);
  if (release !== undefined) {
    const { path, neuronpediaId } = registeredSae(head, slash < 0 ? "" : base.slice(slash + 1));
    const { repo, loader, overrides } = release;
    return { repo, loader, path, facts: { ...overrides, ...(neuronpediaId && { neuronpedia_id: neuronpediaId }) } };
  }
  const [owner, name, ...folders] = base.split("/");
  return name ? { repo: `${owner!}/${name}`, path: folders.join("/") } : undefined;
}

/** `release@v1/id` as `release/id@v1`. */
function revisionLast(name: string): string {
  const [, release = "", id = ""] = /^([^/]+@[^/]+)\/(.+)$/.exec(name) ?? [];
  return findSaeRelease(release.split("@")[0]!) === undefined ? name : saeName(release, id);
}

async function findOnHub(given: string, options: HubOptions): Promise<FoundSae> {
  const name = revisionLast(given);
  const at = name.lastIndexOf("@");
  const base = at < 0 ? name : name.slice(0, at);
  const id = parseId(base);
  const ref = id && parseHubRef(id.repo + (at < 0 ? "" : name.slice(at)), "model");
  const near = /^[./~\\]/.test(name) ? [] : releasesNear(base.split("/")[0]!);
  const nearby = near.length > 0 && id?.loader === undefined ? `near releases: ${near.join(", ")}` : undefined;
  const notFound = (message: string, facts: { received?: string; cause?: unknown; hint?: undefined } = {}): SaeError =>
    new SaeError(message, { code: "sae/not-found", where: name, expected, hint: nearby, ...facts });
  if (id === undefined || ref === undefined) throw notFound("the SAE's path does not exist, and it is no SAE's id");
  const { repo, path, facts } = id;
  const where = `${repo}/${path}`;
  const loader = id.loader === undefined ? undefined : loaderNamed(id.loader, where);
  try {
    const { commit, files } = await hubFiles(ref, options);
    const names = new Set(files.map((file) => file.path));
    const found = (loader === undefined ? Object.values(saeLoaders) : [loader]).find((candidate) =>
      names.has(candidate.files(path)?.[0] ?? ""),
    );
    const patterns = found?.files(path);
    if (found === undefined || patterns === undefined)
      throw notFound("the repository has no SAE at this place", {
        received: files.length === 0 ? "no files" : [...names].slice(0, 5).join(", ") + (names.size > 5 ? ", …" : ""),
      });
    const { folder } = await hubSnapshot({ ...ref, revision: commit }, { ...options, patterns });
    return { where, loader: found, paths: patterns.map((file) => `${folder}/${file}`), ...(facts && { facts }) };
  } catch (error) {
    const absence = hubAbsence(error);
    if (absence === undefined) throw error;
    const told = { received: "no such path", cause: error };
    // A name that nobody could be asked about may well be right.
    const facts = absence === "unasked" ? { ...told, hint: undefined } : told;
    throw notFound(noneOfThisName("SAE", absence), facts);
  }
}

function loaderNamed(name: string, where: string): SaeLoader {
  const loader = Object.hasOwn(saeLoaders, name) ? saeLoaders[name] : undefined;
  if (loader !== undefined) return loader;
  throw new SaeError("the files of this release are in a layout that is not read", {
    code: "sae/layout",
    where,
    expected: Object.keys(saeLoaders).join(", "),
    received: name,
  });
}

/** An SAE in SAELens' own layout. */
export async function writeSaeFiles(folder: string, cfg: SaeConfig, arrays: SaeArrays): Promise<void> {
  const { architecture, k, rescale_acts_by_decoder_norm, ...shared } = cfg;
  const own = architectures[architecture].ranks ? { k, rescale_acts_by_decoder_norm } : {};
  await writeSaeArrays(folder, { ...shared, ...own, architecture }, arrays);
}

/** Writes SAELens' own layout; cfg.json comes last, so a folder with it is whole. */
export async function writeSaeArrays(folder: string, cfg: object, arrays: SaeArrays): Promise<void> {
  const { default: path } = await import("node:path");
  await makeFolder(folder).catch((cause: unknown) => {
    throw new SaeError("the SAE's folder cannot be made", {
      code: "sae/write",
      where: folder,
      received: systemMessage(cause),
      cause: systemCause(cause),
    });
  });
  const tensors = Object.entries(arrays).map(
    ([name, { dims, data }]) => [name, { dtype: "float32", shape: dims, data }] as const,
  );
  await writeSafetensors(path.join(folder, weightsName), Object.fromEntries(tensors));
  const json = JSON.stringify({ ...cfg, dtype: "float32", device: "cpu" }, null, 1);
  await writeFileAtomic(path.join(folder, "cfg.json"), json);
}
