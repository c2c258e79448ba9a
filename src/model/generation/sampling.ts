/** @file From logits to the next token: greedy or sampled, with penalties, top-k and top-p. */
import { z } from "zod";
import { uniformAt } from "../../graph/ops/random.ts";
import { ModelError } from "../errors.ts";

/** How the next token is chosen. Sampling follows TransformerLens' `sample_logits`. */
export interface SamplingOptions {
  /** The likeliest token after penalties, instead of a drawn one. Default false. */
  greedy?: boolean;
  /** Logits are divided by it. Default 1. 0: the token with the largest raw logit, without penalties. */
  temperature?: number;
  /** Only the k likeliest tokens (and those as likely as the k-th). Not together with `topP`. */
  topK?: number;
  /** Only the fewest likeliest tokens that together have more than this probability. Not together with `topK`. */
  topP?: number;
  /** Subtracted from a logit for each time its token stands in the row already, prompt included. Default 0. */
  frequencyPenalty?: number;
  /** Divides positive and multiplies negative logits of tokens that stand in the row already. Default 1. */
  repetitionPenalty?: number;
  /** The same seed gives the same tokens. Default 0. */
  seed?: number;
}

/** Checked options with their defaults. */
export interface Sampling {
  greedy: boolean;
  temperature: number;
  topK?: number | undefined;
  topP?: number | undefined;
  frequencyPenalty: number;
  repetitionPenalty: number;
  seed: number;
}

const samplingSchema: z.ZodType<Sampling> = z
  .object({
    greedy: z.boolean().default(false),
    temperature: z.number().nonnegative().default(1),
    topK: z.int().positive().optional(),
    topP: z.number().positive().max(1).optional(),
    frequencyPenalty: z.number().default(0),
    repetitionPenalty: z.number().positive().default(1),
    seed: z.int().nonnegative().default(0),
  })
  .refine((o) => o.topK === undefined || o.topP === undefined, {
    error: "topK and topP exclude each other",
    path: ["topK"],
  });

/** @throws ModelError naming each wrong option */
export function parseSampling(options: SamplingOptions): Sampling {
  const parsed = samplingSchema.safeParse(options);
  if (!parsed.success)
    throw new ModelError("the sampling options are not valid", {
      code: "model/sampling",
      received: z.prettifyError(parsed.error),
    });
  return parsed.data;
}

/** Tokens that may follow, with their probabilities. */
export interface Candidates {
  readonly ids: readonly number[] | Uint32Array;
  readonly probabilities: Float64Array;
}

/** How often each token stands in a row. */
export type TokenCounts = ReadonlyMap<number, number>;

/** Index of the largest entry, the first of equals. */
function largest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

function penalized(logits: ArrayLike<number>, sampling: Sampling, counts: TokenCounts): Float64Array {
  const { repetitionPenalty, frequencyPenalty, temperature } = sampling;
  const scores = Float64Array.from(logits);
  if (repetitionPenalty !== 1)
    for (const id of counts.keys()) scores[id]! *= scores[id]! > 0 ? 1 / repetitionPenalty : repetitionPenalty;
  if (temperature !== 1 && temperature !== 0) for (let i = 0; i < scores.length; i++) scores[i]! /= temperature;
  if (frequencyPenalty !== 0) for (const [id, count] of counts) scores[id]! -= frequencyPenalty * count;
  return scores;
}

/** The k-th largest number (Hoare's selection). */
function kthLargest(values: Float64Array, k: number): number {
  const a = values.slice();
  const target = a.length - k;
  let [low, high] = [0, a.length - 1];
  while (low < high) {
    const pivot = a[(low + high) >> 1]!;
    let [i, j] = [low, high];
    while (i <= j) {
      while (a[i]! < pivot) i++;
      while (a[j]! > pivot) j--;
      if (i > j) break;
      [a[i], a[j]] = [a[j]!, a[i]!];
      i++;
      j--;
    }
    if (target <= j) high = j;
    else if (target >= i) low = i;
    else break;
  }
  return a[target]!;
}

/** Ids of the smallest set of likeliest tokens whose mass exceeds p; `weights` are unnormalised probabilities. */
function nucleus(weights: Float64Array, total: number, p: number): number[] {
  // All tokens below `floor` together weigh less than half of 1 − p, so none of them is needed: few are left to sort.
  const floor = ((1 - p) * total) / (2 * weights.length);
  const ids: number[] = [];
  for (let i = 0; i < weights.length; i++) if (weights[i]! > floor) ids.push(i);
  ids.sort((a, b) => weights[b]! - weights[a]! || a - b);
  let mass = 0;
  let size = 0;
  while (size < ids.length && mass <= p * total) mass += weights[ids[size++]!]!;
  return ids.slice(0, size);
}

/**
 * The distribution that the next token is drawn from: penalties, temperature, top-k or top-p, softmax, in float64.
 * @param logits [d_vocab_out]
 * @param counts how often each token stands in the row already
 * @throws ModelError when the logits hold a NaN or nothing finite
 */
export function candidates(logits: ArrayLike<number>, sampling: Sampling, counts: TokenCounts): Candidates {
  const scores = penalized(logits, sampling, counts);
  const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(top))
    throw new ModelError("the logits are not finite", { code: "model/logits", received: `a largest logit of ${top}` });
  const { topK, topP } = sampling;
  const floor = topK !== undefined && topK < scores.length ? kthLargest(scores, topK) : -Infinity;
  const weights = scores.map((s) => (s >= floor ? Math.exp(s - top) : 0));
  let total = weights.reduce((a, b) => a + b, 0);
  if (topP === undefined || topP === 1)
    return { ids: Uint32Array.from(weights.keys()), probabilities: weights.map((w) => w / total) };
  const ids = nucleus(weights, total, topP);
  total = ids.reduce((sum, id) => sum + weights[id]!, 0);
  return { ids, probabilities: Float64Array.from(ids, (id) => weights[id]! / total) };
}

/** A uniform number in [0, 1) with 48 random bits, so that rare tokens of a large vocabulary are drawn too. */
function uniform(seed: number, row: number, step: number): number {
  const counter = row * 2 ** 32 + 2 * step;
  return uniformAt(seed, counter) + uniformAt(seed, counter + 1) * 2 ** -24;
}

/**
 * The next token of a row. Draws depend on the seed, the row and the step only.
 * @param logits [d_vocab_out]
 */
export function nextToken(
  logits: ArrayLike<number>,
  sampling: Sampling,
  context: { counts: TokenCounts; row: number; step: number },
): number {
  const { counts, row, step } = context;
  if (sampling.temperature === 0) return largest(logits);
  if (sampling.greedy) return largest(penalized(logits, sampling, counts));
  const { ids, probabilities } = candidates(logits, sampling, counts);
  let left = uniform(sampling.seed, row, step);
  let last = 0;
  for (let i = 0; i < ids.length; i++) {
    if (probabilities[i] === 0) continue;
    last = i;
    left -= probabilities[i]!;
    if (left < 0) break;
  }
  return ids[last]!;
}
