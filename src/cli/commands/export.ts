/** @file `interpretune export`: a store as JSON or CSV on stdout. */
import { AnalysisStore, exportCsv, exportJson } from "../../analysis/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { Output } from "../output.ts";

export interface ExportFlags {
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly table: "latents" | "examples" | "batches";
}

export async function exportStore(this: CliContext, flags: ExportFlags, folder: string): Promise<void> {
  if (flags.json === true && flags.csv === true)
    throw new CliError("choose one of --json and --csv", { code: "cli/flag" });
  const store = await AnalysisStore.open(folder);
  await new Output(this, true).stream(flags.csv ? exportCsv(store, flags.table) : exportJson(store));
}
