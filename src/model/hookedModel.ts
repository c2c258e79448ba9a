/** @file The hooked transformer: load, run, hook, splice, differentiate. */
import { inspectAs } from "../graph/inspect.ts";
import type { OptionNames } from "../graph/options.ts";
import type { Tensor } from "../graph/tensor.ts";
import { holdWeights } from "../runtime/heldWeights.ts";
import { defaultRuntime, type Runtime, type WeightPolicy } from "../runtime/runtime.ts";
import { kvHeads, parseModelConfig, type ModelConfig, type ModelConfigInput } from "./config.ts";
import { checkModelOptions, ModelError } from "./errors.ts";
import { endIdsIn } from "./files/endIds.ts";
import { loadModelFiles, type LoadOptions } from "./files/load.ts";
import {
  generate,
  generateStream,
  type GenerateOptions,
  type Generation,
  type GenerationStep,
} from "./generation/generate.ts";
import { ActivationCache } from "./hooks/activationCache.ts";
import { noSuchPoint, type NameFilter } from "./hooks/filter.ts";
import type { AsyncHook, Hook, HookEntry, Splice, Spliceable } from "./hooks/hookPoint.ts";
import { Trace } from "./hooks/trace.ts";
import { joinedSplices, splicesOf } from "./hooks/splices.ts";
import type { TokenBatch } from "./run/batch.ts";
import { compileModel, type CompiledModel, type CompileOptions } from "./run/compiled.ts";
import { hookPoints, modelText } from "./run/describe.ts";
import { gradientsOf, type Gradients } from "./run/gradients.ts";
import { batchOf, encoded } from "./run/inputs.ts";
import {
  hookEntries,
  optionNames,
  type AddHookOptions,
  type BatchOptions,
  type CacheOptions,
  type GradientTargets,
  type HookSpec,
  type LossOptions,
  type ModelInput,
  type RunOptions,
  type TokenOptions,
} from "./run/runOptions.ts";
import { topTokens, type TopToken, type TopTokensOptions } from "./run/topTokens.ts";
import type { Traced } from "./run/traced.ts";
import { realizeRun, traceRun, type Cuts, type TraceableModel } from "./run/tracing.ts";
import { loadTokenizer, TokenizerError, tokenizerFromGguf, type Tokenizer } from "./tokenizer/index.ts";
import { Tables } from "./transformer/tables.ts";
import type { TransformerParts } from "./transformer/transformer.ts";
import { initWeights } from "./weights/init.ts";
import type { ModelWeights } from "./weights/weights.ts";

export interface HookDescription {
  readonly name: string;
  /** Axes as the forward pass names them. */
  readonly shape: string;
}

/** What a view adds to a model. */
interface View {
  readonly of: HookedModel;
  readonly hooks: readonly HookEntry[];
  readonly splices: ReadonlyMap<string, Splice>;
}

interface ModelParts {
  readonly cfg: ModelConfig;
  readonly weights: ModelWeights;
  readonly tokenizer?: Tokenizer | undefined;
  /** Ids that end a generation; default: the tokenizer's. */
  readonly endIds?: readonly number[] | undefined;
  readonly runtime?: Runtime | undefined;
  readonly weightPolicy?: WeightPolicy;
  readonly release?: () => void;
  /** @internal */
  readonly view?: View | undefined;
}

export interface ModelOptions extends LoadOptions {
  runtime?: Runtime;
  /** Default policy of this model's runs: `fed` shares one copy of the weights, `packed` is faster and holds its own. */
  weights?: WeightPolicy;
}

const loadNames: OptionNames<ModelOptions> = {
  runtime: true,
  weights: true,
  headersOnly: true,
  stopAtLayer: true,
  signal: true,
  onProgress: true,
  hub: true,
};

export interface FromConfigOptions {
  /** Default 0. */
  seed?: number;
  runtime?: Runtime;
  /** Default policy of this model's runs. */
  weights?: WeightPolicy;
  tokenizer?: Tokenizer;
}

const fromConfigNames: OptionNames<FromConfigOptions> = { seed: true, runtime: true, weights: true, tokenizer: true };

const noSplices: ReadonlyMap<string, Splice> = new Map();

