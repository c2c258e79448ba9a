/** @file Named tensors in a file: one reader for safetensors, GGUF, NumPy and PyTorch archives. */
import { type DataArray, type DType } from "../graph/dtype.ts";
import { allocate, memorySource, type ByteSource } from "./byteSource.ts";
import { arrayOver, decode, type Encoding } from "./encoding.ts";
import { FormatError, quoted } from "./errors.ts";

/** What a file says about a tensor. */
export interface TensorInfo {
  readonly name: string;
  /** The format's own name of the storage type: `F32`, `BF16`, `Q4_1`. */
  readonly type: string;
  /** The data type that `read` gives: the stored one, float32 for quantised types. */
  readonly dtype: DType;
  /** Outermost first, as in PyTorch. */
  readonly shape: readonly number[];
  /** Bytes it takes in the file. */
  readonly byteLength: number;
}

/**
 * A file of named tensors. Opening reads the header only. Each read gives a fresh array over a buffer of its own, in row
 * major order. A name that is not in the file is a `FormatError`.
 */
export interface TensorFile<Value = unknown> {
  /** What errors call the file. */
  readonly source: string;
  /** In the order in which they lie in the file. */
  readonly names: readonly string[];
  readonly metadata: ReadonlyMap<string, Value>;
  has(name: string): boolean;
  info(name: string): TensorInfo;
  /** The tensor in its stored data type (`info(name).dtype`). */
  read(name: string): Promise<DataArray>;
  /** The tensor as float32: exact for all storage types but float64 and large integers, which are rounded once. */
  readFloat32(name: string): Promise<Float32Array>;
  /** Many tensors (all by default) in few large reads, several in flight: the way to load a model. */
  readMany(names?: Iterable<string>): Promise<Map<string, DataArray>>;
  readManyFloat32(names?: Iterable<string>): Promise<Map<string, Float32Array>>;
  close(): Promise<void>;
}

/** Where a tensor lies. Without `encoding` its type is one we do not read: it is listed, and asking for it says so. */
export interface StoredTensor {
  readonly name: string;
  readonly type: string;
  readonly encoding?: Encoding;
  readonly shape: readonly number[];
  /** Position in the source. */
  readonly start: number;
  /** From the first byte to the last. */
  readonly byteLength: number;
  /** Elements from one index to the next, where the tensor does not lie in row-major order. */
  readonly strides?: readonly number[];
}

/** What a format's header parser hands over; bounds are checked already. */
export interface StoredTensors<Value> {
  readonly metadata: ReadonlyMap<string, Value>;
  readonly tensors: readonly StoredTensor[];
}

type Readable = StoredTensor & { encoding: Encoding };

/** The reader over tensors that lie as plain bytes in a source. */
export function tensorFile<Value>(source: ByteSource, stored: StoredTensors<Value>): TensorFile<Value> {
  const tensors = new Map(stored.tensors.map((tensor) => [tensor.name, tensor]));
  const names = [...tensors.keys()];

  const find = (name: string): Readable => {
    const tensor = tensors.get(name) ?? unknownTensor(name, source.name, names);
    const { encoding } = tensor;
    if (encoding) return { ...tensor, encoding };
    throw new FormatError("the tensor has a storage type that is not supported", {
      code: "formats/unsupported",
      where: place(source, tensor),
      received: quoted(tensor.type),
    });
  };
  const many = <A>(wanted: Iterable<string> | undefined, load: (from: ByteSource, tensor: Readable) => Promise<A>) =>
    loadMany(source, Array.from(wanted ?? names, find), load);

  return {
    source: source.name,
    names,
    metadata: stored.metadata,
    has: (name) => tensors.has(name),
    info(name) {
      const { type, encoding, shape, byteLength } = find(name);
      return { name, type, dtype: encoding.dtype, shape, byteLength };
    },
    read: async (name) => loadStored(source, find(name)),
    readFloat32: async (name) => loadFloat32(source, find(name)),
    readMany: async (wanted) => many(wanted, loadStored),
    readManyFloat32: async (wanted) => many(wanted, loadFloat32),
    close: () => source.close(),
  };
}

