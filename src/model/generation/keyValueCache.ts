/** @file Keys and values of the tokens generated so far, in buffers that grow in place. */
import type { Buffer } from "../../runtime/backend.ts";
import { memory, type LedgerHandle } from "../../runtime/ledger.ts";

export interface KeyValueShape {
  readonly layers: number;
  readonly batch: number;
  readonly heads: number;
  readonly width: number;
}

/** Positions that are added when the buffers are full. */
const chunk = 64;

/**
 * Rotated keys and values, [batch, head, capacity, d_head] each: what attention multiplies, without a copy. New tokens
 * are written behind the old ones; slots after `length` are unused. Registered in the memory ledger until disposed.
 */
export class KeyValueCache {
  readonly #shape: KeyValueShape;
  #data: Float32Array<ArrayBuffer> = new Float32Array(0);
  #capacity = 0;
  #length = 0;
  #ledger: LedgerHandle | undefined;

  constructor(shape: KeyValueShape) {
    this.#shape = shape;
  }

  /** Tokens held for each row. */
  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#data.byteLength;
  }

  /** Keys and values of all layers, keys first, as views of the buffers: [batch, head, capacity, d_head]. */
  buffers(): { keys: Buffer[]; values: Buffer[] } {
    const { layers, batch, heads, width } = this.#shape;
    const dims = [batch, heads, this.#capacity, width];
    const size = batch * heads * this.#capacity * width;
    const part = (i: number): Buffer => ({ dims, data: this.#data.subarray(i * size, (i + 1) * size) });
    return {
      keys: Array.from({ length: layers }, (_, layer) => part(2 * layer)),
      values: Array.from({ length: layers }, (_, layer) => part(2 * layer + 1)),
    };
  }

  /**
   * Writes new tokens behind the old ones.
   * @param fresh [2 · layers, batch, head, count, d_head]: keys, values of layer 0, keys, values of layer 1 …
   */
  append(fresh: Float32Array, count: number): void {
    const { width } = this.#shape;
    this.#reserve(this.#length + count);
    const [row, step] = [this.#capacity * width, count * width];
    let to = this.#length * width;
    for (let from = 0; from < fresh.length; from += step, to += row)
      this.#data.set(fresh.subarray(from, from + step), to);
    this.#length += count;
  }

  #reserve(length: number): void {
    if (length <= this.#capacity) return;
    const { layers, batch, heads, width } = this.#shape;
    const rows = 2 * layers * batch * heads;
    const capacity = Math.ceil(length / chunk) * chunk;
    const data = new Float32Array(rows * capacity * width);
    for (let r = 0; r < rows; r++) {
      const from = r * this.#capacity * width;
      data.set(this.#data.subarray(from, from + this.#length * width), r * capacity * width);
    }
    this.dispose();
    [this.#data, this.#capacity] = [data, capacity];
    this.#ledger = memory.add({
      owner: "key/value cache",
      name: "generation",
      object: `keys and values (${rows}, ${capacity}, ${width})`,
      device: "cpu",
      bytes: data.byteLength,
    });
  }

  /** Takes the buffers out of the ledger and lets go of them. */
  dispose(): void {
    this.#ledger?.release();
    this.#ledger = undefined;
    this.#data = new Float32Array(0);
    this.#capacity = 0;
  }
}
