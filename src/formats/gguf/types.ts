/** @file The storage types of GGUF and how each decodes to float32, exactly as ggml does. */
import { plainEncoding, work, type Encoding, type Kernel } from "../encoding.ts";
import { iq1m, iq1s, iq2s, iq2xs, iq2xxs, iq3s, iq3xxs } from "./codebookTypes.ts";
import { q2k, q3k, q4k, q5k, q6k } from "./kTypes.ts";

const { bytes, out, half } = work;
const signed = new Int8Array(bytes.buffer);

const e2m1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
const iq4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

const q4_0: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 18, o += 32) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let j = 0; j < 16; j++) {
      const q = bytes[b + 2 + j]!;
      out[o + j] = d * ((q & 15) - 8);
      out[o + 16 + j] = d * ((q >> 4) - 8);
    }
  }
};

const q4_1: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 20, o += 32) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    const m = half[bytes[b + 2]! | (bytes[b + 3]! << 8)]!;
    for (let j = 0; j < 16; j++) {
      const q = bytes[b + 4 + j]!;
      out[o + j] = d * (q & 15) + m;
      out[o + 16 + j] = d * (q >> 4) + m;
    }
  }
};

const q5_0: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 22, o += 32) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    const high = word32(b + 2);
    for (let j = 0; j < 16; j++) {
      const q = bytes[b + 6 + j]!;
      out[o + j] = d * (((q & 15) | (((high >>> j) & 1) << 4)) - 16);
      out[o + 16 + j] = d * (((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16);
    }
  }
};

const q5_1: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 24, o += 32) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    const m = half[bytes[b + 2]! | (bytes[b + 3]! << 8)]!;
    const high = word32(b + 4);
    for (let j = 0; j < 16; j++) {
      const q = bytes[b + 8 + j]!;
      out[o + j] = d * ((q & 15) | (((high >>> j) & 1) << 4)) + m;
      out[o + 16 + j] = d * ((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) + m;
    }
  }
};

const q8_0: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 34, o += 32) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let i = b + 2, to = o; i < b + 34; i++, to++) out[to] = d * signed[i]!;
  }
};

const iq4nl: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 18, o += 32) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    for (let j = 0; j < 16; j++) {
      const q = bytes[b + 2 + j]!;
      out[o + j] = d * iq4[q & 15]!;
      out[o + 16 + j] = d * iq4[q >> 4]!;
    }
  }
};

const iq4xs: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 136, o += 256) {
    const d = half[bytes[b]! | (bytes[b + 1]! << 8)]!;
    const high = bytes[b + 2]! | (bytes[b + 3]! << 8);
    for (let g = 0; g < 8; g++) {
      const low = (bytes[b + 4 + (g >> 1)]! >> (4 * (g & 1))) & 15;
      const scale = d * ((low | (((high >> (2 * g)) & 3) << 4)) - 32);
      for (let j = 0; j < 16; j++) {
        const q = bytes[b + 8 + 16 * g + j]!;
        out[o + 32 * g + j] = scale * iq4[q & 15]!;
        out[o + 32 * g + 16 + j] = scale * iq4[q >> 4]!;
      }
    }
  }
};

/** Five base-3 digits to a byte (as a fixed-point fraction), 240 values in 48 bytes, the last 16 four to a byte. */
const tq1_0: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 54, o += 256) {
    const d = half[bytes[b + 52]! | (bytes[b + 53]! << 8)]!;
    const run = (from: number, width: number, digits: number, to: number) => {
      for (let digit = 0, power = 1; digit < digits; digit++, power *= 3)
        for (let j = 0; j < width; j++) {
          const shifted = (bytes[b + from + j]! * power) & 255;
          out[o + to + digit * width + j] = d * (((shifted * 3) >> 8) - 1);
        }
    };
    run(0, 32, 5, 0);
    run(32, 16, 5, 160);
    run(48, 4, 4, 240);
  }
};

