/** @file The header of a GGUF file: metadata and tensor table, parsed from as few bytes as it takes. */
import { type ByteSource } from "../byteSource.ts";
import { FormatError, quoted } from "../errors.ts";
import { ggufTypes } from "./types.ts";
import { elementCount, place, type StoredTensor, type StoredTensors } from "../tensorFile.ts";

/**
 * A metadata value. 64-bit integers are numbers where that is exact, else bigints; arrays of numbers are typed arrays;
 * arrays of arrays nest.
 */
export type GgufValue = number | bigint | boolean | string | GgufArray;
export type GgufArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array
  | readonly boolean[]
  | readonly string[]
  | readonly GgufArray[];

const FIRST_READ = 2 ** 23;
/** Longest header accepted; the largest vocabularies take some 30 MB. */
const MAX_HEADER = 2 ** 28;
const MAX_DIMENSIONS = 8;
const MAX_NESTING = 4;

/** Parse the header, reading on (four times as much each time) while it is longer than what has been read. */
export async function readGgufHeader(source: ByteSource): Promise<StoredTensors<GgufValue>> {
  let bytes: Uint8Array = new Uint8Array(await source.slice(0, Math.min(FIRST_READ, source.byteLength)));
  for (;;) {
    try {
      return parse(new Cursor(bytes, source));
    } catch (error) {
      if (!(error instanceof MoreBytes)) throw error;
      if (error.needed > MAX_HEADER)
        throw new FormatError("the GGUF header is too long", {
          code: "formats/invalid",
          where: source.name,
          expected: `at most ${MAX_HEADER} bytes`,
          received: `${error.needed} bytes or more`,
        });
      const wanted = Math.min(source.byteLength, MAX_HEADER, Math.max(error.needed, 4 * bytes.byteLength));
      const longer = new Uint8Array(wanted);
      longer.set(bytes);
      await source.readInto(longer.subarray(bytes.byteLength), bytes.byteLength);
      bytes = longer;
    }
  }
}

/** Thrown when the header goes on beyond the bytes read so far (but not beyond the file). */
class MoreBytes extends Error {
  readonly needed: number;
  constructor(needed: number) {
    super();
    this.needed = needed;
  }
}

