/** @file Data sets, prompts, answers and batches. */
export { defaultAnswers, parseAnswers, resolveAnswers, resolveRowAnswers } from "./answers.ts";
export type { Answer, AnswerSet } from "./answers.ts";
export { batches, lastReal } from "./batches.ts";
export type { Batch, BatchesOptions } from "./batches.ts";
export { datasetOf, openDataset } from "./dataset.ts";
export type { Dataset, DatasetOptions, OpenDatasetOptions } from "./dataset.ts";
export { openDocuments } from "./documents.ts";
export type { OpenDocumentsOptions, OpenedDocuments } from "./documents.ts";
export { DataError } from "./errors.ts";
export { datasetId } from "./hubDataset.ts";
export { formatPrompt, taskPrompt } from "./prompts.ts";
export type { ChatFormat, PromptStyle } from "./prompts.ts";
export { parseRow } from "./rows.ts";
export type { IdsRow, Located, PairRow, PromptRow, Row, RowKind } from "./rows.ts";
