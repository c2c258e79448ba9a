/** @file How a store declares an analysis, and the tables of any op: `examples`, `latents`, `batches`. */
import type { ColumnSpec, ColumnSpecs } from "./columns.ts";
import { AnalysisError } from "../errors.ts";
import type { Json, JsonObject } from "../../formats/canonicalJson.ts";
import {
  declaredLatents,
  latentArrays,
  latentOrder,
  latentValueColumns,
  orderedLatents,
  zeroLatents,
  type LatentColumns,
} from "./latents.ts";
import type { HookInfo } from "./hookInfo.ts";

/** An analysis as a store declares it. */
export interface AnalysisEntry {
  /** What it is called in the store: its folder. */
  readonly name: string;
  /** The op that fills it, or the composition `a.b.c`. */
  readonly op: string;
  /** The columns that are stored. */
  readonly columns: ColumnSpecs;
  /** Whether it has a `latents` table. */
  readonly latents: boolean;
  /** Its hooks, where they are not those of the store. */
  readonly hooks?: readonly HookInfo[];
  /** What decides its values beside the config of the store. Part of its content address. */
  readonly config?: JsonObject;
}

/** A row of an `examples` table: the example's number in the data, its batch, and the columns of the op. */
export interface StoredRow {
  readonly example: number;
  readonly batch: number;
  readonly [column: string]: Json | undefined;
}

/** A row of a `batches` table: the batch's number and the columns of the op. */
export interface BatchRow {
  readonly batch: number;
  readonly [column: string]: Json | undefined;
}

/** What an analysis of any op says: its tables and the hooks they speak of. */
export interface OpResult {
  /** The op, or the composition. */
  readonly analysis: string;
  /** What it is called in the store and among the results of a run. */
  readonly name?: string;
  /** The columns that are stored. */
  readonly columns: ColumnSpecs;
  /** Hooks in forward-pass order. */
  readonly hooks: readonly HookInfo[];
  readonly examples: readonly StoredRow[];
  readonly latents: LatentColumns;
  /** Empty where the op has no columns per batch. */
  readonly batches: readonly BatchRow[];
}

/** The columns of one kind, in the order in which they are declared. */
export function columnsPer(columns: ColumnSpecs, per: ColumnSpec["per"]): [string, ColumnSpec][] {
  return Object.entries(columns).filter(([, spec]) => spec.per === per);
}

/** Whether the op stores a table of batches. */
export const hasBatches = ({ columns }: AnalysisEntry): boolean => columnsPer(columns, "batch").length > 0;

const reserved = ["example", "batch", "hook", "latent", "activation"];

/**
 * Checks what is declared: a name that can be a folder, columns that can stand beside the tables' own.
 * @throws AnalysisError `store/name`, `store/columns`
 */
export function checkEntry({ name, op, columns }: AnalysisEntry): void {
  if (!/^[A-Za-z0-9_][\w.+-]{0,119}$/.test(name))
    throw new AnalysisError("this cannot be the name of an analysis", {
      code: "store/name",
      expected: "letters, digits, _ . + -, at most 120 of them: it is the name of a folder",
      received: JSON.stringify(name),
    });
  const wrong = Object.keys(columns).find((column) => !/^\w+$/.test(column) || reserved.includes(column));
  if (wrong !== undefined)
    throw new AnalysisError(`${op} has a column that cannot be stored under its name`, {
      code: "store/columns",
      expected: `letters, digits and _, and none of ${reserved.join(", ")}`,
      received: wrong,
      hint: "rename it, or declare it intermediate",
    });
}

const kinds: Readonly<Record<ColumnSpec["type"], (value: unknown) => boolean>> = {
  float32: (value) => typeof value === "number",
  int32: (value) => Number.isInteger(value) && value === ((value as number) | 0),
  bool: (value) => typeof value === "boolean",
  string: (value) => typeof value === "string",
  json: (value) => value !== undefined,
};

function fits({ type, list, optional }: ColumnSpec, value: unknown): boolean {
  if (value === undefined || value === null) return optional === true || (type === "json" && value === null);
  if (list) return Array.isArray(value) && value.every(kinds[type]);
  return kinds[type](value);
}

/** The tables of one analysis, or of a part of it. */
export interface Tables {
  readonly examples: readonly object[];
  readonly latents: LatentColumns;
  readonly batches: readonly object[];
}

