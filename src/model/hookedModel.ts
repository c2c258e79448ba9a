/** @file The hooked transformer: load, run, hook, splice, differentiate. */
import { branch, gradients as differentiate } from "../graph/gradients.ts";
import { GraphError } from "../graph/errors.ts";
import { axis } from "../graph/axis.ts";
import { leaf, type Tensor } from "../graph/tensor.ts";
import { holdWeights } from "../runtime/heldWeights.ts";
import { defaultRuntime, type Runtime, type WeightPolicy } from "../runtime/runtime.ts";
import { ActivationCache } from "./activationCache.ts";
import { rowsOf, tokenBatch, type TokenBatch } from "./batch.ts";
import { kvHeads, parseModelConfig, type ModelConfig, type ModelConfigInput } from "./config.ts";
import { ModelError } from "./errors.ts";
import {
  noSuchPoint,
  Trace,
  TraceCut,
  type AsyncHook,
  type Hook,
  type HookEntry,
  type NameFilter,
  type Splice,
  type Spliceable,
} from "./hooks.ts";
import { compileModel, type CompiledModel, type CompileOptions } from "./compiled.ts";
import { generate, generateStream, type GenerateOptions, type Generation, type GenerationStep } from "./generate.ts";
import { initWeights } from "./init.ts";
import { loadModelFiles, type LoadOptions } from "./load.ts";
import { continueBatch } from "./past.ts";
import { rotaryTables } from "./rope.ts";
import type { BatchOptions, HookSpec, ModelInput, RunOptions } from "./runOptions.ts";
import { SplicedModel } from "./splicedModel.ts";
import type { Tokenizer } from "./tokenizer/index.ts";
import { loadTokenizer, TokenizerError, tokenizerFromGguf } from "./tokenizer/index.ts";
import { tracedView, type Traced } from "./traced.ts";
import { forward, type ForwardInput, type TransformerParts } from "./transformer.ts";
import type { ModelWeights } from "./weights.ts";

export interface HookDescription {
  readonly name: string;
  /** Axes as the forward pass names them. */
  readonly shape: string;
}

/** One of the likeliest next tokens. */
export interface TopToken {
  readonly id: number;
  readonly token: string;
  readonly logit: number;
  readonly probability: number;
}

interface ModelParts {
  readonly cfg: ModelConfig;
  readonly weights: ModelWeights;
  readonly tokenizer?: Tokenizer | undefined;
  readonly runtime?: Runtime | undefined;
  readonly weightPolicy?: WeightPolicy;
  readonly release?: () => void;
}

const isBatch = (input: ModelInput): input is TokenBatch =>
  typeof input === "object" && !Array.isArray(input) && "tokens" in input;

const isPair = (spec: HookSpec): spec is readonly [NameFilter, Hook | AsyncHook] => Array.isArray(spec);
const toEntry = (spec: HookSpec): HookEntry => (isPair(spec) ? { filter: spec[0], hook: spec[1] } : spec);

export interface ModelOptions extends LoadOptions {
  runtime?: Runtime;
  /** Default policy of this model's runs: `fed` shares one copy of the weights, `packed` is faster and holds its own. */
  weights?: WeightPolicy;
}

/**
 * A transformer whose every intermediate value can be watched and changed.
 * @example
 * const model = await HookedModel.load("models/gpt2");
 * const { logits, cache } = await model.runWithCache("The Eiffel Tower is in", { names: "blocks.*.attn.hook_z" });
 */
export class HookedModel {
  readonly cfg: ModelConfig;
  /** Parameters by TransformerLens name, as lazy views. */
  readonly weights: ModelWeights;
  readonly runtime: Runtime;
  readonly weightPolicy: WeightPolicy;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #permanent: HookEntry[] = [];
  readonly #rotary = new Map<number, { cos: Tensor; sin: Tensor }>();
  readonly #masks = new Map<number, Tensor>();
  readonly #release: (() => void) | undefined;

  constructor(parts: ModelParts) {
    this.cfg = parts.cfg;
    this.weights = parts.weights;
    this.runtime = parts.runtime ?? defaultRuntime();
    this.weightPolicy = parts.weightPolicy ?? "fed";
    this.#tokenizer = parts.tokenizer;
    this.#release = parts.release;
  }

