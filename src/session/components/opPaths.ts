/** @file Op collections by path, as the environment variable `IT_ANALYSIS_OP_PATHS` lists them: compositions as data. */
import { readFile, realpath, stat } from "node:fs/promises";
import { basename, delimiter, join } from "node:path";
import { packageVersion } from "../../formats/packageVersion.ts";
import { yamlFiles } from "../config/read.ts";
import { configFault, parseYaml } from "../config/yaml.ts";
import { SessionError } from "../errors.ts";
import type { OpCollection, OpFile } from "../protocol.ts";
import { opFilesOf, type SharedComponent } from "./component.ts";
import { manifestName, openComponent, type ComponentOptions } from "./manifest.ts";
import { opFileOf } from "./opFile.ts";

const variable = "IT_ANALYSIS_OP_PATHS";

/** A collection, and where it was found. */
interface Found extends OpCollection {
  readonly place: string;
}

/**
 * The collections of a path list: files of compositions, folders of them, components, and repositories of the hub that are
 * in the cache (by id, or by their folder there). Nothing is fetched, and no code is run.
 * @param list paths with the system's delimiter between them
 * @param known components that are loaded already: they are left out
 * @throws SessionError naming the variable and the entry that holds no collection; with file, line and column for what is
 *   not valid
 */
export async function opCollectionsAt(
  list: string,
  known: readonly SharedComponent[],
  options: ComponentOptions,
): Promise<OpCollection[]> {
  const entries = list.split(delimiter).filter((entry) => entry !== "");
  const found = await Promise.all(entries.map((entry) => collectionAt(entry, options)));
  const places = await Promise.all(known.map(({ folder }) => realpath(folder)));
  return found.filter(({ place }, i) => !places.includes(place) && found.findIndex((f) => f.place === place) === i);
}

/** Collections whose ops keep their names, as the environment variable `IT_OP_PRECEDENCE` has them; null where it says nothing. */
export function preferredOps(env: Readonly<Partial<Record<string, string>>>): readonly string[] | null {
  const names = (env["IT_OP_PRECEDENCE"] ?? "").split(",").map((name) => name.trim());
  return names.some((name) => name !== "") ? names.filter((name) => name !== "") : null;
}

async function collectionAt(entry: string, options: ComponentOptions): Promise<Found> {
  const kind = await stat(entry).catch(() => undefined);
  if (kind === undefined) return component(entry, entry, { ...options, hub: { ...options.hub, offline: true } });
  const place = await realpath(entry);
  if (kind.isFile()) return { place, opFiles: [await opFile(entry)] };
  const cached = /^models--(.+)$/.exec(basename(place))?.[1];
  if (cached !== undefined) {
    const commit = await readFile(join(entry, "refs", "main"), "utf8").catch((cause: unknown) => {
      throw none(entry, "a repository of the cache without a main revision", cause);
    });
    return component(entry, join(entry, "snapshots", commit.trim()), options, cached.replaceAll("--", "."));
  }
  if (await exists(join(entry, manifestName))) return component(entry, entry, options);
  const files = await yamlFiles(entry);
  if (files.length === 0) throw none(entry, "a folder without YAML files");
  return { place, opFiles: await Promise.all(files.map(opFile)) };
}

/** The ops of a component: whatever else it holds is not looked at. */
async function component(entry: string, source: string, options: ComponentOptions, namespace?: string): Promise<Found> {
  const opened = await openComponent(source, options).catch((cause: unknown) => {
    if (!(cause instanceof SessionError) || cause.where !== undefined) throw cause;
    throw none(entry, "what is neither a path nor in the hub's cache", cause);
  });
  const opFiles = await opFilesOf({ ...opened, namespace: namespace ?? opened.namespace });
  if (opFiles.length === 0) throw none(entry, "a component without ops.files");
  return { place: await realpath(opened.folder), opFiles };
}

async function opFile(path: string): Promise<OpFile> {
  return opFileOf(parseYaml(await readFile(path), path), { version: await packageVersion() });
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const none = (entry: string, received: string, cause?: unknown): SessionError =>
  configFault("this is no collection of ops", `${variable}, ${entry}`, {
    code: "session/ops",
    expected:
      "a YAML file with composite_operations, a folder of them, a component, or a repository in the hub's cache",
    received,
    cause,
  });
