/** @file The trace that fires hook points during a forward pass. */
import { sameDim } from "../../graph/axis.ts";
import { gradientHook, severed } from "../../graph/gradients.ts";
import { broadcastTo } from "../../graph/ops/shape.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import { ModelError } from "../errors.ts";
import { filterText, Matcher, noSuchPoint, type NameFilter } from "./filter.ts";
import type { AsyncHook, Hook, HookEntry, HookPoint, Splice } from "./hookPoint.ts";

const layerOf = (name: string): number | undefined => {
  const found = /^blocks\.(\d+)\./.exec(name);
  return found === null ? undefined : Number(found[1]);
};

/** Thrown by a trace at an async hook: the caller realizes `value`, awaits the hook and traces again. */
export class TraceCut extends ModelError {
  readonly value: Tensor;
  readonly hook: AsyncHook;
  readonly point: HookPoint;
  readonly key: string;
  constructor(value: Tensor, hook: AsyncHook, point: HookPoint, key: string) {
    super("an async hook needs data, which tracing alone does not compute", {
      code: "model/async-hook",
      where: point.name,
      hint: "use run, runWithCache, loss or gradients",
    });
    [this.value, this.hook, this.point, this.key] = [value, hook, point, key];
  }
}

const AsyncFunction = (async () => {}).constructor;
const isAsync = (hook: Hook | AsyncHook): hook is AsyncHook => hook instanceof AsyncFunction;

interface ActiveHook {
  readonly entry: HookEntry;
  readonly filter: Matcher;
}

export interface TraceOptions {
  hooks?: readonly HookEntry[];
  splices?: ReadonlyMap<string, Splice>;
  /** Points whose values are kept. */
  capture?: NameFilter;
  /** Results of async hooks that have already run, by cut key. */
  cuts?: ReadonlyMap<string, Tensor>;
}

/** One forward pass' hooks: fires points, keeps what was asked for, knows what never fired. */
export class Trace {
  /** Captured values by name, in the order of the forward pass. */
  readonly captured: Map<string, Tensor> = new Map();
  /** Every name that fired or was offered. */
  readonly names: Set<string> = new Set();
  readonly #hooks: ActiveHook[];
  readonly #splices: ReadonlyMap<string, Splice>;
  readonly #capture: Matcher | undefined;
  readonly #cuts: ReadonlyMap<string, Tensor>;
  readonly #spliced = new Set<string>();
  /** Values that splices read, by name; undefined before their point. */
  readonly #read = new Map<string, Tensor | undefined>();

  constructor(options: TraceOptions = {}) {
    const { hooks = [], splices = new Map<string, Splice>(), capture, cuts = new Map<string, Tensor>() } = options;
    this.#hooks = hooks.map((entry) => ({ entry, filter: new Matcher(entry.filter) }));
    this.#splices = splices;
    for (const { reads } of splices.values()) if (reads !== undefined) this.#read.set(reads, undefined);
    this.#capture = capture === undefined ? undefined : new Matcher(capture);
    this.#cuts = cuts;
  }

  /** Whether hooks or splices take part. */
  get hooked(): boolean {
    return this.#hooks.length > 0 || this.#splices.size > 0;
  }

  /** Whether anybody asks for a point; flagged points are built only then. */
  wants(name: string): boolean {
    this.names.add(name);
    const captured = this.#capture?.matches(name) === true;
    return (
      captured || this.#splices.has(name) || this.#read.has(name) || this.#hooks.some((h) => h.filter.matches(name))
    );
  }