/** Throw the error for a name that is not in the file. */
export function unknownTensor(name: string, source: string, names: readonly string[]): never {
  throw new FormatError(`the file has no tensor ${quoted(name)}`, {
    code: "formats/unknown-tensor",
    where: source,
    received: `${names.length} tensors: ${names.slice(0, 8).map(quoted).join(", ")}${names.length > 8 ? ", …" : ""}`,
  });
}

/** File and tensor, for `where`. */
export function place(source: { readonly name: string }, tensor: { readonly name: string }): string {
  return `${source.name}, tensor ${quoted(tensor.name)}`;
}

/** The number of elements of a shape; beyond 2^53 it is inexact but never small. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

async function loadStored(source: ByteSource, tensor: Readable): Promise<DataArray> {
  const { encoding, start, byteLength } = tensor;
  if (encoding.block > 1) return loadFloat32(source, tensor);
  const buffer = await source.slice(start, start + byteLength);
  const where = place(source, tensor);
  return inOrder(
    allocate(byteLength, where, () => arrayOver(encoding.dtype, buffer)),
    tensor,
    where,
  );
}

/** Elements in row-major order: themselves, unless strides say otherwise. */
function inOrder<A extends DataArray>(data: A, { shape, strides }: StoredTensor, where: string): A {
  if (strides === undefined) return data;
  const count = elementCount(shape);
  const make = data.constructor as new (length: number) => A;
  const out = allocate(count * data.BYTES_PER_ELEMENT, where, () => new make(count));
  const index = shape.map(() => 0);
  for (let i = 0, from = 0; i < count; i++) {
    out[i] = data[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= shape[axis]! * strides[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}

const DECODE_BYTES = 2 ** 22;

async function loadFloat32(source: ByteSource, tensor: Readable): Promise<Float32Array> {
  const { encoding, start, byteLength } = tensor;
  if (encoding.dtype === "float32" && encoding.block === 1) return (await loadStored(source, tensor)) as Float32Array;
  const blocks = byteLength / encoding.bytes;
  const elements = blocks * encoding.block;
  const out = allocate(4 * elements, place(source, tensor), () => new Float32Array(elements));
  const step = Math.min(blocks, Math.floor(DECODE_BYTES / encoding.bytes));
  const scratch = new Uint8Array(step * encoding.bytes);
  for (let block = 0; block < blocks; block += step) {
    const count = Math.min(step, blocks - block);
    const bytes = scratch.subarray(0, count * encoding.bytes);
    await source.readInto(bytes, start + block * encoding.bytes);
    decode(encoding, bytes, out.subarray(block * encoding.block, (block + count) * encoding.block));
  }
  return inOrder(out, tensor, place(source, tensor));
}

const IN_FLIGHT = 4;
const GROUP_BYTES = 2 ** 20;
const GROUP_GAP = 2 ** 12;

/** Load tensors in the order of the file; small neighbours share one read, and are copied out of it. */
async function loadMany<A>(
  source: ByteSource,
  tensors: readonly Readable[],
  load: (from: ByteSource, tensor: Readable) => Promise<A>,
): Promise<Map<string, A>> {
  const loaded = new Map<string, A>();
  const groups = neighbours(tensors);
  const worker = async () => {
    for (let group = groups.shift(); group; group = groups.shift()) {
      if (group.length === 1) {
        const tensor = group[0]!;
        loaded.set(tensor.name, await load(source, tensor));
        continue;
      }
      const start = group[0]!.start;
      // Where an empty tensor begins, a full one may begin as well.
      const stop = group.reduce((most, tensor) => Math.max(most, end(tensor)), 0);
      const bytes = memorySource(await source.slice(start, stop), source.name);
      for (const tensor of group)
        loaded.set(tensor.name, await load(bytes, { ...tensor, start: tensor.start - start }));
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return new Map(tensors.map(({ name }) => [name, loaded.get(name)!]));
}

function neighbours(tensors: readonly Readable[]): Readable[][] {
  const groups: Readable[][] = [];
  let group: Readable[] = [];
  for (const tensor of tensors.toSorted((a, b) => a.start - b.start)) {
    const fits = group.length > 0 && end(tensor) - group[0]!.start <= GROUP_BYTES;
    if (fits && tensor.start - end(group.at(-1)!) <= GROUP_GAP) group.push(tensor);
    else groups.push((group = [tensor]));
  }
  return groups;
}

function end(tensor: Readable): number {
  return tensor.start + tensor.byteLength;
}
