/** @file Einstein summation over named letters (or words), lowered to one matrix product per pair of operands. */
import { sameDim, type Dim } from "./axis.ts";
import { GraphError } from "./errors.ts";
import { namedShape } from "./namedShape.ts";
import { matmul } from "./ops/matmul.ts";
import { sum } from "./ops/reduce.ts";
import { reshape, transpose } from "./ops/shape.ts";
import { productOf } from "./axis.ts";
import type { Tensor } from "./tensor.ts";

interface Labelled {
  readonly x: Tensor;
  readonly names: readonly string[];
}

/** Names of each term: words where some term holds several, else letters. */
function namesOf(terms: readonly string[]): string[][] {
  const words = terms.some((term) => /\S\s+\S/.test(term));
  return terms.map((term) => (words ? term.split(/\s+/).filter((name) => name !== "") : [...term.trim()]));
}

const order = (x: Labelled, names: readonly string[]): Tensor =>
  transpose(
    x.x,
    names.map((n) => x.names.indexOf(n)),
  );

/** Sums out names nobody else mentions. */
function reduceUnused(x: Labelled, used: ReadonlySet<string>): Labelled {
  const gone = x.names.flatMap((n, i) => (used.has(n) ? [] : [i]));
  return gone.length === 0 ? x : { x: sum(x.x, gone), names: x.names.filter((n) => used.has(n)) };
}

function contract(a: Labelled, b: Labelled, used: ReadonlySet<string>, sizes: ReadonlyMap<string, Dim>): Labelled {
  const batch = a.names.filter((n) => b.names.includes(n) && used.has(n));
  const inner = a.names.filter((n) => b.names.includes(n) && !used.has(n));
  const left = a.names.filter((n) => !b.names.includes(n));
  const right = b.names.filter((n) => !a.names.includes(n));
  const dims = (names: readonly string[]): Dim[] => names.map((n) => sizes.get(n)!);
  const merged = (names: readonly string[]): Dim => productOf(dims(names));
  const lhs = reshape(order(a, [...batch, ...left, ...inner]), [...dims(batch), merged(left), merged(inner)]);
  // Whichever layout the right operand already has decides whether it is used transposed.
  const lastRight = right.at(-1);
  const transposeB = lastRight === undefined || b.names.indexOf(lastRight) !== b.names.length - 1;
  const rhs = transposeB
    ? reshape(order(b, [...batch, ...right, ...inner]), [...dims(batch), merged(right), merged(inner)])
    : reshape(order(b, [...batch, ...inner, ...right]), [...dims(batch), merged(inner), merged(right)]);
  const product = matmul(lhs, rhs, { transposeB });
  const names = [...batch, ...left, ...right];
  return { x: reshape(product, dims(names)), names };
}

/**
 * Einstein summation. Terms are letters (`"bpm,hme->bphe"`) or words separated by spaces (`"batch pos m, head m e -> batch pos head e"`).
 * @throws GraphError when a name has two sizes, is repeated in a term, or appears only in the result
 * @example
 * const x = leaf(new Float32Array(2 * 3 * 8), [2, 3, 8]); // [batch, pos, d_model]
 * const w = leaf(new Float32Array(4 * 8 * 2), [4, 8, 2]); // [head, d_model, d_head]
 * einsum("bpm,hme->bphe", x, w); // [2, 3, 4, 2]
 */
export function einsum(spec: string, ...operands: readonly Tensor[]): Tensor {
  const [left, right] = spec.split("->") as [string, string | undefined];
  const fail = (why: string): never => {
    throw new GraphError(`einsum "${spec}": ${why}`, {
      code: "graph/einsum",
      received: operands.map((x) => namedShape(x)).join(" and "),
    });
  };
  if (right === undefined) return fail("the result is not named (… -> …)");
  const terms = namesOf([...left.split(","), right]);
  const result = terms.pop()!;
  if (terms.length !== operands.length) return fail(`${terms.length} terms for ${operands.length} operands`);
  const sizes = new Map<string, Dim>();
  terms.forEach((names, t) => {
    if (names.length !== operands[t]!.rank)
      fail(`term "${names.join(" ")}" has ${names.length} names for rank ${operands[t]!.rank}`);
    if (new Set(names).size !== names.length) fail(`a name is repeated in "${names.join(" ")}"`);
    names.forEach((name, i) => {
      const dim = operands[t]!.shape[i]!;
      const known = sizes.get(name);
      if (known !== undefined && !sameDim(known, dim)) fail(`${name} is ${String(known)} and ${String(dim)}`);
      sizes.set(name, dim);
    });
  });
  if (new Set(result).size !== result.length) fail(`a name is repeated in "${result.join(" ")}"`);
  for (const name of result) if (!sizes.has(name)) fail(`${name} is only in the result`);
  const labelled = terms.map((names, t): Labelled => ({ x: operands[t]!, names }));
  let made = labelled.shift()!;
  while (labelled.length > 0) {
    const next = labelled.shift()!;
    const later = new Set([...result, ...labelled.flatMap((x) => x.names)]);
    const a = reduceUnused(made, new Set([...later, ...next.names]));
    const b = reduceUnused(next, new Set([...later, ...made.names]));
    made = contract(a, b, later, sizes);
  }
  made = reduceUnused(made, new Set(result));
  return order(made, result);
}
