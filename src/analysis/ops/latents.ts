/** @file Latents of a batch as a table of the active ones. */
import { Tensor } from "../../graph/index.ts";
import type { HookTensors, LatentTable, PerLatent } from "../tables/columns.ts";
import type { Target } from "../engine/targets.ts";
import { AnalysisError } from "../errors.ts";

/** A table as it was stored. */
const isLatentTable = (x: PerLatent): x is LatentTable => "row" in x && !(x["row"] instanceof Tensor);

/** A column that is aligned with the table's rows. */
const isAligned = (x: PerLatent): x is Float32Array | Int32Array => ArrayBuffer.isView(x);

/**
 * The active (> 0) latents of all targets, ordered by row, hook, latent.
 * @param alive realized activations by hook, [batch, width] (or [batch, 1, width]), or a table
 */
export function latentTable(alive: PerLatent, targets: readonly Target[], rows: number): LatentTable {
  if (isLatentTable(alive)) return alive;
  if (isAligned(alive))
    throw new AnalysisError("alive_latents must say which latents they are", {
      code: "analysis/column",
      expected: "activations by hook, or a table of latents",
    });
  const found: [row: number, hook: number, latent: number, activation: number][] = [];
  for (let row = 0; row < rows; row++)
    targets.forEach(({ info: { name, width } }, hook) => {
      if (!(name in alive)) return;
      const data = alive[name]!.data as Float32Array;
      for (let latent = 0; latent < width; latent++) {
        const activation = data[row * width + latent]!;
        if (activation > 0) found.push([row, hook, latent, activation]);
      }
    });
  return {
    length: found.length,
    row: Int32Array.from(found, (f) => f[0]),
    hook: Int32Array.from(found, (f) => f[1]),
    latent: Int32Array.from(found, (f) => f[2]),
    activation: Float32Array.from(found, (f) => f[3]),
    values: {},
  };
}

/** The values of a realized column at the rows of a table. */
export function alignedValues(
  name: string,
  column: PerLatent,
  table: LatentTable,
  targets: readonly Target[],
): Float32Array | Int32Array {
  if (isLatentTable(column))
    throw new AnalysisError(`column ${name} is a table of latents, not values of them`, {
      code: "analysis/column",
      expected: "values by hook, or one for each active latent",
    });
  if (isAligned(column)) {
    if (column.length === table.length) return column;
    throw new AnalysisError(`column ${name} does not fit the active latents`, {
      code: "analysis/column",
      expected: `${table.length} values`,
      received: String(column.length),
    });
  }
  return denseAt(column, table, targets);
}

/** The entries of dense columns at the rows of a table; NaN at hooks without one. */
function denseAt(column: HookTensors, table: LatentTable, targets: readonly Target[]): Float32Array {
  const data = targets.map(({ info }) => (info.name in column ? column[info.name]!.data : undefined));
  return Float32Array.from(table.row, (row, i) => {
    const hook = table.hook[i]!;
    return Number(data[hook]?.[row * targets[hook]!.info.width + table.latent[i]!] ?? NaN);
  });
}
