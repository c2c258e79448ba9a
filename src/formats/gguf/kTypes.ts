/** @file The K types of GGUF: blocks of 256 values with scales (and minima) of their own for every 16 or 32. */
import { work, type Kernel } from "../encoding.ts";

const { bytes, out, half } = work;

export const q2k: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 84, o += 256) {
    const d = half[bytes[b + 80]! | (bytes[b + 81]! << 8)]!;
    const m = half[bytes[b + 82]! | (bytes[b + 83]! << 8)]!;
    for (let g = 0; g < 16; g++) {
      const scale = d * (bytes[b + g]! & 15);
      const minimum = m * (bytes[b + g]! >> 4);
      const shift = 2 * ((g >> 1) & 3);
      const from = b + 16 + 32 * (g >> 3) + 16 * (g & 1);
      for (let j = 0; j < 16; j++) out[o + 16 * g + j] = scale * ((bytes[from + j]! >> shift) & 3) - minimum;
    }
  }
};

export const q3k: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 110, o += 256) {
    const d = half[bytes[b + 108]! | (bytes[b + 109]! << 8)]!;
    for (let g = 0; g < 16; g++) {
      const low = (bytes[b + 96 + (g & 7)]! >> (4 * (g >> 3))) & 15;
      const high = (bytes[b + 104 + (g & 3)]! >> (2 * (g >> 2))) & 3;
      const scale = d * ((low | (high << 4)) - 32);
      const shift = 2 * ((g >> 1) & 3);
      const from = b + 32 + 32 * (g >> 3) + 16 * (g & 1);
      const mask = b + 16 * (g & 1);
      for (let j = 0; j < 16; j++) {
        const offset = (bytes[mask + j]! >> (g >> 1)) & 1 ? 0 : 4; // a set bit means no offset
        out[o + 16 * g + j] = scale * (((bytes[from + j]! >> shift) & 3) - offset);
      }
    }
  }
};

export const q4k: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 144, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    const m = half[bytes[b + 2]! | (bytes[b + 3]! << 8)]!;
    for (let g = 0; g < 8; g++) {
      const scale = d * packedScale(b + 4, g);
      const minimum = m * packedMinimum(b + 4, g);
      const shift = 4 * (g & 1);
      const from = b + 16 + 32 * (g >> 1);
      for (let j = 0; j < 32; j++) out[o + 32 * g + j] = scale * ((bytes[from + j]! >> shift) & 15) - minimum;
    }
  }
};

export const q5k: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 176, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    const m = half[bytes[b + 2]! | (bytes[b + 3]! << 8)]!;
    for (let g = 0; g < 8; g++) {
      const scale = d * packedScale(b + 4, g);
      const minimum = m * packedMinimum(b + 4, g);
      const shift = 4 * (g & 1);
      const from = b + 48 + 32 * (g >> 1);
      for (let j = 0; j < 32; j++) {
        const q = ((bytes[from + j]! >> shift) & 15) | (((bytes[b + 16 + j]! >> g) & 1) << 4);
        out[o + 32 * g + j] = scale * q - minimum;
      }
    }
  }
};

export const q6k: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 210, o += 256) {
    const d = half[bytes[b + 208]! | (bytes[b + 209]! << 8)]!;
    for (let g = 0; g < 16; g++) {
      const scale = d * ((bytes[b + 192 + g]! << 24) >> 24);
      const quarter = (g >> 1) & 3;
      const low = b + 64 * (g >> 3) + 32 * (quarter & 1) + 16 * (g & 1);
      const high = b + 128 + 32 * (g >> 3) + 16 * (g & 1);
      for (let j = 0; j < 16; j++) {
        const q = ((bytes[low + j]! >> (4 * (quarter >> 1))) & 15) | (((bytes[high + j]! >> (2 * quarter)) & 3) << 4);
        out[o + 16 * g + j] = scale * (q - 32);
      }
    }
  }
};

/** Eight 6-bit scales and eight 6-bit minima in 12 bytes; the upper four of each keep their top bits elsewhere. */
function packedScale(at: number, g: number): number {
  return g < 4 ? bytes[at + g]! & 63 : (bytes[at + 4 + g]! & 15) | ((bytes[at + g - 4]! >> 2) & 48);
}

function packedMinimum(at: number, g: number): number {
  return g < 4 ? bytes[at + 4 + g]! & 63 : (bytes[at + 4 + g]! >> 4) | ((bytes[at + g]! >> 2) & 48);
}
