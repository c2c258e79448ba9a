/** @file Compositions of ops from YAML. */
import { camelCase } from "../../session/config/names.ts";
import { parseYaml, placeOf, plain, type Entry, type Located, type LocatedMap } from "../../session/config/yaml.ts";
import { opFileOf } from "../../session/components/opFile.ts";
import type { OpCollection } from "../../session/protocol.ts";
import { AnalysisError } from "../errors.ts";
import { sequence } from "./compose.ts";
import type { AnyOp } from "./op.ts";
import { bundledOps, compositionMembers, opName, withOps, type OpTable } from "./table.ts";

const keys = ["composition", "aliases", "description", "params", "traits"];

/**
 * Who keeps a name that several ops have: the table, then what came first; what came last, then the table; or collections by
 * name (`owner/repository`, or that of a collection or component), the foremost first, then the table, then all others. As
 * published, a full name is never a matter of preference.
 */
export type PreferOps = "table" | "component" | readonly string[];

export interface CompositionsOptions {
  /** What the compositions go on top of. Default: the bundled ops. */
  readonly table?: OpTable;
  /** Who keeps a name or an alias that several have. Default: that is an error. */
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
  return onTop(table, [{ opFiles: [opFileOf(parseYaml(text, file))] }], prefer);
}

/**
 * A table with the compositions of shared components on top. Each is found under its name, its aliases and, as published,
 * its full name: `owner.repository.op` of a component of the hub, else `component.op`; `collection.op` where its file names
 * a collection (in compositions in parentheses). In a composition a bare name is that of its own collection first.
 * @param components what `loadComponent` gives
 * @throws AnalysisError with file, line and column: for a name or an alias that several have and nobody is preferred for,
 *   a part that is not there, and whatever else makes a composition impossible
 * @example
 * const component = { opFiles: [] }; // await loadComponent("components/mine")
 * const table = withComponents(bundledOps, [component], { prefer: ["owner/their-ops"] });
 * table.find("logit_diffs_base").name; // "logit_diffs_base"
 */
export function withComponents(
  table: OpTable,
  components: readonly OpCollection[],
  options: Pick<CompositionsOptions, "prefer"> = {},
): OpTable {
  return onTop(table, components, options.prefer);
}

/** A composition as it stands in its file. */
interface Written extends Entry {
  readonly name: string;
  /** Which of the collections it belongs to. */
  readonly collection: number;
  readonly namespaces: readonly string[];
}

/** The compositions of collections, which may name each other, on top of a table. */
function onTop(table: OpTable, collections: readonly OpCollection[], prefer: PreferOps | undefined): OpTable {
  const all = collections.flatMap(({ opFiles }, collection) =>
    opFiles.flatMap(({ namespaces, compositions }) =>
      [...compositions.entries].map(([name, entry]): Written => ({ ...entry, name, collection, namespaces })),
    ),
  );
  const names = namesOf(table, all, prefer);
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
    const op = composed(written, names.of(written), table, (member) => {
      const other = names.meant(member, written);
      // What replaces an op may be made of it.
      return other === undefined || (open.includes(other) && table.has(member)) ? undefined : make(other);
    });
    open.pop();
    made.set(written, op);
    return op;
  };
  return withOps(table, all.map(make), { replace: true });
}

/** Who has which name. */
interface Names {
  /** What a composition is called: the first of its name and its full names that it has; and all others that it has. */
  readonly of: (written: Written) => { readonly name: string; readonly aliases: readonly string[] };
  /** The composition that a name means in another one; undefined: an op of the table, or none. */
  readonly meant: (member: string, written: Written) => Written | undefined;
}

const bareNames = ({ name, value }: Written): string[] => [name, ...aliasesOf(value)];
const fullNames = ({ name, namespaces }: Written): string[] => namespaces.map((namespace) => `${namespace}.${name}`);

/** @throws AnalysisError for a name that several have and nobody is preferred for */
function namesOf(table: OpTable, all: readonly Written[], prefer: PreferOps | undefined): Names {
  const rank = rankOf(prefer);
  const claims = new Map<string, Written[]>();
  for (const written of all)
    for (const name of new Set([...bareNames(written), ...fullNames(written)].map(opName)))
      claims.set(name, [...(claims.get(name) ?? []), written]);
  const holders = new Map<string, Written | undefined>();
  for (const [name, some] of claims) {
    const inFull = some.filter((written) => fullNames(written).map(opName).includes(name));
    const asking = [...(inFull.length > 0 ? inFull : some), ...(table.has(name) ? [undefined] : [])];
    const best = Math.min(...asking.map(rank));
    const [holder, other] = asking.filter((each) => inFull.length > 0 || rank(each) === best);
    if (other !== undefined) throw twice(name, other.where, holder!.where);
    if (holder !== undefined && asking.includes(undefined) && (inFull.length > 0 || rank(undefined) === best))
      throw twice(name, holder.where, table.find(name).name);
    holders.set(name, holder);
  }
  const of: Names["of"] = (written) => {
    const has = (name: string): boolean => holders.get(opName(name)) === written;
    const { name: bare, where } = written;
    const [name, ...others] = [bare, ...fullNames(written)].filter(has);
    const holder = holders.get(opName(bare));
    if (name === undefined) throw twice(bare, where, holder?.where ?? table.find(bare).name);
    return { name, aliases: [...aliasesOf(written.value).filter(has), ...others] };
  };
  const meant: Names["meant"] = (member, { collection }) => {
    const name = opName(member);
    const own = claims.get(name)?.find((each) => each.collection === collection);
    const hidden = own !== undefined && table.has(name) && rank(undefined) < rank(own);
    return own === undefined || hidden ? holders.get(name) : own;
  };
  return { of, meant };
}

/** The lower, the foremost; undefined is the table. */
function rankOf(prefer: PreferOps | undefined): (written: Written | undefined) => number {
  if (prefer === undefined) return () => 0;
  if (prefer === "table") return (written) => (written === undefined ? -1 : written.collection);
  if (prefer === "component") return (written) => (written === undefined ? 1 : -written.collection);
  const order = prefer.map(opName);
  return (written) => {
    if (written === undefined) return order.length;
    const at = order.findIndex((name) => written.namespaces.map(opName).includes(name));
    return at < 0 ? order.length + 1 : at;
  };
}

const twice = (name: string, where: string, other: string): AnalysisError =>
  new AnalysisError("two ops have one name", {
    code: "analysis/op-name",
    where,
    received: `${name}, as ${other} has it`,
    hint: 'rename one, or say which keeps it: prefer "table" or "component", or collections by name (prefer_ops, IT_OP_PRECEDENCE)',
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
  return at(place, () => sequence({ ...names, description: textOf(node, "description"), where: place }, configured));
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
    throw new AnalysisError(`${where}: ${error.message}`, { code: error.code });
  }
}
