/** @file The checkpoint of a run: every SAE's state, the buffer's rows, the place in the data. */
import { z } from "zod";
import { differences } from "../../formats/canonicalJson.ts";
import { jsonHash, type JsonObject } from "../../formats/index.ts";
import { leaf, type Tensor } from "../../graph/index.ts";
import { loadCheckpoint, saveCheckpoint } from "../learner/checkpoint.ts";
import { TrainError } from "../errors.ts";
import type { BufferState } from "./source/buffer.ts";
import type { TrainerState } from "./trainer.ts";

/** Everything that decides how a run goes on. */
export interface RunState {
  readonly source: JsonObject;
  readonly buffer: BufferState;
  readonly trainers: readonly TrainerState[];
}

const fileIn = (out: string): string => `${out}/checkpoint.safetensors`;

/** @param identity what must be the same for a run to go on from it @param width of the buffer's rows */
export async function writeRun(out: string, identity: JsonObject, state: RunState, width: number): Promise<void> {
  const tensors: Record<string, Tensor> = {};
  state.trainers.forEach(({ tensors: own }, i) => {
    for (const [name, { dims, data }] of Object.entries(own)) tensors[`${i}.${name}`] = leaf(data, dims);
  });
  const { rows, ...at } = state.buffer;
  tensors["buffer"] = leaf(rows, [rows.length / width, width]);
  await saveCheckpoint(fileIn(out), {
    learner: { tensors: {}, steps: {}, learningRates: {}, frozen: [] },
    tensors,
    record: { identity, source: state.source, buffer: { ...at }, trainers: state.trainers.map(({ record }) => record) },
  });
}

const json = z.record(z.string(), z.json());
const recordSchema = z.object({
  identity: json,
  source: json,
  buffer: z.object({ ready: z.int(), drawn: z.int(), received: z.int() }),
  trainers: z.array(json),
});

/**
 * @returns undefined where there is no checkpoint
 * @throws TrainError for the checkpoint of another run
 */
export async function readRun(out: string, identity: JsonObject): Promise<RunState | undefined> {
  const { access } = await import("node:fs/promises");
  const file = fileIn(out);
  const there = await access(file).then(
    () => true,
    () => false,
  );
  if (!there) return undefined;
  const { tensors, record } = await loadCheckpoint(file);
  const { data: saved } = recordSchema.safeParse(record);
  if (saved === undefined || jsonHash(saved.identity) !== jsonHash(identity))
    throw new TrainError("the checkpoint is that of another training", {
      code: "train/checkpoint",
      where: file,
      received: saved === undefined ? "no SAE training" : differences(saved.identity, identity).join("; "),
      hint: "use its options, or another folder",
    });
  const floats = (name: string): Float32Array => tensors[name]!.data as Float32Array;
  return {
    source: saved.source,
    buffer: { ...saved.buffer, rows: floats("buffer") },
    trainers: saved.trainers.map((own, i): TrainerState => {
      const prefix = `${i}.`;
      const names = Object.keys(tensors).filter((name) => name.startsWith(prefix));
      const arrays = names.map((name) => [
        name.slice(prefix.length),
        { dims: tensors[name]!.dims, data: floats(name) },
      ]);
      return { tensors: Object.fromEntries(arrays) as TrainerState["tensors"], record: own };
    }),
  };
}
