/** @file The engine: realizes trees of tensors, keeps compiled graphs, records what it did. */
import { evaluateDim, type Dim } from "../graph/axis.ts";
import { dtypes } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";
import { leaf } from "../graph/tensor.ts";
import type { Backend, Buffer, Executable, Plan } from "./backend.ts";
import { RuntimeError } from "./errors.ts";
import type { Forecast } from "./forecast.ts";
import { memory, releaseWith, type LedgerHandle } from "./ledger.ts";
import { ortNode, type OrtOptions } from "./ortNode.ts";
import { axisSizes, concreteDims, makePlan, rewrite } from "./plan.ts";
import { fromFloat64, toFloat64 } from "./reference.ts";
import { mapTree, namedTensors, tensorsOf, type Tree } from "./tree.ts";
import { exchange, secondBuffers, updateTargets, type Updates, type UpdateTarget } from "./updates.ts";
import { foldWeightViews, slicedWeight } from "./views.ts";

/** Whether weights are fed to a graph (one copy for all graphs) or packed into it (faster, a copy of its own). */
export type WeightPolicy = "fed" | "packed";

export interface RuntimeOptions extends OrtOptions {
  /** Default: ONNX Runtime with the other options. */
  backend?: Backend;
  /** Bytes that compiled graphs may hold before the least recently used ones are dropped. Default 2 GB. */
  cacheBytes?: number;
}

export interface RealizeOptions {
  /** Default `fed`. */
  weights?: WeightPolicy;
  signal?: AbortSignal;
}

export interface UpdateOptions<Result> extends RealizeOptions {
  /** Sees the results before anything is changed; where it answers false, the leaves keep what they hold. */
  accept?: (result: Result) => boolean;
}

/** How a result was computed: everything its rounding may depend on beside the data. */
export interface Provenance {
  readonly backend: string;
  readonly device: string;
  readonly threads: number | undefined;
  readonly weights: WeightPolicy;
  /** Attention layers that one fused operator computed; 0: scores and patterns were written out. */
  readonly fusedAttention: number;
}

const provenances = new WeakMap<Tensor, Provenance>();

/**
 * How a realized tensor was computed; undefined for data that was given.
 * @example
 * provenanceOf(await runtime.realize(mul(x, 2)))?.weights; // "fed"
 */
export function provenanceOf(x: Tensor): Provenance | undefined {
  return provenances.get(x);
}

interface CacheEntry {
  readonly executable: Executable;
  readonly ledger: LedgerHandle;
  readonly bytes: number;
}

/** An update that skips tracing: built once, called with data. */
export interface CompiledUpdate<Inputs extends string, Result> {
  /** Runs the graph and changes the leaves. Arguments are realized tensors, or data with dimensions. */
  (
    inputs: { readonly [K in Inputs]: Tensor | Buffer },
    options?: Pick<UpdateOptions<Result>, "accept">,
  ): Promise<Result>;
  dispose(): Promise<void>;
}

/** A graph that skips tracing: built once, called with data. */
export interface CompiledFunction<Inputs extends string, Result> {
  /** Runs the graph. Arguments are realized tensors, or data with dimensions. */
  (inputs: { readonly [K in Inputs]: Tensor | Buffer }): Promise<Result>;
  dispose(): Promise<void>;
}

/** Bytes a compiled graph without packed weights is reckoned at. */
const graphBytes = 1_000_000;

/** What a run is to compute, and what it is for. */
interface Request<T> {
  readonly tree: T;
  /** Where the tensors of the tree stand in it. */
  readonly names: ReadonlyMap<Tensor, string>;
  readonly computed: readonly Tensor[];
  readonly targets: readonly UpdateTarget[];
  readonly weights: WeightPolicy;
  /** Results keep the axes of their expressions. */
  readonly shaped: boolean;
}

const wantedOf = ({ computed, targets }: Pick<Request<unknown>, "computed" | "targets">): Tensor[] => [
  ...computed,
  ...targets.map(({ value }) => value),
];

const describe = (dims: readonly number[]): string => `Tensor (${dims.join(", ")})`;

type Source = (leaf: Tensor) => Tensor | Buffer;

const ownData: Source = (x) => x;

/** Whether a plan asks a fused operator to compute on nothing, which ONNX Runtime's does not survive. */
const fusesNothing = (plan: Plan, source: Source): boolean =>
  plan.fused > 0 && plan.feeds.some((x) => x.storage !== undefined && source(x).dims.includes(0));

/**
 * Realizes expressions on one backend. Owns its compiled graphs; `dispose()` returns their memory.
 *
 * Work that is asked for at the same time runs one after the other: a graph is compiled once, and none is dropped while
 * it runs.
 * @example
 * const runtime = new Runtime({ threads: 2 });
 * const y = await runtime.realize(mul(x, 2));
 */
