/** @file Data types of tensors and the typed arrays that hold them. */

/** Arrays that hold each data type. `bool` is one byte each; `float16` and `bfloat16` are stored as their bit patterns. */
export interface DataArrays {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  bfloat16: Uint16Array;
  int64: BigInt64Array;
  int32: Int32Array;
  int16: Int16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}

export type DType = keyof DataArrays;
export type DataArray = DataArrays[DType];

interface DTypeInfo<D extends DType> {
  /** Bytes of one element. */
  bytes: number;
  kind: "float" | "int" | "bool";
  /** ONNX TensorProto.DataType. */
  onnx: number;
  array: {
    new (length: number): DataArrays[D];
    new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): DataArrays[D];
  };
}

/** Everything the rest of the code asks about a data type. */
export const dtypes: { readonly [D in DType]: DTypeInfo<D> } = {
  float32: { bytes: 4, kind: "float", onnx: 1, array: Float32Array },
  float64: { bytes: 8, kind: "float", onnx: 11, array: Float64Array },
  float16: { bytes: 2, kind: "float", onnx: 10, array: Uint16Array },
  bfloat16: { bytes: 2, kind: "float", onnx: 16, array: Uint16Array },
  int64: { bytes: 8, kind: "int", onnx: 7, array: BigInt64Array },
  int32: { bytes: 4, kind: "int", onnx: 6, array: Int32Array },
  int16: { bytes: 2, kind: "int", onnx: 5, array: Int16Array },
  int8: { bytes: 1, kind: "int", onnx: 3, array: Int8Array },
  uint8: { bytes: 1, kind: "int", onnx: 2, array: Uint8Array },
  bool: { bytes: 1, kind: "bool", onnx: 9, array: Uint8Array },
};

const scratch = new DataView(new ArrayBuffer(4));

/**
 * The float32 value of a bfloat16 bit pattern (exact).
 * @example
 * bfloat16ToNumber(0x3f80); // 1
 */
export function bfloat16ToNumber(bits: number): number {
  scratch.setUint32(0, (bits << 16) >>> 0);
  return scratch.getFloat32(0);
}

/**
 * The bfloat16 bit pattern nearest to a number, ties to even; NaN stays NaN.
 * @example
 * numberToBfloat16(1).toString(16); // "3f80"
 */
export function numberToBfloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/**
 * The value of an IEEE half-precision bit pattern (exact).
 * @example
 * float16ToNumber(0x3c00); // 1
 */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * The half-precision bit pattern nearest to a number, ties to even; overflow gives infinity.
 * @example
 * numberToFloat16(1).toString(16); // "3c00"
 */
export function numberToFloat16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return sign | 0x7c00;
  const exponent = Math.max(-14, magnitude === 0 ? -14 : Math.floor(Math.log2(magnitude)));
  let steps = magnitude / 2 ** (exponent - 10); // in units of the last place: [1024, 2048) when normal
  const floor = Math.floor(steps);
  const rest = steps - floor;
  steps = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  // A carry out of the fraction moves into the exponent field by itself.
  const bits = steps + (exponent + 14) * 1024;
  return sign | (bits >= 0x7c00 ? 0x7c00 : bits);
}