/**
 * A transformer whose every intermediate value can be watched and changed. {@link HookedModel.withHooks} and
 * {@link HookedModel.splice} give views of it: models over the same weights with hooks and splices of their own, which
 * other runs do not see.
 * @example
 * const model = await HookedModel.load("models/gpt2");
 * const { logits, cache } = await model.runWithCache("The Eiffel Tower is in", { names: "blocks.*.attn.hook_z" });
 */
export class HookedModel implements TraceableModel {
  readonly cfg: ModelConfig;
  /** Parameters by TransformerLens name, as lazy views. */
  readonly weights: ModelWeights;
  readonly runtime: Runtime;
  readonly weightPolicy: WeightPolicy;
  /** Ids that end a generation: the tokenizer's, else those that the model's files name. */
  readonly endIds: readonly number[];
  /** What stands in place of hook points in every run, by name. */
  readonly splices: ReadonlyMap<string, Splice>;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #view: View | undefined;
  readonly #added: HookEntry[] = [];
  readonly #tables: Tables;
  readonly #release: (() => void) | undefined;

  constructor(parts: ModelParts) {
    this.cfg = parts.cfg;
    this.weights = parts.weights;
    this.runtime = parts.runtime ?? defaultRuntime();
    this.weightPolicy = parts.weightPolicy ?? "fed";
    this.endIds = parts.endIds ?? parts.tokenizer?.special.eosIds ?? [];
    const { view } = parts;
    this.splices = view === undefined ? noSplices : joinedSplices(view.of.splices, view.splices);
    this.#tokenizer = parts.tokenizer;
    this.#view = view;
    this.#tables = view === undefined ? new Tables(parts.cfg) : view.of.#tables;
    this.#release = parts.release;
  }

