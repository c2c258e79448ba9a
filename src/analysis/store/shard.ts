/** @file One shard of one table as Parquet bytes that carry their config hash and a checksum of themselves. */
import { createHash } from "node:crypto";
import { parquetMetadata, parquetRead, type FileMetaData, type SchemaElement } from "hyparquet";
import { ByteWriter, parquetWrite, type ColumnSource } from "hyparquet-writer";
import { AnalysisError } from "../errors.ts";
import type { ColumnSpec, ColumnSpecs } from "../tables/columns.ts";
import { columnsPer, hasBatches, type AnalysisEntry, type BatchRow, type StoredRow } from "../tables/entry.ts";
import {
  firstLatentColumns,
  latentArrays,
  latentValueColumns,
  zeroLatents,
  type LatentColumns,
} from "../tables/latents.ts";
import type { HookInfo } from "../tables/hookInfo.ts";

export type TableName = "examples" | "latents" | "batches";

/** The tables an analysis has, in the order in which they are written. */
export function tablesOf(entry: AnalysisEntry): TableName[] {
  return [
    ...(entry.latents ? ["latents" as const] : []),
    ...(hasBatches(entry) ? ["batches" as const] : []),
    "examples",
  ];
}

/** What a shard is of: stands in its footer and is checked when it is read. */
export interface ShardId {
  readonly config_hash: string;
  readonly analysis: string;
  readonly table: TableName;
  readonly shard: number;
}

interface Column {
  name: string;
  type: "INT32" | "FLOAT" | "BOOLEAN" | "STRING";
  list?: boolean;
  nullable?: boolean;
  data: ColumnSource["data"];
}

/** `examples-00007.parquet` */
export function shardFile(table: TableName, shard: number): string {
  return `${table}-${String(shard).padStart(5, "0")}.parquet`;
}

const mark = "sha256:";
const blank = "0".repeat(64);

function schemaOf({ name, type, list, nullable }: Column): SchemaElement[] {
  const repetition_type = nullable ? "OPTIONAL" : "REQUIRED";
  const leaf: SchemaElement = {
    name: list ? "element" : name,
    repetition_type: list ? "REQUIRED" : repetition_type,
    ...(type === "STRING" ? { type: "BYTE_ARRAY", converted_type: "UTF8" } : { type }),
  };
  if (!list) return [leaf];
  return [
    { name, repetition_type, converted_type: "LIST", num_children: 1 },
    { name: "list", repetition_type: "REPEATED", num_children: 1 },
    leaf,
  ];
}

/** Parquet bytes that depend on nothing but the arguments. */
function encode(id: ShardId, columns: Column[]): Uint8Array {
  const writer = new ByteWriter();
  const facts = Object.entries(id).map(([key, value]) => ({ key, value: String(value) }));
  void parquetWrite({
    writer,
    schema: [{ name: "root", num_children: columns.length }, ...columns.flatMap(schemaOf)],
    // Floats are written plain: a dictionary would not tell -0 from 0.
    columnData: columns.map(({ name, type, data }) =>
      type === "FLOAT" ? { name, data, encoding: "PLAIN" as const } : { name, data },
    ),
    createdBy: "interpretune",
    kvMetadata: [...facts, { key: "checksum", value: mark + blank }],
  });
  // The checksum is that of the whole file with the checksum's own place blank.
  const bytes = Buffer.from(writer.getBuffer());
  bytes.write(createHash("sha256").update(bytes).digest("hex"), bytes.lastIndexOf(mark) + mark.length, "latin1");
  return bytes;
}

/** Why these bytes are not the whole, unchanged shard asked for; undefined when they are. */
export function shardFault(bytes: Uint8Array, id: ShardId): string | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = buffer.lastIndexOf(mark);
  if (at < 0) return "it is truncated or not a shard";
  const start = at + mark.length;
  const end = start + blank.length;
  const hash = createHash("sha256").update(buffer.subarray(0, start)).update(blank).update(buffer.subarray(end));
  if (hash.digest("hex") !== buffer.toString("latin1", start, end)) return "its checksum is wrong: it is damaged";
  let footer: FileMetaData;
  try {
    footer = parquetMetadata(ownBuffer(bytes));
  } catch {
    return "its footer cannot be read";
  }
  const facts = new Map(footer.key_value_metadata?.map(({ key, value }) => [key, value]));
  const wrong = Object.entries(id).find(([key, value]) => facts.get(key) !== String(value));
  return wrong && `it is a shard of another ${wrong[0].replace("_", " ")} (${facts.get(wrong[0])})`;
}

function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer; // a copy: small reads share a pool
}

const parquetTypes = { float32: "FLOAT", int32: "INT32", bool: "BOOLEAN", string: "STRING", json: "STRING" } as const;

