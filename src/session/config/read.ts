/** @file A session's configuration from YAML files, flags and TypeScript, checked once, with the place of every fault. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import type { ErrorFacts } from "../../graph/errors.ts";
import { resolveClassPaths } from "./classPaths.ts";
import { nearest } from "../../graph/nearest.ts";
import { kebabCase, snakeCase } from "./names.ts";
import { camelised, fieldsOf, sectionOf, sectionSchema, snaked, type Spelling } from "./schema.ts";
import type { Config, ConfigInput, SectionName } from "./types.ts";
import { configFault, locatedFrom, merged, parseYaml, placeOf, plain, type Entry, type Located } from "./yaml.ts";

/** A session file with its defaults; `sharedConfig` has gone into both sides. */
export type SessionFile = Config<"SessionFile">;
/** A session file as it is written in TypeScript. */
export type SessionFileInput = ConfigInput<"SessionFile">;

export interface ReadOptions {
  /** Names of modules and data modules beside the bundled ones. */
  readonly userNames?: readonly string[];
  /** Default: `process.env`. `IT_CONFIG_DEFAULTS` names a folder whose YAML files come first. */
  readonly env?: Readonly<Partial<Record<string, string>>>;
}

/**
 * Reads and checks session files without making a session: later files win, options that are set win over all.
 * @param options.set options by name as text, as `--set` gives them
 * @throws SessionError with file, line and column
 * @example
 * const { sharedConfig } = await readSessionFile(["rte.yaml"], { set: [["eval-batch-size", "2"]] });
 * sharedConfig.taskName; // "rte"
 */
export async function readSessionFile(
  paths: readonly string[],
  options: ReadOptions & { readonly set?: readonly (readonly [name: string, value: string])[] } = {},
): Promise<SessionFile> {
  return sessionFileOf(withOptions(await readConfigTree(paths, options), options.set), options);
}

/** The tree with options set by name. @internal */
export function withOptions(tree: Located, set: readonly (readonly [name: string, value: string])[] = []): Located {
  return set.reduce((all, [name, value]) => withOption(all, name, value, `--set ${name}`), tree);
}

/**
 * Reads YAML files into one tree: those of the defaults folder by name, then the given ones; later ones win.
 * @throws SessionError with file, line and column; a file that cannot be read
 */
export async function readConfigTree(paths: readonly string[], options: ReadOptions = {}): Promise<Located> {
  const folder = (options.env ?? process.env)["IT_CONFIG_DEFAULTS"];
  const defaults = folder === undefined || folder === "" ? [] : await yamlFiles(folder);
  const trees: Located[] = [];
  for (const path of [...defaults, ...paths]) {
    const tree = parseYaml(await bytesOf(path), path);
    if (tree.kind !== "map")
      throw configFault("a configuration is a mapping", tree.where, { received: `a ${tree.kind}` });
    trees.push(lifted(tree));
  }
  const [first, ...others] = trees;
  if (first === undefined) throw configFault("no configuration was given", "the command", { hint: "--config FILE" });
  return merged(first, ...others);
}

