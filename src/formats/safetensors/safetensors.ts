/** @file Reading safetensors: an 8-byte length, a JSON header, then the tensors without holes. */
import { type DType } from "../../graph/dtype.ts";
import { type ByteSource } from "../byteSource.ts";
import { plainEncoding, type Encoding } from "../encoding.ts";
import { FormatError, quoted } from "../errors.ts";
import { isObject, parseJson } from "../json.ts";
import { elementCount, place, tensorFile, type StoredTensor, type TensorFile } from "../tensorFile.ts";

/** The storage types we read and write, in the order in which the format's own writer sorts them. */
export const safetensorsTypes: { readonly [D in DType]: string } = {
  bool: "BOOL",
  uint8: "U8",
  int8: "I8",
  int16: "I16",
  float16: "F16",
  bfloat16: "BF16",
  int32: "I32",
  float32: "F32",
  float64: "F64",
  int64: "I64",
};

const encodings: ReadonlyMap<string, Encoding> = new Map(
  Object.entries(safetensorsTypes).map(([dtype, name]) => [name, plainEncoding(name, dtype as DType)]),
);

/** Longest header accepted, as in the reference implementation. */
const MAX_HEADER = 100_000_000;

/**
 * Open a safetensors file. Reads and checks the header: its length, its JSON, every shape against its bytes, and that
 * the tensors fill the rest of the file without holes or overlaps. Whatever is wrong is a `FormatError`; the source is
 * then closed. Tensors of types that are not supported (F8, U16 …) are listed but cannot be read.
 *
 * @example
 * ```ts
 * const file = await openSafetensors(await fileSource("model.safetensors"));
 * const wte = await file.readFloat32("transformer.wte.weight"); // row-major [d_vocab, d_model]
 * const all = await file.readMany(); // Map: name -> typed array
 * await file.close();
 * ```
 */
export async function openSafetensors(source: ByteSource): Promise<TensorFile<string>> {
  try {
    const { header, dataStart } = await readHeader(source);
    return tensorFile(source, parseHeader(header, dataStart, source));
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function readHeader(source: ByteSource): Promise<{ header: Record<string, unknown>; dataStart: number }> {
  const where = source.name;
  const available = source.byteLength - 8;
  if (available < 2)
    throw new FormatError("the file is too short for a safetensors file", {
      code: "formats/truncated",
      where,
      expected: "at least 10 bytes",
      received: `${source.byteLength} bytes`,
    });
  const length = new DataView(await source.slice(0, 8)).getBigUint64(0, true);
  if (length > MAX_HEADER || length > available)
    throw new FormatError("the safetensors header has an impossible length", {
      code: length > MAX_HEADER ? "formats/invalid" : "formats/truncated",
      where,
      expected: `at most ${Math.min(MAX_HEADER, available)} bytes`,
      received: `${length} bytes`,
      hint: "is it a safetensors file, and is it complete?",
    });
  const dataStart = 8 + Number(length);
  const bytes = new Uint8Array(await source.slice(8, dataStart));
  const header = parseJson(bytes, `${where}, header`);
  if (!isObject(header) || bytes[0] !== 0x7b /* { */)
    throw new FormatError("the safetensors header is not a JSON object", { code: "formats/invalid", where });
  return { header, dataStart };
}

function parseHeader(header: Record<string, unknown>, dataStart: number, source: ByteSource) {
  const { metadata, tensors } = parseEntries(header, dataStart, source);
  tensors.sort((a, b) => a.start - b.start || a.byteLength - b.byteLength);
  let position = dataStart;
  for (const tensor of tensors) {
    if (tensor.start !== position)
      throw new FormatError(tensor.start < position ? "two tensors overlap" : "there is a hole before a tensor", {
        code: "formats/invalid",
        where: place(source, tensor),
        expected: `data offset ${position - dataStart}`,
        received: `${tensor.start - dataStart}`,
      });
    position += tensor.byteLength;
  }
  if (position !== source.byteLength)
    throw new FormatError(position > source.byteLength ? "the file is truncated" : "the file has bytes of no tensor", {
      code: position > source.byteLength ? "formats/truncated" : "formats/invalid",
      where: source.name,
      expected: `${position} bytes`,
      received: `${source.byteLength} bytes`,
      hint: position > source.byteLength ? "download it again" : undefined,
    });
  return { metadata, tensors };
}

function parseEntries(header: Record<string, unknown>, dataStart: number, source: ByteSource) {
  const metadata = new Map<string, string>();
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") parseMetadata(entry, metadata, source);
    else tensors.push(parseEntry(name, entry, dataStart, source));
  }
  return { metadata, tensors };
}

function parseMetadata(entry: unknown, metadata: Map<string, string>, source: ByteSource): void {
  const where = `${source.name}, __metadata__`;
  if (!isObject(entry)) throw new FormatError("the metadata is not an object", { code: "formats/invalid", where });
  for (const [key, value] of Object.entries(entry)) {
    if (typeof value !== "string")
      throw new FormatError(`the metadata value of ${quoted(key)} is not a string`, {
        code: "formats/invalid",
        where,
        received: Array.isArray(value) ? "array" : typeof value,
      });
    metadata.set(key, value);
  }
}

function parseEntry(name: string, entry: unknown, dataStart: number, source: ByteSource): StoredTensor {
  const invalid = (message: string, expected: string, received: unknown) =>
    new FormatError(message, {
      code: "formats/invalid",
      where: place(source, { name }),
      expected,
      received: quoted(JSON.stringify(received) ?? "nothing").slice(1, -1),
    });
  if (!isObject(entry)) throw invalid("a tensor's header entry is not an object", "an object", entry);
  const { dtype, shape, data_offsets: offsets, ...rest } = entry;
  if (Object.keys(rest).length > 0)
    throw invalid("a tensor's header entry has unknown keys", "dtype, shape, data_offsets", Object.keys(rest));
  if (typeof dtype !== "string") throw invalid("the dtype is not a string", "a dtype", dtype);
  if (!isSizes(shape)) throw invalid("the shape is not a list of sizes", "non-negative integers", shape);
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!)
    throw invalid("the data offsets are not a range", "[start, end] with start <= end", offsets);

  const [start, stop] = offsets as [number, number];
  const encoding = encodings.get(dtype);
  const byteLength = stop - start;
  const expected = encoding && elementCount(shape) * encoding.bytes;
  if (expected !== undefined && expected !== byteLength)
    throw invalid(`shape ${JSON.stringify(shape)} of ${dtype} does not fit its bytes`, `${expected} bytes`, byteLength);
  return { name, type: dtype, encoding, shape, start: dataStart + start, byteLength };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}
