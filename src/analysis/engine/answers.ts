/** @file What an analysis reads off the logits at the answer position: differences, losses, predictions. */
import {
  argMax,
  axis,
  broadcastTo,
  cast,
  constant,
  div,
  equal,
  leaf,
  logSumExp,
  max,
  range,
  squeeze,
  sub,
  sum,
  takeAlong,
  takeRows,
  unsqueeze,
  where,
  type Axis,
  type Tensor,
} from "../../graph/index.ts";
import type { TokenBatch } from "../../model/index.ts";
import { AnalysisError } from "../errors.ts";

/** `mean`: the right answer's logit minus the mean of the others; `best-other`: minus the largest of the others. */
export type DiffKind = "mean" | "best-other";

/** Answers of a batch as leaves, made once. */
export interface AnswerLeaves {
  /** int64 [batch, class] */
  readonly ids: Tensor;
  /** int64 [batch] */
  readonly labels: Tensor;
  /** int64 [batch, 1]: where the answer is read. */
  readonly index: Tensor;
  readonly classes: number;
}

/** Values per example and variant, [batch, n]; logits [batch, n, class]. */
export interface AnswerValues {
  readonly diffs: Tensor;
  readonly losses: Tensor;
  readonly preds: Tensor;
  readonly logits: Tensor;
}

/** Whole numbers as int64. */
export const int64 = (values: ArrayLike<number>): BigInt64Array => BigInt64Array.from(Array.from(values, BigInt));

/** The answers of a batch: `ids` row-major [batch, classes], the right class and the answer position of each row. */
export function answerLeaves(
  batch: Axis,
  answers: { ids: ArrayLike<number>; classes: number; labels: ArrayLike<number>; index: ArrayLike<number> },
): AnswerLeaves {
  const size = answers.labels.length;
  const { classes } = answers;
  return {
    ids: leaf(int64(answers.ids), [size, classes], { shape: [batch, classes], name: "answer ids" }),
    labels: leaf(int64(answers.labels), [size], { shape: [batch], name: "labels" }),
    index: leaf(int64(answers.index), [size, 1], { shape: [batch, 1], name: "answer positions" }),
    classes,
  };
}

/**
 * Logit differences, losses and predictions.
 * @param logits at the answer position, [batch, n, d_vocab] (n variants of the run)
 */
export function answerValues(logits: Tensor, answers: AnswerLeaves, kind: DiffKind): AnswerValues {
  const [batch, n] = logits.shape;
  const { classes } = answers;
  const ids = broadcastTo(unsqueeze(answers.ids, 1), [batch!, n!, classes]);
  const picked = takeAlong(logits, ids, 2); // [batch, n, class]
  const isRight = equal(range(classes), unsqueeze(unsqueeze(answers.labels, -1), -1)); // [batch, 1, class]
  const right = sum(where(isRight, picked, 0), -1); // [batch, n]
  const others =
    kind === "mean"
      ? div(sum(where(isRight, 0, picked), -1), classes - 1)
      : max(where(isRight, constant(-Infinity), picked), -1);
  return {
    diffs: sub(right, others),
    losses: sub(logSumExp(logits, -1), right),
    preds: cast(argMax(picked, -1), "int32"),
    logits: picked,
  };
}

/** An axis for the variants of a chunk. */
export const variants = (size: number): Axis => axis("pairs", size);

/** A token batch that knows its answers. */
export interface AnsweredBatch extends TokenBatch {
  readonly answers: AnswerLeaves;
}

/**
 * A token batch with the answers that are compared in each row.
 * @param answers.ids token of every class, for all rows ([class]) or for each ([batch][class])
 * @param answers.labels the right class of each row
 * @param answers.index where each row's answer is read; default: its last real token
 * @example
 * const batch = withAnswers(model.batch(prompts), { ids: [5297, 2949], labels: [0, 1] });
 */
export function withAnswers(
  batch: TokenBatch,
  answers: {
    ids: readonly number[] | readonly (readonly number[])[];
    labels: readonly number[];
    index?: readonly number[];
  },
): AnsweredBatch {
  const { ids, labels, index = batch.lastPositions } = answers;
  const rows = ids.map((x) => (typeof x === "number" ? undefined : x));
  const perRow =
    rows[0] === undefined ? batch.ids.map(() => ids as readonly number[]) : (ids as readonly (readonly number[])[]);
  const classes = perRow[0]?.length ?? 0;
  if (
    classes < 2 ||
    perRow.length !== batch.batchSize ||
    labels.length !== batch.batchSize ||
    perRow.some((r) => r.length !== classes)
  )
    throw new AnalysisError("answers do not fit the batch", {
      code: "analysis/answers",
      expected: `two or more answers and one label for each of ${batch.batchSize} rows`,
      received: `${classes} answers, ${labels.length} labels`,
    });
  return { ...batch, answers: answerLeaves(batch.batch, { ids: perRow.flat(), classes, labels, index }) };
}

/**
 * The right answer's logit minus the others', [batch].
 * @param logits [batch, pos, d_vocab]
 * @param kind `mean` of the others, or the `best-other`
 * @example
 * const diff = await model.run(batch, ({ logits }) => logitDiff(logits, batch.answers)); // [batch]
 */
export function logitDiff(logits: Tensor, answers: AnswerLeaves, kind: DiffKind = "mean"): Tensor {
  return squeeze(answerValues(takeRows(logits, answers.index), answers, kind).diffs, 1);
}