/** The YAML files of a folder by name. @internal */
export async function yamlFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw configFault("the folder cannot be read", folder, { cause });
  });
  return names
    .filter((name) => /\.ya?ml$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

const bytesOf = (path: string): Promise<Uint8Array> =>
  readFile(path).catch((cause: unknown) => {
    const received = cause instanceof Error && "code" in cause ? String(cause.code) : undefined;
    throw configFault("the file cannot be read", path, { received, cause });
  });

/** The `session_cfg` subtree of older files as today's keys. */
export function lifted(tree: Located): Located {
  const old = tree.kind === "map" ? tree.entries.get("session_cfg") : undefined;
  if (tree.kind !== "map" || old === undefined) return tree;
  if (old.value.kind !== "map") throw configFault("session_cfg is a mapping", old.value.where);
  const sides = new Map<string, Entry>();
  const top = new Map<string, Entry>();
  for (const [name, entry] of old.value.entries)
    if (name === "shared_cfg") top.set("shared_config", entry);
    else if (name === "adapter_ctx") top.set(name, entry);
    else sides.set(name, entry);
  const { where } = old;
  if (sides.size > 0) top.set("registered_cfg", { where, value: { kind: "map", where, entries: sides } });
  const rest = new Map([...tree.entries].filter(([name]) => name !== "session_cfg"));
  return merged({ ...tree, entries: top }, { ...tree, entries: rest });
}

/**
 * Checks a tree and fills in defaults. Shared values go into both sides: over the module's, and to the data module's, where
 * a key given twice is an error.
 * @throws SessionError at the first fault, saying how many more there are
 */
export function sessionFileOf(tree: Located, options: ReadOptions = {}): SessionFile {
  return locatedFileOf(tree, options).file;
}

/** The same, and the tree of which it is made: what is shared stands on both sides, fields in place of class paths. */
export function locatedFileOf(tree: Located, options: ReadOptions = {}): { file: SessionFile; tree: Located } {
  const resolved = resolveClassPaths(lifted(tree), options.userNames);
  checked("SessionFile", plain(resolved), "snake", (path, ofKey) => placeOf(resolved, path, ofKey));
  const whole = shared(resolved);
  const value = checked("SessionFile", plain(whole), "snake", (path, ofKey) => placeOf(whole, path, ofKey));
  return { file: camelised("SessionFile", value), tree: whole };
}

/** What errors call the place of what TypeScript gives. */
export const inOptions = "the options";

/** A session file in camelCase as a tree that can be merged with others. */
export function treeOfInput(input: SessionFileInput, where: string = inOptions): Located {
  checked("SessionFile", input, "camel", (path) => (path.length === 0 ? where : `${where}, ${path.join(".")}`));
  return locatedFrom(snaked("SessionFile", input), where);
}

function shared(tree: Located): Located {
  if (tree.kind !== "map") return tree;
  const common = tree.entries.get("shared_config")?.value;
  if (common?.kind !== "map") return tree;
  const side = (key: "datamodule_cfg" | "module_cfg"): Located => ({
    kind: "map",
    where: common.where,
    entries: new Map([[key, { where: common.where, value: common }]]),
  });
  const sides = tree.entries.get("registered_cfg")?.value ?? { ...common, entries: new Map<string, Entry>() };
  const data = sides.kind === "map" ? sides.entries.get("datamodule_cfg")?.value : undefined;
  if (data?.kind === "map")
    for (const [name, { where }] of common.entries)
      if (data.entries.has(name))
        throw configFault("the option is given twice", data.entries.get(name)!.where, {
          received: `${name}, and in shared_config at ${where}`,
          hint: "leave one of them out",
        });
  const value = merged(sides, side("datamodule_cfg"), side("module_cfg"));
  return { ...tree, entries: new Map([...tree.entries, ["registered_cfg", { where: sides.where, value }]]) };
}

/** Checks a value against a section; faults are told with the place that `locate` gives. @internal */
export function checked(
  section: SectionName,
  value: unknown,
  spelling: Spelling,
  locate: (path: readonly PropertyKey[], ofKey: boolean) => string,
): Record<string, unknown> {
  const parsed = sectionSchema(section, spelling).safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data as Record<string, unknown>;
  const faults = parsed.error.issues.map((issue) => faultOf(issue, section, spelling));
  const [first] = faults;
  const { path, ofKey, message, facts } = first!;
  const others = faults.slice(1).map((fault) => `${fault.message} in ${locate(fault.path, fault.ofKey)}`);
  const hints = [
    facts.hint,
    others.length > 0 ? `and ${others.length} more: ${others.slice(0, 5).join("; ")}` : undefined,
  ];
  throw configFault(message, locate(path, ofKey), {
    ...facts,
    hint: hints.filter((x) => x !== undefined).join("; ") || undefined,
  });
}

/** Zod's types in the words of a person who writes a file. */
const typeWords: Readonly<Record<string, string>> = {
  object: "a mapping",
  array: "a list",
  string: "a text",
  number: "a number",
  int: "an integer",
  boolean: "true or false",
};

interface Fault {
  readonly path: readonly PropertyKey[];
  readonly ofKey: boolean;
  readonly message: string;
  readonly facts: Partial<ErrorFacts>;
}

function faultOf(issue: z.core.$ZodIssue, section: string, spelling: Spelling): Fault {
  const name = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0]!;
    const near = nearest(key, namesAt(section, issue.path, spelling));
    return {
      path: [...issue.path, key],
      ofKey: true,
      message: `there is no option ${name === "" ? key : `${name}.${key}`}`,
      facts: near.length === 0 ? {} : { hint: `near ones: ${near.join(", ")}` },
    };
  }
  const received = "input" in issue ? JSON.stringify(issue.input)?.slice(0, 60) : undefined;
  const expected =
    issue.code === "invalid_value"
      ? `one of ${issue.values.map(String).join(", ")}`
      : issue.code === "invalid_type"
        ? (typeWords[issue.expected] ?? issue.expected)
        : (boundOf(issue) ?? issue.message.replace(/^Invalid input: expected /, "").replace(/^expected /, ""));
  return {
    path: issue.path,
    ofKey: false,
    message: name === "" ? "the configuration is not what it should be" : `${name} is not what it should be`,
    facts: { expected, received },
  };
}

