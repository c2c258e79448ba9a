/** @file The IQ1 to IQ3 types of GGUF: blocks of 256 values, each 4 or 8 of them one row of a codebook with signs. */
import { work, type Kernel } from "../encoding.ts";
import { codebook } from "./grids.ts";

const { bytes, out, half } = work;

/** Seven sign bits and an eighth that makes their number even. */
const evenSigns: Uint8Array = Uint8Array.from({ length: 128 }, (_, bits) => {
  let parity = 0;
  for (let rest = bits; rest > 0; rest >>= 1) parity ^= rest & 1;
  return bits | (parity << 7);
});

/** Write `count` values of a codebook row, negative where the sign bit is set. */
function writeSigned(at: number, scale: number, grid: Int8Array, row: number, signs: number, count: number): void {
  for (let j = 0; j < count; j++) {
    const value = scale * grid[row * count + j]!;
    out[at + j] = (signs >> j) & 1 ? -value : value;
  }
}

export const iq2xxs: Kernel = (count) => {
  const grid = codebook("IQ2_XXS");
  for (let b = 0, o = 0; o < count; b += 66, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let g = 0; g < 8; g++) {
      const at = b + 2 + 8 * g;
      const packed = word32(at + 4);
      const scale = d * (0.5 + (packed >>> 28)) * 0.25;
      for (let l = 0; l < 4; l++) {
        const signs = evenSigns[(packed >>> (7 * l)) & 127]!;
        writeSigned(o + 32 * g + 8 * l, scale, grid, bytes[at + l]!, signs, 8);
      }
    }
  }
};

export const iq2xs: Kernel = (count) => {
  const grid = codebook("IQ2_XS");
  for (let b = 0, o = 0; o < count; b += 74, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let k = 0; k < 32; k++) {
      const q = word16(b + 2 + 2 * k);
      const scale = d * (0.5 + nibble(b + 66, k >> 1)) * 0.25;
      writeSigned(o + 8 * k, scale, grid, q & 511, evenSigns[q >> 9]!, 8);
    }
  }
};

export const iq2s: Kernel = (count) => {
  const grid = codebook("IQ2_S");
  for (let b = 0, o = 0; o < count; b += 82, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let k = 0; k < 32; k++) {
      const row = bytes[b + 2 + k]! | (((bytes[b + 66 + (k >> 2)]! >> (2 * (k & 3))) & 3) << 8);
      const scale = d * (0.5 + nibble(b + 74, k >> 1)) * 0.25;
      writeSigned(o + 8 * k, scale, grid, row, bytes[b + 34 + k]!, 8);
    }
  }
};

export const iq3xxs: Kernel = (count) => {
  const grid = codebook("IQ3_XXS");
  for (let b = 0, o = 0; o < count; b += 98, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let k = 0; k < 64; k++) {
      const packed = word32(b + 66 + 4 * (k >> 3));
      const scale = d * (0.5 + (packed >>> 28)) * 0.5;
      const signs = evenSigns[(packed >>> (7 * ((k >> 1) & 3))) & 127]!;
      writeSigned(o + 4 * k, scale, grid, bytes[b + 2 + k]!, signs >> (4 * (k & 1)), 4);
    }
  }
};

export const iq3s: Kernel = (count) => {
  const grid = codebook("IQ3_S");
  for (let b = 0, o = 0; o < count; b += 110, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let k = 0; k < 64; k++) {
      const row = bytes[b + 2 + k]! | (((bytes[b + 66 + (k >> 3)]! >> (k & 7)) & 1) << 8);
      const scale = d * (1 + 2 * nibble(b + 106, k >> 3));
      writeSigned(o + 4 * k, scale, grid, row, nibble(b + 74, k), 4);
    }
  }
};

export const iq1s: Kernel = (count) => {
  const grid = codebook("IQ1_S");
  for (let b = 0, o = 0; o < count; b += 50, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let k = 0; k < 32; k++) {
      const high = word16(b + 34 + 2 * (k >> 2));
      const row = bytes[b + 2 + k]! | (((high >> (3 * (k & 3))) & 7) << 8);
      const scale = d * (2 * ((high >> 12) & 7) + 1);
      const shift = high & 0x8000 ? -0.125 : 0.125;
      for (let j = 0; j < 8; j++) out[o + 8 * k + j] = scale * (grid[8 * row + j]! + shift);
    }
  }
};

export const iq1m: Kernel = (count) => {
  const grid = codebook("IQ1_S");
  for (let b = 0, o = 0; o < count; b += 56, o += 256) {
    let bits = 0; // the block's scale is spread over the top four bits of four words
    for (let i = 0; i < 4; i++) bits |= (word16(b + 48 + 2 * i) >> 12) << (4 * i);
    const d = half[bits]!;
    for (let k = 0; k < 32; k++) {
      const high = nibble(b + 32, k);
      const row = bytes[b + k]! | ((high & 7) << 8);
      const scale = d * (2 * ((word16(b + 48 + 2 * (k >> 3)) >> (3 * ((k >> 1) & 3))) & 7) + 1);
      const shift = high & 8 ? -0.125 : 0.125;
      for (let j = 0; j < 8; j++) out[o + 8 * k + j] = scale * (grid[8 * row + j]! + shift);
    }
  }
};

/** The `i`-th half byte from `at`, lower half first. */
function nibble(at: number, i: number): number {
  return (bytes[at + (i >> 1)]! >> (4 * (i & 1))) & 15;
}

function word16(at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function word32(at: number): number {
  return word16(at) | (word16(at + 2) << 16);
}
