/** @file Hook points: names, filters, and the trace that fires them during a forward pass. */
import { gradientHook } from "../graph/gradients.ts";
import type { Tensor } from "../graph/tensor.ts";
import { ModelError } from "./errors.ts";

/** A named value in the forward pass. */
export interface HookPoint {
  /** TransformerLens name, e.g. `blocks.9.attn.hook_z`. */
  readonly name: string;
  /** The block it is in, if any. */
  readonly layer: number | undefined;
  /** Fires another point from inside this one (an SAE's inner points). */
  fire(name: string, value: Tensor): Tensor;
}

/** Sees a lazy value and may return another one in its place. */
export type Hook = (value: Tensor, point: HookPoint) => Tensor | void;
/** Sees a realized value; the graph is cut here, and no gradient crosses the cut. */
export type AsyncHook = (value: Tensor, point: HookPoint) => Promise<Tensor | void>;
/** Replaces the whole point: its own name no longer fires, the points it fires itself do. */
export type Splice = (value: Tensor, point: HookPoint) => Tensor;

/** Something that can stand in place of a hook point: an SAE. */
export interface Spliceable<Options = object> {
  readonly hookName: string;
  splice(options?: Options): Splice;
}

/** Which hook points: an exact name or a glob (`*` matches any characters, dots included), a RegExp, a list, a predicate. */
export type NameFilter = string | RegExp | readonly (string | RegExp)[] | ((name: string) => boolean);

export interface HookEntry {
  readonly filter: NameFilter;
  readonly hook: Hook | AsyncHook;
  /** `bwd`: sees the gradient with respect to the point's value and may replace it. */
  readonly direction?: "fwd" | "bwd";
  /** Stays on until reset with `includingPermanent`. */
  readonly permanent?: boolean;
}

/** Points that fire only when a filter spells their last part: they would cost memory otherwise. */
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
  if (filter instanceof RegExp)
    return (name) => new RegExp(filter.source, filter.flags.replace(/[gy]/g, "")).test(name);
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
export class TraceCut {
  readonly name: string;
  readonly value: Tensor;
  readonly hook: AsyncHook;
  readonly point: HookPoint;
  readonly key: string;
  constructor(name: string, value: Tensor, hook: AsyncHook, point: HookPoint, key: string) {
    [this.name, this.value, this.hook, this.point, this.key] = [name, value, hook, point, key];
  }
}

const AsyncFunction = (async () => {}).constructor;
const isAsync = (hook: Hook | AsyncHook): hook is AsyncHook => hook instanceof AsyncFunction;

interface ActiveHook {
  readonly entry: HookEntry;
  readonly matches: (name: string) => boolean;
  used: boolean;
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
  readonly #capture: ((name: string) => boolean) | undefined;
  readonly #captureText: string;
  readonly #cuts: ReadonlyMap<string, Tensor>;
  readonly #spliced = new Set<string>();

  constructor(options: TraceOptions = {}) {
    const { hooks = [], splices = new Map<string, Splice>(), capture, cuts = new Map<string, Tensor>() } = options;
    this.#hooks = hooks.map((entry) => ({ entry, matches: compileFilter(entry.filter), used: false }));
    this.#splices = splices;
    this.#capture = capture === undefined ? undefined : compileFilter(capture);
    this.#captureText = capture === undefined ? "" : filterText(capture);
    this.#cuts = cuts;
  }

  /** Whether hooks or splices take part. */
  get hooked(): boolean {
    return this.#hooks.length > 0 || this.#splices.size > 0;
  }

  /** Whether anybody asks for a point; flagged points are built only then. */
  wants(name: string): boolean {
    this.names.add(name);
    return this.#capture?.(name) === true || this.#splices.has(name) || this.#hooks.some((h) => h.matches(name));
  }

  /** Passes a value through a point: splice, hooks in order of registration, capture. */
  fire(name: string, value: Tensor): Tensor {
    this.names.add(name);
    const point: HookPoint = { name, layer: layerOf(name), fire: (inner, x) => this.fire(inner, x) };
    const splice = this.#splices.get(name);
    if (splice !== undefined && !this.#spliced.has(name)) {
      this.names.delete(name);
      this.#spliced.add(name);
      return splice(value, point);
    }
    let current = value;
    this.#hooks.forEach((active, i) => {
      if (!active.matches(name)) return;
      active.used = true;
      const { hook, direction = "fwd" } = active.entry;
      if (isAsync(hook)) current = this.#awaited(hook, current, point, `${i}:${name}`);
      else if (direction === "bwd") current = gradientHook(current, (gradient) => hook(gradient, point));
      else current = this.#applied(hook, current, point);
    });
    if (this.#capture?.(name)) this.captured.set(name, current);
    return current;
  }

  #applied(hook: Hook, value: Tensor, point: HookPoint): Tensor {
    const result: unknown = hook(value, point);
    if (result === undefined) return value;
    if (result instanceof Promise)
      throw new ModelError(`the hook at ${point.name} returned a promise`, {
        code: "model/hook",
        hint: "declare it with `async` so that it gets realized data, or make it a plain function over tensors",
      });
    const made = result as Tensor;
    if (made.shape.length !== value.shape.length)
      throw new ModelError(`the hook at ${point.name} changed the number of axes`, {
        code: "model/hook",
        expected: value.toString(),
        received: made.toString(),
      });
    return made;
  }

  #awaited(hook: AsyncHook, value: Tensor, point: HookPoint, key: string): Tensor {
    const done = this.#cuts.get(key);
    if (done !== undefined) return done;
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- control flow, caught by the run
    throw new TraceCut(point.name, value, hook, point, key);
  }

  /** After the pass: a filter that matched nothing is an error with the nearest names. */
  finish(): void {
    for (const { entry, used } of this.#hooks) if (!used) this.#unmatched("hook", entry.filter);
    for (const name of this.#splices.keys())
      if (!this.#spliced.has(name))
        throw noSuchPoint(`an SAE is spliced at ${name}, which this pass never reaches`, name, this.names);
    if (this.#capture !== undefined && this.captured.size === 0)
      throw noSuchPoint(
        `no hook point matches ${this.#captureText}`,
        this.#captureText.replaceAll('"', ""),
        this.names,
      );
  }

  #unmatched(what: string, filter: NameFilter): never {
    throw noSuchPoint(
      `a ${what} for ${filterText(filter)} matches no hook point that fires`,
      filterText(filter).replaceAll('"', ""),
      this.names,
    );
  }
}

/** Edit distance, for suggestions. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/** The error for a hook name that is not there, with the nearest names that are. */
export function noSuchPoint(message: string, wanted: string, names: Iterable<string>): ModelError {
  const near = [...names]
    .map((name) => ({ name, d: distance(name, wanted) }))
    .sort((a, b) => a.d - b.d)
    .slice(0, 3)
    .map((x) => x.name);
  return new ModelError(message, {
    code: "model/no-such-hook",
    received: wanted,
    hint: near.length > 0 ? `nearest names: ${near.join(", ")}; describeHooks() lists all` : undefined,
  });
}
