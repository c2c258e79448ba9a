/** @file Examples as rectangles of token ids with masks, labels and answers. */
import { padRows } from "../model/tokenizer/index.ts";
import type { Side, Tokenizer } from "../model/tokenizer/index.ts";
import { defaultAnswers, resolveAnswers, resolveRowAnswers } from "./answers.ts";
import type { Answer, AnswerSet } from "./answers.ts";
import type { Dataset } from "./dataset.ts";
import { DataError } from "./errors.ts";
import { formatPrompt, taskPrompt } from "./prompts.ts";
import type { ChatFormat, PromptStyle } from "./prompts.ts";
import type { Row } from "./rows.ts";

/**
 * Some examples, in file order. b rows, p positions, k classes; matrices are row-major.
 */
export interface Batch {
  /** Counts from 0. */
  readonly index: number;
  readonly dims: readonly [b: number, p: number];
  /** Token ids [b, p]; what stands at padding does not matter. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** 1 at real tokens, 0 at padding [b, p]. */
  readonly mask: Int32Array<ArrayBuffer>;
  /** Position of each row's last real token, where the answer is read [b]. It comes from the mask, so pad = BOS = EOS is fine. */
  readonly answerIndices: Int32Array<ArrayBuffer>;
  /** The right class [b]. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** The token of the right class [b]. */
  readonly labelIds: Int32Array<ArrayBuffer>;
  /** How many answers each row has: k. */
  readonly classes: number;
  /** The token of every class [b, k]. */
  readonly answerIds: Int32Array<ArrayBuffer>;
  /** The answers of each row as text [b][k]. */
  readonly answerNames: readonly (readonly string[])[];
  /** Number of each row in its file, from 0 [b]. */
  readonly examples: Int32Array<ArrayBuffer>;
  /** The text of each row [b]; null for rows of token ids. */
  readonly prompts: readonly string[] | null;
}

export interface BatchesOptions {
  /** Not needed for rows of token ids whose answers are ids. */
  tokenizer?: Tokenizer;
  /** One for each class. Default: the task's. Rows with answers of their own keep them. */
  answers?: readonly Answer[];
  /** Default `package`. */
  prompt?: PromptStyle;
  /** Default `plain`. */
  chat?: ChatFormat;
  /** Default 8. */
  batchSize?: number;
  /** Default `left`, as in the tutorials. */
  paddingSide?: Side;
  /** Default: the tokenizer's rule for plain prompts; no BOS for chats, whose text has it. Rows of token ids are never touched. */
  prependBos?: boolean;
  /** The model's context: a longer row is an error. */
  maxLength?: number;
  /** The model's vocabulary: a larger id is an error. */
  vocabSize?: number;
}

/**
 * Goes through a data set in file order, in batches padded to their own longest row. A batch ends early where the number of
 * answers changes from one row to the next.
 *
 * @throws DataError or TokenizerError naming file and line
 * @example
 * ```ts
 * const data = await openDataset("rte/validation.jsonl", { limit: 8 });
 * for await (const { tokens, mask, dims, answerIndices } of batches(data, { tokenizer, batchSize: 2 })) console.log(dims);
 * ```
 */
export async function* batches(data: Dataset, options: BatchesOptions = {}): AsyncGenerator<Batch> {
  const { batchSize = 8, tokenizer } = options;
  if (!(Number.isInteger(batchSize) && batchSize > 0))
    throw new DataError("the batch size is a positive integer", {
      code: "data/batch-size",
      received: String(batchSize),
    });
  const named = options.answers ?? defaultAnswers(data.kind);
  const answers = named === null ? null : resolveAnswers(named, tokenizer);
  let pending: Prepared[] = [];
  let index = 0;
  for await (const row of data) {
    const next = prepare(row, answers, options);
    if (pending.length > 0 && next.answers.ids.length !== pending[0]!.answers.ids.length) {
      yield assemble(pending, index++, options);
      pending = [];
    }
    pending.push(next);
    if (pending.length === batchSize) {
      yield assemble(pending, index++, options);
      pending = [];
    }
  }
  if (pending.length > 0) yield assemble(pending, index, options);
}

interface Prepared {
  readonly row: Row;
  readonly ids: readonly number[];
  readonly prompt: string | null;
  readonly answers: AnswerSet;
}

