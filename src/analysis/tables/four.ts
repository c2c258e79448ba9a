/** @file The tidy tables of the four analyses, `examples` and `latents`, and their rows. */
import type { ColumnSpecs } from "./columns.ts";
import { AnalysisError } from "../errors.ts";
import { checkTables, type AnalysisEntry, type OpResult } from "./entry.ts";
import { answerColumns, effectColumns, inputColumns } from "./known.ts";
import { joinLatents, latentArrays, zeroLatents, type LatentColumns } from "./latents.ts";
import type { HookInfo } from "./hookInfo.ts";

/** A column that a `latents` table may have beside example, hook, latent and activation. */
export type LatentValue = keyof typeof effectColumns;
const latentValueNames = Object.keys(effectColumns) as LatentValue[];

/** The four analyses, in the order in which they are listed everywhere, with the latent value columns of each. */
export const analyses: { readonly [A in AnalysisName]: readonly LatentValue[] } = {
  logit_diffs_base: [],
  logit_diffs_sae: [],
  logit_diffs_attr_grad: ["attribution_values"],
  logit_diffs_attr_ablation: latentValueNames,
};

export type AnalysisName =
  "logit_diffs_base" | "logit_diffs_sae" | "logit_diffs_attr_grad" | "logit_diffs_attr_ablation";
/** The names of the four analyses. */
export const analysisNames: readonly AnalysisName[] = Object.keys(analyses) as AnalysisName[];

/** Whether a name is that of one of the four. */
export const isAnalysisName = (name: string): name is AnalysisName => Object.hasOwn(analyses, name);

/**
 * How one of the four is declared: its op and its stored columns.
 * @param name what it is called in a store; default its own name
 * @example
 * Object.keys(analysisEntry("logit_diffs_attr_grad").columns).at(-1); // "attribution_values"
 */
export function analysisEntry(analysis: AnalysisName, name: string = analysis): AnalysisEntry {
  const effects = analyses[analysis].map((value) => [value, effectColumns[value]]);
  const columns = { ...answerColumns, ...inputColumns, ...(Object.fromEntries(effects) as ColumnSpecs) };
  return { name, op: analysis, columns, latents: true };
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
  /** The text of each class' answer, where the store's config does not name them for all examples. */
  readonly answers?: readonly string[];
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

/** What one analysis of one run says: both tables and the hooks they speak of. Review functions and views take this. */
export interface AnalysisResult {
  readonly analysis: AnalysisName;
  /** What it is called where that is not the name of its op. */
  readonly name?: string;
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
  return zeroLatents(analysisEntry(analysis).columns, length);
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
 * Several tables of one analysis, one after the other.
 * @example
 * const hooks = [{ name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 24576 }];
 * const rows = [9464, 11321].map((latent) => ({ example: 0, hook: hooks[0].name, latent, activation: 1 }));
 * const columns = latentColumns("logit_diffs_sae", hooks, rows);
 * concatLatents("logit_diffs_sae", [columns, columns]).length; // 4
 */
export function concatLatents(analysis: AnalysisName, parts: readonly LatentColumns[]): LatentColumns {
  return joinLatents(analysisEntry(analysis).columns, parts);
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
  const columns = "activation" in latents ? latents : latentColumns(analysis, hooks, latents);
  const fail = (what: string): never => {
    throw new AnalysisError(`the rows of ${analysis} are not a valid table: ${what}`, {
      code: "store/rows",
      where: "latents",
    });
  };
  if (analysis === "logit_diffs_base" && columns.length > 0) fail("the plain model has no latents");
  const own: readonly LatentValue[] = analyses[analysis];
  for (const name of latentValueNames)
    if (!own.includes(name) && columns[name] !== undefined) fail(`column ${name} is not one of this analysis`);
  const checked = checkTables(analysisEntry(analysis), hooks, { examples, latents: columns, batches: [] });
  return { analysis, hooks, examples, latents: checked.latents };
}

/**
 * Whether a result is that of one of the four, whatever its name: the review functions take it.
 * @example
 * const store = await AnalysisStore.open("runs/rte");
 * const loaded = await Promise.all(store.names.map((name) => store.load(name)));
 * loaded.filter(isAnalysisResult).length; // 4
 */
export function isAnalysisResult(result: AnalysisResult | OpResult): result is AnalysisResult {
  return isAnalysisName(result.analysis);
}
