/** @file A model's weights in a folder: `model.safetensors`, or shards and their index. */
import { writeFileAtomic } from "./disk/atomicFile.ts";
import { type ByteSource } from "./byteSource.ts";
import { FormatError, quoted } from "./errors.ts";
import { fileSource } from "./disk/fileSource.ts";
import { isObject, parseJson } from "./json.ts";
import { openSafetensors } from "./safetensors/safetensors.ts";
import { openTorchPickle } from "./torch/torchPickle.ts";
import {
  tensorBytes,
  tensorEntries,
  writeSafetensors,
  type NamedTensors,
  type TensorData,
} from "./safetensors/writer.ts";
import { unknownTensor, type TensorFile } from "./tensorFile.ts";

/** The files that weights may be in, the safer format first. */
const layouts = [
  {
    single: "model.safetensors",
    index: "model.safetensors.index.json",
    shard: /^[\w-][\w.-]*\.safetensors$/,
    open: openSafetensors as (source: ByteSource) => Promise<TensorFile>,
  },
  {
    single: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
    shard: /^[\w-][\w.-]*\.bin$/,
    open: openTorchPickle as (source: ByteSource) => Promise<TensorFile>,
  },
] as const;
type Layout = (typeof layouts)[number];

const [{ single: SINGLE, index: INDEX }] = layouts;
const MAX_INDEX = 100_000_000;

/** How to open a file of a folder by its plain name; `undefined` if the folder has no such file. */
export type OpenFile = (name: string) => Promise<ByteSource | undefined>;

export interface CheckpointOptions {
  /** The tensors that will be read, by name. Shards without any are not opened, and their tensors are not listed. */
  needs?: (tensor: string) => boolean;
}

/**
 * Open the weights of a model folder as one file of tensors: `model.safetensors` if it is there, else the shards that
 * `model.safetensors.index.json` names, else PyTorch's `pytorch_model.bin` or the shards of its index, read as
 * `openTorchPickle` does. Other files are never touched; a shard outside the folder, a shard without a tensor that the index
 * promises, or none of these files there is a `FormatError`. `folder` is a path, or a function that opens files by name (in a
 * browser, from a hub).
 *
 * @example
 * ```ts
 * const weights = await openCheckpoint("models/gpt2");
 * const tensors = await weights.readMany();
 * await weights.close();
 * ```
 */
export async function openCheckpoint(
  folder: string | OpenFile,
  { needs = () => true }: CheckpointOptions = {},
): Promise<TensorFile> {
  const open = typeof folder === "string" ? localFolder(folder) : folder;
  for (const layout of layouts) {
    const single = await open(layout.single);
    if (single) return layout.open(single);
    const index = await open(layout.index);
    if (index) return openShards(layout, index, open, needs);
  }
  throw new FormatError("the folder has no weights", {
    code: "formats/not-found",
    where: typeof folder === "string" ? folder : "the folder",
    expected: layouts.map(({ single, index }) => `${single} or ${index}`).join(", or "),
    received: "none of them",
  });
}

/**
 * The names of the files that hold a model's weights, of all files in its folder: one, or with an index the shards with
 * tensors that are needed. Empty where there are none.
 *
 * @param open opens the index
 * @example
 * ```ts
 * const files = await checkpointFiles(["config.json", "pytorch_model.bin", "model.safetensors"], async () => undefined);
 * console.log(files); // ["model.safetensors"]
 * ```
 */
export async function checkpointFiles(
  names: readonly string[],
  open: OpenFile,
  { needs = () => true }: CheckpointOptions = {},
): Promise<string[]> {
  for (const { single, index, shard } of layouts) {
    if (names.includes(single)) return [single];
    const source = names.includes(index) ? await open(index) : undefined;
    if (source) {
      const shardOf = await readIndex(source, shard);
      return [index, ...new Set([...shardOf].filter(([tensor]) => needs(tensor)).map(([, file]) => file))];
    }
  }
  return [];
}

/**
 * Whether there are weights that {@link openCheckpoint} opens among the files of a folder.
 * @example
 * ```ts
 * hasCheckpoint(["config.json", "tf_model.h5"]); // false
 * ```
 */
export const hasCheckpoint = (names: readonly string[]): boolean =>
  layouts.some(({ single, index }) => names.includes(single) || names.includes(index));

async function openShards(
  layout: Layout,
  index: ByteSource,
  open: OpenFile,
  needs: (tensor: string) => boolean,
): Promise<TensorFile> {
  const { name: where } = index;
  const promised = await readIndex(index, layout.shard);
  const wanted = new Set([...promised].filter(([tensor]) => needs(tensor)).map(([, file]) => file));
  const shardOf = new Map([...promised].filter(([, file]) => wanted.has(file)));

  const shards = new Map<string, TensorFile>();
  const close = async () => void (await Promise.all([...shards.values()].map((shard) => shard.close())));
  try {
    for (const name of wanted) {
      const source = await open(name);
      if (!source)
        throw new FormatError("a shard is missing", {
          code: "formats/not-found",
          where,
          expected: `${quoted(name)} beside the index`,
          received: "no such file",
          hint: "is the download complete?",
        });
      shards.set(name, await layout.open(source));
    }
    for (const [tensor, shard] of shardOf)
      if (!shards.get(shard)!.has(tensor))
        throw new FormatError(`the index promises a tensor that shard ${quoted(shard)} does not have`, {
          code: "formats/invalid",
          where,
          expected: quoted(tensor),
        });
  } catch (error) {
    await close();
    throw error;
  }
  return joinShards(where, shardOf, shards, close);
}

