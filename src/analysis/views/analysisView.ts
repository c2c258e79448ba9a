/** @file An analysis as the published store lays it out: a column is a list with one entry per batch. */
import { AnalysisError } from "../errors.ts";
import { ByLatentModel, type HookValues } from "./byLatentModel.ts";
import { columnsPer, type OpResult } from "../tables/entry.ts";
import { latentColumn, latentValueColumns, sliceLatents } from "../tables/latents.ts";
import { isNdArray, isNumeric, ndArray, stack, type NdArray } from "./ndArray.ts";
import { isAnalysisResult, type AnalysisResult } from "../tables/four.ts";
import { aliveLatents, batchRanges, batchView, denseByHook, exampleOf, type Effects } from "./shapes.ts";

/** A batch's columns by name: scalars, lists with one entry per example, values by hook. */
export type BatchColumns = Readonly<Record<string, unknown>>;

/** A column stacked over batches: one box, or one for each hook. */
export type Stacked = NdArray | Readonly<Record<string, NdArray>>;

export interface ViewOptions {
  /** Whether the effects of ablations are `masked`, as published (default), or `all`. */
  readonly effects?: Effects;
}

/**
 * The columns of an analysis batch by batch, with the published names and shapes: vectors [batch], `answer_logits`
 * [batch][classes], by hook `alive_latents` (ascending) and matrices [examples, width]; for ablation `loss`,
 * `logit_diffs` and `preds` by hook and latent. Columns per latent of other ops are matrices by hook, too.
 * @example
 * const store = await AnalysisStore.open("runs/rte");
 * const sae = await store.view("logit_diffs_sae");
 * sae.columnNames.slice(-2); // ["alive_latents", "correct_activations"]
 * sae.column("logit_diffs").length; // as many as there are batches
 */
export class AnalysisView {
  /** What the columns are of. */
  readonly name: string;
  /** One entry per batch, in order. */
  readonly batches: readonly BatchColumns[];
  readonly columnNames: readonly string[];

  private constructor(name: string, batches: readonly BatchColumns[], columnNames: readonly string[]) {
    this.name = name;
    this.batches = batches;
    this.columnNames = columnNames;
  }

  /** The view of a result that is in memory; `AnalysisStore.view` makes that of a stored one. */
  static of(result: AnalysisResult | OpResult, options: ViewOptions = {}): AnalysisView {
    const batches = batchRows(result, options.effects ?? "masked");
    const names = new Set(batches.flatMap((row) => Object.keys(row)));
    names.delete("batch");
    return new AnalysisView(result.name ?? result.analysis, batches, [...names]);
  }

  /**
   * A column: one value per batch. Stacked, the batches' values stand along a new first axis, by hook where the column
   * is by hook; texts stay a list.
   * @throws AnalysisError `store/column` for a column that is not there, naming those that are; `store/ragged` when
   *   batches of different sizes, or the masked differences of ablations, are to be stacked
   */
  column(name: string, options?: { readonly stackBatches?: false }): readonly unknown[];
  column(name: string, options: { readonly stackBatches: true }): Stacked | readonly unknown[];
  column(
    name: string,
    { stackBatches = false }: { readonly stackBatches?: boolean } = {},
  ): Stacked | readonly unknown[] {
    const values = this.#values(name);
    if (!stackBatches) return values;
    const what = `batches of ${name}`;
    if (values.every(isNumeric))
      return stack(
        values.map((value) => ndArray(value, what)),
        what,
      );
    if (!values.every(isByHook)) return values;
    const hooks = Object.keys(values[0] ?? {});
    const boxes = hooks.map((hook): [string, NdArray] => [
      hook,
      stack(
        values.map((value) => boxed(value[hook], name) ?? ndArray([])),
        what,
      ),
    ]);
    return Object.fromEntries(boxes);
  }

