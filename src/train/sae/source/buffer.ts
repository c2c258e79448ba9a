/** @file The mixing buffer: activations of many documents in every batch, in bounded memory, from a seed. */
import { uniformAt } from "../../../graph/index.ts";
import { TrainError } from "../../errors.ts";
import { rowWidth, type ActivationSource } from "./source.ts";

/** Everything that decides the next batches. */
export interface BufferState {
  /** The rows held, in the order in which they are served: [rows, width]. */
  readonly rows: Float32Array;
  /** Rows at the front that are served before any are added. */
  readonly ready: number;
  /** Random numbers drawn. */
  readonly drawn: number;
  /** Rows taken from the source. */
  readonly received: number;
}

export interface MixingBuffer {
  /** The next batch, [batchSize, width], hook points side by side. */
  next(): Promise<Float32Array>;
  state(): BufferState;
}

interface BufferOptions {
  readonly batchSize: number;
  /** Rows from which on batches are served. */
  readonly size: number;
  /** How much of that stays when batches are served. */
  readonly mixingFraction: number;
  readonly seed: number;
}

/**
 * SAELens' mixing buffer: new rows are added until there are `size`; then all are shuffled and batches served from the
 * front until the part that stays is left.
 */
export function mixingBuffer(source: ActivationSource, options: BufferOptions, from?: BufferState): MixingBuffer {
  const { batchSize, size, mixingFraction, seed } = options;
  const width = rowWidth(source);
  /** Rows in slots; `order` says in which order they are served. */
  let store = from?.rows.slice() ?? new Float32Array(0);
  let order = Array.from({ length: from === undefined ? 0 : store.length / width }, (_, i) => i);
  const free: number[] = [];
  let { ready, drawn, received } = from ?? { ready: 0, drawn: 0, received: 0 };

  const add = (data: Float32Array, rows: number): void => {
    const slots = store.length / width;
    if (free.length < rows) {
      const grown = new Float32Array((slots + rows - free.length) * width);
      grown.set(store);
      for (let slot = slots; slot < grown.length / width; slot++) free.push(slot);
      store = grown;
    }
    for (let r = 0; r < rows; r++) {
      const slot = free.pop()!;
      store.set(data.subarray(r * width, (r + 1) * width), slot * width);
      order.push(slot);
    }
    received += rows;
  };
  const shuffle = (): void => {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(uniformAt(seed, drawn++) * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
  };
  const fill = async (): Promise<void> => {
    for (let empty = 0; ready < batchSize;) {
      const { rows, data } = await source.next();
      add(data, rows);
      empty = rows === 0 ? empty + 1 : 0;
      if (empty > 100)
        throw new TrainError("no activation of these documents counts", {
          code: "train/sae-data",
          hint: "look at seqpos_slice and exclude_special_tokens",
        });
      if (source.size !== undefined && source.size < batchSize)
        throw new TrainError("the data has fewer activations than one batch", {
          code: "train/sae-data",
          expected: `${batchSize} (train_batch_size_tokens)`,
          received: String(source.size),
          hint: "lower train_batch_size_tokens, or give more data",
        });
      if (order.length < size) continue;
      if (mixingFraction > 0) shuffle();
      const served = order.length - Math.floor(size * mixingFraction);
      ready = Math.max(1, Math.floor(served / batchSize)) * batchSize;
    }
  };
  return {
    next: async () => {
      if (ready < batchSize) await fill();
      const batch = new Float32Array(batchSize * width);
      const taken = order.slice(0, batchSize);
      taken.forEach((slot, r) => batch.set(store.subarray(slot * width, (slot + 1) * width), r * width));
      order = order.slice(batchSize);
      free.push(...taken.toReversed());
      ready -= batchSize;
      return batch;
    },
    state: () => {
      const rows = new Float32Array(order.length * width);
      order.forEach((slot, r) => rows.set(store.subarray(slot * width, (slot + 1) * width), r * width));
      return { rows, ready, drawn, received };
    },
  };
}