/** One file of tensors over many. */
function joinShards(
  source: string,
  shardOf: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, TensorFile>,
  close: () => Promise<void>,
): TensorFile {
  const names = [...shardOf.keys()];
  const shard = (name: string) => shards.get(shardOf.get(name) ?? unknownTensor(name, source, names))!;
  const many = async <A>(
    wanted: Iterable<string> = names,
    load: (file: TensorFile, part: string[]) => Promise<Map<string, A>>,
  ): Promise<Map<string, A>> => {
    const order = [...wanted];
    const loaded = new Map<string, A>();
    for (const file of new Set(order.map(shard))) {
      const part = order.filter((name) => shard(name) === file);
      for (const [name, data] of await load(file, part)) loaded.set(name, data);
    }
    return new Map(order.map((name) => [name, loaded.get(name)!]));
  };
  return {
    source,
    names,
    metadata: new Map([...shards.values()].flatMap((file) => [...file.metadata])),
    has: (name) => shardOf.has(name),
    info: (name) => shard(name).info(name),
    read: async (name) => shard(name).read(name),
    readFloat32: async (name) => shard(name).readFloat32(name),
    readMany: (wanted) => many(wanted, (file, part) => file.readMany(part)),
    readManyFloat32: (wanted) => many(wanted, (file, part) => file.readManyFloat32(part)),
    close,
  };
}

function localFolder(folder: string): OpenFile {
  return async (name) => {
    const { default: path } = await import("node:path");
    try {
      return await fileSource(path.join(folder, name));
    } catch (error) {
      if (error instanceof FormatError && error.received === "no such file") return undefined;
      throw error;
    }
  };
}

/** Tensor name to shard name, both checked. */
async function readIndex(source: ByteSource, name: RegExp): Promise<Map<string, string>> {
  const where = source.name;
  const invalid = (message: string, expected: string, received: string) =>
    new FormatError(message, { code: "formats/invalid", where, expected, received });
  try {
    if (source.byteLength > MAX_INDEX)
      throw invalid("the index is too long", `at most ${MAX_INDEX} bytes`, `${source.byteLength} bytes`);
    const index = parseJson(new Uint8Array(await source.slice(0)), where);
    const map = isObject(index) ? index.weight_map : undefined;
    if (!isObject(map)) throw invalid("the index has no weight map", 'an object "weight_map"', typeof map);
    return new Map(
      Object.entries(map).map(([tensor, shard]) => {
        if (typeof shard === "string" && name.test(shard)) return [tensor, shard];
        const received = quoted(typeof shard === "string" ? shard : typeof shard);
        throw invalid("a shard is not a file of weights beside the index", "a plain file name", received);
      }),
    );
  } finally {
    await source.close();
  }
}

export interface WriteCheckpointOptions {
  /** Bytes of tensor data a shard may hold (a larger tensor gets a shard of its own); default 5 GB, as Hugging Face has it. */
  maxShardBytes?: number;
  /** Metadata of every file; default `{ format: "pt" }`, which Hugging Face's loader asks for. */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * Write a model's weights into an existing folder: `model.safetensors`, or shards `model-00001-of-00003.safetensors` … and
 * their index where one file would be larger than `maxShardBytes`. Each file appears whole or not at all, the index last;
 * then the weights of an earlier checkpoint there are removed. Returns the names of the files.
 *
 * @example
 * ```ts
 * const w = { dtype: "float32", shape: [1, 2], data: new Float32Array([1, 2]) } as const;
 * await writeCheckpoint("weights", { w }); // ["model.safetensors"]
 * ```
 */
export async function writeCheckpoint(
  folder: string,
  tensors: NamedTensors,
  { maxShardBytes = 5e9, metadata = { format: "pt" } }: WriteCheckpointOptions = {},
): Promise<string[]> {
  const { default: path } = await import("node:path");
  const shards = split(tensorEntries(tensors), maxShardBytes);
  const count = String(shards.length).padStart(5, "0");
  const names = shards.map((_, i) =>
    shards.length === 1 ? SINGLE : `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`,
  );
  for (const [i, shard] of shards.entries())
    await writeSafetensors(path.join(folder, names[i]!), new Map(shard), metadata);
  if (shards.length > 1) {
    const weightMap = shards.flatMap((shard, i) => shard.map(([tensor]) => [tensor, names[i]!] as const));
    const total = tensorEntries(tensors).reduce((sum, [, tensor]) => sum + tensorBytes(tensor), 0);
    const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(weightMap.sort(byName)) };
    const text = JSON.stringify(index, null, 2) + "\n";
    await writeFileAtomic(path.join(folder, INDEX), text);
    names.push(INDEX);
  }
  await removeOthers(folder, names);
  return names;
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : 1;
}

/** Fill shards in the given order. */
function split(entries: [string, TensorData][], maxBytes: number): [string, TensorData][][] {
  const shards: [string, TensorData][][] = [[]];
  let bytes = 0;
  for (const entry of entries) {
    const size = tensorBytes(entry[1]);
    if (bytes > 0 && bytes + size > maxBytes) {
      shards.push([]);
      bytes = 0;
    }
    shards.at(-1)!.push(entry);
    bytes += size;
  }
  return shards;
}

/** Remove what an earlier checkpoint left, so that a reader cannot mix the two. */
async function removeOthers(folder: string, keep: readonly string[]): Promise<void> {
  const { readdir, rm } = await import("node:fs/promises");
  const { default: path } = await import("node:path");
  for (const name of await readdir(folder))
    if (/^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/.test(name) && !keep.includes(name))
      await rm(path.join(folder, name), { force: true });
}
