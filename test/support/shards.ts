/** The shards of a store, byte by byte. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Parquet files of a folder and the folders below it, by name; their bytes in base64. */
export async function shards(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".parquet")).sort();
  const read = names.map(async (name) => [name, (await readFile(join(folder, name))).toString("base64")] as const);
  return Object.fromEntries(await Promise.all(read));
}
