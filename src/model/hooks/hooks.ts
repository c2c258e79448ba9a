/** @file Hook points: names, filters, and the trace that fires them during a forward pass. */
import { sameDim } from "../../graph/axis.ts";
import { gradientHook, severed } from "../../graph/gradients.ts";
import { nearest } from "../../graph/nearest.ts";
import { broadcastTo } from "../../graph/ops/shape.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import { ModelError } from "../errors.ts";

/** A named value in the forward pass. */
export interface HookPoint {
  /** TransformerLens name, e.g. `blocks.9.attn.hook_z`. */
  readonly name: string;
  /** The block it is in, if any. */
  readonly layer: number | undefined;
  /** Fires another point from inside this one (an SAE's inner points). */
  fire(name: string, value: Tensor): Tensor;
  /**
   * The value that an earlier point had in this pass, after its hooks; for the one that a splice {@link Splice.reads}.
   * @throws ModelError when the pass has not come through it
   */
  read(name: string): Tensor;
}

/** Sees a lazy value and may return another one in its place. */
export type Hook = (value: Tensor, point: HookPoint) => Tensor | void;
/** Sees a realized value; the graph is cut here, and no gradient crosses the cut. */
export type AsyncHook = (value: Tensor, point: HookPoint) => Promise<Tensor | void>;
/** Replaces the whole point: its own name no longer fires, the points it fires itself do. */
export interface Splice {
  (value: Tensor, point: HookPoint): Tensor;
  /** An earlier point whose value it needs, beside that of its own. */
  readonly reads?: string;
}

/** Something that can stand in place of a hook point: an SAE. */
export interface Spliceable<Options = object> {
  readonly hookName: string;
  /** Where it stands, if that is not where it reads: a transcoder. */
  readonly hookNameOut?: string;
  splice(options?: Options): Splice;
}

/** Which hook points: an exact name or a glob (`*` matches any characters, dots included), a RegExp, a list, a predicate. */
export type NameFilter = string | RegExp | readonly (string | RegExp)[] | ((name: string) => boolean);

export interface HookEntry {
  readonly filter: NameFilter;
  readonly hook: Hook | AsyncHook;
  /** `bwd`: sees the gradient with respect to the point's value and may replace it. */
  readonly direction?: "fwd" | "bwd";
  /** On in every run: a pass over some layers only may leave it idle. */
  readonly permanent?: boolean;
}

/**
 * Points that fire only when a filter spells their last part: they would cost time otherwise. While queries, keys or values
 * have inputs of their own, they do not read the block's `ln1` points.
 */
export const flaggedPoints: readonly string[] = [
  "hook_attn_in",
  "hook_q_input",
  "hook_k_input",
  "hook_v_input",
  "hook_result",
  "hook_mlp_in",
];

const lastPart = (name: string): string => name.slice(name.lastIndexOf(".") + 1);
const isFlagged = (name: string): boolean => flaggedPoints.includes(lastPart(name));

/** A glob as a regular expression over the whole name. */
function globExpression(glob: string): RegExp {
  return new RegExp(
    `^${glob
      .split("*")
      .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
    "s",
  );
}

/** A filter as one question. Flagged points match text filters only when these spell them. */
export function compileFilter(filter: NameFilter): (name: string) => boolean {
  if (typeof filter === "function") return filter;
  if (filter instanceof RegExp) {
    const stateless = new RegExp(filter.source, filter.flags.replace(/[gy]/g, ""));
    return (name) => stateless.test(name);
  }
  if (typeof filter === "string" && !filter.includes("*")) return (name) => name === filter;
  if (typeof filter === "string") {
    const expression = globExpression(filter);
    return (name) => expression.test(name) && (!isFlagged(name) || filter.includes(lastPart(name)));
  }
  const parts = filter.map((f) => compileFilter(f));
  return (name) => parts.some((match) => match(name));
}

/** A filter for messages. */
export function filterText(filter: NameFilter): string {
  if (typeof filter === "function") return filter.name === "" ? "the predicate" : `the predicate ${filter.name}`;
  return typeof filter === "string"
    ? `"${filter}"`
    : Array.isArray(filter)
      ? filter.map(String).join(", ")
      : String(filter);
}

const attentionNames = ["k", "v", "q", "z", "rot_k", "rot_q", "result", "pattern", "attn_scores"];
const mlpNames = ["pre", "mid", "post", "pre_linear"];
const aliases: Readonly<Record<string, string>> = {
  attn: "pattern",
  attn_logits: "attn_scores",
  key: "k",
  query: "q",
  value: "v",
  mlp_pre: "pre",
  mlp_mid: "mid",
  mlp_post: "post",
};
const layerTypes: Readonly<Record<string, string>> = {
  a: "attn",
  m: "mlp",
  b: "",
  block: "",
  blocks: "",
  attention: "attn",
};

/**
 * TransformerLens' shorthand for hook names: `("z", 9)`, `("k6")`, `("normalized", 27, "ln2")`, `("scale4ln1")`,
 * `("embed")`. A full name is returned as it is.
 * @example
 * actName("z", 9); // "blocks.9.attn.hook_z"
 */
export function actName(name: string, layer?: number | string, layerType?: string): string {
  if ((name.includes(".") || name.startsWith("hook_")) && layer === undefined && layerType === undefined) return name;
  const packed = /^([a-z_]+?)(\d+)([a-z]+\d?)?$/.exec(name);
  if (packed !== null && layer === undefined) return actName(packed[1]!, Number(packed[2]), packed[3]);
  let short = aliases[name] ?? name;
  const type = layerType === undefined ? undefined : (layerTypes[layerType] ?? layerType);
  if (/^ln_final/.test(String(layerType ?? ""))) return `ln_final.hook_${short}`;
  if (type === undefined || type === "") {
    if (attentionNames.includes(short)) return layered(layer, `attn.hook_${short}`);
    if (mlpNames.includes(short)) return layered(layer, `mlp.hook_${short}`);
  }
  if (layer === undefined && (short === "scale" || short === "normalized")) return `ln_final.hook_${short}`;
  short = short.startsWith("hook_") ? short : `hook_${short}`;
  const part = type === undefined || type === "" ? short : `${type}.${short}`;
  return layered(layer, part);
}

const layered = (layer: number | string | undefined, part: string): string =>
  layer === undefined ? part : `blocks.${layer}.${part}`;

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

/** A filter that remembers which of its parts have met a point. */
class Matcher {
  readonly #parts: readonly { readonly part: NameFilter; readonly test: (name: string) => boolean }[];
  readonly #met = new Set<NameFilter>();

  constructor(filter: NameFilter) {
    const parts: readonly NameFilter[] = Array.isArray(filter) ? (filter as readonly (string | RegExp)[]) : [filter];
    this.#parts = parts.map((part) => ({ part, test: compileFilter(part) }));
  }

  matches(name: string): boolean {
    let any = false;
    for (const { part, test } of this.#parts)
      if (test(name)) {
        any = true;
        this.#met.add(part);
      }
    return any;
  }

  /** A part that no point has met. */
  get idle(): NameFilter | undefined {
    return this.#parts.find(({ part }) => !this.#met.has(part))?.part;
  }
}

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

/** The error for a hook name that is not there, which its message says, with the nearest names that are. */
export function noSuchPoint(message: string, wanted: string, names: Iterable<string>): ModelError {
  const near = nearest(wanted, names);
  return new ModelError(message, {
    code: "model/no-such-hook",
    hint: near.length > 0 ? `nearest names: ${near.join(", ")}; describeHooks() lists all` : undefined,
  });
}
