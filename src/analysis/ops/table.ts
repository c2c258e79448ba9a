/** @file Ops by name: an explicit table, and compositions written as text. */
import { distance } from "../../graph/nearest.ts";
import { AnalysisError } from "../errors.ts";
import * as bundled from "./bundled/index.ts";
import { sequence } from "./compose.ts";
import type { AnyOp } from "./op.ts";

/** Names as they are compared: case does not matter, nor `-` for `_`, nor `/` for `.`. */
export const opName = (name: string): string => name.trim().toLowerCase().replaceAll("-", "_").replaceAll("/", ".");

/** Ops by name. Tables are data: a table with more ops is another table. */
export interface OpTable {
  /** In the order of their definition. */
  readonly ops: readonly AnyOp[];
  /**
   * The op of a name or alias, or the composition that `a.b.c` spells (members whose names have dots in parentheses).
   * @throws AnalysisError with the nearest names; for compositions, naming the member and the column that it lacks
   */
  find(name: string): AnyOp;
  has(name: string): boolean;
}

/**
 * A table of ops.
 * @throws AnalysisError when two have one name or alias
 * @example
 * createOpTable([ops.modelFwd]).find("model-forward").name; // "model_fwd"
 */
export function createOpTable(list: readonly AnyOp[]): OpTable {
  const byName = new Map<string, AnyOp>();
  for (const op of list)
    for (const name of new Set([op.name, ...op.aliases].map(opName))) {
      const other = byName.get(name);
      if (other !== undefined)
        throw new AnalysisError("two ops have one name", {
          code: "analysis/op-name",
          received: `${name} for ${other.name} and ${op.name}`,
          hint: "rename one, or let it replace the other",
        });
      byName.set(name, op);
    }
  const unknown = (name: string, composition?: string): AnalysisError =>
    new AnalysisError(`there is no op ${name}`, {
      code: "analysis/unknown-op",
      where: composition,
      hint: `nearest names: ${nearest(opName(name), [...byName.keys()]).join(", ")}`,
    });
  return {
    ops: [...list],
    has: (name) => byName.has(opName(name)),
    find(name) {
      const known = byName.get(opName(name));
      if (known !== undefined) return known;
      const members = compositionMembers(name);
      if (members.length === 1) throw unknown(name);
      const found = members.map((member) => {
        const op = byName.get(opName(member));
        if (op === undefined) throw unknown(member, name);
        return op;
      });
      return sequence({ name: opName(name) }, found);
    },
  };
}

/**
 * The members of a composition written as text.
 * @throws AnalysisError for an empty member or parentheses that do not match
 * @example
 * compositionMembers("labels_to_ids.(user.repo.op).logit_diffs"); // ["labels_to_ids", "user.repo.op", "logit_diffs"]
 */
export function compositionMembers(text: string): string[] {
  const fault = (expected: string): AnalysisError =>
    new AnalysisError("this is not a composition of ops", {
      code: "analysis/composition",
      expected,
      received: JSON.stringify(text),
    });
  const members: string[] = [];
  const plain = text.trim();
  let at = 0;
  for (;;) {
    const found = /^(?:\(([^()]*)\)|([^().]*))/.exec(plain.slice(at).replaceAll("/", "."))!;
    const name = (found[1] ?? found[2] ?? "").trim();
    if (name === "") throw fault("names joined by dots, names with dots in parentheses");
    members.push(name);
    at += found[0].length;
    if (at >= plain.length) return members;
    if (plain[at] !== "." && plain[at] !== "/") throw fault("a dot between two members");
    at++;
  }
}

const nearest = (wanted: string, names: readonly string[]): string[] =>
  names.toSorted((a, b) => distance(a, wanted) - distance(b, wanted)).slice(0, 3);

/**
 * A table with further ops.
 * @param options.replace new ops take the names of old ones; default: two of one name are an error
 * @example
 * const step = manualStep("my_step", {}, () => ({}));
 * withOps(bundledOps, [step]).find("logit_diffs_base.my_step").steps.length; // 4
 */
export function withOps(table: OpTable, more: readonly AnyOp[], options: { replace?: boolean } = {}): OpTable {
  if (options.replace !== true) return createOpTable([...table.ops, ...more]);
  const taken = new Set(more.flatMap((op) => [op.name, ...op.aliases].map(opName)));
  const free = (name: string): boolean => !taken.has(opName(name));
  const left = table.ops
    .filter(({ name }) => free(name))
    .map((op) => (op.aliases.every(free) ? op : { ...op, aliases: op.aliases.filter(free) }));
  return createOpTable([...left, ...more]);
}

/** The bundled ops. */
export const bundledOps: OpTable = createOpTable([...new Set<AnyOp>(Object.values(bundled))]);

/**
 * A bundled op by name or alias, or the composition of bundled ops that a text spells.
 * @throws AnalysisError with the nearest names
 * @example
 * findOp("logit-diffs-latent").name; // "logit_diffs_sae"
 */
export const findOp = (name: string): AnyOp => bundledOps.find(name);

/**
 * The bundled ops.
 * @example
 * console.table(listOps().map(({ name, description }) => ({ name, description })));
 */
export const listOps = (): readonly AnyOp[] => bundledOps.ops;
