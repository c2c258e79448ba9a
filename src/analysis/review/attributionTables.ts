/** @file The latents with the largest effects, as tables. */
import { inspectAs } from "../../graph/inspect.ts";
import { AnalysisError } from "../errors.ts";
import { Table, fixed, general, type Cell, type Column } from "../../display/index.ts";
import { metricFields, type LatentMetrics, type MetricField } from "./metrics.ts";

export interface AttributionTableOptions {
  /** Default `total_effect`. */
  readonly sortBy?: MetricField;
  /** Rows per table. Default 10. */
  readonly topK?: number;
  /** Which signs of the sort field to show. Default `both`, a table each. */
  readonly filter?: "both" | "positive" | "negative";
  /** A table per SAE instead of one across all. Default false. */
  readonly perSae?: boolean;
}

/** Tables in order, each with its title. */
export class AttributionTables {
  readonly tables: readonly Table[];

  constructor(tables: readonly Table[]) {
    this.tables = tables;
  }

  /** Title → pipe table, as published. */
  toRecord(): Record<string, string> {
    return Object.fromEntries(this.tables.map((table) => [table.title ?? "", table.toMarkdown()]));
  }

  toString(): string {
    return this.tables.map((table) => `${table.title}\n${table.toMarkdown()}\n`).join("\n");
  }

  /** Title → records with full values. */
  toJSON(): Record<string, Record<string, Cell>[]> {
    return Object.fromEntries(this.tables.map((table) => [table.title ?? "", table.toJSON()]));
  }

  toMarkdown(): string {
    return this.tables.map((table) => `### ${table.title}\n\n${table.toMarkdown()}\n`).join("\n");
  }

  /** All tables in one, with their titles as first column. */
  toCSV(): string {
    const [first] = this.tables;
    if (!first) return "";
    const rows = this.tables.flatMap((table) => table.rows.map((row) => [table.title ?? "", ...row]));
    return new Table([{ key: "table", label: "Table" }, ...first.columns], rows).toCSV();
  }

  static {
    inspectAs(this, String);
  }
}

// Published numbers are cut to four decimals, then lose their trailing zeros.
const number = (cell: Cell): string => general(Number(fixed(Number(cell), 4)));

const columns: readonly Column[] = [
  { key: "hook", label: "Hook" },
  { key: "latent", label: "Latent Index" },
  { key: "total_effect", label: "Total Effect", format: number },
  { key: "mean_effect", label: "Mean Effect", format: number },
  { key: "proportion_samples_active", label: "Proportion Active", format: number },
  { key: "mean_activation", label: "Mean Activation", format: number },
  { key: "num_samples_active", label: "Number Active", format: number },
];
const shown = metricFields.filter((field) => columns.some(({ key }) => key === field));

/**
 * Tables of the latents with the largest positive and the largest negative values of a field: `Top 2 positive
 * total_effect for <hook>`, or `… across all hooks`. Tables without rows are left out.
 *
 * @throws AnalysisError when `sortBy` is not a field.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const metrics = latentMetrics(await store.load("logit_diffs_attr_ablation"));
 * console.log(String(attributionTables(metrics, { topK: 2, perSae: true })));
 * ```
 */
export function attributionTables(metrics: LatentMetrics, options: AttributionTableOptions = {}): AttributionTables {
  const { sortBy = "total_effect", topK = 10, filter = "both", perSae = false } = options;
  if (!metricFields.includes(sortBy))
    throw new AnalysisError("tables cannot be sorted by this field", {
      code: "review/sort-by",
      expected: metricFields.join(", "),
      received: String(sortBy),
    });
  const rows = (sign: 1 | -1, hook: LatentMetrics["hooks"][number]): { key: number; row: Cell[] }[] =>
    Array.from(hook.latents, (latent, i) => ({
      key: sign * hook[sortBy][i]!,
      row: [hook.hook.name, latent, ...shown.map((field) => hook[field][i]!)],
    }))
      .filter(({ key }) => key > 0)
      .sort((a, b) => b.key - a.key)
      .slice(0, topK);
  const signs = (["positive", "negative"] as const).filter((name) => filter === "both" || filter === name);
  const groups = perSae
    ? metrics.hooks.map((hook) => ({ hooks: [hook], of: `for ${hook.hook.name}` }))
    : [{ hooks: metrics.hooks, of: "across all hooks" }];
  const tables = groups.flatMap(({ hooks, of }) =>
    signs.map((name) => {
      const all = hooks.flatMap((hook) => rows(name === "positive" ? 1 : -1, hook));
      const best = all.sort((a, b) => b.key - a.key).slice(0, topK);
      return new Table(
        columns,
        best.map(({ row }) => row),
        `Top ${topK} ${name} ${sortBy} ${of}`,
      );
    }),
  );
  return new AttributionTables(tables.filter((table) => table.rows.length > 0));
}
