/** @file Prompt configurations that refer to those of shared components: `compose_ref: owner/name#Name`. */
import { realpath } from "node:fs/promises";
import { resolveClassPaths } from "../config/classPaths.ts";
import type { PromptConfig } from "../config/types.ts";
import { configFault, merged, plain, type Located, type LocatedMap } from "../config/yaml.ts";
import { SessionError } from "../errors.ts";
import { openComponent, readYaml, section, type ComponentOptions, type OpenComponent } from "./manifest.ts";

/** The prompt configurations of a component by name, with what they refer to. */
export async function promptsOf(
  { folder, manifest }: OpenComponent,
  options: ComponentOptions,
): Promise<Readonly<Record<string, PromptConfig>>> {
  const found: Record<string, PromptConfig> = {};
  for (const [name, path] of Object.entries(manifest.promptconfigs.definitions)) {
    const way = [await identity(folder, name)];
    found[name] = section("PromptConfig", await followed(await readYaml(folder, path), options, way));
  }
  return found;
}

const toPrompt = ["registered_cfg", "datamodule_cfg", "prompt_cfg"];

/**
 * A session's tree in which `prompt_cfg` refers to nothing any more: what it referred to stands there, under the fields
 * that stood beside the reference.
 * @throws SessionError with the place of the reference: for a component or a name that is not there, and for a circle
 */
export function withPrompt(tree: Located, options: ComponentOptions): Promise<Located> {
  return replaced(tree, toPrompt, (node) => followed(node, options, []));
}

/** The tree with another value where a path leads, through `init_args` of a `class_path`; as it is where it leads nowhere. */
async function replaced(
  node: Located,
  [key, ...rest]: readonly string[],
  other: (node: Located) => Promise<Located>,
): Promise<Located> {
  if (key === undefined) return other(node);
  if (node.kind !== "map") return node;
  const [name, way] = node.entries.has("class_path") ? ["init_args", [key, ...rest]] : [key, rest];
  const entry = node.entries.get(name);
  if (entry === undefined) return node;
  return {
    ...node,
    entries: new Map([...node.entries, [name, { ...entry, value: await replaced(entry.value, way, other) }]]),
  };
}

/** A prompt configuration over what it refers to, which may refer to another. @param above what led here */
async function followed(node: Located, options: ComponentOptions, above: readonly string[]): Promise<Located> {
  const fields = resolveClassPaths(node, [], "prompt_cfg");
  if (fields.kind !== "map") return fields;
  const entries = new Map(fields.entries);
  const reference = entries.get("compose_ref")?.value;
  entries.delete("compose_ref");
  const own: LocatedMap = { ...fields, entries };
  return reference === undefined || plain(reference) === null
    ? own
    : merged(await referred(reference, options, above), own);
}

async function referred(reference: Located, options: ComponentOptions, above: readonly string[]): Promise<Located> {
  const { where } = reference;
  const text = String(plain(reference));
  const [, source, name] = /^(.+)#([^#]+)$/.exec(text) ?? [];
  if (source === undefined || name === undefined)
    throw configFault("this refers to no prompt configuration", where, {
      expected: "owner/name#Name of a component on the hub, or folder#Name",
      received: text,
    });
  const component = await openComponent(source, options).catch((cause: unknown) => {
    if (!(cause instanceof SessionError)) throw cause;
    const { code } = cause;
    throw configFault("the component that is referred to cannot be opened", where, { code, received: text, cause });
  });
  const { definitions } = component.manifest.promptconfigs;
  if (!Object.hasOwn(definitions, name))
    throw configFault("the component that is referred to has no such prompt configuration", where, {
      expected: Object.keys(definitions).join(", ") || "one that has any",
      received: name,
    });
  const key = await identity(component.folder, name);
  if (above.includes(key))
    throw configFault("prompt configurations refer to each other in a circle", where, {
      code: "session/component",
      received: [...above.slice(above.indexOf(key)), key].join(" → "),
    });
  return followed(await readYaml(component.folder, definitions[name]!), options, [...above, key]);
}

const identity = async (folder: string, name: string): Promise<string> => `${await realpath(folder)}#${name}`;
