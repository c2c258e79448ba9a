/** @file The memory in which the sparse part of a step works, and the kernels that work in it. */
import { TrainError } from "../../errors.ts";
import { kernelBytes } from "./kernels.wasm.ts";

/** The functions of kernels.as; pointers are byte offsets into the memory. */
export interface Kernels {
  addRows(
    out: number,
    base: number,
    rows: number,
    latents: number,
    values: number,
    pairs: number,
    width: number,
  ): number;
  dotRows(out: number, vector: number, rows: number, latents: number, pairs: number, width: number): void;
  scaleAdd(out: number, base: number, factor: number, more: number, width: number): void;
  gatherSum(
    out: number,
    rows: number,
    places: number,
    values: number,
    order: number,
    pairs: number,
    width: number,
  ): number;
  addScaled(out: number, row: number, value: number, width: number): void;
  above(x: number, bounds: number, size: number, places: number, values: number): number;
  adam(
    parameter: number,
    gradient: number,
    mean: number,
    square: number,
    size: number,
    gradientScale: number,
    beta1: number,
    beta2: number,
    rest1: number,
    rest2: number,
    stepSize: number,
    rootScale: number,
    eps: number,
  ): void;
  squares(x: number, size: number): number;
}

/** Floats of the kernels' memory with where they start. */
export interface Floats {
  readonly at: number;
  readonly data: Float32Array<ArrayBuffer>;
}
export interface Integers {
  readonly at: number;
  readonly data: Uint32Array<ArrayBuffer>;
}

export interface KernelMemory {
  readonly kernels: Kernels;
  /** Room for numbers, all 0, at a multiple of 64 bytes. */
  floats(count: number): Floats;
  integers(count: number): Integers;
}

const page = 65536;
/** What 32-bit pointers reach, less a page. */
const most = 2 ** 32 - page;

const rounded = (bytes: number): number => Math.ceil(bytes / 64) * 64;

/** Bytes that arrays of these lengths take. */
export const memoryBytes = (counts: readonly number[]): number =>
  counts.reduce((sum, count) => sum + rounded(4 * count), page);

/** Whether arrays of these lengths fit the kernels' memory. */
export const fitsMemory = (counts: readonly number[]): boolean => memoryBytes(counts) <= most;

/** @throws TrainError where the system does not give that much */
export async function kernelMemory(bytes: number): Promise<KernelMemory> {
  const pages = Math.ceil(bytes / page) + 1;
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch (cause) {
    throw new TrainError("there is not enough memory to train this SAE", {
      code: "train/memory",
      expected: `${Math.round(bytes / 1e6)} MB`,
      hint: "train one with fewer latents",
      cause,
    });
  }
  const code = Uint8Array.from(atob(kernelBytes), (letter) => letter.charCodeAt(0));
  const { instance } = await WebAssembly.instantiate(code, { env: { memory, abort: () => undefined } });
  let next = page;
  const take = (count: number): number => {
    const at = next;
    next += rounded(4 * count);
    return at;
  };
  return {
    kernels: instance.exports as Record<string, unknown> as Record<keyof Kernels, never>,
    floats: (count) => {
      const at = take(count);
      return { at, data: new Float32Array(memory.buffer, at, count) };
    },
    integers: (count) => {
      const at = take(count);
      return { at, data: new Uint32Array(memory.buffer, at, count) };
    },
  };
}
