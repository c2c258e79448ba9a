/** @file What a file of PyTorch may name beyond plain values: tensors, their storages, ordered dicts, sets, types and sizes. */
import type { DType } from "../../graph/dtype.ts";
import { FormatError, quoted } from "../errors.ts";
import { isPickleKind, type PickleGlobal, type PickleOpaque, type PickleValue, type PickleWorld } from "./machine.ts";

/** A storage type, or a data type where a tensor says its own. `dtype` is missing where it is one we do not read. */
export interface TorchType extends PickleGlobal {
  /** PyTorch's name: `float32`, `uint16`; `untyped` for bytes. */
  readonly type: string;
  readonly dtype?: DType;
}

/** A storage: a member of the archive. */
export interface TorchStorage extends PickleOpaque {
  readonly kind: "storage";
  readonly key: string;
  readonly type: TorchType;
  /** In elements of its type. */
  readonly length: number;
}

/** A tensor: a strided view of a storage. Offset and strides are in elements. */
export interface TorchTensor extends PickleOpaque {
  readonly kind: "tensor";
  readonly storage: TorchStorage;
  readonly type: TorchType;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const MAX_RANK = 64;

/** PyTorch's name of a data type, its storage class where it has one, and ours where we read it. */
const types: readonly (readonly [type: string, storage: string | undefined, dtype?: DType])[] = [
  ["float32", "FloatStorage", "float32"],
  ["float64", "DoubleStorage", "float64"],
  ["float16", "HalfStorage", "float16"],
  ["bfloat16", "BFloat16Storage", "bfloat16"],
  ["int64", "LongStorage", "int64"],
  ["int32", "IntStorage", "int32"],
  ["int16", "ShortStorage", "int16"],
  ["int8", "CharStorage", "int8"],
  ["uint8", "ByteStorage", "uint8"],
  ["bool", "BoolStorage", "bool"],
  ["complex64", "ComplexFloatStorage"],
  ["complex128", "ComplexDoubleStorage"],
  ...["complex32", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"].map(
    (type) => [type, undefined] as const,
  ),
  ...["float8_e5m2fnuz", "float8_e8m0fnu"].map((type) => [type, undefined] as const),
];

const untyped: TorchType = { kind: "global", name: "torch.storage.UntypedStorage", type: "untyped" };

/** The world of PyTorch's pickles: `where` is what errors call the file. */
export function torchWorld(where: string): PickleWorld {
  const invalid = (message: string, expected: string, received?: string): FormatError =>
    new FormatError(message, { code: "formats/invalid", where, expected, received });
  const sizes = (value: PickleValue | undefined, what: string): number[] => {
    const isSize = (n: PickleValue): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
    if (Array.isArray(value) && value.length <= MAX_RANK && value.every(isSize)) return value;
    throw invalid(`a tensor's ${what} is not what it should be`, `at most ${MAX_RANK} integers from 0`);
  };
  const tensor = (args: readonly PickleValue[], own?: PickleValue): PickleValue => {
    const [storage, offset, size, stride] = args;
    if (!isPickleKind<TorchStorage>(storage, "storage")) throw invalid("a tensor has no storage", "a storage");
    const type = own === undefined ? storage.type : isType(own) ? own : undefined;
    if (type === undefined || type.type === "untyped") throw invalid("a tensor has no data type", "a data type");
    const [from] = sizes([offset ?? null], "offset") as [number];
    const [shape, strides] = [sizes(size, "shape"), sizes(stride, "strides")];
    if (shape.length !== strides.length)
      throw invalid("a tensor has another number of strides than of sizes", `${shape.length}`, `${strides.length}`);
    return { kind: "tensor", storage, type, offset: from, shape, strides } as TorchTensor;
  };
  const first = (args: readonly PickleValue[]): PickleValue => args[0] ?? null;
  const callable: { readonly [name: string]: (args: readonly PickleValue[]) => PickleValue } = {
    "torch._utils._rebuild_tensor": (args) => tensor(args),
    "torch._utils._rebuild_tensor_v2": (args) => tensor(args),
    "torch._utils._rebuild_tensor_v3": (args) => tensor(args, args[6] ?? null),
    "torch._utils._rebuild_parameter": first,
    "torch._utils._rebuild_parameter_with_state": first,
    "collections.OrderedDict": (args) => new Map(entries(args[0])),
    "torch.Size": first,
    "torch.device": first,
    "__builtin__.set": (args) => new Set(listed(args[0])),
    "builtins.set": (args) => new Set(listed(args[0])),
    "_codecs.encode": ([text, encoding]) => {
      if (typeof text !== "string" || encoding !== "latin1")
        throw invalid("bytes are not what they should be", "latin1");
      return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    },
  };
  const listed = (value: PickleValue | undefined): PickleValue[] => {
    if (value === undefined) return [];
    if (Array.isArray(value)) return value;
    throw invalid("a container is made of what is no list", "a list");
  };
  const entries = (value: PickleValue | undefined): [PickleValue, PickleValue][] =>
    listed(value).map((pair) => {
      if (Array.isArray(pair) && pair.length === 2) return [pair[0]!, pair[1]!];
      throw invalid("a dict is made of what are no pairs", "pairs");
    });
  const globals = new Map<string, PickleGlobal>(
    Object.entries(callable).map(([name, call]) => [name, { kind: "global", name, call }]),
  );
  for (const [type, storage, dtype] of types)
    for (const name of [`torch.${type}`, ...(storage === undefined ? [] : [`torch.${storage}`])])
      globals.set(name, { kind: "global", name, type, dtype } as TorchType);
  globals.set(untyped.name, untyped);

  return {
    where,
    global: (name) => globals.get(name),
    persistent(id) {
      const [kind, type, key, , length] = Array.isArray(id) ? id : [];
      if (kind !== "storage" || !isType(type) || typeof key !== "string" || !/^[\w.-]{1,100}$/.test(key))
        throw invalid("a persistent id is no storage", '("storage", type, key, device, length)');
      const [elements] = sizes([length ?? null], "storage") as [number];
      return { kind: "storage", key, type, length: elements } as TorchStorage;
    },
  };
}

function isType(value: PickleValue | undefined): value is TorchType {
  return isPickleKind<TorchType>(value, "global") && "type" in value;
}

/** A global as a plain value, for metadata. */
export function plainText(value: PickleOpaque): string {
  return isPickleKind<PickleGlobal>(value, "global") ? value.name : quoted(value.kind);
}
