/** @file The published layout: Parquet files whose rows are batches, with the published columns and shapes. */
import { join } from "node:path";
import type { SchemaElement } from "hyparquet";
import { ByteWriter, parquetWrite } from "hyparquet-writer";
import type { ColumnSpec, ColumnSpecs } from "../tables/columns.ts";
import { AnalysisView, type ViewOptions } from "../views/analysisView.ts";
import { makeFolder, writeAtomic } from "./atomic.ts";
import { latentValueColumns } from "../tables/latents.ts";
import type { HookInfo } from "../tables/hookInfo.ts";
import { isNdArray } from "../views/ndArray.ts";
import type { AnalysisStore } from "./store.ts";

/** The type of a value in a file. */
type Shape =
  "INT64" | "FLOAT" | "STRING" | "BOOLEAN" | { readonly list: Shape } | { readonly struct: Record<string, Shape> };

const list = (of: Shape): Shape => ({ list: of });
const leaves = { float32: "FLOAT", int32: "INT64", bool: "BOOLEAN", string: "STRING", json: "STRING" } as const;

function elements(name: string, shape: Shape): SchemaElement[] {
  if (shape === "STRING") return [{ name, type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" }];
  if (typeof shape === "string") return [{ name, type: shape, repetition_type: "REQUIRED" }];
  if ("list" in shape)
    return [
      { name, repetition_type: "REQUIRED", converted_type: "LIST", num_children: 1 },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      ...elements("element", shape.list),
    ];
  const fields = Object.entries(shape.struct);
  return [
    { name, repetition_type: "REQUIRED", num_children: fields.length },
    ...fields.flatMap(([field, of]) => elements(field, of)),
  ];
}

/** A value as the writer takes it. */
function written(value: unknown, shape: Shape): unknown {
  if (shape === "INT64") return BigInt(Number(value));
  if (shape === "STRING") return typeof value === "string" ? value : JSON.stringify(value ?? null);
  if (shape === "FLOAT") return Number(value);
  if (shape === "BOOLEAN") return Boolean(value);
  if ("list" in shape) return rows(value).map((item) => written(item, shape.list));
  const fields = value as Readonly<Record<string, unknown>>;
  return Object.fromEntries(Object.entries(shape.struct).map(([name, of]) => [name, written(fields[name], of)]));
}

/** Lists as they are, matrices as lists of rows. */
function rows(value: unknown): readonly unknown[] {
  if (!isNdArray(value)) return (value ?? []) as readonly unknown[];
  const [height, width] = value.shape as [number, number];
  return Array.from({ length: height }, (_, row) => Array.from(value.data.subarray(row * width, (row + 1) * width)));
}

/** Values by latent as the published store has them: ids, and a value for each. */
function byLatent(values: unknown): { latents: number[]; per_latent: unknown[] } {
  const entries = Object.entries(values as Readonly<Record<string, unknown>>); // ascending: keys are integers
  return { latents: entries.map(([latent]) => Number(latent)), per_latent: entries.map(([, value]) => value) };
}

/** Columns that the ablation has by hook and latent, with the shape of one value. */
const perLatent: Readonly<Record<string, Shape>> = { loss: "FLOAT", logit_diffs: list("FLOAT"), preds: list("INT64") };

interface BatchColumn {
  readonly name: string;
  readonly shape: Shape;
  /** From the view's value to what the shape describes. */
  readonly of: (value: unknown) => unknown;
}

const same = (value: unknown): unknown => value;

/** The columns of the published layout, of those that a view has. */
function layout(op: string, specs: ColumnSpecs, hooks: readonly HookInfo[], names: readonly string[]): BatchColumn[] {
  const struct = (shape: Shape): Shape => ({ struct: Object.fromEntries(hooks.map(({ name }) => [name, shape])) });
  const matrices = new Set([...latentValueColumns(specs), "correct_activations", "activations", "attribution_values"]);
  const ablation = op === "logit_diffs_attr_ablation";
  return names.flatMap((name): BatchColumn[] => {
    const spec: ColumnSpec | undefined = specs[name];
    if (name === "alive_latents") return [{ name, shape: struct(list("INT64")), of: same }];
    if (matrices.has(name)) return [{ name, shape: struct(list(list("FLOAT"))), of: same }];
    // The logits of single ablations are not kept, and those of the run without any are not what this column is.
    if (ablation && name === "answer_logits") return [];
    if (ablation && name in perLatent)
      return [
        {
          name,
          shape: struct({ struct: { latents: list("INT64"), per_latent: list(perLatent[name]!) } }),
          of: (value) =>
            Object.fromEntries(
              Object.entries(value as Readonly<Record<string, unknown>>).map(([hook, own]) => [hook, byLatent(own)]),
            ),
        },
      ];
    if (spec === undefined) return [];
    if (name === "answer_logits")
      // [batch, 1, classes]: one answer position.
      return [
        { name, shape: list(list(list("FLOAT"))), of: (value) => (value as unknown[]).map((logits) => [logits]) },
      ];
    if (name === "loss" && spec.per === "example") return [{ name, shape: "FLOAT", of: same }];
    const one: Shape = spec.list === true ? list(leaves[spec.type]) : leaves[spec.type];
    return [{ name, shape: spec.per === "example" ? list(one) : one, of: same }];
  });
}

/**
 * Writes a store in the published layout: for each analysis `<analysis>/data-00000-of-00003.parquet`, rows = batches,
 * columns as `AnalysisView` has them. Matrices are dense, so files are large: the store's own tables hold the same.
 * Tokens are a list for each example, without padding.
 * @returns the files, relative to the folder
 * @throws AnalysisError when the store is not complete, or the folder cannot be written
 * @example
 * const files = await exportBatches(await AnalysisStore.open("runs/rte"), "rte-batches");
 * files[0]; // "logit_diffs_base/data-00000-of-00001.parquet"
 */
export async function exportBatches(
  store: AnalysisStore,
  folder: string,
  options: ViewOptions = {},
): Promise<string[]> {
  const count = (n: number): string => String(n).padStart(5, "0");
  const files: string[] = [];
  for (const name of store.names) {
    await makeFolder(join(folder, name));
    const { op, columns: specs, hooks } = store.entry(name);
    let shard = 0;
    for await (const part of store.parts(name)) {
      const view = AnalysisView.of(part, options);
      const columns = layout(op, specs, hooks, view.columnNames);
      const writer = new ByteWriter();
      void parquetWrite({
        writer,
        schema: [
          { name: "root", num_children: columns.length },
          ...columns.flatMap(({ name: column, shape }) => elements(column, shape)),
        ],
        columnData: columns.map(({ name: column, shape, of }) => ({
          name: column,
          data: view.column(column).map((value) => written(of(value), shape)),
        })),
        createdBy: "interpretune",
      });
      const file = `${name}/data-${count(shard++)}-of-${count(store.manifest.shards)}.parquet`;
      await writeAtomic(join(folder, file), writer.getBytes());
      files.push(file);
    }
  }
  return files;
}
