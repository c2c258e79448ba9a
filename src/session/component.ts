/** @file Components shared as folders: configurations, prompts and compositions as data; code from installed packages only. */
import { readFile, realpath } from "node:fs/promises";
import { isAbsolute, join, relative } from "node:path";
import { resolveClassPaths } from "./config/classPaths.ts";
import { checked } from "./config/read.ts";
import { camelised } from "./config/schema.ts";
import type { Config, PromptConfig, SectionName } from "./config/types.ts";
import { configFault, parseYaml, placeOf, plain, type Located } from "./config/yaml.ts";
import { importNamed, isDefinition, type Definition } from "./definitions.ts";
import { SessionError } from "./errors.ts";
import { ownVersion } from "./experiment.ts";
import { entryOf, Registry, type RegistryEntry } from "./registry.ts";
import { opFileOf, type OpFile } from "./opFile.ts";
import type { HubOptions } from "../formats/index.ts";
import { hubResources, type Resources } from "./resources.ts";
import { isInWindow } from "./versions.ts";

/** The manifest of a component. */
export type ComponentManifest = Config<"ComponentManifest">;
/** An op made of others, as data. */
export type OpComposition = Config<"OpComposition"> & { readonly name: string };

/** A component, loaded. */
export interface SharedComponent {
  readonly folder: string;
  readonly manifest: ComponentManifest;
  /** Its configurations. */
  readonly registry: Registry;
  readonly promptConfigs: Readonly<Record<string, PromptConfig>>;
  readonly compositions: readonly OpComposition[];
  /** The same as they are written: `withComponents` makes ops of them. */
  readonly opFiles: readonly OpFile[];
  /** Modules and data modules of packages that the user named. */
  readonly definitions: readonly Definition[];
}

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

const manifestName = "it_component.yaml";

/**
 * Loads a component: a folder, or an id of the hub. What it holds is data; its entrypoints are
 * imported only where the user named their package. A session is given it as one of its `components`; its compositions
 * become ops of a table with `withComponents`.
 * @throws SessionError with file, line and column for what is not valid; for another version of this package; for code of
 *   a package that was not named; for files outside the folder
 * @example
 * // const { registry } = await loadComponent("components/rte_demo");
 * // const session = await Session.fromRegistry("rte_demo.gpt2.core", { registry });
 * await loadComponent("components/none").catch((error: Error) => error.name); // "SessionError"
 */
export async function loadComponent(source: string, options: ComponentOptions = {}): Promise<SharedComponent> {
  return load(source, options, []);
}

async function load(source: string, options: ComponentOptions, above: readonly string[]): Promise<SharedComponent> {
  const resources = { ...hubResources(options.hub ?? {}), ...options.resources };
  const folder = await resources.component(source);
  if (above.includes(folder))
    throw new SessionError("components refer to each other in a circle", {
      code: "session/component",
      received: [...above, folder].join(" → "),
    });
  const file = join(folder, manifestName);
  const { value: manifest, tree } = section("ComponentManifest", await readYaml(folder, manifestName));
  const at = (...path: string[]): string => placeOf(tree, path);
  if (manifest.itSchemaVersion !== 1)
    throw configFault("this version of the manifest is not known", at("it_schema_version"), {
      expected: "1",
      received: String(manifest.itSchemaVersion),
    });
  const version = options.version ?? (await ownVersion());
  checkWindow(manifest.requires.interpretune, version, at("requires", "interpretune"));
  const entries = await Promise.all(
    Object.entries(manifest.module.configs).map(async ([key, path]): Promise<RegistryEntry> =>
      entryOf(key, await readYaml(folder, path)),
    ),
  );
  const promptConfigs: Record<string, PromptConfig> = {};
  for (const [name, path] of Object.entries(manifest.promptconfigs.definitions))
    promptConfigs[name] = await promptConfig(await readYaml(folder, path), options, [...above, folder]);
  // As published, ops of the hub are named user.repository.op in full.
  const owner = folder === source ? manifest.name : source.split("@")[0]!.replaceAll("/", ".");
  const files = await Promise.all(
    manifest.ops.files.map(async (path) => opsOf(await readYaml(folder, path), owner, version)),
  );
  const definitions: Definition[] = [];
  for (const entrypoint of [manifest.module.entrypoint, manifest.datamodules.entrypoint])
    if (entrypoint !== null) definitions.push(await definitionAt(entrypoint, options.packages ?? [], file));
  return {
    folder,
    manifest,
    registry: new Registry(entries),
    promptConfigs,
    compositions: files.flatMap((each) => each.compositions),
    opFiles: files.map(({ file: each }) => each),
    definitions,
  };
}