  /** Passes a value through a point: splice, hooks in order of registration, capture. */
  fire(name: string, value: Tensor): Tensor {
    this.names.add(name);
    const point: HookPoint = {
      name,
      layer: layerOf(name),
      fire: (inner, x) => this.fire(inner, x),
      read: (other) => this.#valueOf(other, name),
    };
    const splice = this.#splices.get(name);
    if (splice !== undefined && !this.#spliced.has(name)) {
      this.names.delete(name);
      this.#spliced.add(name);
      return this.#kept(name, splice(value, point));
    }
    let current = value;
    this.#hooks.forEach(({ entry, filter }, i) => {
      if (!filter.matches(name)) return;
      const { hook, direction = "fwd" } = entry;
      if (direction === "bwd") current = this.#backward(hook, current, point);
      else if (isAsync(hook)) current = this.#awaited(hook, current, point, `${i}:${name}`);
      else current = this.#applied(hook, current, point);
    });
    if (this.#capture?.matches(name)) this.captured.set(name, current);
    return this.#kept(name, current);
  }

  #kept(name: string, value: Tensor): Tensor {
    if (this.#read.has(name)) this.#read.set(name, value);
    return value;
  }

  #valueOf(name: string, reader: string): Tensor {
    const value = this.#read.get(name);
    if (value !== undefined) return value;
    throw noSuchPoint(
      `the splice at ${reader} reads ${name}, which this pass does not reach before it`,
      name,
      this.names,
    );
  }

  #applied(hook: Hook, value: Tensor, point: HookPoint): Tensor {
    const result: unknown = hook(value, point);
    if (result instanceof Promise)
      throw new ModelError(`the hook at ${point.name} returned a promise`, {
        code: "model/hook",
        hint: "declare it with `async` so that it gets realized data, or make it a plain function over tensors",
      });
    return result === undefined ? value : fitted(result as Tensor, value, point);
  }

  #backward(hook: Hook | AsyncHook, value: Tensor, point: HookPoint): Tensor {
    if (isAsync(hook))
      throw new ModelError("a backward hook cannot be async", {
        code: "model/hook",
        where: point.name,
        hint: "make it a plain function over tensors; realize the gradient with `model.gradients`",
      });
    return gradientHook(value, (gradient) => {
      const made = hook(gradient, point);
      return made === undefined ? undefined : fitted(made, gradient, point);
    });
  }

  #awaited(hook: AsyncHook, value: Tensor, point: HookPoint, key: string): Tensor {
    const done = this.#cuts.get(key);
    if (done === undefined) throw new TraceCut(value, hook, point, key);
    const crossed = (): ModelError =>
      new ModelError("a gradient cannot cross an async hook", {
        code: "model/gradient-cut",
        where: point.name,
        hint: "make the hook a plain function over tensors, or differentiate by values that come after it",
      });
    return severed(done, value, crossed);
  }

  /**
   * After the pass: a filter, or a part of one, that matched nothing is an error with the nearest names.
   * @param partial whether only some layers ran
   */
  finish(partial = false): void {
    for (const { entry, filter } of this.#hooks)
      if (!(partial && entry.permanent))
        this.#allMet(filter, (text) => `a hook for ${text} matches no hook point that fires`);
    for (const name of this.#splices.keys())
      if (!this.#spliced.has(name))
        throw noSuchPoint(`an SAE is spliced at ${name}, which this pass never reaches`, name, this.names);
    if (this.#capture !== undefined) this.#allMet(this.#capture, (text) => `no hook point matches ${text}`);
  }

  #allMet({ idle }: Matcher, message: (filter: string) => string): void {
    if (idle === undefined) return;
    const text = filterText(idle);
    throw noSuchPoint(message(text), text.replaceAll('"', ""), this.names);
  }
}

/** What a hook gave, in the shape of the value it stands for: data gets that value's axes, axes of size 1 are stretched. */
function fitted(made: Tensor, value: Tensor, { name }: HookPoint): Tensor {
  const same = (i: number): boolean => sameDim(made.shape[i]!, value.shape[i]!);
  const axes = [...value.shape.keys()];
  if (made.rank === value.rank && axes.every(same)) return made;
  if (made.rank === value.rank && axes.every((i) => same(i) || made.shape[i] === 1))
    return broadcastTo(made, value.shape);
  const isData = made.storage?.data !== undefined && made.dims.length === value.rank;
  if (isData && axes.every((i) => same(i) || typeof value.shape[i] !== "number"))
    return leaf(made.data, made.dims, { shape: value.shape, dtype: made.dtype, name: `given at ${name}` });
  throw new ModelError(`the hook at ${name} returned another shape`, {
    code: "model/hook",
    expected: value.toString(),
    received: made.toString(),
    hint: "values of another run fit where it has as many rows and positions",
  });
}