export class Runtime {
  readonly backend: Backend;
  readonly #cacheBytes: number;
  readonly #cache = new Map<string, CacheEntry>();
  #last: Promise<unknown> = Promise.resolve();
  /** Compilations of cached graphs so far, for tests and benches. */
  compilations = 0;

  constructor(options: RuntimeOptions = {}) {
    const { backend, cacheBytes = 2e9, ...ort } = options;
    this.backend = backend ?? ortNode(ort);
    this.#cacheBytes = cacheBytes;
  }

  /**
   * Computes every tensor of a tree, together: what they share is computed once, and only what they need.
   * @returns the same tree with realized tensors
   */
  realize<T>(tree: T, options: RealizeOptions = {}): Promise<T> {
    return this.update(tree, new Map(), options);
  }

  /**
   * Computes a tree of tensors and, in the same run, what some leaves are to hold next: a step of training. The leaves
   * stay the same objects, so that everything built over them sees the new values; arrays that were taken from them
   * before do not, and are written over by the next update but one.
   *
   * Each leaf that is ever updated has a second buffer, so that a run never writes what it reads: a run that fails, or
   * whose results are not accepted, changes nothing.
   * @param updates new values by leaf; a leaf that is updated must not have the role of a weight
   * @returns the same tree with realized tensors
   * @throws RuntimeError when a value does not fit its leaf
   * @example
   * const w = leaf(Float32Array.of(1, 2), [2]);
   * const loss = sum(mul(w, w));
   * const [slope] = gradients(loss, [w]);
   * const { loss: before } = await defaultRuntime().update({ loss }, new Map([[w, w.sub(slope!.mul(0.25))]]));
   * [before.item(), ...w.toArray()]; // [5, 0.5, 1]
   */
  async update<T>(tree: T, updates: Updates, options: UpdateOptions<T> = {}): Promise<T> {
    const { weights = "fed", signal, accept } = options;
    const names = namedTensors(tree);
    const computed = [...names.keys()].filter((x) => x.storage === undefined);
    const request = { tree, names, computed, targets: updateTargets(updates), weights, shaped: true };
    const wanted = wantedOf(request);
    if (wanted.length === 0) return tree;
    signal?.throwIfAborted();
    let plan = await this.#plan(wanted, weights);
    if (fusesNothing(plan, ownData)) plan = await this.#plan(wanted, weights, { fuse: false });
    return this.#perform(request, plan, ownData, { signal, accept });
  }

