/** @file Data files: JSON Lines and Parquet, read lazily in file order. */
import type { Stats } from "node:fs";
import { parquetMetadataAsync, parquetReadObjects, type FileMetaData } from "hyparquet";
import { fileAtRest } from "../formats/index.ts";
import type { ByteSource, HubOptions } from "../formats/index.ts";
import { DataError } from "./errors.ts";
import { findHubDataset, type DataFile } from "./hubDataset.ts";
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

export interface OpenDatasetOptions extends DatasetOptions {
  /** Which split of a data set that is given by its id. Default `validation`. */
  split?: string;
  /** Read a data set of the hub by ranges, as its rows are needed, and keep nothing. Default: its files go into the cache. */
  stream?: boolean;
  /** How the hub is asked. */
  hub?: HubOptions;
}

/**
 * Opens a data file: JSON Lines or Parquet (told by its first bytes), with rows of RTE (`premise, hypothesis, label`) or BoolQ
 * (`passage, question, label`) as SuperGLUE has them, `{ prompt, answers, label }`, or `{ input_ids, label }`. A name that is no
 * path is an id on the hub: `rte` or `boolq` (of `aps/super_glue`), `owner/name` or `owner/name:config`, with `@revision` if
 * need be; its split's Parquet files are read group by group.
 *
 * @throws DataError when there is no such file or data set, or it is empty or has none of these fields; iteration throws at a
 *   malformed row
 * @example
 * ```ts
 * for await (const row of await openDataset("rte/validation.jsonl", { limit: 8 })) console.log(row.example, row.label);
 * ```
 */
export async function openDataset(path: string, options: OpenDatasetOptions = {}): Promise<Dataset> {
  const { values, ...facts } = await openValues(path, options);
  return datasetOf(values, { ...facts, limit: options.limit });
}

/** Rows of files as they stand there. */
export interface LocatedValues {
  readonly name: string;
  readonly length: number | null;
  /** Reads them anew. */
  readonly values: () => AsyncGenerator<Located>;
}

/** The rows of a file, a folder's split or a data set of the hub, whatever they are. */
export async function openValues(
  path: string,
  { split = "validation", stream = false, hub = {} }: Omit<OpenDatasetOptions, "limit"> = {},
): Promise<LocatedValues> {
  const { stat } = await import("node:fs/promises");
  const here = await stat(path).catch(() => undefined);
  const { name, files } =
    here === undefined ? await findHubDataset(path, { split, hub, stream }) : await localFile(path, here, split);
  const parts = await Promise.all(files.map(facts));
  const lengths = parts.map(({ length }) => length);
  return {
    name,
    length: lengths.reduce((sum, n) => (sum === null || n === null ? null : sum + n), 0),
    async *values() {
      for (const { open, metadata } of parts) {
        const source = await open();
        try {
          yield* metadata ? parquetRows(source, metadata) : jsonLines(source);
        } finally {
          await source.close();
        }
      }
    },
  };
}

/** A file, or that of the split in a folder. */
async function localFile(path: string, stats: Stats, split: string): Promise<{ name: string; files: DataFile[] }> {
  const { stat } = await import("node:fs/promises");
  const names = stats.isDirectory()
    ? ["jsonl", "parquet", "json"].map((ending) => `${path}/${split}.${ending}`)
    : [path];
  for (const name of names)
    if ((await stat(name).catch(() => undefined))?.isDirectory() === false)
      return { name, files: [{ name, open: () => fileAtRest(name) }] };
  throw new DataError("the folder has no file of this split", {
    code: "data/split",
    where: path,
    expected: `${split}.jsonl, ${split}.parquet or ${split}.json`,
  });
}

/** A Parquet file has its directory read once; other files are JSON Lines. */
async function facts(file: DataFile): Promise<DataFile & { metadata: FileMetaData | null; length: number | null }> {
  const source = await file.open();
  try {
    const magic = new Uint8Array(await source.slice(0, Math.min(4, source.byteLength)));
    const isParquet = String.fromCharCode(...magic) === "PAR1";
    const metadata = isParquet ? await parquetDirectory(source) : null;
    return { ...file, metadata, length: metadata && Number(metadata.num_rows) };
  } finally {
    await source.close();
  }
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

const ROWS_AT_ONCE = 4096;
/** What the directory at a file's end is likely to fit in. */
const DIRECTORY_BYTES = 2 ** 15;

const parquetDirectory = (source: ByteSource): Promise<FileMetaData> =>
  parquet(source, () => parquetMetadataAsync(source, { initialFetchSize: DIRECTORY_BYTES }));

/** Row group by row group; of a large one, some rows at a time. */
async function* parquetRows(source: ByteSource, metadata: FileMetaData): AsyncGenerator<Located> {
  let groupStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const groupEnd = groupStart + Number(num_rows);
    for (let rowStart = groupStart; rowStart < groupEnd; rowStart += ROWS_AT_ONCE) {
      const rowEnd = Math.min(rowStart + ROWS_AT_ONCE, groupEnd);
      const rows = await parquet(source, () => parquetReadObjects({ file: source, metadata, rowStart, rowEnd }));
      for (const [i, value] of rows.entries()) yield { value, where: `${source.name}, row ${rowStart + i}` };
    }
    groupStart = groupEnd;
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
