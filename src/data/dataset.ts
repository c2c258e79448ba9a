/** @file Data files: JSON Lines and Parquet, read lazily in file order. */
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { fileSource } from "../formats/index.ts";
import type { ByteSource } from "../formats/index.ts";
import { DataError } from "./errors.ts";
import { jsonLines } from "./lines.ts";
import { KIND_FIELDS, parseRow } from "./rows.ts";
import type { Located, Row, RowKind } from "./rows.ts";

/** Rows in file order. Each iteration reads the file anew. */
export interface Dataset extends AsyncIterable<Row> {
  /** The kind of every row, told by the first one. */
  readonly kind: RowKind;
  readonly name: string;
  /** How many rows an iteration yields, where the file says so (Parquet); null otherwise. */
  readonly length: number | null;
}

export interface DatasetOptions {
  /** At most this many rows. */
  limit?: number;
}

/**
 * Opens a data file: JSON Lines or Parquet (told by its first bytes), with rows of RTE (`premise, hypothesis, label`) or BoolQ
 * (`passage, question, label`) as SuperGLUE has them, `{ prompt, answers, label }`, or `{ input_ids, label }`.
 *
 * @throws DataError when the file is missing, empty or has none of these fields; iteration throws at a malformed row
 * @example
 * ```ts
 * for await (const row of await openDataset("rte/validation.jsonl", { limit: 8 })) console.log(row.example, row.label);
 * ```
 */
export async function openDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const read = async <T>(use: (source: ByteSource) => Promise<T>): Promise<T> => {
    const source = await fileSource(path);
    try {
      return await use(source);
    } finally {
      await source.close();
    }
  };
  const { parquet, rows } = await read(async (source) => {
    const magic = new Uint8Array(await source.slice(0, Math.min(4, source.byteLength)));
    const isParquet = String.fromCharCode(...magic) === "PAR1";
    return { parquet: isParquet, rows: isParquet ? await parquetLength(source) : null };
  });
  return datasetOf(
    async function* () {
      const source = await fileSource(path);
      try {
        yield* parquet ? parquetRows(source) : jsonLines(source);
      } finally {
        await source.close();
      }
    },
    { ...options, name: path, length: rows },
  );
}

/**
 * A data set from values in memory or from any other source of them.
 *
 * @param values makes a fresh iteration of located values
 * @throws DataError as `openDataset`
 * @example
 * const values = [{ value: { input_ids: [5, 6, 7], label: 1 }, where: "row 0" }];
 * (await datasetOf(() => values, { name: "by hand", length: 1 })).kind; // "input_ids"
 */
export async function datasetOf(
  values: () => AsyncIterable<Located> | Iterable<Located>,
  options: DatasetOptions & { name: string; length?: number | null },
): Promise<Dataset> {
  const { limit = Infinity, name, length = null } = options;
  if (limit !== Infinity && !(Number.isInteger(limit) && limit > 0))
    throw new DataError("the limit is a number of rows", {
      code: "data/limit",
      expected: "1 or more",
      received: String(limit),
    });
  const kind = await firstKind(values(), name);
  return {
    kind,
    name,
    length: length === null ? null : Math.min(length, limit),
    async *[Symbol.asyncIterator]() {
      let example = 0;
      for await (const located of values()) {
        yield parseRow(located, example++, kind);
        if (example >= limit) return;
      }
    },
  };
}

async function firstKind(values: AsyncIterable<Located> | Iterable<Located>, name: string): Promise<RowKind> {
  for await (const located of values) return parseRow(located, 0).kind;
  throw new DataError("the file has no rows", {
    code: "data/empty",
    where: name,
    expected: `rows with ${KIND_FIELDS.map(([, fields]) => fields.join("+")).join(", or ")}`,
  });
}

const ROWS_AT_ONCE = 256;

async function parquetLength(source: ByteSource): Promise<number> {
  return Number((await parquet(source, () => parquetMetadataAsync(source))).num_rows);
}

async function* parquetRows(source: ByteSource): AsyncGenerator<Located> {
  const metadata = await parquet(source, () => parquetMetadataAsync(source));
  const total = Number(metadata.num_rows);
  for (let rowStart = 0; rowStart < total; rowStart += ROWS_AT_ONCE) {
    const rowEnd = Math.min(rowStart + ROWS_AT_ONCE, total);
    const rows = await parquet(source, () => parquetReadObjects({ file: source, metadata, rowStart, rowEnd }));
    for (const [i, value] of rows.entries()) yield { value, where: `${source.name}, row ${rowStart + i}` };
  }
}

async function parquet<T>(source: ByteSource, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new DataError("the Parquet file cannot be read", {
      code: "data/parquet",
      where: source.name,
      received: cause instanceof Error ? cause.message : String(cause),
      hint: "uncompressed and snappy files are read",
      cause,
    });
  }
}