  /** Runs a plan of what is wanted. */
  #perform<T>(
    request: Request<T>,
    plan: Plan,
    source: Source,
    { signal, accept }: Pick<UpdateOptions<T>, "signal" | "accept">,
  ): Promise<T> {
    const { tree, names, computed, targets, weights, shaped } = request;
    return this.#exclusive(async () => {
      signal?.throwIfAborted();
      const executable = await this.#executable(plan);
      const into = secondBuffers(targets, computed.length, this.backend.device);
      const buffers = await this.#execute(plan, executable, source, into);
      const results = new Map(
        computed.map((x, i) => {
          const options = { name: names.get(x), shape: shaped ? x.shape : undefined, weights, fused: plan.fused };
          return [x, this.#result(x, buffers[i]!, options)];
        }),
      );
      const result = mapTree(tree, (x) => results.get(x) ?? x);
      if (accept?.(result) ?? true) exchange(targets);
      return result;
    });
  }

  /**
   * What realizing a tree will need, without running anything: leaves may be weights that have not been read.
   * @returns bytes by what they are for
   * @example
   * const x = leaf(new Float32Array(1000), [1000]);
   * defaultRuntime().forecast(mul(x, 2)).outputs; // 4000
   */
  forecast(tree: Tree, options: Pick<RealizeOptions, "weights"> = {}): Forecast {
    const wanted = tensorsOf(tree).filter((x) => x.storage === undefined);
    const outputs = rewrite(wanted, { fuse: this.backend.fuses === true });
    return memory.forecast(makePlan(outputs, () => options.weights === "packed"));
  }

  /** Runs one piece of work at a time, in the order in which it was asked for. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Rewrites outputs, computes the weight views they need, and makes a plan of them. */
  async #plan(
    wanted: readonly Tensor[],
    weights: WeightPolicy,
    { fuse = this.backend.fuses === true } = {},
  ): Promise<Plan> {
    const outputs = await foldWeightViews(rewrite(wanted, { fuse }), async (views) => {
      const sliced = views.map(slicedWeight);
      const others = await this.#once(views.filter((_, i) => sliced[i] === undefined));
      return views.map((view, i) => this.#result(view, sliced[i] ?? others.shift()!, { views: true }));
    });
    return makePlan(outputs, () => weights === "packed");
  }

  /** Computes what depends on weights only, with a graph that is used once. */
  async #once(views: readonly Tensor[]): Promise<Buffer[]> {
    if (views.length === 0) return [];
    const plan = makePlan(views, () => false);
    return this.#exclusive(async () => {
      const executable = await this.backend.compile(plan);
      try {
        return await this.#execute(plan, executable, ownData);
      } finally {
        await executable.dispose();
      }
    });
  }

  /** A leaf over a result, in the ledger for as long as its data lives. */
  #result(
    x: Tensor,
    { dims, data }: Buffer,
    options: { name?: string; shape?: readonly Dim[]; views?: boolean; weights?: WeightPolicy; fused?: number },
  ): Tensor {
    const { name: place = "", shape, views = false, weights = "fed", fused: fusedAttention = 0 } = options;
    const entry = {
      ...(views ? { owner: "weight views", kind: "views of weights" } : { owner: "results" }),
      name: place === "" ? (x.storage?.name ?? x.op.name) : place,
      object: describe(dims),
      device: this.backend.device,
      bytes: data.byteLength,
    };
    releaseWith(data, memory.add(entry));
    const made = leaf(data, dims, { shape, dtype: x.dtype, name: `result of ${entry.name}` });
    const { name: backend, device, threads } = this.backend;
    provenances.set(made, { backend, device, threads, weights, fusedAttention });
    return made;
  }

  #execute(plan: Plan, executable: Executable, source: Source, into?: ReadonlyMap<number, Buffer>): Promise<Buffer[]> {
    const sizes = axisSizes(plan, (x) => (x.storage === undefined ? undefined : source(x).dims));
    const feeds = plan.feeds.map((x): Buffer => {
      if (x.op.host !== true) {
        const { dims, data } = source(x);
        return { dims, data };
      }
      const inputs = x.inputs.map((input) => {
        const { dims, data } = source(input);
        return { dims, data: toFloat64(data, input.dtype) };
      });
      const dims = concreteDims(x, sizes);
      const sizeOf = (dim: Dim): number => evaluateDim(dim, sizes);
      const data = x.op.evaluate({ inputs, dims, dtype: x.dtype, attributes: x.attributes, node: x, sizeOf });
      return { dims, data: fromFloat64(data, x.dtype) };
    });
    return executable.run(
      feeds,
      plan.atoms.map((atom) => sizes.get(atom.id)),
      into,
    );
  }

  async #executable(plan: Plan): Promise<Executable> {
    if (!this.backend.caches) return this.backend.compile(plan);
    const known = this.#cache.get(plan.key);
    if (known !== undefined) {
      this.#cache.delete(plan.key);
      this.#cache.set(plan.key, known);
      return known.executable;
    }
    this.compilations++;
    const executable = await this.backend.compile(plan);
    const bytes = graphBytes + executable.bytes;
    const ledger = memory.add({
      owner: "compiled graphs",
      kind: "Runtime",
      name: `graph ${this.compilations}`,
      object: executable.bytes > 0 ? "graph with packed weights" : "graph",
      device: this.backend.device,
      bytes,
    });
    this.#cache.set(plan.key, { executable, ledger, bytes });
    await this.#evict(plan.key);
    return executable;
  }

  async #evict(keep: string): Promise<void> {
    let total = [...this.#cache.values()].reduce((sum, e) => sum + e.bytes, 0);
    for (const [key, entry] of [...this.#cache]) {
      if (total <= this.#cacheBytes) break;
      if (key === keep) continue;
      total -= entry.bytes;
      await this.#drop(key);
    }
  }

  async #drop(key: string): Promise<void> {
    const entry = this.#cache.get(key);
    if (entry === undefined) return;
    this.#cache.delete(key);
    entry.ledger.release();
    await entry.executable.dispose();
  }

  /**
   * Builds a graph once, to be called many times without tracing: training steps, generation, small models. The
   * compiled graph is kept with all others: the same structure over the same packed weights is compiled once.
   * @param inputs placeholders by name
   * @param build from the placeholders to a tree of tensors
   * @param options default: weights packed
   * @example
   * const x = placeholder([axis("batch"), 4], "float32", "x");
   * const double = await runtime.compile({ x }, ({ x }) => mul(x, 2));
   * const y = await double({ x: leaf(new Float32Array(8), [2, 4]) });
   */
  async compile<Inputs extends string, Result>(
    inputs: { readonly [K in Inputs]: Tensor },
    build: (inputs: { readonly [K in Inputs]: Tensor }) => Result,
    options: RealizeOptions = {},
  ): Promise<CompiledFunction<Inputs, Result>> {
    return this.#compiled(inputs, build(inputs), new Map(), { weights: "packed", ...options });
  }

  /**
   * Builds an {@link update} once, to be called many times without tracing: a step of training.
   * @param inputs placeholders by name: what changes from step to step
   * @param build from the placeholders to a tree of tensors, and what leaves are to hold next
   * @param options default: weights fed
   * @example
   * const w = leaf(Float32Array.of(1), [1]);
   * const by = placeholder([1], "float32", "by");
   * const count = await defaultRuntime().compileUpdate({ by }, ({ by }) => ({
   *   result: {},
   *   updates: new Map([[w, w.add(by)]]),
   * }));
   * for (const step of [1, 2, 3]) await count({ by: leaf(Float32Array.of(step), [1]) });
   * w.item(); // 7
   */
  compileUpdate<Inputs extends string, Result>(
    inputs: { readonly [K in Inputs]: Tensor },
    build: (inputs: { readonly [K in Inputs]: Tensor }) => { result: Result; updates: Updates },
    options: RealizeOptions = {},
  ): Promise<CompiledUpdate<Inputs, Result>> {
    const { result, updates } = build(inputs);
    return this.#compiled(inputs, result, updates, options);
  }

  async #compiled<Inputs extends string, Result>(
    inputs: { readonly [K in Inputs]: Tensor },
    tree: Result,
    updates: Updates,
    { weights = "fed", signal }: RealizeOptions,
  ): Promise<CompiledUpdate<Inputs, Result>> {
    signal?.throwIfAborted();
    const places = namedTensors(tree);
    const request = { tree, names: places, computed: [...places.keys()], targets: updateTargets(updates), weights };
    const wanted = wantedOf(request);
    const plan = await this.#plan(wanted, weights);
    const names = Object.keys(inputs) as Inputs[];
    const placeholders = new Map(names.map((name) => [inputs[name], name]));
    const open = plan.feeds.filter((x) => x.storage?.role === "argument");
    for (const x of open)
      if (!placeholders.has(x))
        throw new RuntimeError("a compiled function uses a placeholder that is not among its inputs", {
          code: "runtime/placeholder",
          received: x.storage?.name,
          expected: names.join(", "),
        });
    // Compiled now, and looked up at each call: it may have been dropped for others meanwhile.
    await this.#exclusive(() => this.#executable(plan));
    const call = async (
      given: { readonly [K in Inputs]: Tensor | Buffer },
      { accept }: Pick<UpdateOptions<Result>, "accept"> = {},
    ): Promise<Result> => {
      for (const x of open) checkArgument(x, given[placeholders.get(x)!], placeholders.get(x)!);
      const source: Source = (x) => {
        const name = placeholders.get(x);
        return name === undefined ? x : given[name];
      };
      const used = fusesNothing(plan, source) ? await this.#plan(wanted, weights, { fuse: false }) : plan;
      return this.#perform({ ...request, shaped: false }, used, source, { accept });
    };
    return Object.assign(call, { dispose: () => this.#exclusive(() => this.#drop(plan.key)) });
  }

  /** Drops every compiled graph. */
  dispose(): Promise<void> {
    return this.#exclusive(async () => {
      for (const key of [...this.#cache.keys()]) await this.#drop(key);
    });
  }
}

function checkArgument(x: Tensor, given: Tensor | Buffer | undefined, name: string): void {
  if (given === undefined)
    throw new RuntimeError("a compiled function was called without an argument", {
      code: "runtime/argument",
      expected: name,
    });
  const fits = given.dims.length === x.rank && x.shape.every((d, i) => typeof d !== "number" || d === given.dims[i]);
  if (!(given.data instanceof dtypes[x.dtype].array) || !fits)
    throw new RuntimeError(`argument ${name} does not fit`, {
      code: "runtime/argument",
      expected: x.label,
      received: `${given.data.constructor.name} [${given.dims.join(", ")}]`,
    });
}

let shared: Runtime | undefined;

/**
 * The runtime used where none is given: all cores, CPU.
 * @example
 * defaultRuntime().backend.name; // "ort-node"
 */
export function defaultRuntime(): Runtime {
  return (shared ??= new Runtime());
}

/**
 * Computes a tree of tensors on the default runtime.
 * @example
 * const { a, b } = await realize({ a: add(x, 1), b: mul(x, 2) });
 */
export function realize<T>(tree: T, options: RealizeOptions = {}): Promise<T> {
  return defaultRuntime().realize(tree, options);
}
