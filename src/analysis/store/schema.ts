/** @file The two tidy tables of a store, `examples` and `latents`, and the analyses that fill them. */
import { AnalysisError } from "../errors.ts";

/** The typed arrays of the value columns a `latents` table may have beside example, hook, latent and activation. */
export const latentValues: {
  readonly attribution_values: typeof Float32Array;
  readonly ablated_logit_diff: typeof Float32Array;
  readonly ablated_loss: typeof Float32Array;
  readonly ablated_pred: typeof Int32Array;
} = {
  attribution_values: Float32Array,
  ablated_logit_diff: Float32Array,
  ablated_loss: Float32Array,
  ablated_pred: Int32Array,
};

export type LatentValue = keyof typeof latentValues;
const latentValueNames = Object.keys(latentValues) as LatentValue[];

/** The four analyses, in the order in which they are listed everywhere, with the latent value columns of each. */
export const analyses: { readonly [A in AnalysisName]: readonly LatentValue[] } = {
  logit_diffs_base: [],
  logit_diffs_sae: [],
  logit_diffs_attr_grad: ["attribution_values"],
  logit_diffs_attr_ablation: ["attribution_values", "ablated_logit_diff", "ablated_loss", "ablated_pred"],
};

export type AnalysisName =
  "logit_diffs_base" | "logit_diffs_sae" | "logit_diffs_attr_grad" | "logit_diffs_attr_ablation";
/** The names of the four analyses. */
export const analysisNames: readonly AnalysisName[] = Object.keys(analyses) as AnalysisName[];

/** A hook point whose latents are analysed, and the number of latents of its SAE. Widths may differ between hooks. */
export interface HookInfo {
  /** Full point name, such as `blocks.9.attn.hook_z.hook_sae_acts_post`. */
  readonly name: string;
  /** Number of latents (`d_sae`). */
  readonly width: number;
}

/** One row of the `examples` table. Logits, losses and differences are in nats, unnormalised. */
export interface ExampleRow {
  /** Position in the data file, counted from 0. */
  readonly example: number;
  /** Index of the batch the example was run in; batches are runs of consecutive examples. */
  readonly batch: number;
  /** Token id of the right answer. */
  readonly label_ids: number;
  /** Class of the right answer. */
  readonly orig_labels: number;
  /** Position of the answer in the (padded) row; -1 is the last one. */
  readonly answer_indices: number;
  /** Cross entropy of the right answer over the full vocabulary. */
  readonly loss: number;
  /** Logit of the right answer minus the mean (or the best) of the others. */
  readonly logit_diffs: number;
  /** Class with the largest answer logit. */
  readonly preds: number;
  /** Logits of the answers, one per class. */
  readonly answer_logits: readonly number[];
  readonly prompts?: string;
  readonly tokens?: readonly number[];
}

/** One row of the `latents` table: a latent that is active (> 0) in an example at its answer position. */
export interface LatentRow {
  readonly example: number;
  /** Full point name of the hook. */
  readonly hook: string;
  readonly latent: number;
  readonly activation: number;
  /** Effect on the logit difference, unmasked: for ablation, spliced minus ablated. */
  readonly attribution_values?: number;
  readonly ablated_logit_diff?: number;
  readonly ablated_loss?: number;
  readonly ablated_pred?: number;
}

/**
 * The `latents` table as columns, rows ordered by example, hook in forward-pass order, latent. `hook` holds indices
 * into the hooks of the run.
 */
export interface LatentColumns {
  readonly length: number;
  readonly example: Int32Array;
  readonly hook: Int32Array;
  readonly latent: Int32Array;
  readonly activation: Float32Array;
  readonly attribution_values?: Float32Array;
  readonly ablated_logit_diff?: Float32Array;
  readonly ablated_loss?: Float32Array;
  readonly ablated_pred?: Int32Array;
}

/** What one analysis of one run says: both tables and the hooks they speak of. Review functions and views take this. */
export interface AnalysisResult {
  readonly analysis: AnalysisName;
  /** Hooks in forward-pass order. */
  readonly hooks: readonly HookInfo[];
  readonly examples: readonly ExampleRow[];
  readonly latents: LatentColumns;
}

/**
 * Columns of `length` rows, zero filled, with the value columns of an analysis.
 * @example
 * emptyLatents("logit_diffs_attr_grad").attribution_values; // Float32Array []
 */
