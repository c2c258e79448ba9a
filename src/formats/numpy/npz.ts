/** @file Reading NumPy archives (.npz) as files of tensors. */
import { type DataArray } from "../../graph/dtype.ts";
import { type ByteSource } from "../byteSource.ts";
import { decode, plainEncoding } from "../encoding.ts";
import { FormatError } from "../errors.ts";
import { NPY_HEADER_BYTES, npyData, parseNpyHeader, type NpyHeader } from "./npy.ts";
import { place, unknownTensor, type TensorFile } from "../tensorFile.ts";
import { peekZipMember, readZipDirectory, readZipMember, type ZipMember } from "../zip.ts";

/**
 * Open a NumPy archive, plain or compressed (`numpy.savez`, `numpy.savez_compressed`). Reads the directory and each array's
 * header; the same `TensorFile` as for safetensors, names without `.npy`. Types and refusals are those of `readNpy`: an array
 * that is refused is listed, and reading it says why. Checksums are verified.
 *
 * @example
 * ```ts
 * const params = await openNpz(await fileSource("params.npz"));
 * const threshold = await params.readFloat32("threshold"); // one per latent
 * ```
 */
export async function openNpz(source: ByteSource): Promise<TensorFile<never>> {
  try {
    const arrays = new Map<string, { member: ZipMember; header: NpyHeader | FormatError }>();
    for (const member of await readZipDirectory(source)) {
      const name = member.name.replace(/\.npy$/, "");
      if (name !== member.name) arrays.set(name, { member, header: await readHeader(source, name, member) });
    }
    return npzFile(source, arrays);
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function readHeader(source: ByteSource, name: string, member: ZipMember): Promise<NpyHeader | FormatError> {
  try {
    const start = await peekZipMember(source, member, NPY_HEADER_BYTES);
    return parseNpyHeader(start, member.byteLength, place(source, { name }));
  } catch (error) {
    if (error instanceof FormatError && error.code === "formats/unsupported") return error;
    throw error;
  }
}

function npzFile(
  source: ByteSource,
  arrays: ReadonlyMap<string, { member: ZipMember; header: NpyHeader | FormatError }>,
): TensorFile<never> {
  const names = [...arrays.keys()];
  const find = (name: string): { member: ZipMember; header: NpyHeader } => {
    const { member, header } = arrays.get(name) ?? unknownTensor(name, source.name, names);
    if (header instanceof FormatError) throw header;
    return { member, header };
  };
  const read = async (name: string): Promise<DataArray> => {
    const { member, header } = find(name);
    const bytes = await readZipMember(source, member);
    return npyData(header, bytes.slice(header.dataStart), place(source, { name }));
  };
  const readFloat32 = async (name: string): Promise<Float32Array> => {
    const data = await read(name);
    if (data instanceof Float32Array) return data;
    const out = new Float32Array(data.length);
    decode(plainEncoding("", find(name).header.dtype), new Uint8Array(data.buffer), out);
    return out;
  };
  const many = async <A>(wanted: Iterable<string>, load: (name: string) => Promise<A>) => {
    const loaded = new Map<string, A>();
    for (const name of wanted) loaded.set(name, await load(name));
    return loaded;
  };
  return {
    source: source.name,
    names,
    metadata: new Map<string, never>(),
    has: (name) => arrays.has(name),
    info(name) {
      const { member, header } = find(name);
      return { name, type: header.type, dtype: header.dtype, shape: header.shape, byteLength: member.packedBytes };
    },
    read,
    readFloat32,
    readMany: (wanted = names) => many(wanted, read),
    readManyFloat32: (wanted = names) => many(wanted, readFloat32),
    close: () => source.close(),
  };
}
