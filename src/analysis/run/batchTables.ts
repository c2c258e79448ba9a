/** @file From what ops leave of a batch to rows of a store: numbered, checked, joined. */
import type { Batch } from "../../data/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import type { ColumnSpec, ColumnSpecs, OpBatchResult } from "../tables/columns.ts";
import { AnalysisError } from "../errors.ts";
import type { AnyOp } from "../ops/index.ts";
import { storedColumns } from "../ops/results.ts";
import {
  analysisEntry,
  analysisResult,
  isAnalysisName,
  opResult,
  type AnalysisEntry,
  type AnalysisResult,
  type BatchRow,
  type ExampleRow,
  type HookInfo,
  type OpResult,
  type StoredRow,
} from "../tables/index.ts";
import { columnsPer, type Tables } from "../tables/entry.ts";
import { checkDeclared } from "../store/manifest.ts";
import { joinLatents, latentArrays, zeroLatents } from "../tables/latents.ts";

/** Which inputs stand in the examples table beside what the op gives. */
export interface SavedInputs {
  /** The data's own texts, or what makes a text of token ids. */
  readonly prompts: boolean | ((tokens: readonly number[]) => string);
  readonly tokens: boolean;
  /** Texts of the answers, where the config does not name them. */
  readonly answers: boolean;
}

const inputColumns: ColumnSpecs = {
  prompts: { per: "example", type: "string", optional: true, description: "text of the example" },
  tokens: { per: "example", type: "int32", list: true, optional: true, description: "token ids without padding" },
  answers: { per: "example", type: "string", list: true, optional: true, description: "text of each class' answer" },
};

/** Latents stand in rows of their own; this column of theirs is those rows. */
const aliveColumn = "alive_latents";

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

/**
 * A batch's tables for a store.
 * @throws AnalysisError `analysis/not-finite` naming analysis, batch, example and column
 */
export function batchTables(entry: AnalysisEntry, inputs: SavedInputs, batch: Batch, given: OpBatchResult): Tables {
  const { index, examples } = batch;
  const result = withInputs(inputs, batch, given);
  const at = (example?: number): string =>
    `batch ${index}${example === undefined ? "" : `, example ${examples[example]}`}`;
  const specs = columnsPer(entry.columns, "example").filter(
    ([name]) => name in result.examples && inputs[name as keyof SavedInputs] !== false,
  );
  const rows = Array.from(examples, (example, row): StoredRow => ({
    example,
    batch: index,
    ...Object.fromEntries(
      specs.map(([name, spec]) => [name, cell(entry, name, spec, result.examples[name]![row], at(row))]),
    ),
  }));
  const perBatch = columnsPer(entry.columns, "batch");
  const batchRow: BatchRow = {
    batch: index,
    ...Object.fromEntries(perBatch.map(([name, spec]) => [name, cell(entry, name, spec, result.batch[name], at())])),
  };
  return {
    examples: rows,
    latents: latentTable(entry, examples, result, at),
    batches: perBatch.length > 0 ? [batchRow] : [],
  };
}

/** The result with what is kept beside it: texts of the token ids where these are asked for, the examples' answers. */
function withInputs(
  { prompts: text, answers }: SavedInputs,
  { answerNames }: Batch,
  result: OpBatchResult,
): OpBatchResult {
  const { tokens } = result.examples;
  return {
    ...result,
    examples: {
      ...result.examples,
      ...(typeof text === "function" &&
        tokens !== undefined && { prompts: tokens.map((ids) => text(ids as readonly number[])) }),
      ...(answers && { answers: answerNames }),
    },
  };
}

function latentTable(
  entry: AnalysisEntry,
  examples: Int32Array,
  { latents }: OpBatchResult,
  at: (row: number) => string,
): Tables["latents"] {
  if (latents === null) return zeroLatents(entry.columns, 0);
  const { length, row, hook, latent, activation, values } = latents;
  const table = { length, example: row.map((r) => examples[r]!), hook, latent, activation, ...values };
  for (const [name, array] of latentArrays(table)) {
    const wrong = array instanceof Float32Array ? array.findIndex((x) => !Number.isFinite(x)) : -1;
    if (wrong >= 0) notFinite(entry.name, name, array[wrong]!, `${at(row[wrong]!)}, latent ${latent[wrong]}`);
  }
  return table;
}

function cell(entry: AnalysisEntry, name: string, spec: ColumnSpec, value: unknown, where: string): StoredRow[string] {
  if (value === undefined) return undefined;
  if (spec.type === "json") return typeof value === "string" ? (JSON.parse(value) as StoredRow[string]) : null;
  if (spec.type === "float32") {
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    const wrong = list.find((x) => typeof x === "number" && !Number.isFinite(x));
    if (wrong !== undefined) notFinite(entry.name, name, Number(wrong), where);
  }
  return value as StoredRow[string];
}

function notFinite(analysis: string, column: string, value: number, where: string): never {
  throw new AnalysisError(`${analysis} has a number in ${column} that is not finite`, {
    code: "analysis/not-finite",
    where,
    received: String(value),
    hint: "the weights of the model or of an SAE may hold NaN or infinities, or an activation overflows; nothing of this batch was stored",
  });
}

/** Tables one after the other. */
export function joinTables(entry: AnalysisEntry, parts: readonly Tables[]): Tables {
  return {
    examples: parts.flatMap(({ examples }) => examples),
    latents: joinLatents(
      entry.columns,
      parts.map(({ latents }) => latents),
    ),
    batches: parts.flatMap(({ batches }) => batches),
  };
}

/** Tables as a result: one of the four's, under whatever name, or any op's. */
export function resultOf(entry: AnalysisEntry, hooks: readonly HookInfo[], tables: Tables): AnalysisResult | OpResult {
  const { name, op } = entry;
  const { examples, latents } = tables;
  if (!isAnalysisName(op))
    return opResult(entry, hooks, {
      latents,
      examples: examples as readonly StoredRow[],
      batches: tables.batches as readonly BatchRow[],
    });
  const result = analysisResult(op, hooks, examples as readonly ExampleRow[], latents);
  return name === op ? result : { ...result, name };
}
