/** @file Components shared as folders: configurations, prompts and compositions as data; code from installed packages only. */
import type { Config, PromptConfig } from "../config/types.ts";
import { SessionError } from "../errors.ts";
import type { OpFile } from "../protocol.ts";
import { importNamed, isDefinition, type Definition } from "../sides/definitions.ts";
import {
  openComponent,
  readYaml,
  section,
  type ComponentManifest,
  type ComponentOptions,
  type OpenComponent,
} from "./manifest.ts";
import { opFileOf } from "./opFile.ts";
import { promptsOf } from "./promptRef.ts";
import { entryOf, Registry, type RegistryEntry } from "./registry.ts";

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
  const component = await openComponent(source, options);
  const { folder, file, manifest } = component;
  const entries = await Promise.all(
    Object.entries(manifest.module.configs).map(async ([key, path]): Promise<RegistryEntry> =>
      entryOf(key, await readYaml(folder, path)),
    ),
  );
  const promptConfigs = await promptsOf(component, options);
  const opFiles = await opFilesOf(component);
  const definitions: Definition[] = [];
  for (const entrypoint of [manifest.module.entrypoint, manifest.datamodules.entrypoint])
    if (entrypoint !== null) definitions.push(await definitionAt(entrypoint, options.packages ?? [], file));
  return {
    folder,
    manifest,
    registry: new Registry(entries),
    promptConfigs,
    compositions: opFiles.flatMap(({ compositions }) =>
      [...compositions.entries].map(([name, { value }]) => ({ name, ...section("OpComposition", value) })),
    ),
    opFiles,
    definitions,
  };
}

/** The files of compositions that a component's manifest names. */
export function opFilesOf({ folder, manifest, namespace: owner, version }: OpenComponent): Promise<OpFile[]> {
  return Promise.all(
    manifest.ops.files.map(async (path) => opFileOf(await readYaml(folder, path), { owner, version })),
  );
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
