/** @file The engine: realizes trees of tensors, keeps compiled graphs, records what it did. */
import { evaluateDim } from "../graph/axis.ts";
import { dtypes } from "../graph/dtype.ts";
import { leaf, Tensor } from "../graph/tensor.ts";
import type { Backend, Buffer, Executable, Plan } from "./backend.ts";
import { RuntimeError } from "./errors.ts";
import { memory, type LedgerHandle } from "./ledger.ts";
import { ortNode, type OrtOptions } from "./ortNode.ts";
import { axisSizes, concreteDims, makePlan, rewrite } from "./plan.ts";
import { fromFloat64, toFloat64 } from "./reference.ts";
import { foldWeightViews } from "./views.ts";

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

/** Anything made of tensors: arrays and plain objects of them; other values pass through untouched. */
export type Tree = unknown;

interface CacheEntry {
  readonly executable: Executable;
  readonly ledger: LedgerHandle;
  readonly bytes: number;
}

/** A graph that skips tracing: built once, called with data. */
export interface CompiledFunction<Inputs extends string, Result> {
  /** Runs the graph. Arguments are realized tensors, or data with dimensions. */
  (inputs: { readonly [K in Inputs]: Tensor | Buffer }): Promise<Result>;
  dispose(): Promise<void>;
}

/** Bytes a compiled graph without packed weights is reckoned at. */
const graphBytes = 1_000_000;

const collected = new FinalizationRegistry((handle: LedgerHandle) => handle.release());

/** Replaces each tensor of a tree; arrays and plain objects are copied, other values kept. */
export function mapTree<T>(tree: T, f: (x: Tensor) => Tensor): T {
  if (tree instanceof Tensor) return f(tree) as T;
  if (Array.isArray(tree)) return tree.map((x: unknown) => mapTree(x, f)) as T;
  if (tree !== null && typeof tree === "object" && Object.getPrototypeOf(tree) === Object.prototype)
    return Object.fromEntries(Object.entries(tree).map(([k, v]: [string, unknown]) => [k, mapTree(v, f)])) as T;
  return tree;
}

/** The tensors of a tree, each once, in order. */
export function tensorsOf(tree: Tree): Tensor[] {
  const found = new Set<Tensor>();
  mapTree(tree, (x) => (found.add(x), x));
  return [...found];
}

const describe = (dims: readonly number[]): string => `Tensor (${dims.join(", ")})`;

/**
 * Realizes expressions on one backend. Owns its compiled graphs; `dispose()` returns their memory.
 * @example
 * const runtime = new Runtime({ threads: 2 });
 * const y = await runtime.realize(mul(x, 2));
 */
export class Runtime {
  readonly backend: Backend;
  readonly #cacheBytes: number;
  readonly #cache = new Map<string, CacheEntry>();
  /** Compilations so far, for tests and benches. */
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
  async realize<T>(tree: T, options: RealizeOptions = {}): Promise<T> {
    const wanted = tensorsOf(tree).filter((x) => x.storage === undefined);
    if (wanted.length === 0) return tree;
    const results = await this.#compute(wanted, options);
    return mapTree(tree, (x) => results.get(x) ?? x);
  }

