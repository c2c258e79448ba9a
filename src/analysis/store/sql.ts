/** @file Questions to a store in SQL, answered by DuckDB where it is installed. */
import { join, resolve } from "node:path";
import { AnalysisError } from "../errors.ts";
import { columnsPer } from "../tables/entry.ts";
import { shardFile, tablesOf, type TableName } from "./shard.ts";
import type { OpenStore } from "./openStore.ts";

/** What of `@duckdb/node-api` is used: it is installed by those who want it, so its types are not at hand. */
interface DuckDb {
  readonly DuckDBInstance: {
    create(
      path: string,
      options?: Record<string, string>,
    ): Promise<{
      connect(): Promise<{
        run(sql: string): Promise<unknown>;
        runAndReadAll(sql: string): Promise<{ getRowObjectsJS(): Record<string, unknown>[] }>;
        closeSync(): void;
      }>;
      closeSync(): void;
    }>;
  };
}

const specifier = "@duckdb/node-api";

async function duckDb(): Promise<DuckDb> {
  try {
    return (await import(specifier)) as DuckDb;
  } catch (cause) {
    throw new AnalysisError("questions in SQL need DuckDB, which is not installed", {
      code: "store/no-duckdb",
      expected: specifier,
      hint: `npm install ${specifier}`,
      cause,
    });
  }
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;
const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

/** `create view` for every table of every analysis, and for each table over all analyses. */
function views(store: OpenStore): string[] {
  const files = (name: string, table: TableName): string => {
    const paths = Array.from({ length: store.manifest.shards }, (_, shard) =>
      text(resolve(join(store.folder, name, shardFile(table, shard)))),
    );
    return `read_parquet([${paths.join(", ")}], union_by_name = true)`;
  };
  const having = (table: TableName): string[] =>
    store.names.filter((name) => tablesOf(store.entry(name)).includes(table));
  const own = store.names.flatMap((name) => [
    `create schema ${quoted(name)}`,
    ...tablesOf(store.entry(name)).map(
      (table) => `create view ${quoted(name)}.${table} as select * from ${files(name, table)}`,
    ),
  ]);
  const all = (["examples", "latents", "batches"] as const).flatMap((table) => {
    const parts = having(table).map((name) => `select ${text(name)} as analysis, * from ${quoted(name)}.${table}`);
    return parts.length === 0 ? [] : [`create view ${table} as ${parts.join(" union all by name ")}`];
  });
  return [...own, ...all];
}

/** Whole numbers as numbers, lists as lists. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  return Array.isArray(value) ? value.map(plain) : value;
}

/**
 * Rows that answer a question. Tables are `<analysis>.examples`, `<analysis>.latents` and `<analysis>.batches`; `examples`,
 * `latents` and `batches` are those of all analyses, with a column `analysis`.
 */
export async function ask(store: OpenStore, question: string): Promise<Record<string, unknown>[]> {
  const { DuckDBInstance } = await duckDb();
  await store.verify();
  const instance = await DuckDBInstance.create(":memory:");
  try {
    const connection = await instance.connect();
    try {
      if (store.manifest.shards > 0) for (const view of views(store)) await connection.run(view);
      // The question can read these tables, and no other file.
      await connection.run(`set allowed_directories = [${text(resolve(store.folder))}]`);
      await connection.run("set enable_external_access = false");
      const answer = await connection.runAndReadAll(question);
      return answer
        .getRowObjectsJS()
        .map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plain(value)])));
    } finally {
      connection.closeSync();
    }
  } catch (cause) {
    if (cause instanceof AnalysisError) throw cause;
    const tables = store.names.flatMap((name) => tablesOf(store.entry(name)).map((table) => `${name}.${table}`));
    throw new AnalysisError("DuckDB cannot answer this", {
      code: "store/sql",
      received: cause instanceof Error ? cause.message : String(cause),
      hint: `tables: ${tables.join(", ")}; columns of an analysis: ${store.names
        .slice(0, 1)
        .map((name) => columnsPer(store.entry(name).columns, "example").map(([column]) => column))
        .join(", ")}`,
      cause,
    });
  } finally {
    instance.closeSync();
  }
}
