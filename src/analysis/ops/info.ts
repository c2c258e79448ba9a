/** @file What ops there are, and what an op reads, writes and needs: for people and as data. */
import { Table } from "../../display/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import type { ColumnSpec, FlowSpec, OpColumns } from "../tables/columns.ts";
import type { AnyOp } from "./op.ts";
import { bundledOps, type OpTable } from "./table.ts";

/** One column of an op, in words. */
export interface OpColumnInfo {
  readonly column: string;
  /** What it reads, what is stored, and what only the next op of a chain finds. */
  readonly role: "in" | "out" | "between";
  readonly optional: boolean;
  /** `float32 per example`, `expression by hook point` … */
  readonly values: string;
  readonly description: string;
}

/** What is known of an op. */
export interface OpInfo {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly description: string;
  /** The ops it is made of, in order; itself where it is not a composition. */
  readonly chain: readonly string[];
  /** What it cannot do without: `saes`, `tokenizer`. */
  readonly requires: readonly string[];
  readonly requires_gradient: boolean;
  /** Its predictions are those of runs with one latent changed. */
  readonly per_latent_preds: boolean;
  /** Parameters as they are set, of those ops of the chain that have some. */
  readonly params: JsonObject;
  readonly columns: readonly OpColumnInfo[];
  /** Where it is written: a place in a file of compositions; null for one of a program. */
  readonly where: string | null;
}

/**
 * What an op reads, writes and needs.
 * @param op an op, or the name, an alias or the composition `a.b.c` of one
 * @param table where names are looked up. Default: the bundled ops
 * @throws AnalysisError with the nearest names
 * @example
 * const { name, chain, columns } = opInfo("logit_diffs_latent");
 * name; // "logit_diffs_sae"
 * chain.length; // 4
 * columns.find(({ column }) => column === "logit_diffs")!.values; // "float32 per example"
 */
export function opInfo(op: AnyOp | string, table: OpTable = bundledOps): OpInfo {
  const found = typeof op === "string" ? table.find(op) : op;
  const { name, aliases, description, requires, requiresGradient, perLatentPreds, steps, where = null } = found;
  const params = steps.map((step) => [step.name, JSON.parse(JSON.stringify(step.params)) as JsonObject] as const);
  return {
    ...{ name, aliases, description, requires, where },
    chain: steps.map((step) => step.name),
    requires_gradient: requiresGradient,
    per_latent_preds: perLatentPreds,
    params: Object.fromEntries(params.filter(([, set]) => Object.keys(set).length > 0)),
    columns: [
      ...columnsOf("in", found.input, () => true),
      ...columnsOf("out", found.leaves, isStored),
      ...columnsOf("between", found.leaves, (spec) => !isStored(spec)),
    ],
  };
}

/**
 * The ops of a table, a row for each: its name, other names, what it does, what it is made of and needs.
 * @param table default: the bundled ops
 * @example
 * console.log(String(opsTable()));
 * opsTable().rows.length === listOps().length; // true
 */
export function opsTable(table: OpTable = bundledOps): Table {
  const columns = [
    { key: "op", label: "Op" },
    { key: "aliases", label: "Aliases", wrap: 24 },
    { key: "description", label: "Description", wrap: 44 },
    { key: "chain", label: "Made of", wrap: 32 },
    { key: "needs", label: "Needs" },
  ];
  const rows = table.ops.map((op) => {
    const { name, aliases, description, chain, requires, requires_gradient } = opInfo(op);
    const needs = [...requires, ...(requires_gradient ? ["gradients"] : [])];
    return [name, aliases.join(", "), description, chain.length > 1 ? chain.join(" . ") : "", needs.join(", ")];
  });
  return new Table(columns, rows);
}

/**
 * The columns of an op, a row for each.
 * @example
 * opColumnsTable(opInfo("labels_to_ids")).toJSON().map(({ column }) => column); // ["label_ids", "orig_labels"]
 */
export function opColumnsTable({ columns }: OpInfo): Table {
  const heads = [
    { key: "column", label: "Column" },
    { key: "role", label: "" },
    { key: "values", label: "Values" },
    { key: "optional", label: "Optional", format: (cell: unknown): string => (cell === true ? "yes" : "") },
    { key: "description", label: "Description", wrap: 50 },
  ];
  return new Table(
    heads,
    columns.map(({ column, role, values, optional, description }) => [column, role, values, optional, description]),
  );
}

type Spec = ColumnSpec | FlowSpec;

const isStored = (spec: Spec): boolean => "per" in spec && spec.intermediate !== true;

function columnsOf(role: OpColumnInfo["role"], columns: OpColumns, keep: (spec: Spec) => boolean): OpColumnInfo[] {
  return Object.entries(columns)
    .filter(([, spec]) => keep(spec))
    .map(([column, spec]) => {
      const { optional = false, description } = spec;
      return { column, role, optional, values: valuesOf(spec), description };
    });
}

function valuesOf(spec: Spec): string {
  if ("holds" in spec) return spec.holds === "tensor" ? "expression" : "expression by hook point";
  return `${spec.list === true ? "list of " : ""}${spec.type} per ${spec.per}`;
}