const tq2_0: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 66, o += 256) {
    const d = half[bytes[b + 64]! | (bytes[b + 65]! << 8)]!;
    for (let i = 0; i < 256; i++) {
      const q = bytes[b + 32 * (i >> 7) + (i & 31)]!;
      out[o + i] = d * (((q >> (2 * ((i >> 5) & 3))) & 3) - 1);
    }
  }
};

const mxfp4: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 17, o += 32) {
    const d = 2 ** (bytes[b]! - 128);
    for (let j = 0; j < 16; j++) {
      const q = bytes[b + 1 + j]!;
      out[o + j] = d * e2m1[q & 15]!;
      out[o + 16 + j] = d * e2m1[q >> 4]!;
    }
  }
};

const nvfp4: Kernel = (count) => {
  for (let b = 0, o = 0; o < count; b += 36, o += 64) {
    for (let g = 0; g < 4; g++) {
      const d = ue4m3(bytes[b + g]!) / 2;
      for (let j = 0; j < 8; j++) {
        const q = bytes[b + 4 + 8 * g + j]!;
        out[o + 16 * g + j] = d * e2m1[q & 15]!;
        out[o + 16 * g + 8 + j] = d * e2m1[q >> 4]!;
      }
    }
  }
};

/** An unsigned 8-bit float with four exponent and three fraction bits; its one NaN counts as 0, as in ggml. */
function ue4m3(bits: number): number {
  if (bits === 0x7f) return 0;
  const exponent = (bits >> 3) & 15;
  const fraction = bits & 7;
  return exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7);
}

function word32(at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function quantised(name: string, block: number, bytes: number, kernel: Kernel): Encoding {
  return { name, dtype: "float32", block, bytes, kernel };
}

/** Every type we read, by its number in the file (`ggml_type`). */
export const ggufTypes: ReadonlyMap<number, Encoding> = new Map([
  [0, plainEncoding("F32", "float32")],
  [1, plainEncoding("F16", "float16")],
  [2, quantised("Q4_0", 32, 18, q4_0)],
  [3, quantised("Q4_1", 32, 20, q4_1)],
  [6, quantised("Q5_0", 32, 22, q5_0)],
  [7, quantised("Q5_1", 32, 24, q5_1)],
  [8, quantised("Q8_0", 32, 34, q8_0)],
  [10, quantised("Q2_K", 256, 84, q2k)],
  [11, quantised("Q3_K", 256, 110, q3k)],
  [12, quantised("Q4_K", 256, 144, q4k)],
  [13, quantised("Q5_K", 256, 176, q5k)],
  [14, quantised("Q6_K", 256, 210, q6k)],
  [16, quantised("IQ2_XXS", 256, 66, iq2xxs)],
  [17, quantised("IQ2_XS", 256, 74, iq2xs)],
  [18, quantised("IQ3_XXS", 256, 98, iq3xxs)],
  [19, quantised("IQ1_S", 256, 50, iq1s)],
  [20, quantised("IQ4_NL", 32, 18, iq4nl)],
  [21, quantised("IQ3_S", 256, 110, iq3s)],
  [22, quantised("IQ2_S", 256, 82, iq2s)],
  [23, quantised("IQ4_XS", 256, 136, iq4xs)],
  [24, plainEncoding("I8", "int8")],
  [25, plainEncoding("I16", "int16")],
  [26, plainEncoding("I32", "int32")],
  [27, plainEncoding("I64", "int64")],
  [28, plainEncoding("F64", "float64")],
  [29, quantised("IQ1_M", 256, 56, iq1m)],
  [30, plainEncoding("BF16", "bfloat16")],
  [34, quantised("TQ1_0", 256, 54, tq1_0)],
  [35, quantised("TQ2_0", 256, 66, tq2_0)],
  [39, quantised("MXFP4", 32, 17, mxfp4)],
  [40, quantised("NVFP4", 64, 36, nvfp4)],
]);
