/** @file Reading NumPy arrays: the .npy format, numbers and booleans only. */
import { dtypes, type DataArray, type DType } from "../../graph/dtype.ts";
import { type ByteSource } from "../byteSource.ts";
import { arrayOver } from "../encoding.ts";
import { FormatError, quoted } from "../errors.ts";
import { elementCount } from "../tensorFile.ts";

/** An array as read: row-major, in native byte order. */
export interface NpyArray {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: DataArray;
}

/** What the header says; `type` is NumPy's own name of the stored type (`<f4`). */
export interface NpyHeader {
  readonly type: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly fortran: boolean;
  /** Where the data begins, and how long it is. */
  readonly dataStart: number;
  readonly byteLength: number;
}

/** Longest header accepted; NumPy itself refuses more than 10 000 bytes. */
const MAX_HEADER = 2 ** 16;

/** The most bytes `parseNpyHeader` can need. */
export const NPY_HEADER_BYTES: number = MAX_HEADER + 12;

/** Types we hold as they are, and unsigned ones that we widen (uint64 only as far as int64 goes). */
const types: ReadonlyMap<string, { dtype: DType; widen?: Widen }> = new Map<string, { dtype: DType; widen?: Widen }>([
  ["b1", { dtype: "bool" }],
  ["i1", { dtype: "int8" }],
  ["u1", { dtype: "uint8" }],
  ["i2", { dtype: "int16" }],
  ["i4", { dtype: "int32" }],
  ["i8", { dtype: "int64" }],
  ["f2", { dtype: "float16" }],
  ["f4", { dtype: "float32" }],
  ["f8", { dtype: "float64" }],
  ["u2", { dtype: "int32", widen: (buffer) => Int32Array.from(new Uint16Array(buffer)) }],
  ["u4", { dtype: "int64", widen: (buffer) => BigInt64Array.from(new Uint32Array(buffer), BigInt) }],
  ["u8", { dtype: "int64", widen: (buffer) => new BigInt64Array(buffer) }],
]);

type Widen = (buffer: ArrayBuffer) => DataArray;

/**
 * Read a .npy file: every number type or boolean, either byte order, C or Fortran order. uint16 comes as int32, uint32 and
 * uint64 as int64. Pickled objects, strings, complex numbers and records are refused; so is whatever is corrupt: always a
 * `FormatError`. The source is closed.
 *
 * @example
 * ```ts
 * const { shape, data } = await readNpy(await fileSource("activations.npy"));
 * ```
 */
export async function readNpy(source: ByteSource): Promise<NpyArray> {
  try {
    const start = new Uint8Array(await source.slice(0, Math.min(source.byteLength, NPY_HEADER_BYTES)));
    const header = parseNpyHeader(start, source.byteLength, source.name);
    const buffer = await source.slice(header.dataStart, header.dataStart + header.byteLength);
    return { dtype: header.dtype, shape: header.shape, data: npyData(header, buffer, source.name) };
  } finally {
    await source.close();
  }
}

/** Parse the header of an array of `byteLength` bytes in all from its first bytes. */
export function parseNpyHeader(bytes: Uint8Array, byteLength: number, where: string): NpyHeader {
  const invalid = (message: string, expected: string, received: string) =>
    new FormatError(message, { code: "formats/invalid", where, expected, received });
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  const major = bytes[6];
  if (bytes.byteLength < 12 || magic.some((byte, i) => bytes[i] !== byte))
    throw invalid("this is not a NumPy array", "the bytes \\x93NUMPY at its start", "other bytes");
  if (major !== 1 && major !== 2 && major !== 3)
    throw invalid("the version of the array is not supported", "1, 2 or 3", String(major));

  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerStart = major === 1 ? 10 : 12;
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER || headerStart + length > bytes.byteLength)
    throw invalid(
      "the array's header has an impossible length",
      `at most ${bytes.byteLength} bytes`,
      `${length} bytes`,
    );
  const dataStart = headerStart + length;
  const text = new TextDecoder("latin1").decode(bytes.subarray(headerStart, dataStart)).trim();
  const { descr, fortran, shape } = parseDict(text, where);

  const order = descr[0]!;
  const type = types.get(descr.slice(1));
  if (!type || !"<>|=".includes(order))
    throw new FormatError("the array's type is not supported", {
      code: "formats/unsupported",
      where,
      expected: "a number or boolean type",
      received: quoted(descr),
      hint: /^.?O/.test(descr) ? "it holds pickled Python objects, which are never loaded" : undefined,
    });
  const size = elementCount(shape) * Number(descr.slice(2));
  if (size !== byteLength - dataStart)
    throw new FormatError("the array's data does not have the length of its shape", {
      code: size > byteLength - dataStart ? "formats/truncated" : "formats/invalid",
      where,
      expected: `${size} bytes for ${quoted(descr)} [${shape.join(", ")}]`,
      received: `${byteLength - dataStart} bytes`,
    });
  return { type: descr, dtype: type.dtype, shape, fortran, dataStart, byteLength: size };
}

