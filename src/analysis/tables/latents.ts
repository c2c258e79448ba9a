/** @file The `latents` table as columns: rows ordered by example, hook, latent. */
import type { ColumnSpecs } from "./columns.ts";

/**
 * The `latents` table as columns, rows ordered by example, hook in forward-pass order, latent. `hook` holds indices
 * into the hooks of the run. An op's own columns stand beside these; `latentColumn` reads them by name.
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

/** The columns that every `latents` table has, in order. */
export const firstLatentColumns = ["example", "hook", "latent", "activation"] as const;

/** Names of the value columns of a table that is declared so. */
export function latentValueColumns(columns: ColumnSpecs): string[] {
  return Object.keys(columns).filter((name) => columns[name]!.per === "latent");
}

/** The typed arrays of a `latents` table by column name, in column order. */
export function latentArrays(columns: LatentColumns): [string, Int32Array | Float32Array][] {
  const all = new Map<string, unknown>(Object.entries(columns));
  const names = new Set<string>([...firstLatentColumns, ...all.keys()]);
  return [...names].flatMap((name): [string, Int32Array | Float32Array][] => {
    const array = all.get(name);
    return array instanceof Int32Array || array instanceof Float32Array ? [[name, array]] : [];
  });
}

/**
 * A column of a `latents` table by name; undefined where the table has none of that name.
 * @example
 * const { latents } = await (await AnalysisStore.open("runs/rte")).load("logit_diffs_attr_grad");
 * latentColumn(latents, "attribution_values")!.length === latents.length; // true
 */
export function latentColumn(columns: LatentColumns, name: string): Int32Array | Float32Array | undefined {
  return new Map(latentArrays(columns)).get(name);
}

/** Columns of `length` rows, zero filled, with the value columns that are declared. */
export function zeroLatents(specs: ColumnSpecs, length: number): LatentColumns {
  const values = latentValueColumns(specs).map((name) => [
    name,
    specs[name]!.type === "float32" ? new Float32Array(length) : new Int32Array(length),
  ]);
  return {
    length,
    example: new Int32Array(length),
    hook: new Int32Array(length),
    latent: new Int32Array(length),
    activation: new Float32Array(length),
    ...(Object.fromEntries(values) as object),
  };
}

/** The declared columns of a table, in the declared order; what is not declared is left out. */
export function declaredLatents(specs: ColumnSpecs, columns: LatentColumns): LatentColumns {
  const arrays = new Map(latentArrays(columns));
  const names = [...firstLatentColumns, ...latentValueColumns(specs)];
  const own = names.flatMap((name) => (arrays.has(name) ? [[name, arrays.get(name)]] : []));
  return { length: columns.length, ...Object.fromEntries(own) } as LatentColumns;
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

/** Several tables of the same columns, one after the other. */
export function joinLatents(specs: ColumnSpecs, parts: readonly LatentColumns[]): LatentColumns {
  const all = zeroLatents(
    specs,
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
export function latentOrder(columns: LatentColumns, a: number, b: number): number {
  return (
    columns.example[a]! - columns.example[b]! ||
    columns.hook[a]! - columns.hook[b]! ||
    columns.latent[a]! - columns.latent[b]!
  );
}

/** The rows in their order; the same object where they are in order already. */
export function orderedLatents(columns: LatentColumns): LatentColumns {
  let sorted = true;
  for (let i = 1; i < columns.length && sorted; i++) sorted = latentOrder(columns, i - 1, i) < 0;
  if (sorted) return columns;
  const rows = Uint32Array.from({ length: columns.length }, (_, i) => i).sort((a, b) => latentOrder(columns, a, b));
  return takeLatents(columns, rows);
}
