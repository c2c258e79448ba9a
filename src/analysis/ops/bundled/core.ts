/** @file The family `core`: labels, answer positions, plain forward passes, logit differences. */
import { squeeze, takeRows, unsqueeze, type Tensor } from "../../../graph/index.ts";
import type { NoColumns } from "../../tables/columns.ts";
import { answerValues } from "../../engine/answers.ts";
import { AnalysisError } from "../../errors.ts";
import { flow, known, maybe, type Flow, type Known, type Maybe } from "./known.ts";
import { defineOp, type Op, type OpContext } from "../op.ts";

/** `labels_to_ids`: the right class of each row, and its token. */
export const labelsToIds: Op<NoColumns, Known<"label_ids" | "orig_labels">> = defineOp({
  name: "labels_to_ids",
  description: "The right class of each row and its token.",
  input: {},
  output: known("label_ids", "orig_labels"),
  run: (_inputs, { batch, answers }) => ({
    label_ids: Int32Array.from(batch.labels, (label, row) => batch.answerIds[row * batch.classes + label]!),
    orig_labels: answers.labels,
  }),
});

/** `get_answer_indices`: where each row's answer is read, from the mask; positions that are there already are kept. */
export const getAnswerIndices: Op<Maybe<Known<"answer_indices">>, Known<"answer_indices">> = defineOp({
  name: "get_answer_indices",
  description: "The position where each row's answer is read.",
  input: maybe(known("answer_indices")),
  output: known("answer_indices"),
  run: ({ answer_indices }, { positions }) => ({ answer_indices: answer_indices ?? positions }),
});

/** `model_fwd` (`model_forward`): the plain model, no SAEs. */
export const modelFwd: Op<Maybe<Known<"answer_indices">>, Flow<"answer_logits"> & Known<"answer_indices">> = defineOp({
  name: "model_fwd",
  aliases: ["model_forward"],
  description: "Logits of the plain model.",
  input: maybe(known("answer_indices")),
  output: { ...flow("answer_logits"), ...known("answer_indices") },
  run: ({ answer_indices }, context) => ({
    answer_logits: context.forward().logits,
    answer_indices: answer_indices ?? context.positions,
  }),
});

/** `model_fwd_w_cache`: the plain model with its activations by hook point. No latents are alive in it. */
export const modelFwdWCache: Op<
  Maybe<Known<"answer_indices">>,
  Flow<"answer_logits" | "cache"> & Known<"answer_indices" | "alive_latents">
> = defineOp({
  name: "model_fwd_w_cache",
  description: "Logits and activations of the plain model.",
  input: maybe(known("answer_indices")),
  output: { ...flow("answer_logits", "cache"), ...known("answer_indices", "alive_latents") },
  run: ({ answer_indices }, context) => {
    const { logits, hooks } = context.forward();
    return {
      answer_logits: logits,
      cache: context.kept(hooks),
      answer_indices: answer_indices ?? context.positions,
      alive_latents: {},
    };
  },
});

type LogitDiffsInput = Flow<"answer_logits"> & Known<"answer_indices" | "orig_labels">;
type LogitDiffsOutput = Known<"loss" | "logit_diffs" | "preds" | "answer_logits">;

/** What logits [batch, pos, d_vocab] say at the answer positions, [batch] each. */
export function answerColumns(
  logits: Tensor,
  { answer_indices, orig_labels }: { answer_indices: Tensor; orig_labels: Tensor },
  { answers, options }: OpContext,
): { loss: Tensor; logit_diffs: Tensor; preds: Tensor; answer_logits: Tensor } {
  if (logits.rank !== 3)
    throw new AnalysisError("logit differences are read off the logits of all positions", {
      code: "analysis/column",
      where: "answer_logits",
      expected: "[batch, pos, d_vocab]",
      received: logits.label,
    });
  const at = takeRows(logits, unsqueeze(answer_indices, 1)); // [batch, 1, d_vocab]
  const values = answerValues(at, { ...answers, labels: orig_labels }, options.diff ?? "mean");
  return {
    loss: squeeze(values.losses, 1),
    logit_diffs: squeeze(values.diffs, 1),
    preds: squeeze(values.preds, 1),
    answer_logits: squeeze(values.logits, 1), // [batch, class]
  };
}

/** `logit_diffs`: logit differences, losses, predictions and answer logits at the answer positions. */
export const logitDiffs: Op<LogitDiffsInput, LogitDiffsOutput> = defineOp({
  name: "logit_diffs",
  description: "Logit differences, losses and predictions at the answer positions.",
  input: { ...flow("answer_logits"), ...known("answer_indices", "orig_labels") },
  output: known("loss", "logit_diffs", "preds", "answer_logits"),
  run: (inputs, context) => answerColumns(inputs.answer_logits, inputs, context),
});

/** `logit_diffs_cache`: the same behind a caching forward pass. */
export const logitDiffsCache: Op<LogitDiffsInput & Flow<"cache">, LogitDiffsOutput> = defineOp({
  name: "logit_diffs_cache",
  description: "Logit differences, losses and predictions at the answer positions, behind a caching forward pass.",
  input: { ...flow("answer_logits", "cache"), ...known("answer_indices", "orig_labels") },
  output: known("loss", "logit_diffs", "preds", "answer_logits"),
  run: (inputs, context) => answerColumns(inputs.answer_logits, inputs, context),
});
