/** @file What a row of a data file is, told from its fields. */
import { DataError } from "./errors.ts";

/** A value and the place it stands in, such as `validation.jsonl:12`. */
export interface Located {
  readonly value: unknown;
  readonly where: string;
}

interface Common {
  /** Counts from 0 in file order. */
  readonly example: number;
  /** The class: an index into the answers. */
  readonly label: number;
  /** File and line, for errors. */
  readonly where: string;
}

/** Two texts of a SuperGLUE task: premise and hypothesis, or passage and question. */
export interface PairRow extends Common {
  readonly kind: "rte" | "boolq";
  readonly first: string;
  readonly second: string;
}

/** A finished prompt, perhaps with answers of its own (texts that are single tokens). */
export interface PromptRow extends Common {
  readonly kind: "prompt";
  readonly prompt: string;
  readonly answers: readonly string[] | null;
}

/** Token ids that are used as they are, perhaps with answers of its own (ids, or texts that are single tokens). */
export interface IdsRow extends Common {
  readonly kind: "input_ids";
  readonly ids: readonly number[];
  readonly answers: readonly (string | number)[] | null;
}

export type Row = PairRow | PromptRow | IdsRow;
export type RowKind = Row["kind"];

/** The fields that tell each kind, in the order in which they are looked for. */
export const KIND_FIELDS: readonly (readonly [RowKind, readonly string[]])[] = [
  ["rte", ["premise", "hypothesis", "label"]],
  ["boolq", ["passage", "question", "label"]],
  ["prompt", ["prompt", "label"]],
  ["input_ids", ["input_ids", "label"]],
];

type Fields = { readonly [field: string]: unknown };

/** Class names as they are written in files: SuperGLUE's numbers, its names, and booleans. */
const CLASS_NAMES: { readonly [kind in "rte" | "boolq"]: readonly (readonly string[])[] } = {
  rte: [
    ["0", "entailment"],
    ["1", "not_entailment"],
  ],
  boolq: [
    ["0", "false"],
    ["1", "true"],
  ],
};

/**
 * Reads one row. The kind of row is told by its fields; `expected` is the kind of the rows before it.
 *
 * @throws DataError naming file, line and field
 * @example
 * ```ts
 * parseRow({ value: { prompt: "When Mary and John", answers: [" Mary", " John"], label: 0 }, where: "ioi.jsonl:1" }, 0);
 * ```
 */
export function parseRow({ value, where }: Located, example: number, expected?: RowKind): Row {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new DataError("a row is an object", {
      code: "data/row",
      where,
      received: JSON.stringify(value)?.slice(0, 60),
    });
  const fields = value as Fields;
  const kind = expected ?? kindOf(fields, where);
  const common = { example, where, label: labelOf(fields, kind, where) };
  if (kind === "prompt") {
    const answers = list(fields, "answers", where, "texts", (v): v is string => typeof v === "string");
    return checked({ ...common, kind, prompt: text(fields, "prompt", where), answers });
  }
  if (kind === "input_ids") {
    const isAnswer = (v: unknown): v is string | number => typeof v === "string" || isId(v);
    const ids = list(fields, "input_ids", where, "token ids", isId);
    if (ids === null || ids.length === 0) throw fault(where, "input_ids", "at least one token id", fields["input_ids"]);
    return checked({ ...common, kind, ids, answers: list(fields, "answers", where, "texts or token ids", isAnswer) });
  }
  const [first, second] = kind === "rte" ? ["premise", "hypothesis"] : ["passage", "question"];
  return { ...common, kind, first: text(fields, first, where), second: text(fields, second, where) };
}

function kindOf(fields: Fields, where: string): RowKind {
  const found = KIND_FIELDS.find(([, names]) => names.slice(0, -1).every((name) => Object.hasOwn(fields, name)));
  if (found !== undefined) return found[0];
  throw new DataError("the row has the fields of no known kind", {
    code: "data/fields",
    where,
    expected: KIND_FIELDS.map(([, names]) => names.join("+")).join(", or "),
    received: Object.keys(fields).slice(0, 12).join(", ") || "no fields",
  });
}

const isId = (v: unknown): v is number => typeof v === "number" && Number.isInteger(v) && v >= 0 && v < 2 ** 31;

function text(fields: Fields, name: string, where: string): string {
  const value = own(fields, name);
  if (typeof value === "string") return value;
  throw fault(where, name, "a text", value);
}

/** A list, or null when the field is absent. Parquet gives 64-bit integers and typed arrays. */
function list<T>(fields: Fields, name: string, where: string, what: string, is: (v: unknown) => v is T): T[] | null {
  const value = own(fields, name);
  if (value === undefined || value === null) return null;
  const items = itemsOf(value);
  if (items?.every(is) === true) return items;
  throw fault(where, name, `a list of ${what}`, value);
}

const itemsOf = (value: unknown): unknown[] | null =>
  Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value as unknown[], plain) : null;

/** Token ids, however a file has stored them. */
export function tokenIds(value: unknown): number[] | null {
  const items = itemsOf(value);
  return items?.every(isId) === true ? items : null;
}

function labelOf(fields: Fields, kind: RowKind, where: string): number {
  const value = plain(own(fields, "label"));
  if (kind === "rte" || kind === "boolq") {
    const written =
      typeof value === "string" || typeof value === "number" || (typeof value === "boolean" && kind === "boolq");
    const label = CLASS_NAMES[kind].findIndex((names) => names.includes(String(value).toLowerCase()));
    if (written && label >= 0) return label;
    const names = kind === "rte" ? "entailment (0) or not_entailment (1)" : "false (0) or true (1)";
    throw fault(where, "label", names, value, value === -1 ? "this split has no labels" : undefined);
  }
  if (isId(value)) return value;
  throw fault(where, "label", "the index of the right answer, from 0", value);
}

function checked<R extends PromptRow | IdsRow>(row: R): R {
  const { answers, label, where } = row;
  if (answers !== null && answers.length < 2) throw fault(where, "answers", "two or more answers", answers);
  if (answers !== null && label >= answers.length)
    throw fault(where, "label", `an index below ${answers.length}, the number of answers`, label);
  return row;
}

const own = (fields: Fields, name: string): unknown => (Object.hasOwn(fields, name) ? fields[name] : undefined);
const plain = (value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);

function fault(where: string, field: string, expected: string, received: unknown, hint?: string): DataError {
  const shown =
    received === undefined ? "nothing" : (JSON.stringify(received, (_, v: unknown) => plain(v)) ?? typeof received);
  return new DataError(`the field ${field} is not what it should be`, {
    code: "data/field",
    where,
    expected,
    received: shown.length > 80 ? `${shown.slice(0, 80)}…` : shown,
    hint,
  });
}