/** What a number or a list is to be at least or at most. */
function boundOf(issue: z.core.$ZodIssue): string | undefined {
  if (issue.code !== "too_small" && issue.code !== "too_big") return undefined;
  const [bound, words, strict] =
    issue.code === "too_small" ? [issue.minimum, "at least", "more than"] : [issue.maximum, "at most", "less than"];
  const of = issue.origin === "array" ? " entries" : issue.origin === "string" ? " characters" : "";
  return `${issue.inclusive === false ? strict : words} ${bound}${of}`;
}

/** The names that may stand where a path leads. */
function namesAt(section: string, path: readonly PropertyKey[], spelling: Spelling): string[] {
  const spell = (name: string): string => (spelling === "camel" ? name : snakeCase(name));
  let here: string | undefined = section;
  for (const step of path) {
    if (typeof step === "number") continue;
    const fields: ReturnType<typeof fieldsOf> = here === undefined ? [] : fieldsOf(here);
    const field = fields.find(([name]) => spell(name) === step)?.[1];
    here = field === undefined ? undefined : sectionOf(field)?.section;
  }
  return here === undefined ? [] : fieldsOf(here).map(([name]) => spell(name));
}

/**
 * The tree with one option set from text, as a flag does it. The path is written with dots in any spelling, from the
 * top (`registered_cfg.module_cfg.tl_cfg.fold_ln`) or as the one option of that name (`eval-batch-size`).
 * @throws SessionError when no option, or more than one, has that name; the text is not a value
 */
function withOption(tree: Located, name: string, text: string, where: string): Located {
  const path = optionPath(name, where);
  const value = text === "" ? ({ kind: "scalar", where, value: "" } as const) : valueOfText(text, where);
  const set = path.reduceRight<Located>(
    (inner, key) => ({ kind: "map", where, entries: new Map([[key, { where, value: inner }]]) }),
    value,
  );
  return merged(tree, set);
}

/** Text as YAML, with every place that of the flag. */
const valueOfText = (text: string, where: string): Located => locatedFrom(plain(parseYaml(text, where)), where);

function optionPath(name: string, where: string): string[] {
  const wanted = name.split(".").map((part) => snakeCase(part).replaceAll("-", "_"));
  const all = optionPaths();
  const found = all.filter((path) => wanted.every((part, i) => path[path.length - wanted.length + i] === part));
  const exact = found.filter((path) => path.length === wanted.length);
  // Shared options stand in several places; the one that fills the others is meant.
  const shared = found.filter(([top]) => top === "shared_config");
  const common = shared.length > 0 ? shared : found.filter(([top]) => top === "run_cfg");
  const [only, ...others] = exact.length > 0 ? exact : common.length > 0 ? common : found;
  if (only === undefined)
    throw configFault(`there is no option ${name}`, where, {
      hint: `near ones: ${nearest(
        wanted.join("."),
        all.map((p) => p.join(".")),
      ).join(", ")}`,
    });
  if (others.length > 0)
    throw configFault(`several options are called ${name}`, where, {
      hint: `say which: ${[only, ...others].map((p) => p.map(kebabCase).join(".")).join(", ")}`,
    });
  return only;
}

/** Paths of all options in snake_case. */
export function optionPaths(section = "SessionFile", above: readonly string[] = []): string[][] {
  return fieldsOf(section).flatMap(([name, field]) => {
    const path = [...above, snakeCase(name)];
    const nested = sectionOf(field);
    return nested === undefined || nested.list ? [path] : [path, ...optionPaths(nested.section, path)];
  });
}
