/** @file Batches of a split: tokenised once, kept, and padded to the batch or to the whole split. */
import { batches, lastReal, type Batch, type BatchesOptions, type Dataset } from "../data/index.ts";
import { padRows, type Side } from "../model/tokenizer/index.ts";

/** Batches that are made once and can be gone through any number of times. */
export class KeptBatches implements AsyncIterable<Batch> {
  readonly #made: Batch[] = [];
  readonly #source: AsyncGenerator<Batch>;
  #finished = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(source: AsyncGenerator<Batch>) {
    this.#source = source;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch> {
    for (let i = 0; ; i++) {
      while (this.#made.length <= i && !this.#finished) await this.#next();
      if (this.#made.length <= i) return;
      yield this.#made[i]!;
    }
  }

  async #next(): Promise<void> {
    try {
      const next = await this.#source.next();
      if (next.done === true) this.#finished = true;
      else this.#made.push(next.value);
    } catch (error) {
      this.#failure = { error };
    }
    // A generator that threw is at its end: whoever comes later must hear of it, too.
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}

/** The batches of a data set, each as wide as its own longest row or all as wide as the longest of the split. */
export async function* splitBatches(
  data: Dataset,
  options: BatchesOptions,
  padTo: "batch" | "split",
): AsyncGenerator<Batch> {
  if (padTo === "batch") {
    yield* batches(data, options);
    return;
  }
  const all: Batch[] = [];
  for await (const batch of batches(data, options)) all.push(batch);
  const width = all.reduce((n, { dims }) => Math.max(n, dims[1]), 0);
  for (const batch of all) yield widened(batch, width, options.paddingSide ?? "left", options.tokenizer?.padId ?? 0);
}

/** The batch with rows of `width` positions. */
export function widened(batch: Batch, width: number, side: Side, padId: number): Batch {
  const [b, p] = batch.dims;
  const rows = Array.from({ length: b }, (_, row) =>
    Array.from(batch.tokens.subarray(row * p, (row + 1) * p)).filter((_id, i) => batch.mask[row * p + i] === 1),
  );
  const { ids, mask, dims } = padRows(rows, { padding: width, side, value: padId });
  return { ...batch, dims, tokens: ids, mask, answerIndices: lastReal(mask, dims) };
}
