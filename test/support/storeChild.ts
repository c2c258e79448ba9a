/** @file A process that writes a store of made-up rows; the kill test ends it at random moments. */
import { StoreWriter } from "../../src/analysis/store/index.ts";
import { storeConfig, storeOptions, storeRows } from "./storeRows.ts";

const writer = await StoreWriter.create(process.argv[2]!, storeConfig, storeOptions);
process.stdout.write("writing\n");
for (const { shard, analyses } of writer.missing())
  for (const name of analyses) await writer.write(shard, name, storeRows(shard, name));
await writer.finish({ threads: 1, pid: process.pid });
