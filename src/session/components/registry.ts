/** @file The registry: sessions by name, as data. */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { nearest } from "../../graph/nearest.ts";
import { canonicalAdapters, type Adapter } from "../adapters.ts";
import {
  lifted,
  sessionFileOf,
  treeOfInput,
  yamlFiles,
  type SessionFile,
  type SessionFileInput,
} from "../config/read.ts";
import { configFault, parseYaml, type Located } from "../config/yaml.ts";
import { SessionError } from "../errors.ts";
import type { ComponentOptions } from "./manifest.ts";
import { withPrompt } from "./promptRef.ts";

/** The parts of a key: model, task, phase and adapters, as the published registry takes them. */
export type RegistryTuple = readonly [model: string, task: string, phase: string | null, adapters: readonly string[]];
/** A key of a registry: its name, or its parts. */
export type RegistryKey = string | RegistryTuple;

/** The adapters that the end of a key names. */
type Joined<T extends string> = T extends `${infer First}+${infer Rest}` ? First | Joined<Rest> : T;
type Ending<K extends string> = K extends `${string}.${string}.${infer Last}`
  ? Last extends `${infer Adapters}.${string}`
    ? Adapters
    : Last
  : "core";
type Lead<A> = "lightning" extends A ? never : "core";
/** The adapters of a session made from a key, as far as the key's type says. */
export type AdaptersOfKey<K extends RegistryKey> = K extends string
  ? string extends K
    ? "core"
    : Extract<Joined<Ending<K>> | Lead<Joined<Ending<K>>>, Adapter>
  : K extends RegistryTuple
    ? Extract<K[3][number] | Lead<K[3][number]>, Adapter>
    : "core";

/** An entry of a registry. */
export interface RegistryEntry {
  readonly key: string;
  /** Other keys it has or had. */
  readonly aliases: readonly string[];
  readonly description: string;
  readonly model: string;
  readonly task: string;
  readonly phase: string | null;
  /** The combinations it is meant for. */
  readonly combinations: readonly (readonly Adapter[])[];
  /** The first of them: what a session of it has unless it is told otherwise. */
  readonly adapters: readonly Adapter[];
  /** Where it is written. */
  readonly where: string;
  /** What it says, before defaults. */
  readonly tree: Located;
}

/**
 * Sessions by name. A registry is never changed: `with` gives a new one.
 * @example
 * const registry = await Registry.bundled();
 * registry.has("rte_demo.gpt2.sae_lens"); // true
 */
export class Registry {
  readonly #entries: ReadonlyMap<string, RegistryEntry>;
  readonly #byAlias: ReadonlyMap<string, string>;

  constructor(entries: Iterable<RegistryEntry> = []) {
    this.#entries = new Map([...entries].map((entry) => [entry.key, entry]));
    this.#byAlias = new Map(
      [...this.#entries.values()].flatMap(({ key, aliases }) => aliases.map((alias) => [alias, key])),
    );
  }

  /** The entries of the tutorials. */
  static async bundled(): Promise<Registry> {
    return Registry.open(fileURLToPath(new URL("../entries", import.meta.url)));
  }

  /**
   * A registry from a folder of files named `<key>.yaml`, or from one file that maps keys to entries.
   * @throws SessionError where a key, the file's name and the entry's `reg_info` do not agree, or an entry is not valid
   */
  static async open(path: string): Promise<Registry> {
    if (/\.ya?ml$/.test(path)) return new Registry(entriesOfFile(parseYaml(await read(path), path)));
    const files = await yamlFiles(path);
    return new Registry(
      await Promise.all(
        files.map(async (file) => entryOf(basename(file).replace(/\.ya?ml$/, ""), parseYaml(await read(file), file))),
      ),
    );
  }