  async #compute(wanted: readonly Tensor[], options: RealizeOptions): Promise<Map<Tensor, Tensor>> {
    options.signal?.throwIfAborted();
    const outputs = await foldWeightViews(rewrite(wanted), async (views) => {
      const values = await this.#run(views, {});
      return views.map((view, i) => this.#result(view, values[i]!, "weight views"));
    });
    const values = await this.#run(outputs, options);
    return new Map(wanted.map((x, i) => [x, this.#result(x, values[i]!, "results")]));
  }

  #result(x: Tensor, { dims, data }: Buffer, owner: string): Tensor {
    const made = leaf(data, dims, { shape: x.shape, dtype: x.dtype, name: owner === "results" ? "result" : "view" });
    const entry = {
      owner,
      name: x.op.name,
      object: describe(dims),
      device: this.backend.device,
      bytes: data.byteLength,
    };
    collected.register(data, memory.add(entry));
    return made;
  }

  async #run(outputs: readonly Tensor[], options: RealizeOptions): Promise<Buffer[]> {
    const computed = [...new Set(outputs.filter((x) => x.storage === undefined))];
    const values = new Map<Tensor, Buffer>();
    if (computed.length > 0) {
      const plan = makePlan(computed, () => options.weights === "packed");
      const executable = await this.#executable(plan);
      const sizes = axisSizes(plan, (x) => x.storage?.dims);
      const buffers = await this.#execute(plan, executable, (x) => x, sizes);
      computed.forEach((x, i) => values.set(x, buffers[i]!));
      if (!this.backend.caches) await executable.dispose();
    }
    return outputs.map((x) => values.get(x) ?? { dims: x.dims, data: x.data });
  }

  #execute(
    plan: Plan,
    executable: Executable,
    source: (x: Tensor) => Tensor | Buffer,
    sizes: ReadonlyMap<number, number>,
  ): Promise<Buffer[]> {
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
      const sizeOf = (dim: Parameters<typeof evaluateDim>[0]): number => evaluateDim(dim, sizes);
      const data = x.op.evaluate({ inputs, dims, dtype: x.dtype, attributes: x.attributes, node: x, sizeOf });
      return { dims, data: fromFloat64(data, x.dtype) };
    });
    return executable.run(
      feeds,
      plan.atoms.map((id) => sizes.get(id) ?? 0),
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
      await this.#drop(key, entry);
    }
  }

  async #drop(key: string, entry: CacheEntry): Promise<void> {
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
    const { weights = "packed" } = options;
    const result = build(inputs);
    const wanted = tensorsOf(result);
    const outputs = await foldWeightViews(rewrite(wanted), async (views) => {
      const values = await this.#run(views, {});
      return views.map((view, i) => this.#result(view, values[i]!, "weight views"));
    });
    const plan = makePlan(outputs, () => weights === "packed");
    const first = await this.#executable(plan);
    const names = Object.keys(inputs) as Inputs[];
    const placeholders = new Map(names.map((name) => [inputs[name], name]));
    const needed = plan.feeds.filter((x) => x.storage?.data === undefined && x.storage !== undefined);
    for (const x of needed)
      if (!placeholders.has(x))
        throw new RuntimeError("a compiled function uses a placeholder that is not among its inputs", {
          code: "runtime/placeholder",
          received: x.storage?.name,
          expected: names.join(", "),
        });
    const call = async (given: { readonly [K in Inputs]: Tensor | Buffer }): Promise<Result> => {
      const source = (x: Tensor): Tensor | Buffer => {
        const name = placeholders.get(x);
        return name === undefined ? x : given[name];
      };
      for (const x of needed) checkArgument(x, given[placeholders.get(x)!], placeholders.get(x)!);
      const sizes = axisSizes(plan, (x) => (x.storage === undefined ? undefined : source(x).dims));
      // Asked for again at each call: it may have been dropped for others meanwhile.
      const executable = this.backend.caches ? await this.#executable(plan) : first;
      const buffers = await this.#execute(plan, executable, source, sizes);
      const values = new Map(
        wanted.map((x, i) => [x, leaf(buffers[i]!.data, buffers[i]!.dims, { dtype: x.dtype, name: "result" })]),
      );
      return mapTree(result, (x) => values.get(x)!);
    };
    return Object.assign(call, {
      dispose: async (): Promise<void> => {
        const entry = this.#cache.get(plan.key);
        if (entry !== undefined) await this.#drop(plan.key, entry);
        if (!this.backend.caches) await first.dispose();
      },
    });
  }

  /** Drops every compiled graph. */
  async dispose(): Promise<void> {
    for (const [key, entry] of [...this.#cache]) await this.#drop(key, entry);
  }
}

function checkArgument(x: Tensor, given: Tensor | Buffer | undefined, name: string): void {
  if (given === undefined)
    throw new RuntimeError("a compiled function was called without an argument", {
      code: "runtime/argument",
      expected: name,
    });
  if (!(given.data instanceof dtypes[x.dtype].array) || given.dims.length !== x.rank)
    throw new RuntimeError(`argument ${name} does not fit`, {
      code: "runtime/argument",
      expected: x.toString(),
      received: `${given.data.constructor.name} [${given.dims.join(", ")}]`,
    });
}

let shared: Runtime | undefined;

/** The runtime used where none is given: all cores, CPU. */
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
