/** @file Realizing what several chains of ops ask for, together and once. */
import { rebuild } from "../../graph/traverse.ts";
import { apply, type Tensor } from "../../graph/tensor.ts";
import type { HookedModel } from "../../model/index.ts";
import { mapTree, tensorsOf } from "../../runtime/tree.ts";

export type Realize = <T>(tree: T) => Promise<T>;

/** Realizes trees over one batch. What has been computed is a leaf from then on. */
export class Realizer {
  readonly #model: HookedModel;
  readonly #signal: AbortSignal | undefined;
  readonly #known = new Map<Tensor, Tensor>();

  constructor(model: HookedModel, signal: AbortSignal | undefined) {
    this.#model = model;
    this.#signal = signal;
  }

  /** One `realize` of the runtime for everything in the tree that is not known yet. */
  async realize<T>(tree: T): Promise<T> {
    const wanted = tensorsOf(tree).filter((x) => x.storage === undefined && !this.#known.has(x));
    if (wanted.length > 0) {
      const { runtime, weightPolicy: weights } = this.#model;
      const results = await runtime.realize(this.#overKnown(wanted), { weights, signal: this.#signal });
      wanted.forEach((x, i) => this.#known.set(x, results[i]!));
    }
    return mapTree(tree, (x) => this.#known.get(x) ?? x);
  }

  /** The same expressions over the leaves that are known. */
  #overKnown(wanted: readonly Tensor[]): Tensor[] {
    if (this.#known.size === 0) return [...wanted];
    const rebuilt = rebuild(wanted, (node, inputs) => {
      const known = this.#known.get(node);
      if (known !== undefined) return known;
      return inputs.every((x, i) => x === node.inputs[i]) ? node : apply(node.op, inputs, node.attributes);
    });
    return wanted.map((x) => rebuilt.get(x)!);
  }
}

interface Request {
  readonly tree: unknown;
  readonly resolve: (tree: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Lets chains run side by side. What they ask for waits until every chain that is not at its end waits too, and is then
 * realized in one go, in the order of the chains.
 */
export class Rendezvous {
  readonly #realizer: Realizer;
  readonly #waiting: Request[][];
  readonly #running: Set<number>;
  #asked = false;
  #failure: { readonly reason: unknown } | undefined;

  constructor(realizer: Realizer, chains: number) {
    this.#realizer = realizer;
    this.#waiting = Array.from({ length: chains }, () => []);
    this.#running = new Set(this.#waiting.keys());
  }

  /** What a chain asks for. */
  realize<T>(chain: number, tree: T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting[chain]!.push({ tree, resolve: (done) => resolve(done as T), reject });
      if (this.#failure === undefined) this.#look();
      else this.fail(this.#failure.reason);
    });
  }

  /** A chain is at its end. */
  leave(chain: number): void {
    this.#running.delete(chain);
    this.#look();
  }

  /** Nobody gets anything any more: a chain has failed. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    for (const list of this.#waiting) for (const request of list.splice(0)) request.reject(reason);
  }

  /** Looks, once the present chain has said all it has to say, whether everybody waits. */
  #look(): void {
    if (this.#asked) return;
    this.#asked = true;
    queueMicrotask(() => {
      this.#asked = false;
      const all = this.#waiting.flat();
      if (all.length > 0 && [...this.#running].every((chain) => this.#waiting[chain]!.length > 0))
        void this.#grant(all);
    });
  }

  async #grant(requests: readonly Request[]): Promise<void> {
    for (const list of this.#waiting) list.length = 0;
    try {
      const trees = await this.#realizer.realize(requests.map(({ tree }) => tree));
      requests.forEach(({ resolve }, i) => resolve(trees[i]));
    } catch (error) {
      for (const { reject } of requests) reject(error);
    }
  }
}
