/** @file `interpretune export`: a store as JSON or CSV on stdout, or as a folder in the published layout. */
import { AnalysisStore, exportBatches, exportCsv, exportJson } from "../../analysis/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { Output } from "../output.ts";

export interface ExportFlags {
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly table: "latents" | "examples" | "batches";
  /** A folder for the published layout. */
  readonly batches?: string;
}

export async function exportStore(this: CliContext, flags: ExportFlags, folder: string): Promise<void> {
  if (flags.json === true && flags.csv === true)
    throw new CliError("choose one of --json and --csv", { code: "cli/flag" });
  if (flags.batches !== undefined && flags.csv === true)
    throw new CliError("choose one of --batches and --csv", { code: "cli/flag" });
  const store = await AnalysisStore.open(folder);
  if (flags.batches !== undefined) {
    const output = new Output(this, flags.json);
    const files = await exportBatches(store, flags.batches);
    await output.say(files.map((file) => `${flags.batches}/${file}`).join("\n"));
    await output.document({ folder: flags.batches, files });
    return;
  }
  await new Output(this, true).stream(flags.csv ? exportCsv(store, flags.table) : exportJson(store));
}
