/** @file Columns that an op takes from an earlier analysis instead of computing them. */
import { jsonHash, type Json, type JsonObject } from "../../formats/index.ts";
import type { Batch } from "../../data/index.ts";
import type { AnalysisCfg, InputStore } from "./cfg.ts";
import type { ColumnData, Columns, LatentTable } from "../tables/columns.ts";
import { AnalysisError } from "../errors.ts";
import type { AnyOp } from "../ops/index.ts";
import { AnalysisStore } from "../store/index.ts";
import { latentColumn, type AnalysisResult, type HookInfo, type OpResult } from "../tables/index.ts";
import { exampleOf } from "../views/shapes.ts";

/** Where columns come from. */
interface Source {
  readonly result: AnalysisResult | OpResult;
  /** What it is, for the config of the analysis that takes from it. */
  readonly address: JsonObject;
}

/** What stands in the columns of an op before it runs, and what of it belongs to the config of its analysis. */
export interface GivenInputs {
  readonly given: (batch: Batch) => Columns;
  readonly config: JsonObject;
}

/**
 * The columns that a cfg gives to its op: those of its input store that the op reads, below `runInputs` and
 * `batchInputs`. Undefined where it gives none.
 * @param hooks the hooks whose latents the op reports
 */
export async function givenInputs(
  { inputStore, runInputs, batchInputs }: AnalysisCfg,
  op: AnyOp,
  hooks: readonly HookInfo[],
): Promise<GivenInputs | undefined> {
  if (inputStore === undefined && runInputs === undefined && batchInputs === undefined) return undefined;
  const source = inputStore === undefined ? undefined : await open(inputStore);
  const stored = source === undefined ? undefined : columnsOf(source.result, op, hooks);
  return {
    given: (batch) => ({ ...stored?.(batch), ...(runInputs as Columns | undefined), ...batchInputs?.(batch) }),
    config: {
      ...(source && { input_store: source.address }),
      ...(runInputs && { run_inputs: plain(runInputs) }),
      ...(batchInputs && { batch_inputs: batchInputs.toString() }),
    },
  };
}

async function open(input: InputStore): Promise<Source> {
  if (typeof input === "string") return fromStore(await AnalysisStore.open(input));
  if (input instanceof AnalysisStore) return fromStore(input);
  if ("store" in input) {
    const { store, analysis } = input;
    return fromStore(typeof store === "string" ? await AnalysisStore.open(store) : store, analysis);
  }
  const { analysis, examples, latents } = input;
  const numbers = [latents.example, latents.hook, latents.latent, latents.activation].map((x): Json => [...x]);
  return { result: input, address: { analysis, content: jsonHash([examples as object as Json, numbers]) } };
}

async function fromStore(store: AnalysisStore, wanted?: string): Promise<Source> {
  const candidates = store.names.filter((name) => store.entry(name).latents);
  const name = wanted ?? (candidates.includes("logit_diffs_sae") ? "logit_diffs_sae" : candidates[0]);
  if (name === undefined)
    throw new AnalysisError("the input store has no analysis with latents", {
      code: "analysis/input-store",
      where: store.folder,
      received: store.names.join(", "),
      hint: "say which: { store, analysis }",
    });
  return { result: await store.load(name), address: { analysis: name, hash: store.hashOf(name) } };
}

/** The stored columns that an op reads where they are there: by example, and its active latents. */
function columnsOf(
  result: AnalysisResult | OpResult,
  op: AnyOp,
  hooks: readonly HookInfo[],
): (batch: Batch) => Columns {
  const [first] = result.examples;
  const names = Object.keys(op.input).filter((name) => first !== undefined && name in first);
  const rows = new Map(result.examples.map((row) => [row.example, row as object as Readonly<Record<string, unknown>>]));
  const codes = result.hooks.map(({ name, width }) => hooks.findIndex((h) => h.name === name && h.width === width));
  const latents = "alive_latents" in op.input && hooks.length > 0;
  const lacking = hooks.find((_, code) => !codes.includes(code));
  if (latents && lacking !== undefined)
    throw new AnalysisError("the input store is not of these hooks", {
      code: "analysis/input-store",
      expected: lacking.name,
      received: result.hooks.map(({ name }) => name).join(", "),
    });
  const byExample = new Map<number, number[]>();
  exampleOf(result).forEach((row, i) => {
    const { example } = result.examples[row]!;
    byExample.set(example, [...(byExample.get(example) ?? []), i]);
  });
  return (batch) => {
    const own = Array.from(batch.examples, (example) => {
      const row = rows.get(example);
      if (row !== undefined) return row;
      throw new AnalysisError("the input store does not have this example", {
        code: "analysis/input-store",
        where: `batch ${batch.index}`,
        received: `example ${example}`,
        hint: "it must be of the same data and of at least as many batches",
      });
    });
    const columns: [string, ColumnData][] = names.map((name) => [name, own.map((row) => row[name])]);
    if (latents) columns.push(["alive_latents", tableOf(result, batch, byExample, codes)]);
    return Object.fromEntries(columns);
  };
}

/** The active latents of a batch, hooks numbered as the op reports them. */
function tableOf(
  { latents }: AnalysisResult | OpResult,
  { examples }: Batch,
  byExample: ReadonlyMap<number, readonly number[]>,
  codes: readonly number[],
): LatentTable {
  const found = Array.from(examples).flatMap((example, row) =>
    (byExample.get(example) ?? [])
      .map((i) => ({ i, row, hook: codes[latents.hook[i]!]! }))
      .filter(({ hook }) => hook >= 0)
      .sort((a, b) => a.hook - b.hook || latents.latent[a.i]! - latents.latent[b.i]!),
  );
  return {
    length: found.length,
    row: Int32Array.from(found, ({ row }) => row),
    hook: Int32Array.from(found, ({ hook }) => hook),
    latent: Int32Array.from(found, ({ i }) => latents.latent[i]!),
    activation: Float32Array.from(found, ({ i }) => latentColumn(latents, "activation")![i]!),
    values: {},
  };
}

/** Inputs as JSON: they decide results, so they must be something that can be hashed. */
function plain(inputs: Readonly<Record<string, unknown>>): JsonObject {
  const json = (value: unknown, where: string): Json => {
    if (value === null || ["number", "string", "boolean"].includes(typeof value)) return value as Json;
    if (Array.isArray(value)) return value.map((item, i) => json(item, `${where}[${i}]`));
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return Array.from(value as Float32Array);
    throw new AnalysisError("runInputs are plain data: numbers, texts and lists of them", {
      code: "analysis/inputs",
      where,
      received: Object.prototype.toString.call(value),
      hint: "give expressions and objects through batchInputs",
    });
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, json(value, name)]));
}
