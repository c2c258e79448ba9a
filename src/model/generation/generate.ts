/** @file Generation: a loop around a decoder and a sampler, streamed or at once. */
import type { OptionNames } from "../../graph/options.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import type { WeightPolicy } from "../../runtime/runtime.ts";
import { checkModelOptions, ModelError } from "../errors.ts";
import { tokenBatch, type TokenBatch } from "../run/batch.ts";
import { batchOf } from "../run/inputs.ts";
import { optionNames, type ModelInput, type RunOptions } from "../run/runOptions.ts";
import type { TraceableModel } from "../run/tracing.ts";
import { CachingDecoder, recomputingDecoder, type Decoder } from "./decoder.ts";
import { nextToken, parseSampling, type Sampling, type SamplingOptions } from "./sampling.ts";

export interface GenerateOptions
  extends
    SamplingOptions,
    Pick<RunOptions, "attentionMask" | "positions" | "prependBos" | "paddingSide" | "hooks" | "splices" | "signal"> {
  /** Default 10. */
  maxNewTokens?: number;
  /** Whether a row ends at an end token; it is then filled with it. Default true, where an end token is known. */
  stopAtEos?: boolean;
  /**
   * Default: the tokenizer's, with those of generation_config.json; without tokenizer those of the model's files. Finished
   * rows are filled with the first.
   */
  eosTokenId?: number | readonly number[];
  /**
   * Whether keys and values of earlier tokens are kept. Default true. Models whose earlier positions see later ones
   * (bidirectional attention, masks of their own) run whole rows always.
   */
  useCache?: boolean;
  /** Keeps the logits that each token was chosen by. Default false. */
  outputLogits?: boolean;
  /** Policy of the graph that is run for each token. Default: {@link decodingPolicy}. */
  weights?: WeightPolicy;
  /** Called after each token. */
  onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

const generateNames: OptionNames<GenerateOptions> = {
  ...optionNames.batch,
  maxNewTokens: true,
  greedy: true,
  temperature: true,
  topK: true,
  topP: true,
  frequencyPenalty: true,
  repetitionPenalty: true,
  seed: true,
  stopAtEos: true,
  eosTokenId: true,
  useCache: true,
  outputLogits: true,
  hooks: true,
  splices: true,
  weights: true,
  signal: true,
  onProgress: true,
};

/** A model to generate with. */
export interface GeneratingModel extends TraceableModel {
  /** Ids that end a generation. */
  readonly endIds: readonly number[];
}

/** How a generation was computed: a function of shapes and options. */
export interface GenerationPolicy {
  readonly weights: WeightPolicy;
  readonly cache: boolean;
}

/** One new token of each row. */
export interface GenerationStep {
  /** From 0. */
  readonly step: number;
  /** The new token of each row; finished rows get the end token again. */
  readonly tokens: readonly number[];
  /** What each row's text grew by; characters whose bytes are not complete yet come with a later step. Empty without tokenizer. */
  readonly text: readonly string[];
  /** Rows that have reached an end token, this step's included. */
  readonly finished: readonly boolean[];
  /** What the tokens were chosen by, [batch, d_vocab_out]. */
  readonly logits: Tensor;
}

export interface Generation {
  /** Prompt rows as given, followed by the new tokens. */
  readonly tokens: readonly (readonly number[])[];
  /** The new tokens of each row, equally many; finished rows are filled with the end token. */
  readonly newTokens: readonly (readonly number[])[];
  /** The new tokens as text, up to and with the first end token. Empty without tokenizer. */
  readonly text: readonly string[];
  /** Rows that reached an end token. */
  readonly finished: readonly boolean[];
  /** With `outputLogits`: what each token was chosen by, [batch, new, d_vocab_out]. */
  readonly logits: Tensor | undefined;
  readonly policy: GenerationPolicy;
}

/** Above this a graph with weights inside would pass what one ONNX file can hold. */
const packedLimit = 1.5e9;
/** Packing costs about as much as so many tokens gain by it. */
const packedTokens = 32;

/**
 * Whether the graph of one token feeds its weights or packs them: packed where enough tokens are asked for to pay for
 * it and the weights fit into one graph.
 * @example
 * decodingPolicy(500e6, 100); // "packed"
 */
export function decodingPolicy(weightBytes: number, newTokens: number): WeightPolicy {
  return newTokens >= packedTokens && weightBytes <= packedLimit ? "packed" : "fed";
}

/** Bytes of all weights as the model declares them. */
function weightBytes(model: TraceableModel): number {
  let total = 0;
  for (const { shape } of model.weights.values()) total += 4 * (shape as readonly number[]).reduce((a, b) => a * b, 1);
  return total;
}

/** A generation ready to run: everything that can be wrong with the options has been checked. */
class Generator {
  readonly policy: GenerationPolicy;
  readonly prompt: TokenBatch;
  readonly maxNewTokens: number;
  readonly #model: GeneratingModel;
  readonly #options: GenerateOptions;
  readonly #sampling: Sampling;
  readonly #ends: readonly number[];

  constructor(model: GeneratingModel, input: ModelInput, options: GenerateOptions) {
    checkModelOptions(options, generateNames, "generate");
    const { cfg } = model;
    const { maxNewTokens = 10, useCache = true } = options;
    const { greedy, temperature, topK, topP, frequencyPenalty, repetitionPenalty, seed } = options;
    this.#model = model;
    this.#options = options;
    this.#sampling = parseSampling({ greedy, temperature, topK, topP, frequencyPenalty, repetitionPenalty, seed });
    if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1)
      throw new ModelError("maxNewTokens is a positive integer", {
        code: "model/generate",
        received: String(maxNewTokens),
      });
    this.maxNewTokens = maxNewTokens;
    const { attentionMask, positions, prependBos, paddingSide = "left" } = options;
    this.prompt = batchOf(model, input, { attentionMask, positions, prependBos, paddingSide });
    this.#ends = endTokens(model, options);
    // The last token is not run, so a row may end one behind the context.
    const longest = this.prompt.largestPosition + maxNewTokens;
    if (longest > cfg.n_ctx)
      throw new ModelError("prompt and new tokens do not fit the model's context", {
        code: "model/context",
        expected: `at most ${cfg.n_ctx} positions`,
        received: `${this.prompt.largestPosition + 1} tokens and ${maxNewTokens} new ones`,
        hint: `ask for at most ${cfg.n_ctx - this.prompt.largestPosition} new tokens`,
      });
    const cache = useCache && cfg.attention_dir === "causal" && cfg.attention_bias === null && cfg.n_layers > 0;
    const weights = options.weights ?? (cache ? decodingPolicy(weightBytes(model), maxNewTokens) : model.weightPolicy);
    this.policy = { weights, cache };
  }

  async *steps(): AsyncGenerator<GenerationStep, void, void> {
    const { signal, onProgress } = this.#options;
    const batch = leftPadded(this.prompt);
    const rows = batch.ids.map((ids, b) => ids.filter((_, p) => batch.mask[b]![p] === 1));
    const counts = rows.map((ids) => countTokens(ids));
    const news: number[][] = rows.map(() => []);
    const shown = rows.map(() => 0);
    const finished = rows.map(() => false);
    const decoder = this.#decoder(batch);
    try {
      signal?.throwIfAborted();
      let logits = await decoder.start();
      for (let step = 0; step < this.maxNewTokens; step++) {
        const vocabulary = logits.dims[1]!;
        const tokens = rows.map((_, row) => {
          if (finished[row]) return this.#ends[0]!;
          const own = (logits.data as Float32Array).subarray(row * vocabulary, (row + 1) * vocabulary);
          return nextToken(own, this.#sampling, { counts: counts[row]!, row, step });
        });
        const text = tokens.map((token, row) => {
          if (finished[row]) return "";
          counts[row]!.set(token, (counts[row]!.get(token) ?? 0) + 1);
          news[row]!.push(token);
          finished[row] = this.#ends.includes(token);
          const all = this.#decode(rows[row]!, news[row]!);
          const last = finished[row] || step === this.maxNewTokens - 1;
          const grown = !last && all.endsWith("\uFFFD") ? "" : all.slice(shown[row]);
          shown[row]! += grown.length;
          return grown;
        });
        yield { step, tokens, text, finished: [...finished], logits };
        onProgress?.({ done: step + 1, total: this.maxNewTokens });
        if (step === this.maxNewTokens - 1 || finished.every(Boolean)) return;
        signal?.throwIfAborted();
        logits = await decoder.next(tokens);
      }
    } finally {
      decoder.dispose();
    }
  }

  #decoder(batch: TokenBatch): Decoder {
    const { hooks, splices, signal } = this.#options;
    const options = { hooks, splices, signal, weights: this.policy.weights };
    return this.policy.cache
      ? new CachingDecoder(this.#model, batch, this.maxNewTokens, options)
      : recomputingDecoder(this.#model, batch, options);
  }

  /** What new tokens add to a text: some decoders drop the space that begins a text, so they are read behind the prompt's last. */
  #decode(prompt: readonly number[], ids: readonly number[]): string {
    if (!this.#model.hasTokenizer) return "";
    const { tokenizer } = this.#model;
    const last = prompt.slice(-1);
    return tokenizer.decode([...last, ...ids]).slice(tokenizer.decode(last).length);
  }

  async collect(): Promise<Generation> {
    const { outputLogits = false } = this.#options;
    const { prompt } = this;
    const newTokens: number[][] = prompt.ids.map(() => []);
    const text = prompt.ids.map(() => "");
    const logits: Tensor[] = [];
    let finished: readonly boolean[] = [];
    for await (const step of this.steps()) {
      step.tokens.forEach((token, b) => newTokens[b]!.push(token));
      step.text.forEach((grown, b) => (text[b]! += grown));
      if (outputLogits) logits.push(step.logits);
      finished = step.finished;
    }
    return {
      tokens: prompt.ids.map((ids, b) => [...ids, ...newTokens[b]!]),
      newTokens,
      text: this.#model.hasTokenizer ? text : [],
      finished,
      logits: outputLogits ? stackSteps(logits) : undefined,
      policy: this.policy,
    };
  }
}

function endTokens(model: GeneratingModel, { stopAtEos = true, eosTokenId }: GenerateOptions): readonly number[] {
  if (!stopAtEos) return [];
  if (eosTokenId === undefined) return model.endIds;
  const ids = typeof eosTokenId === "number" ? [eosTokenId] : eosTokenId;
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= model.cfg.d_vocab_out);
  if (bad !== undefined || ids.length === 0)
    throw new ModelError("eosTokenId is an id of the vocabulary, or a list of them", {
      code: "model/generate",
      expected: `ids below ${model.cfg.d_vocab_out}`,
      received: String(bad ?? "an empty list"),
    });
  return ids;
}

/** The same rows with their padding in front, so that new tokens stand next to old ones. */
function leftPadded(batch: TokenBatch): TokenBatch {
  const rows = batch.ids.map((ids, b) => ids.filter((_, p) => batch.mask[b]![p] === 1));
  const empty = rows.findIndex((row) => row.length === 0);
  if (empty >= 0)
    throw new ModelError("a row to continue holds no token that is not padding", {
      code: "model/generate",
      where: `row ${empty}`,
    });
  if (batch.policy === "padded" || batch.keyMask === undefined) return batch;
  const length = Math.max(...rows.map((row) => row.length));
  const filled = (row: readonly number[], fill: (id: number) => number): number[] => [
    ...new Array<number>(length - row.length).fill(0),
    ...row.map(fill),
  ];
  return tokenBatch(
    rows.map((row) => filled(row, (id) => id)),
    { mask: rows.map((row) => filled(row, () => 1)) },
  );
}

function countTokens(ids: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

/** [batch, d_vocab_out] of each step → [batch, step, d_vocab_out]. */
function stackSteps(steps: readonly Tensor[]): Tensor {
  const [batch, vocabulary] = steps[0]!.dims as [number, number];
  const data = new Float32Array(batch * steps.length * vocabulary);
  steps.forEach((x, s) => {
    const values = x.data as Float32Array;
    for (let b = 0; b < batch; b++)
      data.set(values.subarray(b * vocabulary, (b + 1) * vocabulary), (b * steps.length + s) * vocabulary);
  });
  return leaf(data, [batch, steps.length, vocabulary], { name: "logits of each step" });
}

/** See {@link HookedModel.generate}. @internal */
export async function generate(
  model: GeneratingModel,
  input: ModelInput,
  options: GenerateOptions = {},
): Promise<Generation> {
  return new Generator(model, input, options).collect();
}

/** See {@link HookedModel.generateStream}. @internal */
export function generateStream(
  model: GeneratingModel,
  input: ModelInput,
  options: GenerateOptions = {},
): AsyncGenerator<GenerationStep, void, void> {
  return new Generator(model, input, options).steps();
}
