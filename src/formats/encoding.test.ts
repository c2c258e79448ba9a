import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arrayOver, decode, plainEncoding } from "./encoding.ts";
import { type DType } from "../graph/dtype.ts";

function toFloat32(dtype: DType, bytes: Uint8Array): Float32Array {
  const encoding = plainEncoding("", dtype);
  const out = new Float32Array(bytes.length / encoding.bytes);
  decode(encoding, bytes, out);
  return out;
}

/** float32 nearest to an integer, ties to even, by integer arithmetic. */
function nearestFloat32(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  const shift = BigInt(Math.max(0, magnitude.toString(2).length - 24));
  let kept = magnitude >> shift;
  const rest = magnitude - (kept << shift);
  const half = shift > 0n ? 1n << (shift - 1n) : 0n;
  if (shift > 0n && (rest > half || (rest === half && kept % 2n === 1n))) kept += 1n;
  return Number(kept << shift) * (value < 0n ? -1 : 1);
}

describe("conversion to float32", () => {
  it("rounds int64 once", () => {
    const near = fc
      .tuple(fc.bigInt(1n << 23n, 1n << 24n), fc.integer({ min: 20, max: 38 }), fc.bigInt(-3n, 3n), fc.boolean())
      .map(([top, shift, nudge, halfway]) => {
        const value = (top << BigInt(shift)) + (halfway ? 1n << BigInt(shift - 1) : 0n) + nudge;
        return value > (1n << 63n) - 1n ? (1n << 63n) - 1n : value;
      });
    const any = fc.bigInt(-(1n << 63n), (1n << 63n) - 1n);
    fc.assert(
      fc.property(
        fc.oneof(
          any,
          near,
          near.map((value) => -value),
          fc.bigInt(-5n, 5n),
        ),
        (value) => {
          const bytes = new Uint8Array(BigInt64Array.of(value).buffer);
          expect(toFloat32("int64", bytes)[0]! + 0).toBe(nearestFloat32(value) + 0);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("takes bfloat16 as the upper half of float32, and float16 as IEEE 754 has it, over several work pieces", () => {
    const bits = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i);
    const upper = toFloat32("bfloat16", new Uint8Array(bits.buffer));
    const view = new DataView(new ArrayBuffer(4));
    for (const bit of bits) {
      view.setUint16(0, bit);
      expect(upper[bit]).toBe(view.getFloat32(0));
    }
    const half = toFloat32("float16", new Uint8Array(bits.buffer));
    expect([0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000].map((bit) => half[bit])).toEqual([
      1,
      -2,
      2 ** -24,
      65504,
      Infinity,
      -0,
    ]);
  });

  it.each<[DType, number[]]>([
    ["float64", [0.1, -1e300, 1e-50, NaN]],
    ["int32", [2 ** 31 - 1, -(2 ** 31), 16777217]],
    ["int16", [-32768, 32767]],
    ["int8", [-128, 127]],
    ["uint8", [0, 255]],
    ["bool", [0, 1]],
    ["float32", [0.5, -0, Infinity]],
  ])("rounds %s to the nearest float32", (dtype, values) => {
    const data = arrayOver(dtype, new ArrayBuffer(values.length * plainEncoding("", dtype).bytes));
    for (const [i, value] of values.entries()) data[i] = value;
    expect([...toFloat32(dtype, new Uint8Array(data.buffer))]).toEqual(values.map(Math.fround));
  });
});
