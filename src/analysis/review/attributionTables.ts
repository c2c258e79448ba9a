/** @file The latents with the largest effects, as tables. */
import {
  displayAs,
  fixed,
  general,
  Section,
  Table,
  type Cell,
  type Column,
  type Displayable,
  type HtmlOptions,
  type PngOptions,
} from "../../display/index.ts";
import { AnalysisError } from "../errors.ts";
import { metricFields, metricLabels, type LatentMetrics, type MetricField } from "./metrics.ts";

export interface AttributionTableOptions {
  /** Default `total_effect`. */
  readonly sortBy?: MetricField;
  /** Rows per table. Default 10. */
  readonly topK?: number;
  /** Which signs of the sort field to show. Default `both`, a table each. */
  readonly filter?: "both" | "positive" | "negative";
  /** A table per SAE instead of one across all. Default false. */
  readonly perSae?: boolean;
  /** The newer tutorial's name of `perSae`. */
  readonly perLatentModel?: boolean;
  /** Fields beside the published ones, in columns after them. */
  readonly extraColumns?: readonly MetricField[];
}

/** Tables in order, each with its title. */
export class AttributionTables implements Displayable {
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

  toHTML(options?: HtmlOptions): Promise<string> {
    return new Section(this.tables).toHTML(options);
  }

  toSVG(): Promise<string> {
    return new Section(this.tables).toSVG();
  }

  toPNG(options?: PngOptions): Promise<Uint8Array> {
    return new Section(this.tables).toPNG(options);
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
    displayAs(this);
  }
}

// Published numbers are cut to four decimals, then lose their trailing zeros.
const number = (cell: Cell): string => general(Number(fixed(Number(cell), 4)));

/** The published columns, in their order. */
const published: readonly MetricField[] = [
  "total_effect",
  "mean_effect",
  "proportion_samples_active",
  "mean_activation",
  "num_samples_active",
];

/**
 * Tables of the latents with the largest positive and the largest negative values of a field: `Top 2 positive
 * total_effect for <hook>`, or `… across all hooks`. Tables without rows are left out.
 *
 * @throws AnalysisError when `sortBy` or an extra column is not a field, or an interval was not computed.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * const metrics = latentMetrics(await store.load("logit_diffs_attr_ablation"));
 * console.log(String(attributionTables(metrics, { topK: 2, perSae: true })));
 * ```
 */
export function attributionTables(metrics: LatentMetrics, options: AttributionTableOptions = {}): AttributionTables {
  const { sortBy = "total_effect", topK = 10, filter = "both", perLatentModel, extraColumns = [] } = options;
  const perSae = options.perSae ?? perLatentModel ?? false;
  for (const field of [sortBy, ...extraColumns])
    if (!metricFields.includes(field))
      throw new AnalysisError("metrics have no such field", {
        code: "review/sort-by",
        expected: metricFields.join(", "),
        received: String(field),
      });
  const interval = extraColumns.find((field) => field.endsWith("_low") || field.endsWith("_high"));
  if (interval !== undefined && metrics.hooks.some((hook) => hook[interval].some(Number.isNaN)))
    throw new AnalysisError("the metrics were computed without intervals", {
      code: "review/no-intervals",
      received: interval,
      hint: "latentMetrics(result, { bootstrap: {} })",
    });
  const shown = [...published, ...extraColumns];
  const columns: Column[] = [
    { key: "hook", label: "Hook" },
    { key: "latent", label: "Latent Index" },
    ...shown.map((key) => ({ key, label: metricLabels[key], format: number })),
  ];
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
