/** @file Batches of a split: tokenised once, kept, and padded to the batch or to the whole split. */
import { batches, lastReal, type Batch, type BatchesOptions, type Dataset } from "../../data/index.ts";
import { padRows, type Side } from "../../model/tokenizer/index.ts";

/**
 * Batches that are made once and can be gone through any number of times. Their source is open while somebody goes through
 * them: when the last one leaves before its end it is closed, and opened again when more is asked for.
 */
export class KeptBatches implements AsyncIterable<Batch> {
  readonly #made: Batch[] = [];
  readonly #open: () => AsyncIterable<Batch>;
  #source: AsyncGenerator<Batch> | undefined;
  #readers = 0;
  #finished = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(open: () => AsyncIterable<Batch>) {
    this.#open = open;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch> {
    this.#readers++;
    try {
      for (let i = 0; ; i++) {
        while (this.#made.length <= i && !this.#finished) await this.#next();
        if (this.#made.length <= i) return;
        yield this.#made[i]!;
      }
    } finally {
      if (--this.#readers === 0) await this.#close();
    }
  }

  async #next(): Promise<void> {
    try {
      const next = await (this.#source ??= after(this.#open(), this.#made.length)).next();
      if (next.done === true) this.#finished = true;
      else this.#made.push(next.value);
    } catch (error) {
      this.#failure = { error };
    }
    // A generator that threw is at its end: whoever comes later must hear of it, too.
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #close(): Promise<void> {
    const source = this.#source;
    this.#source = undefined;
    await source?.return(undefined);
  }
}

/** What comes after the first `count`. */
async function* after(batches: AsyncIterable<Batch>, count: number): AsyncGenerator<Batch> {
  let seen = 0;
  for await (const batch of batches) if (seen++ >= count) yield batch;
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

/** The tokens of a row without its padding. */
function realIds({ dims: [, p], tokens, mask }: Batch, row: number): number[] {
  return Array.from(tokens.subarray(row * p, (row + 1) * p)).filter((_id, i) => mask[row * p + i] === 1);
}

/** The batch with rows of `width` positions. */
function widened(batch: Batch, width: number, side: Side, padId: number): Batch {
  const rows = Array.from({ length: batch.dims[0] }, (_, row) => realIds(batch, row));
  const { ids, mask, dims } = padRows(rows, { padding: width, side, value: padId });
  return { ...batch, dims, tokens: ids, mask, answerIndices: lastReal(mask, dims) };
}

/**
 * The rows of some batches in another order, in batches of a size; each as wide as its longest row, or as it was.
 * A batch ends early where the number of answers changes.
 */
export function regrouped(
  given: readonly Batch[],
  order: (rows: number) => readonly number[],
  {
    size,
    side,
    padId,
    width,
  }: { readonly size: number; readonly side: Side; readonly padId: number; readonly width: number },
): Batch[] {
  const rows = given.flatMap((batch) => Array.from({ length: batch.dims[0] }, (_, row) => ({ batch, row })));
  const groups: (typeof rows)[] = [];
  for (const place of order(rows.length)) {
    const next = rows[place]!;
    const last = groups.at(-1);
    if (last === undefined || last.length === size || last[0]!.batch.classes !== next.batch.classes)
      groups.push([next]);
    else last.push(next);
  }
  return groups.map((group, index) => joined(group, index, { side, padId, width }));
}

function joined(
  rows: readonly { readonly batch: Batch; readonly row: number }[],
  index: number,
  { side, padId, width }: { readonly side: Side; readonly padId: number; readonly width: number },
): Batch {
  const ids = rows.map(({ batch, row }) => realIds(batch, row));
  const padding = Math.max(width, ...ids.map((each) => each.length));
  const padded = padRows(ids, { padding, side, value: padId });
  const { classes } = rows[0]!.batch;
  const column = (of: (batch: Batch) => Int32Array): Int32Array<ArrayBuffer> =>
    Int32Array.from(rows, ({ batch, row }) => of(batch)[row]!);
  const prompts = rows.map(({ batch, row }) => batch.prompts?.[row] ?? null);
  return {
    index,
    dims: padded.dims,
    tokens: padded.ids,
    mask: padded.mask,
    answerIndices: lastReal(padded.mask, padded.dims),
    labels: column(({ labels }) => labels),
    labelIds: column(({ labelIds }) => labelIds),
    classes,
    answerIds: Int32Array.from(
      rows.flatMap(({ batch, row }) => [...batch.answerIds.subarray(row * classes, (row + 1) * classes)]),
    ),
    answerNames: rows.map(({ batch, row }) => batch.answerNames[row]!),
    examples: column(({ examples }) => examples),
    prompts: prompts.every((prompt) => prompt !== null) ? prompts : null,
  };
}
