/** @file How numbers are stored: data types as they are, quantised blocks, and their decoders to float32. */
import { dtypes, float16ToNumber, type DataArray, type DType } from "../graph/dtype.ts";

/** Decode whole blocks; `out` has exactly as many elements as `bytes` stores. `bytes` starts on an 8-byte boundary. */
export type Decoder = (bytes: Uint8Array, out: Float32Array) => void;

/** One storage type of a file format. */
export interface Encoding {
  /** The format's own name: `F32`, `Q4_K`. */
  readonly name: string;
  /** What `read` gives. Quantised blocks (`block > 1`) are decoded to float32. */
  readonly dtype: DType;
  /** Elements of one block; 1 unless quantised. */
  readonly block: number;
  /** Bytes of one block. */
  readonly bytes: number;
  readonly decode: Decoder;
}

/** A data type stored as it is, little-endian. */
export function plainEncoding(name: string, dtype: DType): Encoding {
  return { name, dtype, block: 1, bytes: dtypes[dtype].bytes, decode: decoders[dtype] };
}

const decoders: { readonly [D in DType]: Decoder } = {
  float32: (bytes, out) => out.set(view(Float32Array, bytes)),
  float64: (bytes, out) => out.set(view(Float64Array, bytes)),
  float16(bytes, out) {
    const half = halfTable();
    const bits = view(Uint16Array, bytes);
    for (let i = 0; i < out.length; i++) out[i] = half[bits[i]!]!;
  },
  bfloat16(bytes, out) {
    const bits = view(Uint16Array, bytes);
    const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0; i < words.length; i++) words[i] = bits[i]! << 16;
  },
  int64(bytes, out) {
    const words = view(Uint32Array, bytes);
    for (let i = 0; i < out.length; i++) {
      const high = words[2 * i + 1]! | 0;
      let low = words[2 * i]!;
      if (high >= 0x200000 || high < -0x200000) {
        // Beyond 53 bits, fold the last 11 into one odd bit: the only rounding is then the one to float32.
        const rest = low & 0x7ff;
        low -= rest;
        if (rest > 0 && !(low & 0x800)) low += 0x800;
      }
      out[i] = high * 2 ** 32 + low;
    }
  },
  int32: (bytes, out) => out.set(view(Int32Array, bytes)),
  int16: (bytes, out) => out.set(view(Int16Array, bytes)),
  int8: (bytes, out) => out.set(view(Int8Array, bytes)),
  uint8: (bytes, out) => out.set(bytes),
  bool: (bytes, out) => out.set(bytes),
};

type ViewConstructor<A> = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => A;

function view<A>(type: ViewConstructor<A> & { readonly BYTES_PER_ELEMENT: number }, bytes: Uint8Array): A {
  return new type(bytes.buffer, bytes.byteOffset, bytes.byteLength / type.BYTES_PER_ELEMENT);
}

/** The array of a data type over a whole buffer. */
export function arrayOver(dtype: DType, buffer: ArrayBuffer): DataArray {
  const type: new (buffer: ArrayBufferLike) => DataArray = dtypes[dtype].array;
  return new type(buffer);
}

let halves: Float32Array | undefined;

/** The float32 value of each of the 65536 half-precision bit patterns. */
export function halfTable(): Float32Array {
  return (halves ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => float16ToNumber(bits)));
}
