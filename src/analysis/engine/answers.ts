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
  sub,
  sum,
  takeAlong,
  unsqueeze,
  where,
  type Axis,
  type Tensor,
} from "../../graph/index.ts";

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

const int64 = (values: ArrayLike<number>): BigInt64Array => BigInt64Array.from(Array.from(values, BigInt));

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