  /** Several columns by name. @throws AnalysisError as {@link column} */
  columns(names: readonly string[]): Record<string, readonly unknown[]> {
    return Object.fromEntries(names.map((name) => [name, this.#values(name)]));
  }

  /** The same view with these columns only. @throws AnalysisError as {@link column} */
  selectColumns(names: readonly string[]): AnalysisView {
    for (const name of names) this.#values(name);
    const pick = (row: BatchColumns): BatchColumns =>
      Object.fromEntries(["batch", ...names].flatMap((name) => (name in row ? [[name, row[name]]] : [])));
    return new AnalysisView(this.name, this.batches.map(pick), [...names]);
  }

  /**
   * A column that is by hook, hook by hook: for each a list over batches. Values by latent are stacked along a new first
   * axis, latents ascending (`preds` becomes [alive, batch]); a batch without any has null.
   * @param options.stackLatents false: leave values by latent as they are, `{ [latent]: value }`
   * @throws AnalysisError `store/column`; `store/not-by-hook` for other columns; `store/ragged` where latents have
   *   lists of different lengths, as the masked `logit_diffs` of ablations
   */
  byLatentModel(field: string, options?: { readonly stackLatents?: true }): ByLatentModel;
  byLatentModel(
    field: string,
    options: { readonly stackLatents: false },
  ): Record<string, readonly (Readonly<Record<string, unknown>> | null)[]>;
  byLatentModel(
    field: string,
    { stackLatents = true }: { readonly stackLatents?: boolean } = {},
  ): ByLatentModel | Record<string, readonly unknown[]> {
    const values = this.#values(field);
    if (!values.every(isByHook))
      throw new AnalysisError(`${field} of ${this.name} is not a column by hook`, {
        code: "store/not-by-hook",
        expected: this.columnNames.filter((name) => this.#values(name).every(isByHook)).join(", ") || "none is",
        received: field,
      });
    const hooks = Object.keys(values[0] ?? {});
    const lists = (of: (value: unknown) => unknown): [string, unknown[]][] =>
      hooks.map((hook) => [hook, values.map((value) => of(value[hook]))]);
    if (!stackLatents) return Object.fromEntries(lists((value) => value ?? null));
    return new ByLatentModel(
      Object.fromEntries(lists((value) => boxed(value, field)) as [string, HookValues][]),
      `latents of ${field}`,
    );
  }

  /** The tutorials' name for {@link byLatentModel}. */
  bySae(field: string): ByLatentModel {
    return this.byLatentModel(field);
  }

  #values(name: string): readonly unknown[] {
    if (this.columnNames.includes(name)) return this.batches.map((row) => row[name] ?? null);
    throw new AnalysisError(`${this.name} has no such column`, {
      code: "store/column",
      expected: this.columnNames.join(", "),
      received: name,
    });
  }
}

function isByHook(x: unknown): x is Readonly<Record<string, unknown>> {
  return typeof x === "object" && x !== null && !Array.isArray(x) && !isNdArray(x) && !ArrayBuffer.isView(x);
}

/** The value at a hook as a box; null where there is nothing. */
function boxed(value: unknown, field: string): NdArray | null {
  if (value === undefined || value === null) return null;
  if (isNumeric(value)) return ndArray(value, `values of ${field}`);
  const byLatent = Object.values(value as Record<string, unknown>).filter(isNumeric); // ascending: keys are integers
  return byLatent.length === 0
    ? null
    : ndArray(
        stack(
          byLatent.map((each) => ndArray(each)),
          `latents of ${field}`,
        ),
      );
}

function batchRows(result: AnalysisResult | OpResult, effects: Effects): BatchColumns[] {
  if (isAnalysisResult(result)) return batchRanges(result).map((range) => ({ ...batchView(result, range, effects) }));
  const { columns, hooks } = result;
  const names = columnsPer(columns, "example").map(([name]) => name);
  const values = latentValueColumns(columns);
  const perBatch = new Map(result.batches.map((row) => [row.batch, row]));
  return batchRanges(result).map(({ batch, start, end, first, last }) => {
    const examples = result.examples.slice(start, end);
    const latents = sliceLatents(result.latents, first, last);
    const part = { hooks, examples, latents };
    const matrix = (numbers: ArrayLike<number>): unknown =>
      denseByHook(part, exampleOf(part), numbers, examples.length);
    return {
      ...perBatch.get(batch),
      batch,
      ...Object.fromEntries(
        names
          .filter((name) => examples.some((row) => row[name] !== undefined))
          .map((name) => [name, examples.map((row) => row[name] ?? null)]),
      ),
      ...((values.length > 0 || result.latents.length > 0) && {
        alive_latents: aliveLatents(part),
        activations: matrix(latents.activation),
      }),
      ...Object.fromEntries(values.map((name) => [name, matrix(latentColumn(latents, name) ?? [])])),
    };
  });
}