  /**
   * Loads a Hugging Face folder, a folder of a TransformerLens-native small model, or a `.gguf` file.
   * @throws ModelError naming what is missing or does not fit
   */
  static async load(path: string, options: ModelOptions = {}): Promise<HookedModel> {
    const { runtime, weights: weightPolicy, ...loading } = options;
    const loaded = await loadModelFiles(path, loading);
    const { folder, gguf } = loaded.tokenizerSource;
    const tokenizer =
      gguf !== undefined ? tokenizerFromGguf(gguf) : folder !== undefined ? await tokenizerIn(folder) : undefined;
    return new HookedModel({
      cfg: loaded.cfg,
      weights: loaded.weights,
      tokenizer,
      runtime,
      weightPolicy,
      release: () => loaded.dispose(),
    });
  }

  /**
   * A model with random weights, a function of the seed.
   * @example
   * const sizes = { n_layers: 1, d_model: 8, n_ctx: 4, d_head: 4, n_heads: 2, d_vocab: 10, d_vocab_out: 10 };
   * const tiny = HookedModel.fromConfig({ ...sizes, attn_only: true }, { seed: 1 });
   * await tiny.run([[1, 2, 3]]); // [1, 3, 10]
   */
  static fromConfig(
    config: ModelConfigInput,
    options: { seed?: number; runtime?: Runtime; weights?: WeightPolicy; tokenizer?: Tokenizer } = {},
  ): HookedModel {
    const { seed = 0, runtime, weights: weightPolicy, tokenizer } = options;
    const cfg = parseModelConfig(config);
    const made = initWeights(cfg, seed);
    const release = holdWeights({ owner: cfg.model_name, kind: "HookedModel" }, made);
    return new HookedModel({ cfg, weights: made, runtime, weightPolicy, tokenizer, release });
  }