export function emptyLatents(analysis: AnalysisName, length = 0): LatentColumns {
  const values = analyses[analysis].map((name) => [name, new latentValues[name](length)]);
  return {
    length,
    example: new Int32Array(length),
    hook: new Int32Array(length),
    latent: new Int32Array(length),
    activation: new Float32Array(length),
    ...(Object.fromEntries(values) as object),
  };
}

const latentColumnOrder = ["example", "hook", "latent", "activation", ...latentValueNames] as const;

/** The typed arrays of a `latents` table by column name, in column order. */
export function latentArrays(columns: LatentColumns): [string, Int32Array | Float32Array][] {
  return latentColumnOrder.flatMap((name) => (columns[name] ? [[name, columns[name]]] : []));
}

/**
 * Rows as columns.
 *
 * @example
 * ```ts
 * const hooks = [{ name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 24576 }];
 * const rows = [{ example: 0, hook: hooks[0].name, latent: 9464, activation: 1.38, attribution_values: 0.15 }];
 * latentColumns("logit_diffs_attr_grad", hooks, rows).latent; // Int32Array [9464]
 * ```
 */
export function latentColumns(
  analysis: AnalysisName,
  hooks: readonly HookInfo[],
  rows: readonly LatentRow[],
): LatentColumns {
  const columns = emptyLatents(analysis, rows.length);
  const codes = new Map(hooks.map((hook, code) => [hook.name, code]));
  rows.forEach((row, i) => {
    columns.example[i] = row.example;
    columns.hook[i] = codes.get(row.hook) ?? -1;
    columns.latent[i] = row.latent;
    columns.activation[i] = row.activation;
    for (const name of analyses[analysis]) columns[name]![i] = row[name] ?? NaN;
  });
  return columns;
}

/**
 * The rows `start` to `end` (exclusive; default all) of a `latents` table, hooks by name.
 * @example
 * const hooks = [{ name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 24576 }];
 * const rows = [9464, 11321].map((latent) => ({ example: 0, hook: hooks[0].name, latent, activation: 1 }));
 * const columns = latentColumns("logit_diffs_sae", hooks, rows);
 * latentRows(columns, hooks).map(({ latent }) => latent); // [9464, 11321]
 */
export function latentRows(
  columns: LatentColumns,
  hooks: readonly HookInfo[],
  start = 0,
  end: number = columns.length,
): LatentRow[] {
  const arrays = latentArrays(columns);
  const rows: LatentRow[] = [];
  for (let i = start; i < end; i++) {
    const row: Record<string, number | string> = {};
    for (const [name, array] of arrays) row[name] = name === "hook" ? hooks[array[i]!]!.name : array[i]!;
    rows.push(row as object as LatentRow);
  }
  return rows;
}

/**
 * The rows `start` to `end` (exclusive), as views.
 * @example
 * const hooks = [{ name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 24576 }];
 * const rows = [9464, 11321].map((latent) => ({ example: 0, hook: hooks[0].name, latent, activation: 1 }));
 * const columns = latentColumns("logit_diffs_sae", hooks, rows);
 * sliceLatents(columns, 1, 2).latent; // Int32Array [11321]
 */
export function sliceLatents(columns: LatentColumns, start: number, end: number): LatentColumns {
  const parts = latentArrays(columns).map(([name, array]) => [name, array.subarray(start, end)]);
  return { length: Math.max(0, end - start), ...Object.fromEntries(parts) } as LatentColumns;
}

/**
 * The given rows, in the given order.
 * @example
 * const hooks = [{ name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 24576 }];
 * const rows = [9464, 11321].map((latent) => ({ example: 0, hook: hooks[0].name, latent, activation: 1 }));
 * const columns = latentColumns("logit_diffs_sae", hooks, rows);
 * takeLatents(columns, [1, 0]).latent; // Int32Array [11321, 9464]
 */
export function takeLatents(columns: LatentColumns, rows: ArrayLike<number>): LatentColumns {
  const out = latentArrays(columns).map(([name, from]) => {
    const to = from instanceof Int32Array ? new Int32Array(rows.length) : new Float32Array(rows.length);
    for (let i = 0; i < rows.length; i++) to[i] = from[rows[i]!]!;
    return [name, to];
  });
  return { length: rows.length, ...Object.fromEntries(out) } as LatentColumns;
}