/** The header is a Python dictionary literal of exactly three keys. */
function parseDict(text: string, where: string): { descr: string; fortran: boolean; shape: number[] } {
  const invalid = () =>
    new FormatError("the array's header is not as NumPy writes it", {
      code: "formats/invalid",
      where,
      expected: "{'descr': …, 'fortran_order': …, 'shape': …}",
      received: quoted(text),
    });
  const fields = new Map<string, string>();
  const body = /^\{(.*?),?\s*\}$/s.exec(text)?.[1];
  if (body === undefined) throw invalid();
  const field = /\s*'(\w+)'\s*:\s*('[^']*'|True|False|\([\d\s,]*\)|\[[^\]]*\])\s*(?:,|$)/gy;
  while (field.lastIndex < body.length) {
    const [, key, value] = field.exec(body) ?? [];
    if (key === undefined || value === undefined || fields.has(key)) throw invalid();
    fields.set(key, value);
  }
  const [descr, fortran, shape] = ["descr", "fortran_order", "shape"].map((key) => fields.get(key) ?? "");
  if (fields.size !== 3 || !/^['[]./.test(descr!) || !/^[TF]/.test(fortran!) || !shape!.startsWith("("))
    throw invalid();
  const sizes = shape!
    .slice(1, -1)
    .split(",")
    .map((size) => size.trim());
  if (sizes.at(-1) === "") sizes.pop();
  const numbers = sizes.map(Number);
  if (sizes.includes("") || !numbers.every(Number.isSafeInteger)) throw invalid();
  return { descr: descr!.replaceAll("'", ""), fortran: fortran === "True", shape: numbers };
}

/** The array that a header describes, made of its bytes; the buffer is used up. */
export function npyData(header: NpyHeader, buffer: ArrayBuffer, where: string): DataArray {
  const [order, kind] = [header.type[0], header.type.slice(1)];
  const { dtype, widen } = types.get(kind)!;
  if (order === ">") swapBytes(new Uint8Array(buffer), Number(kind.slice(1)));
  const data = widen ? widen(buffer) : arrayOver(dtype, buffer);
  if (kind === "u8" && data.some((value) => value < 0))
    throw new FormatError("an unsigned number is too large", {
      code: "formats/unsupported",
      where,
      expected: "uint64 values below 2^63",
      received: "a larger one",
    });
  return header.fortran && header.shape.length > 1 ? toRowMajor(data, dtype, header.shape) : data;
}

function swapBytes(bytes: Uint8Array, width: number): void {
  for (let at = 0; at < bytes.length; at += width)
    for (let i = at, j = at + width - 1; i < j; i++, j--) [bytes[i], bytes[j]] = [bytes[j]!, bytes[i]!];
}

/** Reorder from first index fastest to last index fastest. */
function toRowMajor(data: DataArray, dtype: DType, shape: readonly number[]): DataArray {
  const out: DataArray = new dtypes[dtype].array(data.length);
  const strides = shape.map((_, axis) => elementCount(shape.slice(0, axis)));
  const index = shape.map(() => 0);
  for (let to = 0, from = 0; to < out.length; to++) {
    out[to] = data[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++index[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}