  /** @throws ModelError when the model came without one */
  get tokenizer(): Tokenizer {
    if (this.#tokenizer === undefined)
      throw new ModelError("this model has no tokenizer", {
        code: "model/no-tokenizer",
        hint: "give token ids instead of text, or put a tokenizer.json beside config.json",
      });
    return this.#tokenizer;
  }

  get hasTokenizer(): boolean {
    return this.#tokenizer !== undefined;
  }

  /**
   * The same model over other weights; who made them frees them.
   * @example
   * const copy = model.withWeights(model.weights);
   * copy.cfg === model.cfg; // true
   */
  withWeights(weights: ModelWeights): HookedModel {
    const { cfg, runtime, weightPolicy } = this;
    return new HookedModel({ cfg, weights, tokenizer: this.#tokenizer, runtime, weightPolicy });
  }

  /** Returns the memory of the weights. */
  dispose(): void {
    this.#release?.();
  }

  /**
   * Token ids, mask and positions as leaves, made once: runs over one batch object share what they have in common.
   * @throws ModelError when a row is longer than the context
   * @example
   * const batch = model.batch(["The Eiffel Tower is in", "Once upon a time"], { paddingSide: "left" });
   * const logits = await model.run(batch); // [2, pos, d_vocab]
   */
  batch(input: ModelInput, options: BatchOptions = {}): TokenBatch {
    if (isBatch(input)) return input;
    const rows = this.#rows(input, options);
    const legacy = this.#legacy(options);
    const made = tokenBatch(rows.ids, {
      mask: options.attentionMask ?? rows.mask,
      positions: options.positions,
      legacy,
    });
    this.#inContext(made);
    const top = rows.ids.reduce((a, row) => row.reduce((b, id) => Math.max(b, id), a), 0);
    if (top >= this.cfg.d_vocab)
      throw new ModelError("a token id is outside the vocabulary", {
        code: "model/vocabulary",
        expected: `ids below ${this.cfg.d_vocab}`,
        received: String(top),
      });
    return made;
  }

  #inContext(batch: TokenBatch): TokenBatch {
    if (batch.largestPosition >= this.cfg.n_ctx)
      throw new ModelError("the input is longer than the model's context", {
        code: "model/context",
        expected: `at most ${this.cfg.n_ctx} tokens`,
        received: String(batch.largestPosition + 1),
        hint: "truncate it",
      });
    return batch;
  }

  #legacy(
    options: BatchOptions,
  ): { padId: number; bosId: number | undefined; paddingSide: "left" | "right"; prependBos: boolean } | undefined {
    if (this.#tokenizer === undefined) return undefined;
    const { pad, bos } = this.#tokenizer.special.ids;
    if (pad === undefined) return undefined;
    const { paddingSide = "right", prependBos = this.cfg.default_prepend_bos } = options;
    return { padId: pad, bosId: bos, paddingSide, prependBos };
  }

  #rows(
    input: Exclude<ModelInput, TokenBatch>,
    options: BatchOptions,
  ): { ids: readonly (readonly number[])[]; mask?: readonly (readonly number[])[] } {
    if (typeof input === "string" || typeof input[0] === "string") {
      const texts = typeof input === "string" ? [input] : (input as readonly string[]);
      const { prependBos = this.cfg.default_prepend_bos, paddingSide } = options;
      const { ids, mask, dims } = this.tokenizer.toTokens(texts, { prependBos, paddingSide });
      return { ids: rowsOf(ids, dims), mask: rowsOf(mask, dims) };
    }
    return {
      ids: typeof input[0] === "number" ? [input as readonly number[]] : (input as readonly (readonly number[])[]),
    };
  }

  /**
   * Token ids of a text, with BOS as the model's policy says.
   * @example
   * model.toTokens("Hello world"); // [[50256, 15496, 995]]
   */
  toTokens(
    text: string | readonly string[],
    options: { prependBos?: boolean; paddingSide?: "left" | "right" } = {},
  ): number[][] {
    const { prependBos = this.cfg.default_prepend_bos, paddingSide } = options;
    const { ids, dims } = this.tokenizer.toTokens(text, { prependBos, paddingSide });
    return rowsOf(ids, dims);
  }

  /**
   * The text of token ids.
   * @example
   * model.toString([15496, 995]); // "Hello world"
   */
  toString(ids: readonly number[]): string {
    return this.tokenizer.decode(ids);
  }

  /**
   * Each token's own text, byte-exact.
   * @example
   * model.toStringTokens("Hello world"); // ["<|endoftext|>", "Hello", " world"]
   */
  toStringTokens(input: string | readonly number[], options: { prependBos?: boolean } = {}): string[] {
    return this.tokenizer.tokenStrings(typeof input === "string" ? this.toTokens(input, options)[0]! : input);
  }

  /**
   * The id of a text that is exactly one token.
   * @example
   * model.toSingleToken(" Paris"); // 6342
   */
  toSingleToken(text: string): number {
    return this.tokenizer.singleToken(text);
  }

  /**
   * Adds a hook to every later run.
   * @example
   * const remove = model.addHook("blocks.0.hook_mlp_out", (value) => value.mul(2));
   * const logits = await model.run("Hello world");
   * remove();
   */
  addHook(
    filter: NameFilter,
    hook: Hook | AsyncHook,
    options: { direction?: "fwd" | "bwd"; prepend?: boolean } = {},
  ): () => void {
    const entry: HookEntry = { filter, hook, direction: options.direction ?? "fwd", permanent: true };
    if (options.prepend) this.#permanent.unshift(entry);
    else this.#permanent.push(entry);
    return () => {
      const at = this.#permanent.indexOf(entry);
      if (at >= 0) this.#permanent.splice(at, 1);
    };
  }

  /** Removes the hooks of {@link addHook}. */
  resetHooks(): void {
    this.#permanent.length = 0;
  }

  /**
   * Runs a function with extra hooks on; they come off however it ends.
   * @example
   * const without = await model.withHooks([["blocks.0.hook_mlp_out", (value) => value.mul(0)]], () =>
   *   model.run("Hello world"),
   * );
   */
  async withHooks<T>(hooks: readonly HookSpec[], run: () => T | Promise<T>): Promise<T> {
    const undo = hooks.map(toEntry).map((e) => this.addHook(e.filter, e.hook, { direction: e.direction }));
    try {
      return await run();
    } finally {
      for (const remove of undo) remove();
    }
  }

  /** What a forward pass needs beside its input. @internal */
  parts(positions: number): TransformerParts {
    return {
      cfg: this.cfg,
      weights: this.weights,
      rotary: this.cfg.positional_embedding_type === "rotary" ? this.#tables(positions) : undefined,
      maskTable: this.cfg.attention_bias === null ? undefined : (layer) => this.#mask(layer),
    };
  }

  /** Rotary tables for at least so many positions; lengths are powers of two so that few are made. */
  #tables(positions: number): { cos: Tensor; sin: Tensor } {
    const length = Math.min(this.cfg.n_ctx, Math.max(64, 2 ** Math.ceil(Math.log2(Math.max(positions, 1)))));
    let tables = this.#rotary.get(length);
    if (tables === undefined) this.#rotary.set(length, (tables = rotaryTables(this.cfg, length)));
    return tables;
  }

