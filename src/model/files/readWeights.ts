/** @file From a file of tensors to a model's parameters: names resolved, shapes checked, bytes read and accounted for. */
import type { TensorFile } from "../../formats/index.ts";
import { declaredWeight, leaf, transpose, type SizeNames } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { holdWeights } from "../../runtime/heldWeights.ts";
import type { ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { HfConfig, Mapping, TensorTable } from "../families/family.ts";
import type { Shape } from "../families/layouts.ts";
import { parametersOf } from "../weights/parameters.ts";
import type { ModelWeights } from "../weights/weights.ts";

/** How the tensors of a file are to be understood. */
export interface WeightPlan {
  readonly tensors: TensorTable;
  /** Other names under which a tensor may stand in the file. */
  readonly otherNames: (name: string) => readonly string[];
  /** Tensors that are no parameters. */
  readonly ignored: RegExp;
  readonly hf: HfConfig;
}

export interface ReadOptions {
  /** Check everything, but leave the weights in the file: parameters can then be described, but not run. */
  headersOnly?: boolean;
  /**
   * Read only what runs need that stop before this block (`stopAtLayer`): embeddings and the blocks below it. The other
   * parameters can be described, but not run. Of a sharded checkpoint only the shards with these are opened.
   */
  stopAtLayer?: number;
  signal?: AbortSignal;
  /** Called after each piece with the bytes of the file read so far. */
  onProgress?: (progress: { readonly bytes: number; readonly totalBytes: number }) => void;
}

export interface ReadWeights {
  readonly weights: ModelWeights;
  /** Tensors of the file that the model does not use. */
  readonly unused: readonly string[];
  /** Frees the weights and takes them out of the ledger. */
  dispose(): void;
}

/** A tensor table's line for one layer, with the shapes this configuration gives it. */
export interface Row extends Mapping {
  readonly name: string;
  readonly shapes: readonly Shape[];
  readonly sizes: SizeNames;
}

/** The lines that apply to a configuration, one per layer where they name one, without the head of a tied model. */
export function rowsOf(table: TensorTable, cfg: ModelConfig): Row[] {
  const parameters = parametersOf(cfg);
  const rows: Row[] = [];
  for (const [pattern, mapping] of Object.entries(table)) {
    if (cfg.tie_word_embeddings && mapping.params.includes("unembed.W_U")) continue;
    for (let layer = 0; layer < (pattern.includes("*") ? cfg.n_layers : 1); layer++) {
      const at = (name: string): string => name.replace("*", String(layer));
      const params = mapping.params.map(at);
      const held = params.flatMap((param) => parameters.get(param) ?? []);
      if (held.length < params.length) continue;
      const shapes = held.map(({ shape }) => shape);
      const sizes = Object.assign({}, ...held.map((parameter) => parameter.sizes)) as SizeNames;
      rows.push({ ...mapping, name: at(pattern), params, shapes, sizes });
    }
  }
  return rows;
}

/** Whether runs that stop before a block read a parameter. */
function isNeeded({ params }: Row, stopAtLayer: number | undefined): boolean {
  if (stopAtLayer === undefined) return true;
  return params.some((param) => {
    const layer = /^blocks\.(\d+)\./.exec(param)?.[1];
    return layer === undefined ? !/^(ln_final|unembed)\./.test(param) : Number(layer) < stopAtLayer;
  });
}

/** A test for the tensors that runs need that stop before a block, under whichever name they stand in the file. */
export function neededTensors(cfg: ModelConfig, plan: WeightPlan, stopAtLayer: number): (tensor: string) => boolean {
  const rows = rowsOf(plan.tensors, cfg).filter((row) => isNeeded(row, stopAtLayer));
  const names = new Set(rows.flatMap(({ name }) => [name, ...plan.otherNames(name)]));
  return (tensor) => names.has(tensor);
}

/**
 * Whether a model that says so is tied. A head of its own that differs from the embedding says that it is not; equal ones
 * are one parameter, as in transformers. Where both are there they are read, since headers cannot tell.
 */
export async function isTied(file: TensorFile, { tensors, otherNames }: WeightPlan): Promise<boolean> {
  const find = (param: string): string | undefined => {
    const name = Object.keys(tensors).find((key) => tensors[key]!.params.includes(param));
    return name === undefined ? undefined : [name, ...otherNames(name)].find((candidate) => file.has(candidate));
  };
  const [embedding, head] = [find("embed.W_E"), find("unembed.W_U")];
  if (embedding === undefined || head === undefined) return true;
  if (file.info(embedding).shape.join() !== file.info(head).shape.join()) return false;
  const [a, b] = [await file.readFloat32(embedding), await file.readFloat32(head)];
  return a.every((x, i) => x === b[i]);
}

const bracketed = (shape: Shape): string => `[${shape.join(", ")}]`;
const floats: ReadonlySet<string> = new Set(["float32", "float16", "bfloat16", "float64"]);
const PIECE_BYTES = 2 ** 26;

/**
 * Reads a model's parameters as float32 leaves in the file's own layout, and views of them under TransformerLens names.
 * Everything is checked before anything is read.
 * @throws ModelError for missing tensors, tensors of a wrong shape, tensors that do not hold floating-point numbers
 */
export async function readWeights(
  file: TensorFile,
  cfg: ModelConfig,
  plan: WeightPlan,
  options: ReadOptions = {},
): Promise<ReadWeights> {
  const rows = rowsOf(plan.tensors, cfg).filter(({ need }) => typeof need !== "function" || need(plan.hf));
  const { stopAtLayer } = options;
  const found = resolve(
    file,
    rows.filter((row) => isNeeded(row, stopAtLayer)),
    plan,
  );
  const leaves = options.headersOnly === true ? declared(found) : await readLeaves(file, found, options);
  const left = new Map(
    rows.flatMap((row) => (isNeeded(row, stopAtLayer) || row.need === "optional" ? [] : [[row.name, row]])),
  );
  for (const [name, x] of declared(left)) leaves.set(name, x);
  const weights = new Map<string, Tensor>();
  const expected = new Map([...left, ...found]);
  const beyond = new Set([...left.keys()].flatMap((name) => [name, ...plan.otherNames(name)]));
  for (const [name, { params, layout, shapes }] of expected) {
    const views = layout.split(leaves.get(name)!, shapes);
    params.forEach((param, i) => weights.set(param, views[i]!));
  }
  if (cfg.tie_word_embeddings) weights.set("unembed.W_U", transpose(weights.get("embed.W_E")!));
  return {
    weights,
    unused: file.names.filter((name) => !found.has(name) && !beyond.has(name) && !plan.ignored.test(name)),
    dispose: holdWeights({ owner: cfg.model_name, kind: "HookedModel" }, leaves),
  };
}

/** Which tensor of the file each line is, after checking all of them. */
function resolve(file: TensorFile, rows: readonly Row[], plan: WeightPlan): Map<string, Row> {
  const found = new Map<string, Row>();
  const missing: Row[] = [];
  for (const row of rows) {
    const name = [row.name, ...plan.otherNames(row.name)].find((candidate) => file.has(candidate));
    if (name !== undefined) found.set(name, row);
    else if (row.need !== "optional") missing.push(row);
  }
  const [first] = missing;
  if (first !== undefined)
    throw new ModelError(
      `the file lacks ${missing.length === 1 ? "a tensor" : `${missing.length} tensors`} of the model`,
      {
        code: "model/missing-tensor",
        where: file.source,
        expected: missing
          .slice(0, 4)
          .map((row) => `${row.name} ${bracketed(row.layout.fileShape(row.shapes))}`)
          .join(", ")
          .concat(missing.length > 4 ? ", …" : ""),
        received: `${file.names.length} tensors: ${file.names.slice(0, 4).join(", ")}${file.names.length > 4 ? ", …" : ""}`,
        hint: first.params.includes("unembed.W_U")
          ? "tied embeddings need tie_word_embeddings in config.json"
          : undefined,
      },
    );
  for (const [name, { layout, shapes }] of found) checkTensor(file, name, layout.fileShape(shapes));
  return found;
}

function checkTensor(file: TensorFile, name: string, expected: Shape): void {
  const { shape, dtype, type } = file.info(name);
  const where = `${file.source}, tensor ${name}`;
  if (shape.length !== expected.length || shape.some((size, i) => size !== expected[i]))
    throw new ModelError("a tensor does not have the shape that the configuration says", {
      code: "model/shape",
      where,
      expected: bracketed(expected),
      received: bracketed(shape),
    });
  if (!floats.has(dtype))
    throw new ModelError("a weight is not stored as floating-point numbers", {
      code: "model/dtype",
      where,
      expected: "F32, F16, BF16, F64 or a quantised GGUF type",
      received: type,
    });
}

/** Leaves without data. */
function declared(rows: ReadonlyMap<string, Row>): Map<string, Tensor> {
  return new Map(
    [...rows].map(([name, { layout, shapes, sizes }]) => [
      name,
      declaredWeight(layout.fileShape(shapes), { name, sizes }),
    ]),
  );
}

/** Reads in pieces of 64 MiB in the order of the file. */
async function readLeaves(
  file: TensorFile,
  found: ReadonlyMap<string, Row>,
  options: ReadOptions,
): Promise<Map<string, Tensor>> {
  const wanted = file.names.filter((name) => found.has(name));
  const sizeOf = (name: string): number => file.info(name).byteLength;
  const totalBytes = wanted.reduce((sum, name) => sum + sizeOf(name), 0);
  const leaves = new Map<string, Tensor>();
  let bytes = 0;
  for (let start = 0; start < wanted.length;) {
    options.signal?.throwIfAborted();
    let end = start;
    let pieceBytes = 0;
    while (end < wanted.length && (end === start || pieceBytes + sizeOf(wanted[end]!) <= PIECE_BYTES))
      pieceBytes += sizeOf(wanted[end++]!);
    const piece = await file.readManyFloat32(wanted.slice(start, end));
    for (const [name, data] of piece) {
      const { sizes } = found.get(name)!;
      leaves.set(name, leaf(data, file.info(name).shape, { role: "weight", name, sizes }));
    }
    bytes += pieceBytes;
    options.onProgress?.({ bytes, totalBytes });
    start = end;
  }
  return leaves;
}