  /**
   * Loads a model with its tokenizer: from a Hugging Face folder, a folder of a small TransformerLens model, a `.gguf`
   * file, or the hub. A path that exists wins; any other name is an id (`gpt2`, `owner/name`, `owner/name@revision`,
   * `owner/name/file.gguf`): what is needed is downloaded once, into the cache that Python's tools use, too.
   * @param source a path, or an id on the hub
   * @param options.hub how the hub is asked: its cache, a token, `offline`, the number of attempts
   * @throws ModelError naming what is missing, does not fit or is not supported, with near names for an id that there is
   *   none of; FormatError for damaged files, and for a hub that cannot be reached, refuses or breaks off (`code` tells
   *   which: what has come stays, and the next call goes on from there); the signal's reason when aborted
   * @example
   * const local = await HookedModel.load("models/gpt2");
   * const fromHub = await HookedModel.load("gpt2", { hub: { offline: true } }); // HookedModel gpt2
   * fromHub.cfg.n_layers === local.cfg.n_layers; // true
   */
  static async load(source: string, options: ModelOptions = {}): Promise<HookedModel> {
    checkModelOptions(options, loadNames, "HookedModel.load");
    const { runtime, weights: weightPolicy, ...loading } = options;
    const loaded = await loadModelFiles(source, loading);
    const { folder, gguf } = loaded.tokenizerSource;
    const tokenizer =
      gguf !== undefined ? tokenizerFromGguf(gguf) : folder !== undefined ? await tokenizerIn(folder) : undefined;
    return new HookedModel({
      cfg: loaded.cfg,
      weights: loaded.weights,
      tokenizer,
      endIds: tokenizer === undefined && folder !== undefined ? await endIdsIn(folder) : undefined,
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
  static fromConfig(config: ModelConfigInput, options: FromConfigOptions = {}): HookedModel {
    checkModelOptions(options, fromConfigNames, "HookedModel.fromConfig");
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
   * The same model over other weights, with the hooks and splices of this view; who made them frees them.
   * @example
   * const copy = model.withWeights(model.weights);
   * copy.cfg === model.cfg; // true
   */
  withWeights(weights: ModelWeights): HookedModel {
    const { cfg, endIds, runtime, weightPolicy } = this;
    const view = this.#view && { ...this.#view, of: this.#view.of.withWeights(weights) };
    return new HookedModel({ cfg, weights, tokenizer: this.#tokenizer, endIds, runtime, weightPolicy, view });
  }

  /** Returns the memory of the weights. Views have none of their own: this is for the model that they are views of. */
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
    checkModelOptions(options, optionNames.batch, "batch");
    return batchOf(this, input, options);
  }

  /**
   * Token ids of a text, with BOS as the model's policy says.
   * @example
   * model.toTokens("Hello world"); // [[50256, 15496, 995]]
   */
  toTokens(text: string | readonly string[], options: TokenOptions = {}): number[][] {
    checkModelOptions(options, optionNames.tokens, "toTokens");
    return encoded(this, text, options).ids;
  }

  /**
   * The text of token ids.
   * @example
   * model.toText([15496, 995]); // "Hello world"
   */
  toText(ids: readonly number[]): string {
    return this.tokenizer.decode(ids);
  }

  /**
   * Each token's own text, byte-exact.
   * @example
   * model.toStringTokens("Hello world"); // ["<|endoftext|>", "Hello", " world"]
   */
  toStringTokens(input: string | readonly number[], options: TokenOptions = {}): string[] {
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
   * Adds a hook to every later run of this model and of its views. For the hooks of some runs, see {@link withHooks}.
   * @example
   * const remove = model.addHook("blocks.0.hook_mlp_out", (value) => value.mul(2));
   * const logits = await model.run("Hello world");
   * remove();
   */
  addHook(filter: NameFilter, hook: Hook | AsyncHook, options: AddHookOptions = {}): () => void {
    checkModelOptions(options, optionNames.addHook, "addHook");
    const entry: HookEntry = { filter, hook, direction: options.direction ?? "fwd", permanent: true };
    if (options.prepend) this.#added.unshift(entry);
    else this.#added.push(entry);
    return () => {
      const at = this.#added.indexOf(entry);
      if (at >= 0) this.#added.splice(at, 1);
    };
  }

  /** Removes the hooks of {@link addHook}. */
  resetHooks(): void {
    this.#added.length = 0;
  }

  /** Hooks of every run, in the order in which they act. */
  get #hooks(): readonly HookEntry[] {
    return this.#view === undefined ? this.#added : [...this.#view.of.#hooks, ...this.#view.hooks, ...this.#added];
  }

  /**
   * A view of this model with hooks in its every run, after those of the model. Runs of the model itself do not see them.
   * @example
   * const without = model.withHooks([["blocks.0.hook_mlp_out", (value) => value.mul(0)]]);
   * const [ablated, plain] = await Promise.all([without.run("Hello world"), model.run("Hello world")]);
   */
  withHooks(hooks: readonly HookSpec[]): HookedModel {
    return this.#viewWith({ hooks: hookEntries(hooks).map((entry) => ({ ...entry, permanent: true })) });
  }

  /** A view of this model with anything in place of hook points. */
  withSplices(splices: ReadonlyMap<string, Splice>): HookedModel {
    return this.#viewWith({ splices });
  }

  /**
   * A view of this model with SAEs in place of their hook points, and transcoders in place of what they stand for.
   * @param spliced one or several
   * @param options how each is spliced: `useErrorTerm`, `gradientThroughError`, `sparseDecode`
   * @throws ModelError when two share a hook point; SaeError for an option that does not exist
   * @example
   * const { cache } = await model.splice(saes).runWithCache("Once upon a time", { names: "*.hook_sae_acts_post" });
   * cache.get("blocks.9.attn.hook_z.hook_sae_acts_post"); // [batch, pos, d_sae]
   */
  splice<Options>(spliced: Spliceable<Options> | Iterable<Spliceable<Options>>, options?: Options): HookedModel {
    return this.withSplices(splicesOf(spliced, options));
  }

  #viewWith({ hooks = [], splices = noSplices }: Partial<View>): HookedModel {
    const { cfg, weights, endIds, runtime, weightPolicy } = this;
    const view = { of: this, hooks, splices };
    return new HookedModel({ cfg, weights, tokenizer: this.#tokenizer, endIds, runtime, weightPolicy, view });
  }

  /** What a forward pass needs beside its input. @internal */
  parts(positions: number): TransformerParts {
    return {
      cfg: this.cfg,
      weights: this.weights,
      rotary: this.cfg.positional_embedding_type === "rotary" ? this.#tables.rotary(positions) : undefined,
      maskTable: this.cfg.attention_bias === null ? undefined : (layer) => this.#tables.mask(layer),
    };
  }

  /**
   * Builds the lazy expression of a forward pass. Nothing is computed; async hooks are not allowed here.
   * @example
   * const { logits } = model.trace("Hello world"); // nothing is computed yet
   * const best = await model.runtime.realize(logits.argMax()); // [batch, pos]
   */
  trace(input: ModelInput, options: RunOptions = {}): Traced {
    checkModelOptions(options, optionNames.run, "trace");
    return traceRun(this, input, options)(new Map());
  }

  /** A trace with the hooks and splices of the model and those of one run. @internal */
  newTrace(options: Pick<RunOptions, "hooks" | "splices" | "capture">, cuts?: Cuts): Trace {
    const { hooks, splices = noSplices, capture } = options;
    return new Trace({
      hooks: [...this.#hooks, ...hookEntries(hooks)],
      splices: splices.size === 0 ? this.splices : joinedSplices(this.splices, splices),
      capture,
      cuts,
    });
  }

  /**
   * Runs the model and realizes what `select` builds from it, by default the logits: from lazy values to any tree of
   * tensors, in which everything is computed together.
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
    checkModelOptions(options, optionNames.run, "run");
    return realizeRun<T | Tensor>(this, input, select ?? ((traced) => logitsOf(traced, options)), options);
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
    options: CacheOptions = {},
  ): Promise<{ logits: Tensor; cache: ActivationCache }> {
    checkModelOptions(options, optionNames.runWithCache, "runWithCache");
    const { logits, hooks } = await realizeRun(
      this,
      input,
      (traced) => ({ logits: logitsOf(traced, options), hooks: { ...traced.hooks } }),
      { ...options, capture: options.names ?? "*" },
    );
    return { logits, cache: new ActivationCache(new Map(Object.entries(hooks)), this.cfg.n_layers) };
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
  async loss(input: ModelInput, options: LossOptions = {}): Promise<Tensor> {
    checkModelOptions(options, optionNames.loss, "loss");
    return realizeRun(this, input, (t) => (options.perToken ? t.lossPerToken : t.loss), options);
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
  gradients(
    input: ModelInput,
    metric: (traced: Traced) => Tensor,
    wrt: GradientTargets,
    options: RunOptions = {},
  ): Promise<Gradients> {
    checkModelOptions(wrt, optionNames.targets, "what gradients differentiates by");
    checkModelOptions(options, optionNames.run, "gradients");
    return gradientsOf(this, { input, metric, wrt, options });
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
   * Every hook point of a forward pass with its shape, in order; of a view with SAEs, those inside them, too.
   * @example
   * console.table(model.describeHooks()); // blocks.0.hook_resid_pre, [batch, pos, 768] …
   */
  describeHooks(): HookDescription[] {
    const points = hookPoints(this, this.splices);
    return Object.entries(points).map(([name, x]) => ({ name, shape: `[${x.shape.map(String).join(", ")}]` }));
  }

  /**
   * The likeliest next tokens after one row, for a look at realized logits.
   * @param logits realized, [batch, pos, d_vocab] or [batch, d_vocab]
   * @example
   * const logits = await model.run("The Eiffel Tower is in");
   * console.table(model.topTokens(logits, { k: 5 }));
   */
  topTokens(logits: Tensor, options: TopTokensOptions = {}): TopToken[] {
    return topTokens(logits, options, (id) => (this.hasTokenizer ? this.toStringTokens([id])[0]! : String(id)));
  }

  /** Bytes of keys and values per token. */
  get cacheBytesPerToken(): number {
    return this.cfg.n_layers * 2 * kvHeads(this.cfg) * this.cfg.d_head * 4;
  }

  /** Its name, sizes, and what is hooked and spliced. */
  toString(): string {
    return modelText(this, { hooks: this.#hooks, splices: this.splices });
  }

  static {
    inspectAs(this, String);
  }
}

/** What a run gives where nothing else is selected: logits, or the residual where it stopped. */
const logitsOf = (traced: Traced, { stopAtLayer }: RunOptions): Tensor =>
  stopAtLayer === undefined ? traced.logits : traced.residual;

/** The tokenizer of a folder; undefined where there is none, which is fine as long as ids are given. */
async function tokenizerIn(folder: string): Promise<Tokenizer | undefined> {
  try {
    return await loadTokenizer(folder);
  } catch (error) {
    if (error instanceof TokenizerError && error.code === "tokenizer/missing") return undefined;
    throw error;
  }
}
