/** @file PyTorch's files (`torch.save`: .pt, .pth, .bin) as files of tensors. Their pickle is read, not run. */
import { dtypes } from "../../graph/dtype.ts";
import type { ByteSource } from "../byteSource.ts";
import { plainEncoding } from "../encoding.ts";
import { FormatError, quoted } from "../errors.ts";
import { elementCount, tensorFile, type StoredTensor, type TensorFile } from "../tensorFile.ts";
import { plainText, torchWorld, type TorchStorage, type TorchTensor } from "./globals.ts";
import { isPickleKind, runPickle, type PickleValue } from "./machine.ts";
import { readZipDirectory, readZipMember, zipMemberStart, type ZipMember } from "../zip.ts";

/** A plain value of a PyTorch file: of Python's types; dicts as `Map`, lists and tuples as arrays. */
export type TorchValue =
  null | boolean | number | bigint | string | Uint8Array | TorchValue[] | Map<TorchValue, TorchValue> | Set<TorchValue>;

const MAX_PICKLE = 2 ** 25;
const MAX_VALUES = 1_000_000;
const MAX_DEPTH = 100;
/** Tensors that share storages (tied weights) may add up to more than the file; this many times more. */
const MAX_SHARING = 2;

/**
 * Open what `torch.save` writes since PyTorch 1.6: an archive of a pickle and its storages. The pickle may hold tensors
 * (parameters) in dicts, lists and tuples, with numbers and texts beside them; any other Python object is refused by name, and
 * nothing is ever run. The same `TensorFile` as for safetensors: names are those of the state dict, nested ones joined by dots
 * (`state_dict.W_enc`, `layers.0`); plain values are `metadata`. Views (transposed, sliced) come out in row-major order.
 *
 * Everything is checked against the archive before anything is allocated. The format from before 1.6, TorchScript, big-endian
 * files and compressed storages are `FormatError`s that say so. Checksums of storages are not compared (PyTorch may leave them
 * out).
 *
 * @example
 * ```ts
 * const weights = await openTorchPickle(await fileSource("sae.pt"));
 * const encoder = await weights.readFloat32("W_enc");
 * ```
 */
export async function openTorchPickle(source: ByteSource): Promise<TensorFile<TorchValue>> {
  try {
    await refuseOther(source);
    const members = new Map((await readZipDirectory(source)).map((member) => [member.name, member]));
    const pickle = [...members.values()].find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
    if (pickle === undefined) throw invalid(source, "the archive is not PyTorch's", "a member data.pkl");
    if (pickle.byteLength > Math.min(MAX_PICKLE, 2 * source.byteLength))
      throw new FormatError("the archive's pickle is too long", {
        code: "formats/too-large",
        where: source.name,
        expected: `at most ${Math.min(MAX_PICKLE, 2 * source.byteLength)} bytes`,
        received: `${pickle.byteLength} bytes`,
      });
    const root = pickle.name.slice(0, -"data.pkl".length);
    await refuseBigEndian(source, members.get(`${root}byteorder`));
    const bytes = new Uint8Array(await readZipMember(source, pickle));
    const { tensors, metadata } = flatten(runPickle(bytes, torchWorld(source.name)), source);
    return tensorFile(source, { metadata, tensors: await locate(source, tensors, members, root) });
  } catch (error) {
    await source.close();
    throw error;
  }
}

function invalid(source: ByteSource, message: string, expected: string, received?: string): FormatError {
  return new FormatError(message, { code: "formats/invalid", where: source.name, expected, received });
}

/** Formats that are not read, by their first bytes. */
async function refuseOther(source: ByteSource): Promise<void> {
  const start = new Uint8Array(await source.slice(0, Math.min(2, source.byteLength)));
  if (start[0] === 0x50 && start[1] === 0x4b) return;
  const old = start[0] === 0x80;
  throw new FormatError(
    old ? "this is a PyTorch file of the format before 1.6, or a bare pickle" : "this is not a PyTorch file",
    {
      code: old ? "formats/unsupported" : "formats/invalid",
      where: source.name,
      expected: "the zip archive that torch.save writes",
      received: `bytes ${[...start].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")}`,
      hint: old ? "load it in Python and save it again with torch.save" : undefined,
    },
  );
}

async function refuseBigEndian(source: ByteSource, member: ZipMember | undefined): Promise<void> {
  if (member === undefined || member.byteLength > 16) return;
  const order = new TextDecoder().decode(await readZipMember(source, member));
  if (order === "little") return;
  const where = source.name;
  const received = quoted(order);
  throw new FormatError("the file's bytes are in another order", {
    code: "formats/unsupported",
    where,
    expected: '"little"',
    received,
  });
}

