/** @file Writing safetensors, byte for byte as the reference implementation does. */
import { dtypes, type DataArray, type DType } from "../../graph/dtype.ts";
import { writeFileAtomic } from "../disk/atomicFile.ts";
import { FormatError, quoted } from "../errors.ts";
import { safetensorsTypes } from "./safetensors.ts";
import { elementCount } from "../tensorFile.ts";

/** A tensor to write; `data` may be a function, called when its turn comes, so that a model need not be in memory whole. */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: DataArray | (() => DataArray | Promise<DataArray>);
}

/** Tensors by name. */
export type NamedTensors = Readonly<Record<string, TensorData>> | Map<string, TensorData>;

const PIECE = 2 ** 26;

/**
 * A safetensors file as a stream of pieces of at most 64 MiB: for a `WritableStream`, an upload, a file. Tensors are sorted
 * by data type (widest first), then name, as the reference implementation sorts them, so equal tensors give equal bytes.
 * A tensor whose data does not fit its dtype and shape is a `FormatError`.
 *
 * @example
 * ```ts
 * const sizes: number[] = [];
 * for await (const piece of safetensorsPieces({ x: { dtype: "float32", shape: [2], data: new Float32Array(2) } }))
 *   sizes.push(piece.byteLength);
 * console.log(sizes); // [64, 8]
 * ```
 */
export async function* safetensorsPieces(
  tensors: NamedTensors,
  metadata: Readonly<Record<string, string>> = {},
): AsyncGenerator<Uint8Array> {
  const order = Object.keys(safetensorsTypes);
  const sorted = tensorEntries(tensors).sort(
    ([a, { dtype: x }], [b, { dtype: y }]) => order.indexOf(y) - order.indexOf(x) || (a < b ? -1 : 1),
  );
  yield header(sorted, metadata);
  for (const [name, tensor] of sorted) {
    const data = typeof tensor.data === "function" ? await tensor.data() : tensor.data;
    check(name, tensor, data);
    for (let at = 0; at < data.byteLength; at += PIECE)
      yield new Uint8Array(data.buffer, data.byteOffset + at, Math.min(PIECE, data.byteLength - at));
  }
}

/** The pairs of a record or map of tensors. */
export function tensorEntries(tensors: NamedTensors): [string, TensorData][] {
  return tensors instanceof Map ? [...tensors] : Object.entries(tensors);
}

/** Bytes of a tensor's data. */
export function tensorBytes({ dtype, shape }: TensorData): number {
  return elementCount(shape) * dtypes[dtype].bytes;
}

function header(sorted: readonly [string, TensorData][], metadata: Readonly<Record<string, string>>): Uint8Array {
  const fields: [string, unknown][] = [];
  const extra = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  if (extra.length > 0) fields.push(["__metadata__", Object.fromEntries(extra)]);
  let start = 0;
  for (const [name, tensor] of sorted) {
    if (name === "__metadata__")
      throw new FormatError("a tensor cannot be called __metadata__", { code: "formats/invalid" });
    const end = start + tensorBytes(tensor);
    fields.push([name, { dtype: safetensorsTypes[tensor.dtype], shape: tensor.shape, data_offsets: [start, end] }]);
    start = end;
  }
  // Spelled out pair by pair: an object would move names like "1" to the front.
  const json = `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.byteLength / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text, 8);
  return bytes;
}

function check(name: string, { dtype, shape }: TensorData, data: DataArray): void {
  const expected = elementCount(shape);
  if (data instanceof dtypes[dtype].array && data.length === expected) return;
  throw new FormatError("a tensor's data does not fit its dtype and shape", {
    code: "formats/invalid",
    where: `tensor ${quoted(name)}`,
    expected: `${dtypes[dtype].array.name} of ${expected} elements for ${dtype} [${shape.join(", ")}]`,
    received: `${data.constructor.name} of ${data.length}`,
  });
}

/**
 * A safetensors file in memory.
 *
 * @example
 * ```ts
 * const bytes = await encodeSafetensors({ ids: { dtype: "int32", shape: [1, 3], data: new Int32Array([1, 2, 3]) } });
 * const file = await openSafetensors(memorySource(bytes));
 * ```
 */
export async function encodeSafetensors(
  tensors: NamedTensors,
  metadata?: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of safetensorsPieces(tensors, metadata)) pieces.push(piece);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
}

/**
 * Write a safetensors file of any size. The file appears whole or not at all: it is written under a temporary name beside
 * `path`, synced and renamed.
 *
 * @example
 * ```ts
 * await writeSafetensors("x.safetensors", { x: { dtype: "float32", shape: [1, 2], data: new Float32Array([1, 2]) } }, { format: "pt" });
 * ```
 */
export async function writeSafetensors(
  path: string,
  tensors: NamedTensors,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await writeFileAtomic(path, safetensorsPieces(tensors, metadata));
}
