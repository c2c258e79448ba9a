/** @file A component's folder: its manifest, checked, and the files that lie in it. */
import { readFile, realpath } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import type { HubOptions } from "../../formats/index.ts";
import { packageVersion } from "../../formats/packageVersion.ts";
import { checked } from "../config/read.ts";
import { camelised } from "../config/schema.ts";
import type { Config, SectionName } from "../config/types.ts";
import { configFault, parseYaml, placeOf, plain, type Located } from "../config/yaml.ts";
import { SessionError } from "../errors.ts";
import { hubResources, type Resources } from "../load/resources.ts";
import { isInWindow } from "./versions.ts";

/** The manifest of a component. */
export type ComponentManifest = Config<"ComponentManifest">;

export interface ComponentOptions {
  /** Installed packages whose code may run. Default none. */
  readonly packages?: readonly string[];
  /** How the hub is asked for what is given by its id. */
  readonly hub?: HubOptions;
  /** Finds folders behind ids instead. */
  readonly resources?: Partial<Pick<Resources, "component">>;
  /** Default: this package's. */
  readonly version?: string;
}

/** A component of which no more than the manifest is read. */
export interface OpenComponent {
  readonly folder: string;
  /** The manifest's. */
  readonly file: string;
  readonly manifest: ComponentManifest;
  /** What stands before names of its ops: as published, `owner.repository` of one of the hub; else its name. */
  readonly namespace: string;
  /** The version that it is loaded for. */
  readonly version: string;
}

/** What a component's folder has and others have not. */
export const manifestName = "it_component.yaml";

/**
 * Finds a component and reads its manifest.
 * @param source a folder, or an id of the hub
 * @throws SessionError as `loadComponent`
 */
export async function openComponent(source: string, options: ComponentOptions): Promise<OpenComponent> {
  const resources = { ...hubResources(options.hub ?? {}), ...options.resources };
  const folder = await resources.component(source);
  const tree = await readYaml(folder, manifestName);
  const manifest = section("ComponentManifest", tree);
  const at = (...path: string[]): string => placeOf(tree, path);
  if (manifest.itSchemaVersion !== 1)
    throw configFault("this version of the manifest is not known", at("it_schema_version"), {
      expected: "1",
      received: String(manifest.itSchemaVersion),
    });
  const version = options.version ?? (await packageVersion());
  checkWindow(manifest.requires.interpretune, version, at("requires", "interpretune"));
  const namespace = folder === source ? manifest.name : source.split("@")[0]!.replaceAll("/", ".");
  return { folder, file: join(folder, manifestName), manifest, namespace, version };
}

/** A YAML file inside the component's folder, and nowhere else; in the hub's cache its files are links to blobs. */
export async function readYaml(folder: string, path: string): Promise<Located> {
  const where = join(folder, path);
  const [inside, base] = await Promise.all([realpath(where), realpath(folder)]).catch((cause: unknown) => {
    throw configFault("the component has no such file", where, { cause });
  });
  const blobs = basename(dirname(base)) === "snapshots" ? [join(base, "..", "..", "blobs")] : [];
  if (!liesIn(where, folder) || isAbsolute(path) || ![base, ...blobs].some((place) => liesIn(inside, place)))
    throw configFault("a component's files lie in its folder", where, { received: path });
  return parseYaml(await readFile(inside), where);
}

function liesIn(path: string, folder: string): boolean {
  const way = relative(folder, path);
  return !way.startsWith("..") && !isAbsolute(way);
}

/** A tree as a section of the table, checked. */
export function section<S extends SectionName>(name: S, node: Located): Config<S> {
  return camelised(
    name,
    checked(name, plain(node), "snake", (path, ofKey) => placeOf(node, path, ofKey)),
  );
}

/** @throws SessionError when this package's version does not lie in the window */
export function checkWindow(window: string | null, version: string, where: string): void {
  if (window === null || isInWindow(version, window, where)) return;
  throw new SessionError("the component is for another version of interpretune", {
    code: "session/component",
    where,
    expected: window,
    received: version,
  });
}
