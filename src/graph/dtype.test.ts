import { describe, expect, test } from "vitest";
import { bfloat16ToNumber, float16ToNumber, numberToBfloat16, numberToFloat16 } from "./dtype.ts";

const patterns = Array.from({ length: 65536 }, (_, i) => i);
const isNaN16 = (bits: number): boolean => (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
const isNaNB16 = (bits: number): boolean => (bits & 0x7f80) === 0x7f80 && (bits & 0x7f) !== 0;

/** Every number must round to the nearest pattern, ties to the even one; checked halfway between all neighbours. */
function checkRounding(toNumber: (bits: number) => number, toBits: (x: number) => number, largest: number): void {
  for (let bits = 0; bits < largest; bits++) {
    const [low, high] = [toNumber(bits), toNumber(bits + 1)];
    const half = (low + high) / 2;
    const even = bits % 2 === 0 ? bits : bits + 1;
    const quarter = (high - low) / 4;
    const found = [toBits(half), toBits(half - quarter), toBits(half + quarter), toBits(-half)];
    if (found[0] !== even || found[1] !== bits || found[2] !== bits + 1 || found[3] !== (even | 0x8000))
      expect([bits, ...found]).toEqual([bits, even, bits, bits + 1, even | 0x8000]);
  }
}

describe("float16", () => {
  test("all 65536 patterns come back", () => {
    expect(patterns.filter((b) => !isNaN16(b) && numberToFloat16(float16ToNumber(b)) !== b)).toEqual([]);
    expect(patterns.filter(isNaN16).every((b) => Number.isNaN(float16ToNumber(b)))).toBe(true);
    expect(float16ToNumber(numberToFloat16(NaN))).toBeNaN();
  });
  test("known values", () => {
    const known = { 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0400: 2 ** -14, 0x0001: 2 ** -24, 0x3555: 0.333251953125 };
    for (const [bits, value] of Object.entries(known)) expect(float16ToNumber(Number(bits))).toBe(value);
    expect(Object.is(float16ToNumber(0x8000), -0)).toBe(true);
    expect([float16ToNumber(0x7c00), float16ToNumber(0xfc00)]).toEqual([Infinity, -Infinity]);
  });
  test("rounds to nearest, ties to even", () => checkRounding(float16ToNumber, numberToFloat16, 0x7bff));
  test("overflows to infinity halfway past the largest", () => {
    expect([numberToFloat16(65519.99), numberToFloat16(65520), numberToFloat16(-1e300)]).toEqual([
      0x7bff, 0x7c00, 0xfc00,
    ]);
    expect([numberToFloat16(2 ** -25), numberToFloat16(2 ** -25 * 1.01), numberToFloat16(1e-300)]).toEqual([0, 1, 0]);
  });
});

describe("bfloat16", () => {
  test("all 65536 patterns come back", () => {
    expect(patterns.filter((b) => !isNaNB16(b) && numberToBfloat16(bfloat16ToNumber(b)) !== b)).toEqual([]);
    expect(patterns.filter(isNaNB16).every((b) => Number.isNaN(bfloat16ToNumber(b)))).toBe(true);
    expect(bfloat16ToNumber(numberToBfloat16(NaN))).toBeNaN();
  });
  test("known values", () => {
    expect([0x3f80, 0xc000, 0x4049, 0x0080].map(bfloat16ToNumber)).toEqual([1, -2, 3.140625, 2 ** -126]);
    expect([numberToBfloat16(Infinity), numberToBfloat16(-0), numberToBfloat16(3.4e38)]).toEqual([
      0x7f80, 0x8000, 0x7f80,
    ]);
  });
  test("rounds to nearest, ties to even", () => checkRounding(bfloat16ToNumber, numberToBfloat16, 0x7f7f));
});
