/** @file YAML as trees that know where each value stands; several files merged into one. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from "yaml";
import type { ErrorFacts } from "../../graph/errors.ts";
import { SessionError } from "../errors.ts";

/** A value and the place it was written at: `file:line:column`. */
export type Located = LocatedScalar | LocatedList | LocatedMap;
interface Place {
  readonly where: string;
}
export interface LocatedScalar extends Place {
  readonly kind: "scalar";
  readonly value: string | number | boolean | null;
}
export interface LocatedList extends Place {
  readonly kind: "list";
  readonly items: readonly Located[];
}
export interface LocatedMap extends Place {
  readonly kind: "map";
  readonly entries: ReadonlyMap<string, Entry>;
}
export interface Entry {
  /** Where the key stands. */
  readonly where: string;
  readonly value: Located;
}

/** What a file may have: far more than any configuration needs, far less than what would hurt. */
const limits = { bytes: 1 << 20, values: 50_000, depth: 64 } as const;

/** Names that mean something to JavaScript's objects. */
const reserved: readonly string[] = ["__proto__", "prototype", "constructor"];

export const configFault = (message: string, where: string, facts: Partial<ErrorFacts> = {}): SessionError =>
  new SessionError(message, { code: "session/config", where, ...facts });

/**
 * Parses a YAML text defensively: one document, known types, string keys, no key twice, no names of JavaScript's own;
 * aliases are followed within bounds.
 * @param file what errors call it
 * @throws SessionError with file, line and column
 */
export function parseYaml(source: string | Uint8Array, file: string): Located {
  const text = typeof source === "string" ? source : decode(source, file);
  if (text.length > limits.bytes)
    throw configFault("the file is too large for a configuration", file, {
      expected: `at most ${limits.bytes} characters`,
      received: String(text.length),
    });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const at = (offset: number | undefined): string => {
    if (offset === undefined) return file;
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined)
    throw configFault("the YAML cannot be read", at(problem.pos[0]), { received: sentence(problem.message) });
  return new Reader(document, file, at).read();
}

/** The library's message without its code and in our case. */
const sentence = (message: string): string => message.split("\n")[0]!.replace(/:?$/, "");

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw configFault("the text is not UTF-8", file, { cause });
  }
}

class Reader {
  readonly #document: Document.Parsed;
  readonly #file: string;
  readonly #at: (offset: number | undefined) => string;
  #count = 0;

  constructor(document: Document.Parsed, file: string, at: (offset: number | undefined) => string) {
    [this.#document, this.#file, this.#at] = [document, file, at];
  }

  read(): Located {
    const { contents } = this.#document;
    if (contents === null || (isScalar(contents) && contents.value === null))
      throw configFault("the file is empty", this.#file, { expected: "a mapping" });
    return this.#node(contents, 0, undefined);
  }

  /** @param place of the alias, where the node stands in for one */
  #node(node: unknown, depth: number, place: string | undefined): Located {
    const where = place ?? this.#at((node as Node | null)?.range?.[0]);
    if (++this.#count > limits.values || depth > limits.depth)
      throw configFault("the file holds too much, perhaps through aliases", where, {
        expected: `at most ${limits.values} values, nested ${limits.depth} deep`,
      });
    if (isAlias(node)) {
      const target = node.resolve(this.#document);
      if (target === undefined) throw configFault("an alias has no anchor", where, { received: `*${node.source}` });
      return this.#node(target, depth + 1, where);
    }
    if (isMap(node)) {
      const entries = node.items.map(({ key, value }): [string, Entry] => {
        const name = this.#key(key);
        const keyWhere = this.#at((key as Node).range?.[0]);
        // A key without a value is null, and stands where its key does.
        return [name, { where: keyWhere, value: this.#node(value, depth + 1, value === null ? keyWhere : undefined) }];
      });
      return { kind: "map", where, entries: new Map(entries) };
    }
    if (isSeq(node))
      return { kind: "list", where, items: node.items.map((item) => this.#node(item, depth + 1, undefined)) };
    const value: unknown = isScalar(node) ? node.value : node;
    if (value === null || ["string", "number", "boolean"].includes(typeof value))
      return { kind: "scalar", where, value: value as LocatedScalar["value"] };
    throw configFault("a value of this type is not for configurations", where, { received: typeof value });
  }

  #key(key: unknown): string {
    const where = this.#at((key as Node | null)?.range?.[0]);
    const name: unknown = isScalar(key) ? key.value : undefined;
    if (typeof name !== "string")
      throw configFault("a key is a name", where, { received: isScalar(key) ? String(key.value) : "a collection" });
    if (reserved.includes(name)) throw configFault("this name cannot be a key", where, { received: name });
    return name;
  }
}

/**
 * Later trees win: mappings are merged key by key, lists and scalars replace. Over a `class_path`, plain fields are its
 * `init_args`; a mapping with `compose_ref` stands for a whole and replaces.
 */
export function merged(first: Located, ...others: readonly Located[]): Located {
  return others.reduce((a, b) => {
    if (a.kind !== "map" || b.kind !== "map" || b.entries.has("compose_ref")) return b;
    const entries = new Map(a.entries);
    for (const [name, entry] of asArguments(a, b).entries) {
      const before = entries.get(name);
      entries.set(name, before === undefined ? entry : { ...entry, value: merged(before.value, entry.value) });
    }
    return { ...b, entries };
  }, first);
}

const asArguments = (a: LocatedMap, b: LocatedMap): LocatedMap =>
  a.entries.has("class_path") && !b.entries.has("class_path") && !b.entries.has("init_args") && b.entries.size > 0
    ? { ...b, entries: new Map([["init_args", { where: b.where, value: b }]]) }
    : b;

/** The tree as plain values. */
export function plain(node: Located): unknown {
  if (node.kind === "scalar") return node.value;
  if (node.kind === "list") return node.items.map(plain);
  return Object.fromEntries([...node.entries].map(([name, { value }]) => [name, plain(value)]));
}

/** Where a path leads; undefined: nowhere. */
export function nodeAt(node: Located, [first, ...rest]: readonly string[]): Located | undefined {
  if (first === undefined) return node;
  const next =
    node.kind === "map" ? node.entries.get(first)?.value : node.kind === "list" ? node.items[Number(first)] : undefined;
  return next && nodeAt(next, rest);
}

/** Where a path leads: the value's place, the key's where that is asked, or that of the nearest thing above. */
export function placeOf(node: Located, path: readonly PropertyKey[], ofKey = false): string {
  const [first, ...rest] = path;
  if (first === undefined) return node.where;
  if (node.kind === "map") {
    const entry = node.entries.get(String(first));
    if (entry === undefined) return node.where;
    return ofKey && rest.length === 0 ? entry.where : placeOf(entry.value, rest, ofKey);
  }
  const item = node.kind === "list" ? node.items[Number(first)] : undefined;
  return item === undefined ? node.where : placeOf(item, rest, ofKey);
}

/** A value that stands nowhere in a file: a flag, a default. */
export function locatedFrom(value: unknown, where: string): Located {
  if (Array.isArray(value)) return { kind: "list", where, items: value.map((item) => locatedFrom(item, where)) };
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return {
      kind: "map",
      where,
      entries: new Map(entries.map(([name, item]) => [name, { where, value: locatedFrom(item, where) }])),
    };
  }
  return { kind: "scalar", where, value: value as LocatedScalar["value"] };
}
