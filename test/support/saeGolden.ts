/** @file SAE goldens as leaves and numbers. */
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fileSource, openSafetensors } from "../../src/formats/index.ts";
import { axis, leaf, type Tensor } from "../../src/graph/index.ts";

export interface GoldenTensor {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}
export type GoldenTensors = ReadonlyMap<string, GoldenTensor>;

export const saeGoldens = (path: string): string => fileURLToPath(new URL(`../goldens/saes/${path}`, import.meta.url));

export const cases = (folder: string): string[] => readdirSync(saeGoldens(folder)).sort();

/** Every tensor of a safetensors file. */
export async function goldenTensors(path: string): Promise<GoldenTensors> {
  const file = await openSafetensors(await fileSource(path));
  const data = await file.readManyFloat32();
  const tensors = file.names.map((name) => [name, { dims: file.info(name).shape, data: data.get(name)! }] as const);
  await file.close();
  return new Map(tensors);
}

/** An input leaf whose token axes are symbolic, so that no shape rule can lean on their size. */
export function inputLeaf({ dims, data }: GoldenTensor, own = 1): Tensor {
  const tokens = dims.length - own;
  return leaf(data, dims, { shape: dims.map((d, i) => (i < tokens ? axis(`token${i}`) : d)), name: "input" });
}

/** Largest difference relative to the largest entry. */
export function relativeError(received: readonly number[], expected: ArrayLike<number>): number {
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    worst = Math.max(worst, Math.abs(received[i]! - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return received.length === expected.length ? worst / largest : Infinity;
}
