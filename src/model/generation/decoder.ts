/** @file One token after the other: with kept keys and values and a graph compiled once, or over the whole row again. */
import { axis, type Dim } from "../../graph/axis.ts";
import type { DType } from "../../graph/dtype.ts";
import { concat, reshape, select, takeRows, transpose, unsqueeze } from "../../graph/index.ts";
import { leaf, placeholder, type Tensor } from "../../graph/tensor.ts";
import type { Buffer } from "../../runtime/backend.ts";
import type { WeightPolicy } from "../../runtime/runtime.ts";
import { kvHeads, type ModelConfig } from "../config.ts";
import { TraceCut } from "../hooks/trace.ts";
import { tokenBatch, type TokenBatch } from "../run/batch.ts";
import type { RunOptions } from "../run/runOptions.ts";
import { realizeAwaiting, realizeRun, type TraceableModel } from "../run/tracing.ts";
import { forward, type ForwardOutput } from "../transformer/transformer.ts";
import { KeyValueCache } from "./keyValueCache.ts";

/** Gives the logits that follow a batch's rows, then those that follow each further token. */
export interface Decoder {
  /** Logits after the prompt, [batch, d_vocab_out]. */
  start(): Promise<Tensor>;
  /** Logits after one more token of each row, [batch, d_vocab_out]. */
  next(tokens: readonly number[]): Promise<Tensor>;
  dispose(): void;
}

export interface DecoderOptions extends Pick<RunOptions, "hooks" | "splices" | "signal"> {
  /** Policy of the graph of one token. */
  weights: WeightPolicy;
}

const vector = (numbers: readonly number[], name: string, shape: readonly Dim[]): Tensor =>
  leaf(BigInt64Array.from(numbers, BigInt), [numbers.length, 1], { shape, name });

/** The logits after each row's last real token, [batch, d_vocab_out]. */
function lastLogits(logits: Tensor, batch: TokenBatch): Tensor {
  const at = vector(batch.lastPositions, "last positions", [batch.batch, 1]);
  return reshape(takeRows(logits, at), [batch.batch, logits.shape[2]!]);
}

/** Rotated keys and values of all layers in one tensor, [2 · layers, batch, head, pos, d_head]. */
function joined({ keyValues }: ForwardOutput): Tensor {
  const parts = keyValues.flatMap((kv) => [kv!.rotated!, kv!.values]);
  return concat(
    parts.map((x) => unsqueeze(transpose(x, [0, 2, 1, 3]), 0)),
    0,
  );
}

/** Runs the whole rows again for each token: what a model needs whose earlier positions see later ones. */
export function recomputingDecoder(model: TraceableModel, prompt: TokenBatch, options: DecoderOptions): Decoder {
  let batch = prompt;
  const run = (): Promise<Tensor> => realizeRun(model, batch, ({ logits }) => lastLogits(logits, batch), options);
  return {
    start: run,
    next: (tokens) => {
      const ids = batch.ids.map((row, b) => [...row, tokens[b]!]);
      batch = tokenBatch(ids, {
        mask: batch.mask.map((row) => [...row, 1]),
        positions: batch.policy === "padded" ? "padded" : "explicit",
      });
      return run();
    },
    dispose: () => undefined,
  };
}

type StepInputs = { readonly [name: string]: Tensor };
type StepData = { readonly [name: string]: Buffer };
interface StepResult {
  readonly logits: Tensor;
  readonly fresh: Tensor;
}

type Step = (data: StepData) => Promise<StepResult>;

/** The steps of models without hooks, by weight policy and longest row: made once for all generations. */
const plainSteps = new WeakMap<TraceableModel, Map<string, Step>>();

/** What the graph of one token takes; `make` gives each input its data, or a place for it. */
function stepInputs(cfg: ModelConfig, make: (name: string, shape: readonly Dim[], dtype: DType) => Tensor): StepInputs {
  const [batch, past, capacity] = [axis("batch"), axis("past"), axis("capacity")];
  const cached: [string, readonly Dim[], DType][] = Array.from({ length: 2 * cfg.n_layers }, (_, i) => [
    cacheName(i),
    [batch, kvHeads(cfg), capacity, cfg.d_head],
    "float32",
  ]);
  const inputs: [string, readonly Dim[], DType][] = [
    ["tokens", [batch, 1], "int64"],
    ["positions", [batch, 1], "int64"],
    ["index", [batch, 1], "int64"],
    ["pastMask", [batch, past], "bool"],
    ...cached,
  ];
  return Object.fromEntries(inputs.map(([name, shape, dtype]) => [name, make(name, shape, dtype)]));
}

const cacheName = (i: number): string => `${i % 2 === 0 ? "keys" : "values"}.${i >> 1}`;

/** Keeps keys and values. The graph of one token is compiled once, for all lengths. */
export class CachingDecoder implements Decoder {
  readonly #model: TraceableModel;
  readonly #prompt: TokenBatch;
  readonly #options: DecoderOptions;
  readonly #cache: KeyValueCache;
  /** A row's length at most, rounded up so that generations share their graph. */
  readonly #longest: number;
  /** Mask of the kept tokens, and the position of the next one, for each row. */
  readonly #masks: number[][];
  readonly #positions: number[];
  #step: Step | undefined;

