/** @file From what ops leave of a batch to tables: numbered, declared, checked, joined. */
import type { Batch } from "../../data/index.ts";
import { AnalysisError } from "../errors.ts";
import type { SavedInputs } from "../plan/planned.ts";
import type { ColumnSpec, OpBatchResult } from "../tables/columns.ts";
import { columnsPer, type Tables } from "../tables/entry.ts";
import {
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
import { joinLatents, latentArrays, zeroLatents } from "../tables/latents.ts";

/** What of a batch its tables name. */
type Numbered = Pick<Batch, "index"> & { readonly examples: ArrayLike<number> } & Partial<Pick<Batch, "answerNames">>;

/** The tables of a batch. */
export function batchTables(entry: AnalysisEntry, inputs: SavedInputs, batch: Numbered, given: OpBatchResult): Tables {
  const { index, examples } = batch;
  const result = withInputs(inputs, batch, given);
  const specs = columnsPer(entry.columns, "example").filter(
    ([name]) => name in result.examples && inputs[name as keyof SavedInputs] !== false,
  );
  const rows = Array.from(examples, (example, row): StoredRow => ({
    example,
    batch: index,
    ...Object.fromEntries(specs.map(([name, spec]) => [name, cell(spec, result.examples[name]![row])])),
  }));
  const perBatch = columnsPer(entry.columns, "batch");
  const batchRow: BatchRow = {
    batch: index,
    ...Object.fromEntries(perBatch.map(([name, spec]) => [name, cell(spec, result.batch[name])])),
  };
  return {
    examples: rows,
    latents: latentTable(entry, examples, result),
    batches: perBatch.length > 0 ? [batchRow] : [],
  };
}

/** The result with what is kept beside it: texts of the token ids where these are asked for, the examples' answers. */
function withInputs(
  { prompts: text, answers }: SavedInputs,
  { answerNames }: Numbered,
  result: OpBatchResult,
): OpBatchResult {
  const { tokens } = result.examples;
  return {
    ...result,
    examples: {
      ...result.examples,
      ...(typeof text === "function" &&
        tokens !== undefined && { prompts: tokens.map((ids) => text(ids as readonly number[])) }),
      ...(answers && answerNames && { answers: answerNames }),
    },
  };
}

function latentTable(entry: AnalysisEntry, examples: ArrayLike<number>, { latents }: OpBatchResult): Tables["latents"] {
  if (latents === null) return zeroLatents(entry.columns, 0);
  const { length, row, hook, latent, activation, values } = latents;
  return { length, example: row.map((r) => examples[r]!), hook, latent, activation, ...values };
}

function cell(spec: ColumnSpec, value: unknown): StoredRow[string] {
  if (spec.type !== "json" || value === undefined) return value as StoredRow[string];
  return typeof value === "string" ? (JSON.parse(value) as StoredRow[string]) : null;
}

/** @throws AnalysisError `analysis/not-finite` naming analysis, batch, example and column */
export function checkFinite(entry: AnalysisEntry, { examples, latents, batches }: Tables): void {
  const wrongIn = (value: unknown): number | undefined =>
    [value].flat().find((x): x is number => typeof x === "number" && !Number.isFinite(x));
  const check = (rows: readonly object[], per: "example" | "batch"): void => {
    const names = columnsPer(entry.columns, per).flatMap(([name, { type }]) => (type === "float32" ? [name] : []));
    for (const row of rows as readonly StoredRow[])
      for (const name of names) {
        const wrong = wrongIn(row[name]);
        if (wrong !== undefined)
          notFinite(entry.name, name, wrong, `batch ${row.batch}${per === "batch" ? "" : `, example ${row.example}`}`);
      }
  };
  check(examples, "example");
  for (const [name, array] of latentArrays(latents)) {
    const i = array instanceof Float32Array ? array.findIndex((x) => !Number.isFinite(x)) : -1;
    if (i < 0) continue;
    const example = latents.example[i]!;
    const { batch } = (examples as readonly StoredRow[]).find((row) => row.example === example)!;
    notFinite(entry.name, name, array[i]!, `batch ${batch}, example ${example}, latent ${latents.latent[i]!}`);
  }
  check(batches, "batch");
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
