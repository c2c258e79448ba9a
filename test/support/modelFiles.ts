/** @file Helpers for tests of model files: folders that go away, stored tensors, values of parameters. */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { fileSource, openSafetensors, writeSafetensors, type TensorData } from "../../src/formats/index.ts";
import type { DataArray, Tensor } from "../../src/graph/index.ts";
import type { ModelConfigInput } from "../../src/model/config.ts";
import type { ModelWeights } from "../../src/model/weights/weights.ts";
import { realize } from "../../src/runtime/index.ts";
import { sharedPath } from "./goldens.ts";

/** One model per family, with goldens of processed weights. */
export const families = ["gpt2", "gpt-neox-parallel", "llama-gqa", "gemma2", "qwen2", "mistral-window"] as const;

export const familyPath = (family: string): string => sharedPath(`goldens/families/${family}`);

/** A small native model. */
export const small: ModelConfigInput = {
  n_layers: 2,
  d_model: 12,
  n_ctx: 9,
  d_head: 4,
  n_heads: 3,
  d_mlp: 20,
  d_vocab: 11,
  d_vocab_out: 7,
  act_fn: "relu",
};

/** A fresh folder for each test. */
export function useFolder(): () => string {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "interpretune-model-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  return () => folder;
}

export function realized(weights: ModelWeights): Promise<Record<string, Tensor>> {
  return realize(Object.fromEntries(weights));
}

/** Every parameter's values by name. */
export async function numbers(weights: ModelWeights): Promise<Map<string, number[]>> {
  return new Map(Object.entries(await realized(weights)).map(([name, x]) => [name, x.toArray()]));
}

/** The error a promise ends with. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => expect.unreachable("it did not fail"),
    (error: unknown) => error as Error,
  );
}

export interface Stored {
  readonly shape: readonly number[];
  readonly data: DataArray;
}

/** The tensors of a safetensors file. */
export async function stored(path: string): Promise<Map<string, Stored>> {
  const file = await openSafetensors(await fileSource(path));
  const tensors = await file.readMany();
  const found = new Map([...tensors].map(([name, data]) => [name, { shape: file.info(name).shape, data }]));
  await file.close();
  return found;
}

/** A copy of a family's model in `folder`, its tensors changed. */
export async function changed(
  folder: string,
  family: string,
  change: (tensors: Map<string, TensorData>) => void,
): Promise<string> {
  const tensors = new Map<string, TensorData>();
  for (const [name, { shape, data }] of await stored(join(familyPath(family), "model.safetensors")))
    tensors.set(name, { dtype: "float32", shape, data });
  change(tensors);
  copyFileSync(join(familyPath(family), "config.json"), join(folder, "config.json"));
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  return folder;
}