  /** @param newTokens how many tokens will follow the prompt at most */
  constructor(model: TraceableModel, prompt: TokenBatch, newTokens: number, options: DecoderOptions) {
    const { cfg } = model;
    this.#model = model;
    this.#prompt = prompt;
    this.#options = options;
    this.#longest = 2 ** Math.ceil(Math.log2(prompt.largestPosition + 1 + newTokens));
    this.#cache = new KeyValueCache({
      layers: cfg.n_layers,
      batch: prompt.batchSize,
      heads: kvHeads(cfg),
      width: cfg.d_head,
    });
    this.#masks = prompt.mask.map((row) => [...row]);
    this.#positions = prompt.mask.map((row) =>
      prompt.policy === "padded" ? prompt.length : row.reduce((a, b) => a + b, 0),
    );
  }

  async start(): Promise<Tensor> {
    const { hooks, splices, signal } = this.#options;
    const { logits, fresh } = await realizeRun(
      this.#model,
      this.#prompt,
      (traced): StepResult => ({ logits: lastLogits(traced.logits, this.#prompt), fresh: joined(traced.output) }),
      { hooks, splices, signal },
    );
    this.#cache.append(fresh.data as Float32Array, this.#prompt.length);
    return logits;
  }

  async next(tokens: readonly number[]): Promise<Tensor> {
    this.#step ??= await this.#prepare();
    this.#options.signal?.throwIfAborted();
    const { logits, fresh } = await this.#step(this.#data(tokens));
    this.#cache.append(fresh.data as Float32Array, 1);
    for (const row of this.#masks) row.push(1);
    this.#positions.forEach((p, b) => (this.#positions[b] = p + 1));
    return logits;
  }

  dispose(): void {
    this.#cache.dispose();
  }

  #data(tokens: readonly number[]): StepData {
    const { length } = this.#cache;
    const column = (numbers: readonly number[]): Buffer => ({
      dims: [tokens.length, 1],
      data: BigInt64Array.from(numbers, BigInt),
    });
    const { keys, values } = this.#cache.buffers();
    const cached = keys.flatMap((x, layer) => [x, values[layer]!]).map((x, i) => [cacheName(i), x] as const);
    return {
      tokens: column(tokens),
      positions: column(this.#positions),
      index: column(tokens.map(() => length)),
      pastMask: { dims: [tokens.length, length], data: Uint8Array.from(this.#masks.flat()) },
      ...Object.fromEntries(cached),
    };
  }

  /** The compiled graph; where an async hook cuts it, a function that builds it anew for each token. */
  async #prepare(): Promise<Step> {
    const model = this.#model;
    const { weights } = this.#options;
    const key = `${weights} ${this.#longest}`;
    const known = plainSteps.get(model) ?? new Map<string, Step>();
    if (model.newTrace(this.#options).hooked) return this.#compile().catch((cut: unknown) => this.#rebuilding(cut));
    const step = known.get(key) ?? (await this.#compile());
    plainSteps.set(model, known.set(key, step));
    return step;
  }

  #compile(): Promise<Step> {
    const { cfg, runtime } = this.#model;
    const inputs = stepInputs(cfg, (name, shape, dtype) => placeholder(shape, dtype, name));
    return runtime.compile(inputs, (x) => this.#build(x, new Map()), { weights: this.#options.weights });
  }

  #rebuilding(cut: unknown): Step {
    if (!(cut instanceof TraceCut)) throw cut;
    return (data) => {
      const inputs = stepInputs(this.#model.cfg, (name, shape, dtype) =>
        leaf(data[name]!.data, data[name]!.dims, { shape, dtype, name }),
      );
      return realizeAwaiting(this.#model, (cuts) => this.#build(inputs, cuts), this.#options);
    };
  }

  #build(inputs: StepInputs, cuts: ReadonlyMap<string, Tensor>): StepResult {
    const model = this.#model;
    const trace = model.newTrace(this.#options, cuts);
    const past = Array.from({ length: model.cfg.n_layers }, (_, layer) => {
      const [rotated, values] = [inputs[`keys.${layer}`]!, inputs[`values.${layer}`]!].map((x) =>
        transpose(x, [0, 2, 1, 3]),
      );
      return { keys: rotated!, rotated: rotated!, values: values! };
    });
    const output = forward(
      model.parts(this.#longest),
      {
        tokens: inputs["tokens"]!,
        positions: inputs["positions"]!,
        keyMask: undefined,
        emptyRows: false,
        startAtLayer: 0,
        stopAtLayer: undefined,
        past,
        independent: { index: inputs["index"]!, pastMask: inputs["pastMask"]! },
      },
      trace,
    );
    trace.finish();
    return { logits: select(output.logits!, 1, 0), fresh: joined(output) };
  }
}