/** Reads values one after the other; every length is compared with the file before anything is made of it. */
class Cursor {
  readonly source: ByteSource;
  at = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(bytes: Uint8Array, source: ByteSource) {
    this.source = source;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Step over `count` items of at least `size` bytes each and return where they begin. */
  private take(count: number, size: number, what: string): number {
    this.require(count, size, what);
    const start = this.at;
    this.at += count * size;
    return start;
  }

  /** Check that `count` items of at least `size` bytes can still follow. */
  require(count: number, size: number, what: string): void {
    const left = this.source.byteLength - this.at;
    if (!(count * size <= left))
      throw new FormatError(`the file ends within ${what}`, {
        code: "formats/truncated",
        where: `${this.source.name}, byte ${this.at}`,
        expected: `at least ${count * size} more bytes`,
        received: `${left} bytes`,
      });
    if (this.at + count * size > this.bytes.byteLength) throw new MoreBytes(this.at + count * size);
  }

  u32(what: string): number {
    return this.view.getUint32(this.take(1, 4, what), true);
  }

  /** An unsigned 64-bit count or length; beyond 2^53 it is an error. */
  size(what: string): number {
    const value = this.view.getBigUint64(this.take(1, 8, what), true);
    if (value > Number.MAX_SAFE_INTEGER) throw this.invalid(`${what} is impossible`, "less than 2^53", String(value));
    return Number(value);
  }

  string(what: string): string {
    const length = this.size(`the length of ${what}`);
    const start = this.take(length, 1, what);
    const bytes = this.bytes.subarray(start, start + length);
    try {
      return this.text.decode(bytes);
    } catch {
      throw this.invalid(`${what} is not valid UTF-8`, "UTF-8", `bytes ${bytes.subarray(0, 16).join(" ")}`);
    }
  }

  value(type: number, what: string): GgufValue {
    if (type === STRING) return this.string(what);
    if (type === BOOL) return this.boolean(what);
    if (type === ARRAY) return this.array(what, 1);
    const number = this.numbers(type, 1, what)[0]!;
    return typeof number === "bigint" && Number.isSafeInteger(Number(number)) ? Number(number) : number;
  }

  private array(what: string, depth: number): GgufArray {
    const type = this.u32(`the element type of ${what}`);
    const count = this.size(`the length of ${what}`);
    if (type === STRING) return this.list(count, 8, what, () => this.string(`an element of ${what}`));
    if (type === BOOL) return this.list(count, 1, what, () => this.boolean(what));
    if (type !== ARRAY) return this.numbers(type, count, what);
    if (depth === MAX_NESTING) throw this.invalid(`${what} nests too deeply`, `${MAX_NESTING} levels`, "more");
    return this.list(count, 12, what, () => this.array(what, depth + 1));
  }

  private list<T>(count: number, size: number, what: string, element: () => T): T[] {
    this.require(count, size, what);
    const list: T[] = [];
    for (let i = 0; i < count; i++) list.push(element());
    return list;
  }

  private boolean(what: string): boolean {
    const byte = this.bytes[this.take(1, 1, what)]!;
    if (byte > 1) throw this.invalid(`${what} is not a boolean`, "0 or 1", String(byte));
    return byte === 1;
  }

  private numbers(type: number, count: number, what: string): NumberArray {
    const Numbers = numberTypes.get(type);
    if (!Numbers) throw this.invalid(`${what} has an unknown metadata type`, "a type from 0 to 12", String(type));
    const start = this.take(count, Numbers.BYTES_PER_ELEMENT, what);
    return new Numbers(this.bytes.slice(start, this.at).buffer);
  }

  invalid(message: string, expected: string, received: string): FormatError {
    const where = `${this.source.name}, byte ${this.at}`;
    return new FormatError(message, { code: "formats/invalid", where, expected, received });
  }
}

const BOOL = 7;
const STRING = 8;
const ARRAY = 9;
type NumberArray = Exclude<GgufArray, readonly unknown[]>;
type NumberArrayType = { readonly BYTES_PER_ELEMENT: number; new (buffer: ArrayBuffer): NumberArray };
const numberTypes: ReadonlyMap<number, NumberArrayType> = new Map<number, NumberArrayType>([
  [0, Uint8Array],
  [1, Int8Array],
  [2, Uint16Array],
  [3, Int16Array],
  [4, Uint32Array],
  [5, Int32Array],
  [6, Float32Array],
  [10, BigUint64Array],
  [11, BigInt64Array],
  [12, Float64Array],
]);

function parse(cursor: Cursor): StoredTensors<GgufValue> {
  if (cursor.u32("the magic number") !== 0x46554747)
    throw cursor.invalid("this is not a GGUF file", 'the bytes "GGUF" at its start', "other bytes");
  const version = cursor.u32("the version");
  if (version !== 2 && version !== 3) {
    const swapped = (version & 0xffff) === 0;
    throw new FormatError(swapped ? "Big-endian GGUF files are not supported" : "the GGUF version is not supported", {
      code: "formats/unsupported",
      where: cursor.source.name,
      expected: "version 2 or 3, little-endian",
      received: `version word 0x${version.toString(16)}`,
    });
  }
  const tensorCount = cursor.size("the tensor count");
  const metadataCount = cursor.size("the metadata count");

  const metadata = parseMetadata(cursor, metadataCount);
  const entries = parseTensors(cursor, tensorCount);
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || !(alignment >= 1) || 2 ** Math.round(Math.log2(alignment)) !== alignment)
    throw cursor.invalid("general.alignment is not a power of two", "a power of two", quoted(String(alignment)));
  const split = metadata.get("split.count") ?? 0;
  if (typeof split === "number" && split > 1)
    throw new FormatError("the model is split over several GGUF files", {
      code: "formats/unsupported",
      where: cursor.source.name,
      expected: "one file",
      received: `one of ${split}`,
      hint: "merge them with llama.cpp's llama-gguf-split --merge",
    });
  const dataStart = Math.ceil(cursor.at / alignment) * alignment;
  return { metadata, tensors: locate(entries, dataStart, alignment, cursor.source) };
}