/**
 * Tables that are what is declared, latents in order and without columns that are not declared.
 * @throws AnalysisError `store/rows` naming the row
 */
export function checkTables(entry: AnalysisEntry, hooks: readonly HookInfo[], tables: Tables): Tables {
  const { columns } = entry;
  const fail = (what: string, where: string): never => {
    throw new AnalysisError(`the rows of ${entry.name} are not a valid table: ${what}`, { code: "store/rows", where });
  };
  const checkRows = (rows: readonly object[], per: "example" | "batch", table: string): void => {
    const own = columnsPer(columns, per);
    rows.forEach((row, i) => {
      const value = new Map<string, unknown>(Object.entries(row));
      for (const [name, spec] of own)
        if (!fits(spec, value.get(name)))
          fail(`${name} is not ${spec.type}${spec.list ? "[]" : ""}: ${text(value.get(name))}`, `${table} row ${i}`);
    });
  };
  const numbers = tables.examples.map((row) => row as { example: number; batch: number });
  numbers.forEach(({ example, batch }, i) => {
    const before = numbers[i - 1];
    if (!Number.isInteger(example) || example < 0) fail("example is not a count from 0", `examples row ${i}`);
    if (before && example <= before.example) fail("examples are not in ascending order", `examples row ${i}`);
    if (before && batch < before.batch) fail("a batch is not a run of consecutive examples", `examples row ${i}`);
  });
  checkRows(tables.examples, "example", "examples");
  checkRows(tables.batches, "batch", "batches");
  const given = new Map(latentArrays(tables.latents));
  for (const name of latentValueColumns(columns))
    if (!given.has(name) && columns[name]!.optional !== true) fail(`column ${name} is missing`, "latents");
  const latents = orderedLatents(declaredLatents(columns, tables.latents));
  if (!entry.latents && latents.length > 0) fail("it has no table of latents", "latents");
  checkLatents(hooks, numbers, latents, fail);
  return { ...tables, latents };
}

function checkLatents(
  hooks: readonly HookInfo[],
  examples: readonly { example: number }[],
  columns: LatentColumns,
  fail: (what: string, where: string) => never,
): void {
  for (const [name, array] of latentArrays(columns))
    if (array.length !== columns.length) fail(`${name} has ${array.length} of ${columns.length} rows`, "latents");
  let at = 0;
  for (let i = 0; i < columns.length; i++) {
    const hook = hooks[columns.hook[i]!];
    const row = `latents row ${i}`;
    while (at < examples.length && examples[at]!.example < columns.example[i]!) at++;
    if (examples[at]?.example !== columns.example[i]) fail(`example ${columns.example[i]} is not in examples`, row);
    if (!hook) fail("the hook is not one of the run's hooks", row);
    else if (!(columns.latent[i]! >= 0 && columns.latent[i]! < hook.width))
      fail(`latent ${columns.latent[i]} is outside the ${hook.width} latents of ${hook.name}`, row);
    if (!(columns.activation[i]! > 0)) fail(`the latent is not active (activation ${columns.activation[i]})`, row);
    if (i > 0 && latentOrder(columns, i - 1, i) === 0) fail(`latent ${columns.latent[i]} is there twice`, row);
  }
}

function text(value: unknown): string {
  const shown = JSON.stringify(value) ?? "nothing";
  return shown.length > 60 ? `${shown.slice(0, 60)}…` : shown;
}

/**
 * The tables of an analysis of any op, checked, with the latents put in order.
 * @throws AnalysisError `store/rows` when a row is not what the columns declare; as `analysisResult` for the rest
 * @example
 * const entry = { name: "lengths", op: "count_tokens", latents: false, columns: {
 *   length: { per: "example", type: "int32", description: "tokens of the prompt" } } } as const;
 * opResult(entry, [], { examples: [{ example: 0, batch: 0, length: 12 }] }).examples.length; // 1
 */
export function opResult(
  entry: AnalysisEntry,
  hooks: readonly HookInfo[],
  tables: {
    readonly examples: readonly StoredRow[];
    readonly latents?: LatentColumns;
    readonly batches?: readonly BatchRow[];
  },
): OpResult {
  const { examples, batches = [] } = tables;
  const { latents } = checkTables(entry, hooks, {
    examples,
    batches,
    latents: tables.latents ?? zeroLatents(entry.columns, 0),
  });
  return { analysis: entry.op, name: entry.name, columns: entry.columns, hooks, examples, latents, batches };
}
