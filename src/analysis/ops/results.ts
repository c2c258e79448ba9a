/** @file What an op leaves of a batch: realized columns as plain values. */
import { inspect } from "node:util";
import { Tensor } from "../../graph/index.ts";
import type {
  ColumnData,
  Columns,
  ColumnSpec,
  ColumnSpecs,
  ColumnValue,
  LatentTable,
  OpBatchResult,
  OpColumns,
  PerLatent,
} from "../tables/columns.ts";
import { AnalysisError } from "../errors.ts";
import { aliveColumn, inputColumns } from "../tables/known.ts";
import { alignedValues, latentTable } from "./latents.ts";
import type { AnyOp } from "./op.ts";
import type { Work } from "./work.ts";

/** The columns of an op that a store keeps. */
export const storedColumns = (output: OpColumns): ColumnSpecs =>
  Object.fromEntries(
    Object.entries(output).filter(
      (entry): entry is [string, ColumnSpec] => "per" in entry[1] && entry[1].intermediate !== true,
    ),
  );

/** Those of a batch's columns that an op's results are made of. */
export const storedTree = (op: AnyOp, columns: Columns): Columns =>
  Object.fromEntries(
    Object.keys(storedColumns(op.output)).flatMap((name) => (name in columns ? [[name, columns[name]]] : [])),
  );

/**
 * The result of an op.
 * @param done its stored columns, realized
 */
export function batchResult(name: string, op: AnyOp, done: Columns, work: Work): OpBatchResult {
  const { targets, tokens, options } = work;
  const all = Object.entries(storedColumns(op.output)).filter(
    ([column]) => done[column] !== undefined && done[column] !== null,
  );
  const own = all.filter(([column]) => column !== aliveColumn);
  const select = (per: ColumnSpec["per"]): [string, ColumnSpec][] => own.filter(([, spec]) => spec.per === per);
  const latents = latentsOf(name, done, select("latent"), work);
  const inputs = options.saveInputs === false ? {} : inputValues(work);
  const inputSpecs = Object.entries<ColumnSpec>(inputColumns).filter(([column]) => column in inputs);
  return {
    op: name,
    columns: Object.fromEntries([...own, ...inputSpecs]),
    hooks: targets.map(({ info }) => info),
    examples: {
      ...Object.fromEntries(
        select("example").map(([column, spec]): [string, ColumnValue[]] => [
          column,
          perExample(name, column, spec, done[column]!, tokens.batchSize),
        ]),
      ),
      ...inputs,
    },
    latents,
    batch: Object.fromEntries(
      select("batch").map(([column, spec]): [string, ColumnValue] => [
        column,
        perBatch(name, column, spec, done[column]!),
      ]),
    ),
  };
}

function inputValues({ batch }: Work): Record<string, ColumnValue[]> {
  const [b, p] = batch.dims;
  const row = (r: number): number[] =>
    Array.from({ length: p }, (_, i) => r * p + i)
      .filter((i) => batch.mask[i] === 1)
      .map((i) => batch.tokens[i]!);
  return {
    tokens: Array.from({ length: b }, (_, r) => row(r)),
    ...(batch.prompts && { prompts: [...batch.prompts] }),
  };
}

function latentsOf(
  op: string,
  done: Columns,
  columns: readonly [string, ColumnSpec][],
  { targets, tokens }: Work,
): LatentTable | null {
  const alive = done[aliveColumn];
  if (alive === undefined || alive === null) {
    if (columns.length === 0) return null;
    throw new AnalysisError(`${op} has columns per latent but does not say which latents are alive`, {
      code: "analysis/column",
      where: op,
      expected: `a column ${aliveColumn}`,
      received: columns.map(([name]) => name).join(", "),
      hint: "compose it with get_alive_latents",
    });
  }
  const { row, hook, latent, activation, length } = latentTable(alive as PerLatent, targets, tokens.batchSize);
  const values = columns.map(([name, { type }]): [string, Float32Array | Int32Array] => {
    const column = alignedValues(
      name,
      done[name] as PerLatent,
      { row, hook, latent, activation, length, values: {} },
      targets,
    );
    const wanted = type === "int32" || type === "bool" ? Int32Array : Float32Array;
    return [name, column instanceof wanted ? column : wanted.from(column)];
  });
  return { length, row, hook, latent, activation, values: Object.fromEntries(values) };
}

const wrong = (op: string, column: string, expected: string, received: string): never => {
  throw new AnalysisError(`${op} gives column ${column} with other values than it declares`, {
    code: "analysis/column",
    where: `${op}.${column}`,
    expected,
    received,
  });
};

/** The values of a column per example. */
function perExample(op: string, column: string, spec: ColumnSpec, data: ColumnData, rows: number): ColumnValue[] {
  const list = data instanceof Tensor ? splitRows(data, spec) : Array.from(data as ArrayLike<unknown>);
  if (list.length !== rows) wrong(op, column, `${rows} values`, `${list.length}`);
  return list.map((value) => valueOf(op, column, spec, value));
}

/** The value of a column per batch. */
function perBatch(op: string, column: string, spec: ColumnSpec, data: ColumnData): ColumnValue {
  if (!(data instanceof Tensor)) return valueOf(op, column, spec, data);
  const numbers = data.toArray();
  if (spec.list !== true && numbers.length !== 1) wrong(op, column, "one number", data.label);
  return valueOf(op, column, spec, spec.list === true ? numbers : numbers[0]);
}

/** The rows of realized numbers [batch, …]; a list where the column is one, flattened. */
function splitRows(x: Tensor, spec: ColumnSpec): unknown[] {
  const [rows = 0] = x.dims;
  const numbers = x.toArray();
  const width = rows === 0 ? 0 : numbers.length / rows;
  if (spec.list !== true && width === 1) return numbers;
  return Array.from({ length: rows }, (_, r) => numbers.slice(r * width, (r + 1) * width));
}

const scalars: { readonly [T in ColumnSpec["type"]]: (x: unknown) => boolean } = {
  float32: (x) => typeof x === "number",
  int32: (x) => Number.isInteger(x),
  bool: (x) => typeof x === "boolean" || x === 0 || x === 1,
  string: (x) => typeof x === "string",
  json: () => true,
};

function valueOf(op: string, column: string, spec: ColumnSpec, value: unknown): ColumnValue {
  const { type, list } = spec;
  if (value === null || value === undefined) return null;
  if (type === "json") return JSON.stringify(value);
  const items: unknown[] =
    list === true && typeof value === "object" ? Array.from(value as ArrayLike<unknown>) : [value];
  const isRow = list === true && typeof value === "object";
  if ((list === true && !isRow) || !items.every(scalars[type]))
    wrong(op, column, list === true ? `lists of ${type}` : type, inspect(value));
  const plain = (type === "bool" ? items.map(Boolean) : items) as number[] | boolean[] | string[];
  return list === true ? plain : plain[0]!;
}
