/** @file An analysis that is to be run: its op, what it is given, and how a store declares what it gives. */
import type { Batch } from "../../data/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import type { AnyOp } from "../ops/index.ts";
import { storedColumns } from "../ops/results.ts";
import { checkDeclared } from "../store/manifest.ts";
import type { Columns } from "../tables/columns.ts";
import { analysisEntry, isAnalysisName, type AnalysisEntry, type HookInfo } from "../tables/index.ts";
import { aliveColumn, inputColumns } from "../tables/known.ts";
import type { HookOptions } from "./hookOptions.ts";

/** An analysis that is to be run. */
export interface PlannedAnalysis {
  readonly entry: AnalysisEntry;
  readonly op: AnyOp;
  readonly inputs: SavedInputs;
  /** Instead of those of the run. */
  readonly hookOptions?: HookOptions;
  /** Columns that are there before it runs. */
  readonly given?: (batch: Batch) => Columns;
}

/** Which inputs stand in the examples table beside what the op gives. */
export interface SavedInputs {
  /** The data's own texts, or what makes a text of token ids. */
  readonly prompts: boolean | ((tokens: readonly number[]) => string);
  readonly tokens: boolean;
  /** Texts of each class' answer, where examples have their own. */
  readonly answers: boolean;
}

/** How the results of an op are declared in a store. */
export function entryFor(
  op: AnyOp,
  name: string,
  inputs: SavedInputs,
  own: { readonly hooks?: readonly HookInfo[]; readonly config?: JsonObject } = {},
): AnalysisEntry {
  const beside = { ...(own.hooks && { hooks: own.hooks }), ...(own.config && { config: own.config }) };
  if (isAnalysisName(op.name)) return checked({ ...analysisEntry(op.name, name), ...beside });
  const stored = Object.entries(storedColumns(op.output));
  const latents = stored.some(([, { per }]) => per === "latent");
  const columns = Object.fromEntries(stored.filter(([column]) => column !== aliveColumn));
  const kept = Object.entries(inputColumns).filter(([column]) => inputs[column as keyof SavedInputs] !== false);
  return checked({ name, op: op.name, columns: { ...columns, ...Object.fromEntries(kept) }, latents, ...beside });
}

function checked(entry: AnalysisEntry): AnalysisEntry {
  checkDeclared(entry);
  return entry;
}
