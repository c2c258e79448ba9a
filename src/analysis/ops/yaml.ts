/** @file Compositions of ops from YAML. */
import { camelCase } from "../../session/config/names.ts";
import { parseYaml, placeOf, plain, type Entry, type Located, type LocatedMap } from "../../session/config/yaml.ts";
import { opFileOf, type OpFile } from "../../session/opFile.ts";
import { AnalysisError } from "../errors.ts";
import { sequence } from "./compose.ts";
import type { AnyOp } from "./op.ts";
import { bundledOps, compositionMembers, opName, withOps, type OpTable } from "./table.ts";

const keys = ["composition", "aliases", "description", "params", "traits"];

/** Who keeps a name that two ops have: the table, or what comes on top of it. */
export type PreferOps = "table" | "component";

export interface CompositionsOptions {
  /** What the compositions go on top of. Default: the bundled ops. */
  readonly table?: OpTable;
  /** Who keeps a name or an alias that both have. Default: that is an error. */
  readonly prefer?: PreferOps;
}

/**
 * The compositions of a YAML text, as a table on top of another one: `composite_operations: name → { composition,
 * aliases, description, params }`. Compositions may name each other, in any order; `params` are parameters of members by
 * name. With `collection: { name }` each is found as `name.op`, too.
 * @param options.file what errors call it
 * @throws SessionError for YAML that cannot be read; AnalysisError for a composition that cannot be made. Both with file,
 *   line and column
 * @example
 * const table = readCompositions("composite_operations: { plain: { composition: labels_to_ids.model_fwd.logit_diffs } }");
 * table.find("plain").steps.length; // 3
 */
export function readCompositions(text: string, options: CompositionsOptions & { file?: string } = {}): OpTable {
  const { file = "ops.yaml", table = bundledOps, prefer } = options;
  return onTop(table, [opFileOf(parseYaml(text, file)).file], prefer);
}

/**
 * A table with the compositions of shared components on top. Each is found under its name, its aliases and, as published,
 * its full name: `owner.repository.op` of a component of the hub, else `component.op` (in compositions in parentheses).
 * @param components what `loadComponent` gives
 * @throws AnalysisError with file, line and column: for a name or an alias that the table has, a part that is not there,
 *   and whatever else makes a composition impossible
 * @example
 * const component = { opFiles: [] }; // await loadComponent("components/mine")
 * const table = withComponents(bundledOps, [component]);
 * table.find("logit_diffs_base").name; // "logit_diffs_base"
 */
export function withComponents(
  table: OpTable,
  components: readonly { readonly opFiles: readonly OpFile[] }[],
  options: Pick<CompositionsOptions, "prefer"> = {},
): OpTable {
  return components.reduce((all, { opFiles }) => onTop(all, opFiles, options.prefer), table);
}

/** A composition as it stands in its file. */
interface Written extends Entry {
  readonly name: string;
  readonly namespace: string;
}

/** The compositions of some files, which may name each other, on top of a table. */
function onTop(table: OpTable, files: readonly OpFile[], prefer: PreferOps | undefined): OpTable {
  const all = files.flatMap(({ namespace, compositions }) =>
    [...compositions.entries].map(([name, entry]): Written => ({ ...entry, name, namespace })),
  );
  const byName = new Map<string, Written>();
  for (const written of all)
    for (const name of new Set([...namesOf(written), ...fullName(written)])) {
      if (byName.has(name)) throw twice(name, written.where, byName.get(name)!.where);
      byName.set(name, written);
    }
  const made = new Map<Written, AnyOp>();
  const open: Written[] = [];
  const make = (written: Written): AnyOp => {
    const known = made.get(written);
    if (known !== undefined) return known;
    const { where } = written;
    if (open.includes(written))
      throw fault("a composition contains itself", where, {
        received: [...open, written].map(({ name }) => name).join(" → "),
      });
    open.push(written);
    const op = composed(written, namesIn(written, table, prefer), table, (member) => {
      const own = byName.get(opName(member));
      // What replaces an op may be made of it.
      const replaces = own !== undefined && prefer === "component" && !open.includes(own);
      return own === undefined || (table.has(member) && !replaces) ? undefined : make(own);
    });
    open.pop();
    made.set(written, op);
    return op;
  };
  return withOps(table, all.map(make), { replace: prefer === "component" });
}

/** Name and aliases, as they are compared. */
const namesOf = ({ name, value }: Written): string[] => [name, ...aliasesOf(value)].map(opName);
const fullName = ({ name, namespace }: Written): string[] => (namespace === "" ? [] : [opName(`${namespace}.${name}`)]);

/** The names that a composition gets in a table. */
function namesIn(
  written: Written,
  table: OpTable,
  prefer: PreferOps | undefined,
): { readonly name: string; readonly aliases: readonly string[] } {
  const { name, where, value } = written;
  const full = fullName(written);
  const aliases = [...aliasesOf(value), ...full];
  const taken = [name, ...aliases].filter((each) => table.has(each));
  if (taken.length === 0 || prefer === "component") return { name, aliases };
  const other = table.find(taken[0]!).name;
  if (prefer === undefined || full.length === 0 || taken.includes(full[0]!)) throw twice(taken[0]!, where, other);
  const free = aliases.filter((each) => !taken.includes(each));
  return taken.includes(name) ? { name: full[0]!, aliases: free } : { name, aliases: free };
}

const twice = (name: string, where: string, other: string): AnalysisError =>
  new AnalysisError("two ops have one name", {
    code: "analysis/op-name",
    where,
    received: `${name}, as ${other} has it`,
    hint: 'rename one, or say which of them keeps it: prefer "table" or "component"',
  });

function composed(
  { name, where, value: node }: Written,
  names: { readonly name: string; readonly aliases: readonly string[] },
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
  return at(place, () => sequence({ ...names, description: textOf(node, "description") }, configured));
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
