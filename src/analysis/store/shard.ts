/** @file One shard of one table as Parquet bytes that carry their config hash and a checksum of themselves. */
import { createHash } from "node:crypto";
import { parquetMetadata, parquetRead, type FileMetaData, type SchemaElement } from "hyparquet";
import { ByteWriter, parquetWrite, type ColumnSource } from "hyparquet-writer";
import { AnalysisError } from "../errors.ts";
import {
  analyses,
  emptyLatents,
  latentArrays,
  type AnalysisName,
  type ExampleRow,
  type HookInfo,
  type LatentColumns,
} from "./schema.ts";

export type TableName = "examples" | "latents";

/** What a shard is of: stands in its footer and is checked when it is read. */
export interface ShardId {
  readonly config_hash: string;
  readonly analysis: AnalysisName;
  readonly table: TableName;
  readonly shard: number;
}

interface Column {
  name: string;
  type: "INT32" | "FLOAT" | "STRING";
  list?: boolean;
  data: ColumnSource["data"];
}

/** `examples-00007.parquet` */
export function shardFile(table: TableName, shard: number): string {
  return `${table}-${String(shard).padStart(5, "0")}.parquet`;
}

const mark = "sha256:";
const blank = "0".repeat(64);

function schemaOf({ name, type, list }: Column): SchemaElement[] {
  const leaf: SchemaElement = {
    name: list ? "element" : name,
    repetition_type: "REQUIRED",
    ...(type === "STRING" ? { type: "BYTE_ARRAY", converted_type: "UTF8" } : { type }),
  };
  if (!list) return [leaf];
  return [
    { name, repetition_type: "REQUIRED", converted_type: "LIST", num_children: 1 },
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

/** The `examples` table of a shard as Parquet. `prompts` and `tokens` are columns where every row has them. */
export function encodeExamples(id: ShardId, rows: readonly ExampleRow[]): Uint8Array {
  const column = (name: keyof ExampleRow, type: Column["type"], list = false): Column => ({
    name,
    type,
    list,
    data: rows.map((row) => row[name]),
  });
  const columns = [
    column("example", "INT32"),
    column("batch", "INT32"),
    column("label_ids", "INT32"),
    column("orig_labels", "INT32"),
    column("answer_indices", "INT32"),
    column("loss", "FLOAT"),
    column("logit_diffs", "FLOAT"),
    column("preds", "INT32"),
    column("answer_logits", "FLOAT", true),
  ];
  if (rows.length > 0 && rows.every((row) => row.prompts !== undefined)) columns.push(column("prompts", "STRING"));
  if (rows.length > 0 && rows.every((row) => row.tokens !== undefined)) columns.push(column("tokens", "INT32", true));
  return encode(id, columns);
}

/** The `latents` table of a shard as Parquet, hooks by name. */
export function encodeLatents(id: ShardId, hooks: readonly HookInfo[], columns: LatentColumns): Uint8Array {
  const data = latentArrays(columns).map(([name, array]): Column => {
    if (name === "hook") return { name, type: "STRING", data: Array.from(array, (code) => hooks[code]!.name) };
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

/** The rows of an `examples` shard whose bytes have been checked. */
export async function decodeExamples(bytes: Uint8Array): Promise<ExampleRow[]> {
  const rows: Record<string, unknown>[] = [];
  await decode(bytes, (name, data, start) => {
    for (let i = 0; i < data.length; i++) {
      const value = data[i];
      const row = (rows[start + i] ??= {});
      row[name] = typeof value === "object" ? Array.from(value as ArrayLike<number>) : value;
    }
  });
  const order = ["example", "batch", "label_ids", "orig_labels", "answer_indices", "loss", "logit_diffs", "preds"];
  const names = [...order, "answer_logits", "prompts", "tokens"];
  return rows.map(
    (row) => Object.fromEntries(names.flatMap((n) => (n in row ? [[n, row[n]]] : []))) as object as ExampleRow,
  );
}

/** The columns of a `latents` shard whose bytes have been checked. */
export async function decodeLatents(
  bytes: Uint8Array,
  analysis: AnalysisName,
  hooks: readonly HookInfo[],
): Promise<LatentColumns> {
  const length = Number(parquetMetadata(ownBuffer(bytes)).num_rows);
  const columns = emptyLatents(analysis, length);
  const targets = new Map(latentArrays(columns));
  const codes = new Map<unknown, number>(hooks.map((hook, code) => [hook.name, code]));
  await decode(bytes, (name, data, start) => {
    const target = targets.get(name);
    if (!target) return;
    if (name !== "hook") return target.set(data as ArrayLike<number>, start);
    for (let i = 0; i < data.length; i++) {
      const code = codes.get(data[i]);
      if (code === undefined)
        throw new AnalysisError(`a shard of ${analysis} speaks of a hook that the run does not have`, {
          code: "store/corrupt",
          received: String(data[i]),
        });
      target[start + i] = code;
    }
  });
  return columns;
}

/** Columns a `latents` table has, in order. */
export function latentColumnNames(analysis: AnalysisName): string[] {
  return ["example", "hook", "latent", "activation", ...analyses[analysis]];
}
