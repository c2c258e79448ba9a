/** @file How numbers are stored: data types as they are, quantised blocks, and their decoders to float32. */
import { dtypes, type DataArray, type DType } from "../graph/dtype.ts";

/** Decode `count` elements (whole blocks) from the beginning of `work.bytes` to that of `work.out`. */
export type Kernel = (count: number) => void;

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
  readonly kernel: Kernel;
}

const WORK_ELEMENTS = 2 ** 15;

/**
 * Where kernels work. V8 compiles loops over arrays that are module constants to code up to four times as fast as loops
 * over parameters, so kernels use these (by constants of their own modules), and `decode` copies in and out.
 */
export const work: {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly out: Float32Array<ArrayBuffer>;
  readonly half: Float32Array;
} = {
  bytes: new Uint8Array(8 * WORK_ELEMENTS),
  out: new Float32Array(WORK_ELEMENTS),
  /** The float32 value of each half-precision bit pattern; filled before the first kernel runs. */
  half: new Float32Array(2 ** 16),
};

/** Decode whole blocks; `out` has exactly as many elements as `bytes` stores. */
export function decode(encoding: Encoding, bytes: Uint8Array, out: Float32Array): void {
  if (half[0x3c00] !== 1) fillHalf();
  const step = Math.floor(WORK_ELEMENTS / encoding.block);
  const blocks = out.length / encoding.block;
  for (let block = 0; block < blocks; block += step) {
    const end = Math.min(block + step, blocks);
    const count = (end - block) * encoding.block;
    work.bytes.set(bytes.subarray(block * encoding.bytes, end * encoding.bytes));
    encoding.kernel(count);
    out.set(count < WORK_ELEMENTS ? work.out.subarray(0, count) : work.out, block * encoding.block);
  }
}

/** A data type stored as it is, little-endian. */
export function plainEncoding(name: string, dtype: DType): Encoding {
  return { name, dtype, block: 1, bytes: dtypes[dtype].bytes, kernel: kernels[dtype] };
}

const { bytes, out, half } = work;
const outBits = new Uint32Array(out.buffer);
const words16 = new Uint16Array(bytes.buffer);
const words32 = new Uint32Array(bytes.buffer);

function fillHalf(): void {
  for (let exponent = 0; exponent < 32; exponent++) {
    const unit = 2 ** (Math.max(exponent, 1) - 25);
    for (let fraction = 0; fraction < 1024; fraction++) {
      const special = fraction === 0 ? Infinity : NaN;
      const value = exponent === 31 ? special : (exponent === 0 ? fraction : fraction + 1024) * unit;
      half[(exponent << 10) | fraction] = value;
      half[0x8000 | (exponent << 10) | fraction] = -value;
    }
  }
}

/** The platform converts, rounding to nearest. */
function converting(values: Exclude<DataArray, BigInt64Array>): Kernel {
  return (count) => out.set(values.subarray(0, count));
}

const kernels: { readonly [D in DType]: Kernel } = {
  float32: converting(new Float32Array(bytes.buffer)),
  float64: converting(new Float64Array(bytes.buffer)),
  float16(count) {
    for (let i = 0; i < count; i++) out[i] = half[words16[i]!]!;
  },
  bfloat16(count) {
    for (let i = 0; i < count; i++) outBits[i] = words16[i]! << 16;
  },
  int64(count) {
    for (let i = 0; i < count; i++) {
      const high = words32[2 * i + 1]! | 0;
      let low = words32[2 * i]!;
      if (high >= 0x200000 || high < -0x200000) {
        // Beyond 53 bits, fold the last 11 into one odd bit: the only rounding is then the one to float32.
        const rest = low & 0x7ff;
        low -= rest;
        if (rest > 0 && !(low & 0x800)) low += 0x800;
      }
      out[i] = high * 2 ** 32 + low;
    }
  },
  int32: converting(new Int32Array(bytes.buffer)),
  int16: converting(new Int16Array(bytes.buffer)),
  int8: converting(new Int8Array(bytes.buffer)),
  uint8: converting(bytes),
  bool: converting(bytes),
};

/** The array of a data type over a whole buffer. */
export function arrayOver(dtype: DType, buffer: ArrayBuffer): DataArray {
  const type: new (buffer: ArrayBufferLike) => DataArray = dtypes[dtype].array;
  return new type(buffer);
}
