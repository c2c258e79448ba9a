/** @file What a run will see, before anything is computed: counted, checked, hashed. */
import { createHash } from "node:crypto";
import type { Batch } from "../../data/index.ts";
import { AnalysisError } from "../errors.ts";

export interface Survey {
  /** Rows of each batch. */
  readonly sizes: readonly number[];
  readonly examples: number;
  /** SHA-256 of every batch: numbers of examples, token ids, masks, labels, answers and where they are read, prompts. */
  readonly sha256: string;
  /** The texts of the answers where all examples have the same, else null. */
  readonly answers: readonly string[] | null;
}

/** The first batches of an iteration. */
export async function* first(batches: AsyncIterable<Batch>, limit: number): AsyncGenerator<Batch> {
  if (limit <= 0) return;
  let count = 0;
  for await (const batch of batches) {
    yield batch;
    if (++count >= limit) return;
  }
}

/**
 * Goes through all batches once: finds every fault of the data, counts it, and hashes what the model will see.
 * @throws AnalysisError `analysis/empty`; `analysis/batch` for a batch that is not one, `analysis/label` for a label
 *   without an answer; what the iteration throws
 */
export async function survey(batches: AsyncIterable<Batch>, signal: AbortSignal | undefined): Promise<Survey> {
  const hash = createHash("sha256");
  const sizes: number[] = [];
  const answers = new Set<string>();
  let before = -1;
  for await (const batch of batches) {
    signal?.throwIfAborted();
    before = check(batch, sizes.length, before);
    hash.update(JSON.stringify([batch.dims, batch.classes, batch.prompts, batch.answerNames]));
    const { examples, tokens, mask, labels, answerIds, answerIndices } = batch;
    for (const array of [examples, tokens, mask, labels, answerIds, answerIndices]) hash.update(array);
    for (const names of batch.answerNames) answers.add(JSON.stringify(names));
    sizes.push(batch.dims[0]);
  }
  if (sizes.length === 0)
    throw new AnalysisError("there are no examples to analyse", {
      code: "analysis/empty",
      expected: "at least one batch",
      hint: "look at the data set, the split and the limits",
    });
  return {
    sizes,
    examples: sizes.reduce((sum, n) => sum + n, 0),
    sha256: hash.digest("hex"),
    answers: answers.size === 1 ? (JSON.parse([...answers][0]!) as string[]) : null,
  };
}

/** Checks a batch of whatever data module; returns its last example. */
function check(batch: Batch, index: number, before: number): number {
  const [b, p] = batch.dims;
  const fail = (what: string, expected: string, received: string): never => {
    throw new AnalysisError(what, { code: "analysis/batch", where: `batch ${index}`, expected, received });
  };
  if (batch.index !== index) fail("batches are not numbered in order", String(index), String(batch.index));
  const sizes = { tokens: b * p, mask: b * p, labels: b, answerIds: b * batch.classes, examples: b };
  for (const [name, size] of Object.entries(sizes)) {
    const { length } = batch[name as keyof typeof sizes];
    if (length !== size) fail(`the batch's ${name} do not have its size`, String(size), String(length));
  }
  if (b === 0) fail("the batch has no rows", "at least one", "0");
  let last = before;
  batch.examples.forEach((example, row) => {
    if (example <= last) fail("examples are not in ascending order", `more than ${last}`, String(example));
    last = example;
    const label = batch.labels[row]!;
    if (!(label >= 0 && label < batch.classes))
      throw new AnalysisError("the label has no answer", {
        code: "analysis/label",
        where: `batch ${index}, example ${example}`,
        expected: `0 to ${batch.classes - 1}`,
        received: String(label),
        hint: "name an answer for every class",
      });
  });
  return last;
}
