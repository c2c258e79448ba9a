/** @file From what a run is given (texts, ids) to a token batch. */
import type { ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { rowsOf, tokenBatch, type TokenBatch, type TokenBatchOptions } from "./batch.ts";
import type { BatchOptions, ModelInput, TokenOptions } from "./runOptions.ts";

/** What inputs are read with. */
export interface InputReader {
  readonly cfg: ModelConfig;
  readonly hasTokenizer: boolean;
  /** @throws ModelError where there is none */
  readonly tokenizer: Tokenizer;
}

const isBatch = (input: ModelInput): input is TokenBatch =>
  typeof input === "object" && !Array.isArray(input) && "tokens" in input;

/** See {@link HookedModel.batch}. @internal */
export function batchOf(model: InputReader, input: ModelInput, options: BatchOptions): TokenBatch {
  if (isBatch(input)) return input;
  const rows = rowsOfInput(model, input, options);
  const made = tokenBatch(rows.ids, {
    mask: options.attentionMask ?? rows.mask,
    positions: options.positions,
    legacy: legacyOf(model, options),
  });
  inContext(made, model.cfg);
  const top = rows.ids.reduce((a, row) => row.reduce((b, id) => Math.max(b, id), a), 0);
  if (top >= model.cfg.d_vocab)
    throw new ModelError("a token id is outside the vocabulary", {
      code: "model/vocabulary",
      expected: `ids below ${model.cfg.d_vocab}`,
      received: String(top),
    });
  return made;
}

/** @throws ModelError when a row is longer than the context */
export function inContext(batch: TokenBatch, { n_ctx }: ModelConfig): TokenBatch {
  if (batch.largestPosition >= n_ctx)
    throw new ModelError("the input is longer than the model's context", {
      code: "model/context",
      expected: `at most ${n_ctx} tokens`,
      received: String(batch.largestPosition + 1),
      hint: "truncate it",
    });
  return batch;
}

/** Rows of ids and their mask, as the tokenizer makes them. */
export function encoded(
  { cfg, tokenizer }: InputReader,
  text: string | readonly string[],
  { prependBos = cfg.default_prepend_bos, paddingSide }: TokenOptions,
): { ids: number[][]; mask: number[][] } {
  const { ids, mask, dims } = tokenizer.toTokens(text, { prependBos, paddingSide });
  return { ids: rowsOf(ids, dims), mask: rowsOf(mask, dims) };
}

function rowsOfInput(
  model: InputReader,
  input: Exclude<ModelInput, TokenBatch>,
  options: BatchOptions,
): { ids: readonly (readonly number[])[]; mask?: readonly (readonly number[])[] } {
  if (typeof input === "string" || typeof input[0] === "string")
    return encoded(model, typeof input === "string" ? [input] : (input as readonly string[]), options);
  return {
    ids: typeof input[0] === "number" ? [input as readonly number[]] : (input as readonly (readonly number[])[]),
  };
}

function legacyOf(model: InputReader, options: BatchOptions): TokenBatchOptions["legacy"] {
  if (!model.hasTokenizer) return undefined;
  const { pad, bos } = model.tokenizer.special.ids;
  if (pad === undefined) return undefined;
  const { paddingSide = "right", prependBos = model.cfg.default_prepend_bos } = options;
  return { padId: pad, bosId: bos, paddingSide, prependBos };
}
