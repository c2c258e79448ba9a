/** @file Documents to train SAEs on: texts or token ids, from files and from the hub. */
import { fileAtRest, type HubOptions } from "../formats/index.ts";
import { datasetOf, openValues, type LocatedValues } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { textLines } from "./lines.ts";
import { formatPrompt, taskPrompt } from "./prompts.ts";
import { tokenIds } from "./rows.ts";

export interface OpenDocumentsOptions {
  /** Which split of a folder, or of a data set that is given by its id. Default `train`. */
  readonly split?: string;
  /** Read a data set of the hub by ranges, and keep nothing. Default: its files go into the cache. */
  readonly stream?: boolean;
  /** How the hub is asked. */
  readonly hub?: HubOptions;
}

/** Goes through documents from the first on, each time it is called. */
export type OpenedDocuments = () => AsyncGenerator<string | readonly number[]>;

/** What a document is read from, the first of these that a row has: SAELens' columns, and a prompt. */
const columns = ["tokens", "input_ids", "text", "problem", "prompt"] as const;

/**
 * Opens documents as SAEs are trained on them: a `.txt` file with one a line; rows (JSON Lines or Parquet, of a file, of a
 * split in a folder, or of a data set of the hub by its id) with `tokens`, `input_ids`, `text`, `problem` or `prompt`; JSON Lines
 * that are texts or ids themselves; rows of a task as its prompts.
 *
 * @throws DataError when there is no such file or data set; going through them throws at a malformed row
 * @example
 * ```ts
 * const documents = await openDocuments("rte/validation.jsonl");
 * for await (const document of documents()) console.log(document);
 * ```
 */
export async function openDocuments(path: string, options: OpenDocumentsOptions = {}): Promise<OpenedDocuments> {
  if (path.endsWith(".txt")) {
    const source = await fileAtRest(path);
    return async function* () {
      for await (const { value } of textLines(source)) yield value;
    };
  }
  const opened = await openValues(path, { split: "train", ...options });
  return async function* () {
    let rows = 0;
    for await (const { value, where } of opened.values()) {
      const document = documentOf(value, where);
      if (document !== undefined) yield document;
      else if (rows === 0) {
        yield* prompts(opened);
        return;
      } else throw noDocument(where, value);
      rows++;
    }
  };
}

function documentOf(value: unknown, where: string): string | readonly number[] | undefined {
  const column = columns.find((name) => typeof value === "object" && value !== null && Object.hasOwn(value, name));
  const content = column === undefined ? value : (value as Readonly<Record<string, unknown>>)[column];
  const document = typeof content === "string" ? content : tokenIds(content);
  if (document === null && (column !== undefined || Array.isArray(value))) throw noDocument(where, content, column);
  return document ?? undefined;
}

function noDocument(where: string, value: unknown, column?: string): DataError {
  return new DataError(column === undefined ? "the row is no document" : `'${column}' is no document`, {
    code: "data/fields",
    where,
    expected: column === undefined ? `a field of ${columns.join(", ")}` : "a text, or token ids",
    received: JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? Number(v) : v))?.slice(0, 60),
  });
}

/** Rows of a task as its prompts. */
async function* prompts({ values, name, length }: LocatedValues): AsyncGenerator<string | readonly number[]> {
  for await (const row of await datasetOf(values, { name, length })) {
    if (row.kind === "input_ids") yield row.ids;
    else yield formatPrompt(row.kind === "prompt" ? row.prompt : taskPrompt(row.first, row.second));
  }
}