/** A YAML file inside the component's folder, and nowhere else. */
async function readYaml(folder: string, path: string): Promise<Located> {
  const where = join(folder, path);
  const [inside, base] = await Promise.all([realpath(where), realpath(folder)]).catch((cause: unknown) => {
    throw configFault("the component has no such file", where, { cause });
  });
  const way = relative(base, inside);
  if (way.startsWith("..") || isAbsolute(way) || isAbsolute(path))
    throw configFault("a component's files lie in its folder", where, { received: path });
  return parseYaml(await readFile(inside), where);
}

function section<S extends SectionName>(name: S, node: Located): { value: Config<S>; tree: Located } {
  const value = checked(name, plain(node), "snake", (path, ofKey) => placeOf(node, path, ofKey));
  return { value: camelised(name, value), tree: node };
}

/** A prompt configuration, or `compose_ref: repository#Name`, which stands for that of another component. */
async function promptConfig(node: Located, options: ComponentOptions, above: readonly string[]): Promise<PromptConfig> {
  const reference = node.kind === "map" ? node.entries.get("compose_ref")?.value : undefined;
  if (reference === undefined) return section("PromptConfig", resolveClassPaths(node, [], "prompt_cfg")).value;
  const [source, name] = String(plain(reference)).split("#");
  const { promptConfigs } = await load(source!, options, above);
  const found = promptConfigs[name ?? ""];
  if (found !== undefined) return found;
  throw configFault("the component that is referred to has no such prompt configuration", reference.where, {
    expected: Object.keys(promptConfigs).join(", ") || "one that has any",
    received: name,
  });
}

/** A file of compositions, under the component's name where it has none of its own; and each composition as plain data. */
function opsOf(
  node: Located,
  owner: string,
  version: string,
): { readonly file: OpFile; readonly compositions: readonly OpComposition[] } {
  const { file, collection } = opFileOf(node);
  checkWindow(collection.requires.interpretune, version, placeOf(node, ["collection", "requires", "interpretune"]));
  const compositions = [...file.compositions.entries].map(([name, { value }]): OpComposition => ({
    name,
    ...section("OpComposition", value).value,
  }));
  return { file: { ...file, namespace: file.namespace || owner }, compositions };
}

/** @throws SessionError when this package's version does not lie in the window */
function checkWindow(window: string | null, version: string, where: string): void {
  if (window === null || isInWindow(version, window, where)) return;
  throw new SessionError("the component is for another version of interpretune", {
    code: "session/component",
    where,
    expected: window,
    received: version,
  });
}

async function definitionAt(entrypoint: string, packages: readonly string[], where: string): Promise<Definition> {
  const [name, exported] = entrypoint.split("#");
  if (!packages.includes(name!))
    throw new SessionError("the component's code is not run unless you name its package", {
      code: "session/component",
      where,
      received: entrypoint,
      hint: `install ${name} from where you trust it, and name it in packages`,
    });
  const found = (await importNamed(name!))[exported ?? "default"];
  if (isDefinition(found)) return found;
  throw new SessionError("the entrypoint is no module or data module", {
    code: "session/component",
    where,
    received: entrypoint,
    hint: "it is written package#Export, and exports what defineModule returns",
  });
}