/** Columns of rows; an optional one is there where any row has it. */
function columnsOfRows(specs: readonly [string, ColumnSpec][], rows: readonly object[]): Column[] {
  const cells = rows.map((row) => row as Readonly<Record<string, unknown>>);
  return specs.flatMap(([name, { type, list, optional }]): Column[] => {
    const text = type === "json" ? (value: unknown): unknown => JSON.stringify(value) : (value: unknown) => value;
    const lacking = (row: Readonly<Record<string, unknown>>): boolean =>
      row[name] === undefined || (row[name] === null && type !== "json");
    if (optional && cells.every(lacking)) return [];
    const value = (row: Readonly<Record<string, unknown>>): unknown => {
      if (lacking(row)) return null;
      return list && type === "json" ? (row[name] as unknown[]).map(text) : text(row[name]);
    };
    return [{ name, type: parquetTypes[type], list, nullable: cells.some(lacking), data: cells.map(value) }];
  });
}

const number: ColumnSpec = { per: "example", type: "int32", description: "" };

/** The `examples` table of a shard as Parquet. */
export function encodeExamples(id: ShardId, columns: ColumnSpecs, rows: readonly object[]): Uint8Array {
  return encode(id, columnsOfRows([["example", number], ["batch", number], ...columnsPer(columns, "example")], rows));
}

/** The `batches` table of a shard as Parquet. */
export function encodeBatches(id: ShardId, columns: ColumnSpecs, rows: readonly object[]): Uint8Array {
  return encode(id, columnsOfRows([["batch", number], ...columnsPer(columns, "batch")], rows));
}

/** The `latents` table of a shard as Parquet, hooks by name. */
export function encodeLatents(
  id: ShardId,
  specs: ColumnSpecs,
  hooks: readonly HookInfo[],
  columns: LatentColumns,
): Uint8Array {
  const data = latentArrays(columns).map(([name, array]): Column => {
    if (name === "hook") return { name, type: "STRING", data: Array.from(array, (code) => hooks[code]!.name) };
    if (specs[name]?.type === "bool") return { name, type: "BOOLEAN", data: Array.from(array, Boolean) };
    return { name, type: array instanceof Float32Array ? "FLOAT" : "INT32", data: array };
  });
  return encode(id, data);
}

type Chunk = ArrayLike<unknown> & Iterable<unknown>;

/** Reads checked bytes, piece by piece: `take(column, piece, first row)`. */
async function decode(bytes: Uint8Array, take: (name: string, data: Chunk, start: number) => void): Promise<void> {
  const buffer = ownBuffer(bytes);
  await parquetRead({
    file: { byteLength: buffer.byteLength, slice: (start, end) => buffer.slice(start, end) },
    onChunk: ({ columnName, columnData, rowStart }) => take(columnName, columnData as Chunk, rowStart),
  });
}

async function decodeRows(
  bytes: Uint8Array,
  specs: readonly [string, ColumnSpec][],
): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  const bySpec = new Map(specs);
  await decode(bytes, (name, data, start) => {
    const parse = bySpec.get(name)?.type === "json" ? (value: unknown): unknown => JSON.parse(String(value)) : same;
    for (let i = 0; i < data.length; i++) {
      const value = data[i];
      const row = (rows[start + i] ??= {});
      if (value === null || value === undefined) row[name] = null;
      else row[name] = typeof value === "object" ? Array.from(value as ArrayLike<unknown>, parse) : parse(value);
    }
  });
  const names = specs.map(([name]) => name);
  return rows.map((row) => Object.fromEntries(names.flatMap((name) => (name in row ? [[name, row[name]]] : []))));
}

const same = (value: unknown): unknown => value;

/** The rows of an `examples` shard whose bytes have been checked. */
export async function decodeExamples(bytes: Uint8Array, columns: ColumnSpecs): Promise<StoredRow[]> {
  const specs: [string, ColumnSpec][] = [["example", number], ["batch", number], ...columnsPer(columns, "example")];
  return (await decodeRows(bytes, specs)) as object[] as StoredRow[];
}

/** The rows of a `batches` shard whose bytes have been checked. */
export async function decodeBatches(bytes: Uint8Array, columns: ColumnSpecs): Promise<BatchRow[]> {
  return (await decodeRows(bytes, [["batch", number], ...columnsPer(columns, "batch")])) as object[] as BatchRow[];
}

/** The columns of a `latents` shard whose bytes have been checked. */
export async function decodeLatents(
  bytes: Uint8Array,
  specs: ColumnSpecs,
  hooks: readonly HookInfo[],
): Promise<LatentColumns> {
  const length = Number(parquetMetadata(ownBuffer(bytes)).num_rows);
  const columns = zeroLatents(specs, length);
  const targets = new Map(latentArrays(columns));
  const codes = new Map<unknown, number>(hooks.map((hook, code) => [hook.name, code]));
  await decode(bytes, (name, data, start) => {
    const target = targets.get(name);
    if (!target) return;
    if (name !== "hook") return target.set(data as ArrayLike<number>, start);
    for (let i = 0; i < data.length; i++) {
      const code = codes.get(data[i]);
      if (code === undefined)
        throw new AnalysisError(`a shard speaks of a hook that the run does not have`, {
          code: "store/corrupt",
          received: String(data[i]),
        });
      target[start + i] = code;
    }
  });
  return columns;
}

/** Columns a `latents` table has, in order. */
export function latentColumnNames(columns: ColumnSpecs): string[] {
  return [...firstLatentColumns, ...latentValueColumns(columns)];
}