  /** This registry and the entries of another, which win. */
  and(other: Registry): Registry {
    return new Registry([...this.#entries.values(), ...other.#entries.values()]);
  }

  /**
   * This registry with one entry more; this one stays as it is.
   * @throws SessionError when the key is not the one that `regInfo` gives
   * @example
   * const mine = (await Registry.bundled()).register("rte_demo.mine.core", {
   *   regInfo: { modelSrcKey: "mine", modelCfgKey: "rte_demo", adapterCombinations: [["core"]] },
   *   sharedConfig: { modelNameOrPath: "models/gpt2", taskName: "rte" },
   * });
   * mine.has("rte_demo.mine.core"); // true
   */
  register(key: string, entry: SessionFileInput): Registry {
    return new Registry([...this.#entries.values(), entryOf(key, treeOfInput(entry, `the entry ${key}`))]);
  }

  has(key: RegistryKey): boolean {
    return this.#find(key) !== undefined;
  }

  /** @throws SessionError with near keys */
  get(key: RegistryKey): RegistryEntry {
    const found = this.#find(key);
    if (found !== undefined) return found;
    const text = typeof key === "string" ? key : `${key[1]}.${key[0]}.${key[3].join("+")}`;
    throw new SessionError("the registry has no such entry", {
      code: "session/registry",
      received: typeof key === "string" ? key : JSON.stringify(key),
      hint: `near ones: ${nearest(text, this.#entries.keys()).join(", ")}`,
    });
  }

  /** All entries, by key. */
  list(): RegistryEntry[] {
    return [...this.#entries.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /**
   * An entry with all its defaults, and with what it refers to.
   * @param options where components that its prompt refers to are found
   * @throws SessionError as {@link get}; for a component that is referred to and cannot be opened
   */
  async describe(
    key: RegistryKey,
    options: ComponentOptions = {},
  ): Promise<RegistryEntry & { readonly config: SessionFile }> {
    const entry = this.get(key);
    const config = sessionFileOf(await withPrompt(entry.tree, options));
    return { ...entry, config: { ...config, adapterCtx: config.adapterCtx ?? entry.adapters } };
  }

  #find(key: RegistryKey): RegistryEntry | undefined {
    if (typeof key === "string") return this.#entries.get(key) ?? this.#entries.get(this.#byAlias.get(key) ?? "");
    const [model, task, phase, adapters] = key;
    const wanted = canonicalAdapters(adapters.includes("lightning") ? adapters : ["core", ...adapters]).join();
    return [...this.#entries.values()].find(
      (entry) =>
        entry.model === model &&
        entry.task === task &&
        (entry.phase === null || phase === null || entry.phase === phase) &&
        entry.combinations.some((combination) => combination.join() === wanted),
    );
  }
}

const read = (path: string): Promise<Uint8Array> =>
  readFile(path).catch((cause: unknown) => {
    throw configFault("the registry cannot be read", path, { cause });
  });

function entriesOfFile(tree: Located): RegistryEntry[] {
  if (tree.kind !== "map") throw configFault("a registry is a mapping from keys to entries", tree.where);
  return [...tree.entries].map(([key, { value }]) => entryOf(key, value));
}

/** Checks an entry and its key. @internal */
export function entryOf(key: string, written: Located): RegistryEntry {
  const tree = lifted(written);
  const { regInfo } = sessionFileOf(tree);
  const place = tree.kind === "map" ? tree.entries.get("reg_info")?.value.where : undefined;
  const where = place ?? tree.where;
  if (regInfo === null) throw configFault("an entry of a registry has reg_info", where, { received: key });
  const combinations = regInfo.adapterCombinations.map((each) => canonicalAdapters(each, where));
  const [first] = combinations;
  if (first === undefined) throw configFault("an entry names its adapter_combinations", where, { received: key });
  const task = regInfo.modelCfgKey ?? regInfo.taskName ?? "";
  const derived = keyOf(task, regInfo.modelSrcKey, first, regInfo.descriptor);
  if (derived !== key)
    throw configFault("the key does not agree with reg_info", where, {
      code: "session/registry",
      expected: derived,
      received: key,
      hint: "a key is <task>.<model>.<adapters joined by +>[.<descriptor>], and the file's name is the key",
    });
  const { aliases, description, modelSrcKey: model, phase } = regInfo;
  return { key, aliases, description, model, task, phase, combinations, adapters: first, where: tree.where, tree };
}

/** `<task>.<model>.<adapters>[.<descriptor>]`; the lead adapter is named only where it is alone. */
function keyOf(task: string, model: string, adapters: readonly Adapter[], descriptor: string | null): string {
  const more = adapters.filter((adapter) => adapter !== "core" && adapter !== "lightning");
  const named = (more.length > 0 ? more : adapters).join("+");
  return [task, model, named, ...(descriptor === null ? [] : [descriptor])].join(".");
}
