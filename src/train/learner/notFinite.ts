/** @file The batch whose loss was not finite, kept to be looked at. */
import { join } from "node:path";
import { makeFolder } from "../../formats/disk/folder.ts";
import { writeFileAtomic } from "../../formats/index.ts";
import { Tensor, type DataArray } from "../../graph/index.ts";
import { TrainError } from "../errors.ts";

/**
 * Writes the batch of a step whose loss was not finite.
 * @param at where it was: goes into the file and its name
 * @returns the error to throw, which says where the batch is; other errors as they are
 */
export async function keepBatch(
  error: unknown,
  folder: string | undefined,
  at: { readonly epoch: number; readonly globalStep: number; readonly index: number },
  batch: unknown,
): Promise<unknown> {
  if (!(error instanceof TrainError) || error.code !== "train/not-finite" || folder === undefined) return error;
  const file = join(folder, `not-finite-step-${at.globalStep}-batch-${at.index}.json`);
  try {
    await makeFolder(folder);
    await writeFileAtomic(file, JSON.stringify({ ...at, batch }, plain));
  } catch {
    return error; // the first failure is what is told
  }
  const { message, code, received, hint } = error;
  return new TrainError(message.split(";")[0]!, { code, received, hint, where: `the batch in ${file}` });
}

/** Typed arrays as lists, tensors with their dims; what is not finite as text. */
function plain(this: { readonly [key: string]: unknown }, key: string, value: unknown): unknown {
  const own = this[key]; // a tensor; `value` is what it makes of itself
  if (own instanceof Tensor) return { dims: own.dims, data: listed(own.data) };
  return ArrayBuffer.isView(value) && !(value instanceof DataView) ? listed(value as DataArray) : value;
}

const listed = (data: DataArray): (number | string)[] =>
  Array.from(data as ArrayLike<number | bigint>, (x) => (typeof x === "bigint" || !Number.isFinite(x) ? String(x) : x));