/**
 * Several tables of one analysis, one after the other.
 * @example
 * const hooks = [{ name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 24576 }];
 * const rows = [9464, 11321].map((latent) => ({ example: 0, hook: hooks[0].name, latent, activation: 1 }));
 * const columns = latentColumns("logit_diffs_sae", hooks, rows);
 * concatLatents("logit_diffs_sae", [columns, columns]).length; // 4
 */
export function concatLatents(analysis: AnalysisName, parts: readonly LatentColumns[]): LatentColumns {
  const all = emptyLatents(
    analysis,
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  const targets = new Map(latentArrays(all));
  let at = 0;
  for (const part of parts) {
    for (const [name, array] of latentArrays(part)) targets.get(name)?.set(array, at);
    at += part.length;
  }
  return all;
}

/** Negative, zero or positive as row `a` comes before, is the same latent as, or comes after row `b`. */
function order(columns: LatentColumns, a: number, b: number): number {
  return (
    columns.example[a]! - columns.example[b]! ||
    columns.hook[a]! - columns.hook[b]! ||
    columns.latent[a]! - columns.latent[b]!
  );
}

function ordered(columns: LatentColumns): LatentColumns {
  let sorted = true;
  for (let i = 1; i < columns.length && sorted; i++) sorted = order(columns, i - 1, i) < 0;
  if (sorted) return columns;
  const rows = Uint32Array.from({ length: columns.length }, (_, i) => i).sort((a, b) => order(columns, a, b));
  return takeLatents(columns, rows);
}

/**
 * Both tables of an analysis, checked, with the latents put in order. Takes rows or columns.
 *
 * @throws AnalysisError when examples are not ascending or their batches not consecutive, a latent row names an
 * unknown example, hook or latent, is not active (> 0), is there twice, or `logit_diffs_base` has latents at all.
 *
 * @example
 * ```ts
 * const hooks = [{ name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 24576 }];
 * const examples = [{ example: 0, batch: 0, label_ids: 2949, orig_labels: 1, answer_indices: -1, loss: 6.3,
 *   logit_diffs: 1.29, preds: 1, answer_logits: [-30.1, -28.8] }];
 * const sae = analysisResult("logit_diffs_sae", hooks, examples, []);
 * ```
 */
export function analysisResult(
  analysis: AnalysisName,
  hooks: readonly HookInfo[],
  examples: readonly ExampleRow[],
  latents: LatentColumns | readonly LatentRow[],
): AnalysisResult {
  const columns = ordered("activation" in latents ? latents : latentColumns(analysis, hooks, latents));
  const fail = (what: string, row: string): never => {
    throw new AnalysisError(`the rows of ${analysis} are not a valid table: ${what}`, {
      code: "store/rows",
      where: row,
    });
  };
  examples.forEach((row, i) => {
    const before = examples[i - 1];
    if (!Number.isInteger(row.example) || row.example < 0) fail("example is not a count from 0", `examples row ${i}`);
    if (before && row.example <= before.example) fail("examples are not in ascending order", `examples row ${i}`);
    if (before && row.batch < before.batch) fail("a batch is not a run of consecutive examples", `examples row ${i}`);
  });
  if (analysis === "logit_diffs_base" && columns.length > 0) fail("the plain model has no latents", "latents");
  const own: readonly LatentValue[] = analyses[analysis];
  for (const name of latentValueNames)
    if (own.includes(name) !== (columns[name] !== undefined))
      fail(`column ${name} is ${own.includes(name) ? "missing" : "not one of this analysis"}`, "latents");
  for (const [name, array] of latentArrays(columns))
    if (array.length !== columns.length) fail(`${name} has ${array.length} of ${columns.length} rows`, "latents");
  let at = 0;
  for (let i = 0; i < columns.length; i++) {
    const hook = hooks[columns.hook[i]!];
    const row = `latents row ${i}`;
    while (at < examples.length && examples[at]!.example < columns.example[i]!) at++;
    if (examples[at]?.example !== columns.example[i]) fail(`example ${columns.example[i]} is not in examples`, row);
    if (!hook) fail("the hook is not one of the run's hooks", row);
    else if (!(columns.latent[i]! >= 0 && columns.latent[i]! < hook.width))
      fail(`latent ${columns.latent[i]} is outside the ${hook.width} latents of ${hook.name}`, row);
    if (!(columns.activation[i]! > 0)) fail(`the latent is not active (activation ${columns.activation[i]})`, row);
    if (i > 0 && order(columns, i - 1, i) === 0) fail(`latent ${columns.latent[i]} is there twice`, row);
  }
  return { analysis, hooks, examples, latents: columns };
}
