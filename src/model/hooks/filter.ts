/** @file Which hook points are meant: names, globs, expressions, predicates. */
import { nearest } from "../../graph/nearest.ts";
import { ModelError } from "../errors.ts";

/** Which hook points: an exact name or a glob (`*` matches any characters, dots included), a RegExp, a list, a predicate. */
export type NameFilter = string | RegExp | readonly (string | RegExp)[] | ((name: string) => boolean);

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

/** A filter that remembers which of its parts have met a point. */
export class Matcher {
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

/** The error for a hook name that is not there, which its message says, with the nearest names that are. */
export function noSuchPoint(message: string, wanted: string, names: Iterable<string>): ModelError {
  const near = nearest(wanted, names);
  return new ModelError(message, {
    code: "model/no-such-hook",
    hint: near.length > 0 ? `nearest names: ${near.join(", ")}; describeHooks() lists all` : undefined,
  });
}