function prepare(row: Row, shared: AnswerSet | null, options: BatchesOptions): Prepared {
  const { tokenizer, maxLength = Infinity, vocabSize = Infinity } = options;
  const own = row.kind === "prompt" || row.kind === "input_ids" ? row.answers : null;
  const answers = own === null ? shared : resolveRowAnswers(own, row.where, tokenizer);
  if (answers === null)
    throw new DataError("the row has no answers", {
      code: "data/answers",
      where: row.where,
      hint: 'give each row "answers", or name answers for all of them',
    });
  const fail = (message: string, expected: string, received: string): never => {
    throw new DataError(message, { code: "data/example", where: row.where, expected, received });
  };
  if (row.label >= answers.ids.length)
    fail("the label has no answer", `a label below ${answers.ids.length}`, String(row.label));
  const prompt = promptOf(row, options);
  const ids = row.kind === "input_ids" ? row.ids : encode(prompt ?? "", row.where, options);
  if (ids.length === 0) fail("the prompt has no tokens", "at least one token", JSON.stringify(prompt));
  if (ids.length > maxLength)
    fail("the row is longer than the context", `at most ${maxLength} tokens`, `${ids.length} tokens`);
  const stranger = [...ids, ...answers.ids].find((id) => id >= vocabSize);
  if (stranger !== undefined) fail("the model has no such token", `ids below ${vocabSize}`, String(stranger));
  return { row, ids, prompt, answers };
}

function promptOf(row: Row, { prompt = "package", chat = "plain", tokenizer }: BatchesOptions): string | null {
  if (row.kind === "input_ids") return null;
  if (row.kind === "prompt") return chat === "plain" ? row.prompt : formatPrompt(row.prompt, chat, tokenizer);
  return formatPrompt(taskPrompt(row.first, row.second, prompt), chat, tokenizer);
}

function encode(
  text: string,
  where: string,
  { tokenizer, chat = "plain", prependBos }: BatchesOptions,
): readonly number[] {
  if (tokenizer === undefined)
    throw new DataError("texts need a tokenizer", {
      code: "data/no-tokenizer",
      where,
      hint: "give rows of input_ids, or a model folder with a tokenizer",
    });
  const plain = chat === "plain";
  return tokenizer.encode(text, {
    addSpecialTokens: plain,
    prependBos: prependBos ?? (plain && tokenizer.defaultPrependBos),
  }).ids;
}

function assemble(
  rows: readonly Prepared[],
  index: number,
  { tokenizer, paddingSide: side = "left" }: BatchesOptions,
): Batch {
  const { ids, mask, dims } = padRows(
    rows.map((r) => r.ids),
    { side, value: tokenizer?.padId ?? 0 },
  );
  const prompts = rows.map(({ prompt }) => prompt);
  return {
    index,
    dims,
    tokens: ids,
    mask,
    answerIndices: lastReal(mask, dims),
    labels: Int32Array.from(rows, ({ row }) => row.label),
    labelIds: Int32Array.from(rows, ({ row, answers }) => answers.ids[row.label]!),
    classes: rows[0]!.answers.ids.length,
    answerIds: Int32Array.from(rows.flatMap(({ answers }) => answers.ids)),
    answerNames: rows.map(({ answers }) => answers.names),
    examples: Int32Array.from(rows, ({ row }) => row.example),
    prompts: prompts.every((prompt) => prompt !== null) ? prompts : null,
  };
}

/**
 * The position of the last real token of each row of a mask [b, p]: where the answer is read, whatever side the padding is on.
 *
 * @throws DataError when a row is all padding
 * @example
 * ```ts
 * lastReal([1, 1, 0, 0, 1, 1], [2, 3]); // Int32Array [1, 2]
 * ```
 */
export function lastReal(mask: ArrayLike<number>, [b, p]: readonly [number, number]): Int32Array<ArrayBuffer> {
  return Int32Array.from({ length: b }, (_, row) => {
    for (let at = p - 1; at >= 0; at--) if (mask[row * p + at] !== 0) return at;
    throw new DataError("the row is all padding", { code: "data/mask", where: `row ${row}`, expected: "a real token" });
  });
}
