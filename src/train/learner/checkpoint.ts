/** @file Checkpoints: all that decides how a training goes on, in one file that is there whole or not at all. */
import { z } from "zod";
import { makeFolder } from "../../formats/disk/folder.ts";
import { systemCause, systemMessage } from "../../formats/disk/systemError.ts";
import {
  canonicalJson,
  fileSource,
  openSafetensors,
  writeFileAtomic,
  safetensorsPieces,
  type JsonObject,
  type TensorData,
} from "../../formats/index.ts";
import { leaf, type Tensor } from "../../graph/index.ts";
import { TrainError } from "../errors.ts";
import type { LearnerState } from "./learner.ts";

/** What a checkpoint holds. */
export interface Checkpoint {
  readonly learner: LearnerState;
  /** Whatever else has numbers: running averages, a buffer of activations. */
  readonly tensors?: Readonly<Record<string, Tensor>>;
  /** Whatever else decides how it goes on: schedules, the place in the data, counters, the configuration's hash. */
  readonly record: JsonObject;
}

const numbers = z.record(z.string(), z.number());
const schema = z.strictObject({
  version: z.literal(1),
  steps: z.record(z.string(), z.int().nonnegative()),
  learningRates: numbers,
  frozen: z.array(z.string()),
  record: z.record(z.string(), z.json()),
});

const stored = (prefix: string, tensors: Readonly<Record<string, Tensor>>): [string, TensorData][] =>
  Object.entries(tensors).map(([name, x]) => [`${prefix}.${name}`, { dtype: x.dtype, shape: x.dims, data: x.data }]);

/**
 * Writes a checkpoint: a safetensors file (`learner.parameter.<name>`, `learner.<slot>.<name>`, `tensors.<name>`) whose
 * metadata holds the rest as JSON. It is written beside, synced and renamed, so that a process that dies or a disk that is
 * full leaves what was there before. Its folder is made where it is missing.
 * @throws TrainError when it cannot be written
 * @example
 * const parameters = new Map([["w", leaf(Float32Array.of(1), [1])]]);
 * const learner = new Learner({ parameters, optimizer: { name: "SGD", lr: 0.1 } });
 * await saveCheckpoint("step-0.safetensors", { learner: learner.state(), record: { step: 0 } });
 * (await loadCheckpoint("step-0.safetensors")).record; // { step: 0 }
 */
export async function saveCheckpoint(file: string, { learner, tensors = {}, record }: Checkpoint): Promise<void> {
  const { steps, learningRates, frozen } = learner;
  const about = canonicalJson({ version: 1, steps, learningRates, frozen: [...frozen], record });
  const all = [...stored("learner", learner.tensors), ...stored("tensors", tensors)];
  const { default: paths } = await import("node:path");
  try {
    await makeFolder(paths.dirname(file));
    await writeFileAtomic(file, safetensorsPieces(new Map(all), { checkpoint: about }));
  } catch (cause) {
    throw new TrainError("the checkpoint cannot be written; an earlier one is as it was", {
      code: "train/checkpoint",
      where: file,
      received: systemMessage(cause),
      hint: "make room or choose another folder, and go on from the last checkpoint",
      cause: systemCause(cause),
    });
  }
}

/**
 * Reads a checkpoint.
 * @throws FormatError for a damaged file; TrainError for one that is no checkpoint
 * @example
 * const { parameters } = trainable(model);
 * const learner = new Learner({ parameters, optimizer: { name: "AdamW" } });
 * await saveCheckpoint("begun.safetensors", { learner: learner.state(), record: {} });
 * const { learner: state } = await loadCheckpoint("begun.safetensors");
 * learner.restore(state);
 */
export async function loadCheckpoint(file: string): Promise<Required<Checkpoint>> {
  const opened = await openSafetensors(await fileSource(file));
  try {
    const { record, ...learner } = aboutOf(opened.metadata.get("checkpoint"), file);
    const data = await opened.readMany();
    const below = (prefix: string): Record<string, Tensor> =>
      Object.fromEntries(
        opened.names
          .filter((name) => name.startsWith(`${prefix}.`))
          .map((name) => {
            const { shape, dtype } = opened.info(name);
            return [name.slice(prefix.length + 1), leaf(data.get(name)!, shape, { dtype, name })];
          }),
      );
    return { learner: { ...learner, tensors: below("learner") }, tensors: below("tensors"), record };
  } finally {
    await opened.close();
  }
}

function aboutOf(text: string | undefined, where: string): z.output<typeof schema> {
  const fail = (received: string, cause?: unknown): never => {
    throw new TrainError("the file is no checkpoint of a training", {
      code: "train/checkpoint",
      where,
      expected: "safetensors with checkpoint metadata of version 1",
      received,
      cause,
    });
  };
  if (text === undefined) return fail("no such metadata");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return fail("damaged JSON", cause);
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : fail(z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "), parsed.error);
}