function parseMetadata(cursor: Cursor, count: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  cursor.require(count, 13, "the metadata");
  for (let i = 0; i < count; i++) {
    const key = cursor.string("a metadata key");
    const what = `metadata ${quoted(key)}`;
    if (metadata.has(key)) throw cursor.invalid(`${what} occurs twice`, "unique keys", quoted(key));
    metadata.set(key, cursor.value(cursor.u32(`the type of ${what}`), what));
  }
  return metadata;
}

interface Entry {
  name: string;
  shape: number[];
  type: number;
  offset: number;
}

function parseTensors(cursor: Cursor, count: number): Entry[] {
  const entries = new Map<string, Entry>();
  cursor.require(count, 24, "the tensor table");
  for (let i = 0; i < count; i++) {
    const name = cursor.string("a tensor name");
    const what = `tensor ${quoted(name)}`;
    const rank = cursor.u32(`the rank of ${what}`);
    if (rank > MAX_DIMENSIONS)
      throw cursor.invalid(`${what} has too many dimensions`, `at most ${MAX_DIMENSIONS}`, String(rank));
    const sizes = Array.from({ length: rank }, () => cursor.size(`a dimension of ${what}`));
    const type = cursor.u32(`the type of ${what}`);
    const offset = cursor.size(`the offset of ${what}`);
    if (entries.has(name)) throw cursor.invalid(`${what} occurs twice`, "unique names", quoted(name));
    entries.set(name, { name, shape: sizes.reverse(), type, offset });
  }
  return [...entries.values()];
}

function locate(entries: Entry[], dataStart: number, alignment: number, source: ByteSource): StoredTensor[] {
  const tensors = entries.map(({ name, shape, type, offset }): StoredTensor => {
    const encoding = ggufTypes.get(type);
    const start = dataStart + offset;
    const invalid = (message: string, expected: string, received: string) =>
      new FormatError(message, { code: "formats/invalid", where: place(source, { name }), expected, received });
    if (offset % alignment !== 0)
      throw invalid("the data offset is not aligned", `a multiple of ${alignment}`, String(offset));
    if (!encoding) return { name, type: `type ${type}`, shape, start, byteLength: 0 };
    const elements = elementCount(shape);
    if ((shape.at(-1) ?? 1) % encoding.block !== 0)
      throw invalid(
        `a row of ${encoding.name} has no whole blocks`,
        `a multiple of ${encoding.block}`,
        `[${shape.join(", ")}]`,
      );
    const byteLength = (elements / encoding.block) * encoding.bytes;
    if (!(start + byteLength <= source.byteLength))
      throw new FormatError("the file ends within a tensor", {
        code: "formats/truncated",
        where: place(source, { name }),
        expected: `${byteLength} bytes of ${encoding.name} [${shape.join(", ")}] from byte ${start}`,
        received: `a file of ${source.byteLength} bytes`,
        hint: "is the download complete?",
      });
    return { name, type: encoding.name, encoding, shape, start, byteLength };
  });
  tensors.sort((a, b) => a.start - b.start || a.byteLength - b.byteLength);
  for (const [i, tensor] of tensors.entries()) {
    const before = tensors[i - 1];
    if (before && tensor.start < before.start + before.byteLength)
      throw new FormatError("two tensors overlap", {
        code: "formats/invalid",
        where: place(source, tensor),
        expected: `data from byte ${before.start + before.byteLength} on (after ${quoted(before.name)})`,
        received: `byte ${tensor.start}`,
      });
  }
  return tensors;
}