/** Tensors by dotted name, and the plain values beside them. A container may occur often, but not within itself. */
function flatten(
  root: PickleValue,
  source: ByteSource,
): { tensors: Map<string, TorchTensor>; metadata: Map<string, TorchValue> } {
  const tensors = new Map<string, TorchTensor>();
  const metadata = new Map<string, TorchValue>();
  const above = new Set<PickleValue>();
  const plain = new Map<PickleValue, boolean>();
  const made = new Map<PickleValue, TorchValue>();
  let visits = 0;
  const visit = (value: PickleValue, path: string): void => {
    if (++visits > MAX_VALUES || above.size > MAX_DEPTH || above.has(value))
      throw invalid(source, "the pickle's containers are too deep or too many", `${MAX_DEPTH} levels`);
    if (isPickleKind<TorchTensor>(value, "tensor")) {
      if (tensors.has(path)) throw invalid(source, "two tensors have one name", "unique names", quoted(path));
      tensors.set(path, value);
    } else if (isContainer(value) && holdsTensors(value)) {
      above.add(value);
      for (const [key, item] of items(value)) visit(item, path === "" ? key : `${path}.${key}`);
      above.delete(value);
    } else metadata.set(path, plainValue(value, made));
  };
  // Each container is looked into once, however often it occurs.
  const holdsTensors = (value: PickleValue): boolean => {
    if (isPickleKind<TorchTensor>(value, "tensor")) return true;
    if (!isContainer(value)) return false;
    const known = plain.get(value);
    if (known !== undefined) return known;
    plain.set(value, false);
    if (plain.size > MAX_VALUES || ++depth > MAX_DEPTH)
      throw invalid(source, "the pickle's containers are too deep or too many", `${MAX_DEPTH} levels`);
    const found = items(value).some(([, item]) => holdsTensors(item));
    depth--;
    plain.set(value, found);
    return found;
  };
  let depth = 0;
  // A dict at the top is a table of names even if it holds no tensor.
  if (root instanceof Map) for (const [key, item] of items(root)) visit(item, key);
  else visit(root, "");
  return { tensors, metadata };
}

type Container = PickleValue[] | Map<PickleValue, PickleValue> | Set<PickleValue>;

const isContainer = (value: PickleValue): value is Container =>
  Array.isArray(value) || value instanceof Map || value instanceof Set;

function items(container: Container): (readonly [string, PickleValue])[] {
  if (!(container instanceof Map)) return [...container].map((item, i) => [String(i), item] as const);
  return [...container].map(([key, item]) => [keyText(key), item] as const);
}

function keyText(key: PickleValue): string {
  return typeof key === "object" && key !== null ? "?" : String(key);
}

/** A value without tensors as plain values; each container is made once, however often it occurs. */
function plainValue(value: PickleValue, made: Map<PickleValue, TorchValue>): TorchValue {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  if (!isContainer(value)) return plainText(value);
  const known = made.get(value);
  if (known !== undefined) return known;
  const plain = (item: PickleValue): TorchValue => plainValue(item, made);
  if (Array.isArray(value)) {
    const list: TorchValue[] = [];
    made.set(value, list);
    for (const item of value) list.push(plain(item));
    return list;
  }
  if (value instanceof Set) return new Set([...value].map(plain));
  const dict = new Map<TorchValue, TorchValue>();
  made.set(value, dict);
  for (const [key, item] of value) dict.set(plain(key), plain(item));
  return dict;
}

/** Where each tensor lies in the file, checked against its storage and the file. */
async function locate(
  source: ByteSource,
  tensors: ReadonlyMap<string, TorchTensor>,
  members: ReadonlyMap<string, ZipMember>,
  root: string,
): Promise<StoredTensor[]> {
  const starts = new Map<string, number>();
  const startOf = async (storage: TorchStorage, where: string): Promise<number> => {
    const known = starts.get(storage.key);
    if (known !== undefined) return known;
    const member = members.get(`${root}data/${storage.key}`);
    if (member === undefined) throw invalid(source, "a storage is missing", quoted(storage.key), where);
    if (member.deflated)
      throw new FormatError("a storage is compressed", {
        code: "formats/unsupported",
        where,
        expected: "stored as it is, as torch.save writes it",
      });
    const start = await zipMemberStart(source, member);
    starts.set(storage.key, start);
    return start;
  };
  const stored: StoredTensor[] = [];
  let total = 0;
  for (const [name, tensor] of tensors) {
    const where = `${source.name}, tensor ${quoted(name)}`;
    const { storage, shape, strides, offset, type } = tensor;
    const base = await startOf(storage, where);
    const held = members.get(`${root}data/${storage.key}`)!.byteLength;
    if (type.dtype === undefined) {
      stored.push({ name, type: type.type, shape, start: base, byteLength: held });
      continue;
    }
    const { bytes } = dtypes[type.dtype];
    const count = elementCount(shape);
    const span = count === 0 ? 0 : 1 + shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, 0);
    if (!((offset + span) * bytes <= held) || !(count * bytes <= MAX_SHARING * source.byteLength))
      throw invalid(
        source,
        "a tensor leaves its storage",
        `at most ${held} bytes`,
        `${quoted(name)}: [${shape.join(", ")}] with strides [${strides.join(", ")}] from ${offset}`,
      );
    total += count * bytes;
    const contiguous = isContiguous(shape, strides);
    stored.push({
      name,
      type: type.type,
      encoding: plainEncoding(type.type, type.dtype),
      shape,
      start: base + offset * bytes,
      byteLength: span * bytes,
      ...(contiguous ? {} : { strides }),
    });
  }
  if (total > MAX_SHARING * source.byteLength)
    throw new FormatError("the file's tensors take far more than the file", {
      code: "formats/too-large",
      where: source.name,
      expected: `at most ${MAX_SHARING * source.byteLength} bytes`,
      received: `${total} bytes`,
    });
  return stored;
}

/** Row-major without gaps; strides of dimensions of size 1 do not matter. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return elementCount(shape) === 0;
    step *= shape[i]!;
  }
  return true;
}
