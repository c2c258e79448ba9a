/** @file A store as JSON or CSV text, piece by piece, so that its size does not matter. */
import { csvLine } from "../../display/index.ts";
import { columnsPer, hasBatches, type StoredRow } from "../tables/entry.ts";
import { latentRows, type AnalysisName, type ExampleRow, type LatentRow } from "../tables/four.ts";
import { latentColumnNames, type TableName } from "./shard.ts";
import type { AnalysisStore } from "./store.ts";

/** What `exportJson` writes: for each analysis its tables, effects unmasked; NaN and ±inf are null. */
export type StoreExport = { [name in AnalysisName]?: { examples: ExampleRow[]; latents: LatentRow[] } } & {
  [name: string]: { examples: (ExampleRow | StoredRow)[]; latents: LatentRow[]; batches?: object[] } | undefined;
};

/** Rows per piece of text: enough to be quick, few enough not to matter in memory. */
const piece = 4096;

async function* rowsOf(store: AnalysisStore, analysis: string, table: TableName): AsyncGenerator<object[]> {
  if (table === "examples") {
    yield* store.exampleShards(analysis);
    return;
  }
  if (table === "batches") {
    yield await store.batches(analysis);
    return;
  }
  const { hooks } = store.entry(analysis);
  for await (const columns of store.latentShards(analysis))
    for (let start = 0; start < columns.length; start += piece)
      yield latentRows(columns, hooks, start, Math.min(start + piece, columns.length));
}

/**
 * The store as one JSON document of the type StoreExport, one row per line.
 *
 * @example
 * ```ts
 * for await (const piece of exportJson(await AnalysisStore.open("runs/rte"))) process.stdout.write(piece);
 * ```
 */
export async function* exportJson(store: AnalysisStore): AsyncGenerator<string> {
  let lead = "{\n";
  for (const analysis of store.names) {
    yield `${lead}${JSON.stringify(analysis)}: {`;
    lead = ",\n";
    const tables: TableName[] = ["examples", "latents"];
    if (hasBatches(store.entry(analysis))) tables.push("batches");
    for (const table of tables) {
      yield `${table === "examples" ? "" : ",\n"}"${table}": [`;
      let separator = "\n";
      for await (const rows of rowsOf(store, analysis, table)) {
        if (rows.length === 0) continue;
        yield separator + rows.map((row) => JSON.stringify(row)).join(",\n");
        separator = ",\n";
      }
      yield "]";
    }
    yield "}";
  }
  yield store.names.length === 0 ? "{}\n" : "\n}\n";
}

/**
 * One of the tables over all analyses as CSV (RFC 4180, a header line), the analysis as first column. Lists are
 * written as JSON in one cell; what an analysis does not have is empty.
 *
 * @example
 * ```ts
 * for await (const piece of exportCsv(await AnalysisStore.open("runs/rte"), "latents")) process.stdout.write(piece);
 * ```
 */
export async function* exportCsv(store: AnalysisStore, table: TableName): AsyncGenerator<string> {
  const names = new Set<string>();
  const having = store.names.filter((name) => table !== "batches" || hasBatches(store.entry(name)));
  for (const analysis of having) {
    const { columns } = store.entry(analysis);
    if (table === "latents") for (const name of latentColumnNames(columns)) names.add(name);
    else if (table === "batches")
      for (const name of ["batch", ...columnsPer(columns, "batch").map(([n]) => n)]) names.add(name);
    else
      for await (const rows of store.exampleShards(analysis))
        for (const name of Object.keys(rows[0] ?? {})) names.add(name);
  }
  const columns = [...names];
  yield csvLine(["analysis", ...columns]);
  for (const analysis of having) {
    for await (const rows of rowsOf(store, analysis, table)) {
      const lines = rows.map((row) => {
        const cells = new Map<string, unknown>(Object.entries(row));
        return csvLine([analysis, ...columns.map((name) => cells.get(name))]);
      });
      yield lines.join("");
    }
  }
}
