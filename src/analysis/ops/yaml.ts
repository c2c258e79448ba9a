/** @file Compositions of ops from YAML. */
import { camelCase } from "../../session/config/names.ts";
import { parseYaml, placeOf, plain, type Located, type LocatedMap } from "../../session/config/yaml.ts";
import { AnalysisError } from "../errors.ts";
import { sequence } from "./compose.ts";
import type { AnyOp } from "./op.ts";
import { bundledOps, compositionMembers, opName, withOps, type OpTable } from "./table.ts";

const keys = ["composition", "aliases", "description", "params"];

/**
 * The compositions of a YAML text, as a table on top of another one: `composite_operations: name → { composition,
 * aliases, description, params }`. Compositions may name each other, in any order; `params` are parameters of members by
 * name.
 * @param options.file what errors call it
 * @throws SessionError for YAML that cannot be read; AnalysisError for a composition that cannot be made. Both with file,
 *   line and column
 * @example
 * const table = readCompositions("composite_operations: { plain: { composition: labels_to_ids.model_fwd.logit_diffs } }");
 * table.find("plain").steps.length; // 3
 */
export function readCompositions(text: string, options: { file?: string; table?: OpTable } = {}): OpTable {
  const { file = "ops.yaml", table = bundledOps } = options;
  const root = parseYaml(text, file);
  const definitions = entriesOf(root, "composite_operations", root.where);
  const made = new Map<string, AnyOp>();
  const open: string[] = [];
  const byName = new Map(
    [...definitions.entries].flatMap(([name, { value }]) => [name, ...aliasesOf(value)].map((n) => [opName(n), name])),
  );
  const make = (name: string): AnyOp => {
    const known = made.get(name);
    if (known !== undefined) return known;
    const { where, value } = definitions.entries.get(name)!;
    if (open.includes(name))
      throw fault("a composition contains itself", where, { received: [...open, name].join(" → ") });
    open.push(name);
    const op = composed(name, value, where, table, (member) => {
      const own = byName.get(opName(member));
      return own === undefined || table.has(member) ? undefined : make(own);
    });
    open.pop();
    made.set(name, op);
    return op;
  };
  for (const name of definitions.entries.keys()) make(name);
  return at(definitions.where, () => withOps(table, [...made.values()]));
}

function composed(
  name: string,
  node: Located,
  where: string,
  table: OpTable,
  own: (member: string) => AnyOp | undefined,
): AnyOp {
  if (node.kind !== "map") throw fault(`${name} is not a composition`, where, { expected: "composition: a.b.c" });
  for (const [key, entry] of node.entries)
    if (!keys.includes(key))
      throw fault(`a composition has no ${key}`, entry.where, { expected: keys.join(", "), received: key });
  const text = textOf(node, "composition");
  if (text === undefined) throw fault(`${name} says no composition`, where, { expected: "composition: a.b.c" });
  const place = placeOf(node, ["composition"]);
  const members = at(place, () => compositionMembers(text)).map(
    (member) => own(member) ?? at(place, () => table.find(member)),
  );
  const configured = configure(members, node, own, table);
  return at(place, () =>
    sequence({ name, aliases: aliasesOf(node), description: textOf(node, "description") }, configured),
  );
}

/** Members with the parameters that `params` has for them. */
function configure(
  members: readonly AnyOp[],
  node: LocatedMap,
  own: (member: string) => AnyOp | undefined,
  table: OpTable,
): readonly AnyOp[] {
  const params = node.entries.get("params")?.value;
  if (params === undefined) return members;
  if (params.kind !== "map") throw fault("parameters stand under the names of members", params.where);
  const given = new Map<AnyOp, Located>();
  for (const [name, { where, value }] of params.entries) {
    const op = own(name) ?? at(where, () => table.find(name));
    if (!members.includes(op))
      throw fault("parameters are for an op that is not a member", where, {
        expected: members.map((member) => member.name).join(", "),
        received: name,
      });
    given.set(op, value);
  }
  return members.map((member) => {
    const value = given.get(member);
    return value === undefined ? member : at(value.where, () => member.with(camelKeys(value)));
  });
}

/** A mapping with its keys as TypeScript writes them; what stands under them is kept. */
function camelKeys(node: Located): object {
  if (node.kind !== "map") throw fault("parameters are a mapping", node.where);
  return Object.fromEntries([...node.entries].map(([key, { value }]) => [camelCase(key), plain(value)]));
}

function entriesOf(node: Located, key: string, where: string): LocatedMap {
  const found = node.kind === "map" ? node.entries.get(key)?.value : undefined;
  if (found?.kind === "map") return found;
  throw fault(`a file of compositions has ${key}`, found?.where ?? where, { expected: `${key}: name: composition: …` });
}

function textOf(node: LocatedMap, key: string): string | undefined {
  const value = node.entries.get(key)?.value;
  if (value === undefined) return undefined;
  if (value.kind === "scalar" && typeof value.value === "string") return value.value;
  throw fault(`${key} is a text`, value.where);
}

function aliasesOf(node: Located): string[] {
  const list = node.kind === "map" ? node.entries.get("aliases")?.value : undefined;
  if (list === undefined) return [];
  if (list.kind !== "list") throw fault("aliases are a list of names", list.where);
  return list.items.map((item) => {
    if (item.kind === "scalar" && typeof item.value === "string") return item.value;
    throw fault("an alias is a name", item.where);
  });
}

const fault = (message: string, where: string, facts: { expected?: string; received?: string } = {}): AnalysisError =>
  new AnalysisError(message, { code: "analysis/composition", where, ...facts });

/** An error of the ops with the place in the file. */
function at<T>(where: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof AnalysisError)) throw error;
    throw new AnalysisError(`${where}: ${error.message}`, { code: error.code, cause: error });
  }
}
