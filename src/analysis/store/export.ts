/** @file A store as JSON or CSV text, piece by piece, so that its size does not matter. */
import { csvLine } from "../../display/index.ts";
import { analysisNames, latentRows, type AnalysisName, type ExampleRow, type LatentRow } from "./schema.ts";
import { latentColumnNames, type TableName } from "./shard.ts";
import type { AnalysisStore } from "./store.ts";

/** What `exportJson` writes: for each analysis that was run both tables, effects unmasked; NaN and ±inf are null. */
export type StoreExport = { [name in AnalysisName]?: { examples: ExampleRow[]; latents: LatentRow[] } };

/** Rows per piece of text: enough to be quick, few enough not to matter in memory. */
const piece = 4096;

async function* rowsOf(store: AnalysisStore, analysis: AnalysisName, table: TableName): AsyncGenerator<object[]> {
  if (table === "examples") {
    yield* store.exampleShards(analysis);
    return;
  }
  for await (const columns of store.latentShards(analysis))
    for (let start = 0; start < columns.length; start += piece)
      yield latentRows(columns, store.hooks, start, Math.min(start + piece, columns.length));
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
  for (const analysis of store.analyses) {
    yield `${lead}${JSON.stringify(analysis)}: {`;
    lead = ",\n";
    for (const table of ["examples", "latents"] as const) {
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
  yield store.analyses.length === 0 ? "{}\n" : "\n}\n";
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
  for (const analysis of store.analyses) {
    if (table === "latents") for (const name of latentColumnNames(analysis)) names.add(name);
    else
      for await (const rows of store.exampleShards(analysis))
        for (const name of Object.keys(rows[0] ?? {})) names.add(name);
  }
  const columns = [...names];
  yield csvLine(["analysis", ...columns]);
  for (const analysis of analysisNames.filter((name) => store.analyses.includes(name))) {
    for await (const rows of rowsOf(store, analysis, table)) {
      const lines = rows.map((row) => {
        const cells = new Map<string, unknown>(Object.entries(row));
        return csvLine([analysis, ...columns.map((name) => cells.get(name))]);
      });
      yield lines.join("");
    }
  }
}