  #mask(layer: number): Tensor {
    let mask = this.#masks.get(layer);
    if (mask === undefined) {
      const rows = this.cfg.attention_bias![layer]!;
      const data = Float32Array.from(rows.flat(), (x) => x ?? -Infinity);
      mask = leaf(data, [rows.length, rows.length], { name: `attention mask of block ${layer}` });
      this.#masks.set(layer, mask);
    }
    return mask;
  }

  #layer(layer: number | undefined): number | undefined {
    if (layer === undefined) return undefined;
    const at = layer < 0 ? layer + this.cfg.n_layers : layer;
    if (!Number.isInteger(at) || at < 0 || at > this.cfg.n_layers)
      throw new ModelError("there is no such layer", {
        code: "model/layer",
        expected: `an integer from ${-this.cfg.n_layers} to ${this.cfg.n_layers}`,
        received: String(layer),
      });
    return at;
  }

  /**
   * Builds the lazy expression of a forward pass. Nothing is computed; async hooks are not allowed here.
   * @example
   * const { logits } = model.trace("Hello world"); // nothing is computed yet
   * const best = await model.runtime.realize(logits.argMax()); // [batch, pos]
   */
  trace(input: ModelInput, options: RunOptions = {}): Traced {
    return this.#trace(this.#continued(this.batch(input, options), options), options, new Map());
  }

  #trace(
    batch: TokenBatch,
    options: RunOptions,
    cuts: ReadonlyMap<string, Tensor>,
    weights: ModelWeights = this.weights,
  ): Traced {
    const trace = this.newTrace({ capture: "*", ...options }, cuts);
    const start = this.#layer(options.startAtLayer) ?? 0;
    const residual = options.residual && this.#residual(options.residual, batch);
    if (options.startAtLayer !== undefined && residual === undefined)
      throw new ModelError("startAtLayer needs the residual that enters that block", {
        code: "model/start",
        expected: "`residual` [batch, pos, d_model]",
      });
    const input: ForwardInput = {
      tokens: batch.tokens,
      positions: batch.positions,
      keyMask: batch.keyMask,
      emptyRows: batch.emptyRows,
      past: batch.past?.keyValues,
      keyPositions: batch.past?.positions,
      residual,
      startAtLayer: start,
      stopAtLayer: this.#layer(options.stopAtLayer),
    };
    const output = forward({ ...this.parts(batch.largestPosition + 1), weights }, input, trace);
    const partial = start > 0 || input.stopAtLayer !== undefined;
    if (options.capture !== undefined || trace.hooked) trace.finish(partial);
    return tracedView(batch, output, trace);
  }

  /** A trace with the permanent hooks and those of one run. @internal */
  newTrace(options: Pick<RunOptions, "hooks" | "splices" | "capture">, cuts?: ReadonlyMap<string, Tensor>): Trace {
    const hooks = [...this.#permanent, ...(options.hooks ?? []).map(toEntry)];
    return new Trace({ hooks, splices: options.splices, capture: options.capture, cuts });
  }

  /** The batch as what follows `options.past`. */
  #continued(batch: TokenBatch, { past }: RunOptions): TokenBatch {
    return past === undefined ? batch : this.#inContext(continueBatch(batch, past, this.cfg));
  }

  /** A residual given as data gets the batch's axes. */
  #residual(residual: Tensor, batch: TokenBatch): Tensor {
    if (residual.storage === undefined) return residual;
    return leaf(residual.data, residual.dims, {
      shape: [batch.batch, batch.pos, this.cfg.d_model],
      dtype: residual.dtype,
      name: "residual",
    });
  }

  /** Traces; an async hook cuts the trace: its value is realized, the hook awaited, the pass traced again. @internal */
  async traceAwaiting(input: ModelInput, options: RunOptions = {}): Promise<Traced> {
    const batch = this.#continued(this.batch(input, options), options);
    return this.#awaitHooks((cuts) => this.#trace(batch, options, cuts), options);
  }

  /** Builds expressions, again after each async hook on the way, and realizes them. @internal */
  async realizeAwaiting<T>(
    build: (cuts: ReadonlyMap<string, Tensor>) => T,
    options: Pick<RunOptions, "weights" | "signal">,
  ): Promise<T> {
    return this.runtime.realize(await this.#awaitHooks(build, options), this.#realizeOptions(options));
  }

  async #awaitHooks<T>(
    build: (cuts: ReadonlyMap<string, Tensor>) => T,
    options: Pick<RunOptions, "weights" | "signal">,
  ): Promise<T> {
    const cuts = new Map<string, Tensor>();
    for (;;) {
      try {
        return build(cuts);
      } catch (cut) {
        if (!(cut instanceof TraceCut)) throw cut;
        const value = await this.runtime.realize(cut.value, this.#realizeOptions(options));
        const returned = (await cut.hook(value, cut.point)) ?? value;
        const result = await this.runtime.realize(returned, this.#realizeOptions(options));
        cuts.set(
          cut.key,
          leaf(result.data, result.dims, { shape: cut.value.shape, dtype: result.dtype, name: cut.point.name }),
        );
      }
    }
  }

  #realizeOptions(options: Pick<RunOptions, "weights" | "signal">): {
    weights: WeightPolicy;
    signal: AbortSignal | undefined;
  } {
    return { weights: options.weights ?? this.weightPolicy, signal: options.signal };
  }

  /**
   * Runs the model and realizes what `select` builds from it, by default the logits.
   * @param select from lazy values to any tree of tensors; everything in it is computed together
   * @example
   * const { diff } = await model.run(batch, ({ logits }) => ({ diff: sub(select(logits, 2, 5), select(logits, 2, 7)) }));
   */
  run(input: ModelInput, options?: RunOptions): Promise<Tensor>;
  run<T>(input: ModelInput, select: (traced: Traced) => T, options?: RunOptions): Promise<T>;
  async run<T>(
    input: ModelInput,
    second?: ((traced: Traced) => T) | RunOptions,
    third?: RunOptions,
  ): Promise<T | Tensor> {
    const select = typeof second === "function" ? second : undefined;
    const options = (typeof second === "function" ? third : second) ?? {};
    const traced = await this.traceAwaiting(input, options);
    const wanted =
      select === undefined ? (options.stopAtLayer === undefined ? traced.logits : traced.residual) : select(traced);
    return this.runtime.realize(wanted, this.#realizeOptions(options));
  }

  /**
   * Runs the model, keeping activations.
   * @param options.names which hook points; default all that need no flag
   * @returns logits [batch, pos, d_vocab_out] (the residual when stopped early) and the cache
   * @example
   * const { logits, cache } = await model.runWithCache("Hello world", { names: /hook_resid_(pre|post)$/ });
   * cache.get(["resid_post", 11]); // [batch, pos, d_model]
   */
  async runWithCache(
    input: ModelInput,
    options: RunOptions & { names?: NameFilter } = {},
  ): Promise<{ logits: Tensor; cache: ActivationCache }> {
    const { names = "*" } = options;
    const traced = await this.traceAwaiting(input, { ...options, capture: names });
    const logits = options.stopAtLayer === undefined ? traced.logits : traced.residual;
    const hooks = { ...traced.hooks };
    const realized = await this.runtime.realize({ logits, hooks }, this.#realizeOptions(options));
    return {
      logits: realized.logits,
      cache: new ActivationCache(new Map(Object.entries(realized.hooks)), this.cfg.n_layers),
    };
  }

  /**
   * Compiles what `select` builds once, for loops where tracing would cost more than the model does.
   * @returns a function from token ids [batch][pos] (any sizes, no padding) to the realized tree
   * @example
   * const logits = await model.compile((t) => t.logits);
   * const a = await logits([[1, 2, 3]]);
   */
  compile<T>(select: (traced: Traced) => T, options: CompileOptions = {}): Promise<CompiledModel<T>> {
    return compileModel(this, select, options);
  }

  /**
   * Mean next-token cross entropy, or each token's with `perToken` ([batch, pos − 1], 0 where a token is padding).
   * @example
   * (await model.loss("Hello world", { perToken: true })).dims; // [1, 2]
   */
  async loss(input: ModelInput, options: RunOptions & { perToken?: boolean } = {}): Promise<Tensor> {
    return this.run(input, (t) => (options.perToken ? t.lossPerToken : t.loss), options);
  }

  /**
   * The derivatives of a scalar of the run with respect to hook points and weights.
   * @param metric from lazy values to a scalar
   * @param wrt hook names (a filter) and weight names; where two parameters are one array (tied embeddings), each gets
   *   the part that its own use contributes
   * @returns gradients by name, in the shapes of their values
   * @example
   * const { hooks } = await model.gradients("Hello world", ({ loss }) => loss, { names: "blocks.*.attn.hook_z" });
   * hooks["blocks.9.attn.hook_z"]!; // [batch, pos, head, d_head]
   */
  async gradients(
    input: ModelInput,
    metric: (traced: Traced) => Tensor,
    wrt: { names?: NameFilter; weights?: readonly string[] },
    options: RunOptions = {},
  ): Promise<{ value: Tensor; hooks: Record<string, Tensor>; weights: Record<string, Tensor> }> {
    const weightNames = wrt.weights ?? [];
    // The same values under identities of their own.
    const own = new Map(weightNames.map((n) => [n, branch(this.weight(n), "parameter")]));
    const weights = new Map([...this.weights, ...own]);
    const batch = this.#continued(this.batch(input, options), options);
    const capturing = { ...options, capture: wrt.names ?? "*" };
    const traced = await this.#awaitHooks((cuts) => this.#trace(batch, capturing, cuts, weights), options);
    const scalar = metric(traced);
    const hookNames = wrt.names === undefined ? [] : Object.keys(traced.hooks);
    const targets = [...hookNames.map((n) => traced.hooks[n]!), ...own.values()];
    if (targets.length === 0)
      throw new ModelError("gradients: nothing to differentiate with respect to", {
        code: "model/gradients",
        expected: "hook names or weight names",
      });
    const found = this.#differentiate(scalar, targets, [...hookNames, ...weightNames]);
    const pick = (names: readonly string[], from: number): Record<string, Tensor> =>
      Object.fromEntries(names.map((n, i) => [n, found[from + i]!]));
    return this.runtime.realize(
      { value: scalar, hooks: pick(hookNames, 0), weights: pick(weightNames, hookNames.length) },
      this.#realizeOptions(options),
    );
  }

  #differentiate(scalar: Tensor, targets: readonly Tensor[], names: readonly string[]): Tensor[] {
    try {
      return differentiate(scalar, targets);
    } catch (error) {
      if (!(error instanceof GraphError) || error.code !== "graph/no-path") throw error;
      throw new ModelError("the scalar does not depend on a value it is to be differentiated by", {
        code: "model/no-path",
        where: names.join(", "),
        hint: "a hook replaced it, an async hook cut the graph above it, or the run stopped below it",
        cause: error,
      });
    }
  }

  /**
   * Continues a prompt token by token. Keys and values are kept, and the graph of one token is compiled once for all
   * lengths; hooks and splices act on the prompt and on each new token (a new token's values have one position, its
   * scores and pattern all keys so far). A plain hook is called once for the prompt and once for the graph of a token;
   * an async hook is called with the data of each token.
   * @param input rows of a batch may be padded on either side
   * @throws ModelError when prompt and new tokens do not fit the context, before anything is run
   * @example
   * const { text } = await model.generate("The Eiffel Tower is in", { maxNewTokens: 20, temperature: 0.7, topK: 40 });
   */
  generate(input: ModelInput, options: GenerateOptions = {}): Promise<Generation> {
    return generate(this, input, options);
  }

  /**
   * The same, one token of each row at a time. Leaving the loop frees the keys and values.
   * @example
   * for await (const { text } of model.generateStream("Once upon a time")) process.stdout.write(text[0]!);
   */
  generateStream(input: ModelInput, options: GenerateOptions = {}): AsyncGenerator<GenerationStep, void, void> {
    return generateStream(this, input, options);
  }

  /**
   * A parameter by its TransformerLens name.
   * @example
   * model.weight("blocks.0.attn.W_Q"); // [head, d_model, d_head]
   */
  weight(name: string): Tensor {
    const found = this.weights.get(name);
    if (found === undefined) throw noSuchPoint(`the model has no parameter ${name}`, name, this.weights.keys());
    return found;
  }

  /**
   * Every hook point of a plain forward pass with its shape, in order.
   * @example
   * console.table(model.describeHooks()); // blocks.0.hook_resid_pre, [batch, pos, 768] …
   */
  describeHooks(): HookDescription[] {
    const batch = tokenBatch([[0]]);
    const named = { ...batch, batch: axis("batch"), pos: axis("pos") };
    const traced = this.#trace(named, { capture: () => true }, new Map());
    return Object.entries(traced.hooks).map(([name, x]) => ({ name, shape: `[${x.shape.map(String).join(", ")}]` }));
  }

  /**
   * A view of this model with SAEs in place of their hook points, and transcoders in place of what they stand for.
   * @param options how each is spliced: `useErrorTerm`, `gradientThroughError`, `sparseDecode`
   * @throws ModelError when two share a hook point
   * @example
   * const { cache } = await model.splice(saes).runWithCache("Once upon a time", { names: "*.hook_sae_acts_post" });
   * cache.get("blocks.9.attn.hook_z.hook_sae_acts_post"); // [batch, pos, d_sae]
   */
  splice<Options>(spliced: Iterable<Spliceable<Options>>, options?: Options): SplicedModel {
    const splices = new Map<string, Splice>();
    for (const sae of spliced) {
      const place = sae.hookNameOut ?? sae.hookName;
      if (splices.has(place))
        throw new ModelError("two SAEs share a hook point", { code: "model/splice", where: place });
      splices.set(place, sae.splice(options));
    }
    return this.withSplices(splices);
  }

  /**
   * The likeliest next tokens after one row, for a look at realized logits.
   * @param logits realized, [batch, pos, d_vocab] or [batch, d_vocab]
   * @param options.row default 0; `position` default the last one
   * @example
   * const logits = await model.run("The Eiffel Tower is in");
   * console.table(model.topTokens(logits, { k: 5 }));
   */
  topTokens(logits: Tensor, options: { k?: number; row?: number; position?: number } = {}): TopToken[] {
    const { k = 10, row = 0, position = -1 } = options;
    const width = logits.dims.at(-1)!;
    const length = logits.dims.length === 3 ? logits.dims[1]! : 1;
    const at = (row * length + (position < 0 ? length + position : position)) * width;
    const values = (logits.data as Float32Array).subarray(at, at + width);
    const top = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const total = values.reduce((sum, x) => sum + Math.exp(x - top), 0);
    return Array.from(values.keys())
      .sort((a, b) => values[b]! - values[a]! || a - b)
      .slice(0, k)
      .map((id) => ({
        id,
        token: this.#tokenizer === undefined ? String(id) : this.toStringTokens([id])[0]!,
        logit: values[id]!,
        probability: Math.exp(values[id]! - top) / total,
      }));
  }

  /** A view of this model with anything in place of hook points. */
  withSplices(splices: ReadonlyMap<string, Splice>): SplicedModel {
    return new SplicedModel(this, splices);
  }

  /** Bytes of keys and values per token. */
  get cacheBytesPerToken(): number {
    return this.cfg.n_layers * 2 * kvHeads(this.cfg) * this.cfg.d_head * 4;
  }
}

/** The tokenizer of a folder; undefined where there is none, which is fine as long as ids are given. */
async function tokenizerIn(folder: string): Promise<Tokenizer | undefined> {
  try {
    return await loadTokenizer(folder);
  } catch (error) {
    if (error instanceof TokenizerError && error.code === "tokenizer/missing") return undefined;
    throw error;
  }
}
