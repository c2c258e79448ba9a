/** @file Symbolic sizes: a dimension is a number, or a sum of products of named axes in one canonical form. */
import { GraphError } from "./errors.ts";

/** One plain name in a size. */
export interface Atom {
  readonly id: number;
  readonly name: string;
  readonly size: number | undefined;
}

/** `coefficient · atom · atom …`, atoms sorted by id. */
interface Term {
  readonly coefficient: number;
  readonly atoms: readonly Atom[];
}

/**
 * A size that is a name, not a number: `batch`, `pos`, or a polynomial of them such as `past + new` or `batch·pos`.
 * Two axes are equal when their canonical forms are (`key`). No shape rule may look at `size`: one compiled graph
 * serves all sizes.
 */
export class Axis {
  /** Sorted by atoms; coefficients are non-zero. @internal */
  readonly terms: readonly Term[];
  /** The canonical form: equal keys, equal axes. */
  readonly key: string;

  /** @internal use {@link axis} */
  constructor(terms: readonly Term[]) {
    this.terms = terms;
    this.key = terms.map((t) => `${t.coefficient}*${t.atoms.map((a) => a.id).join(".")}`).join("+");
  }

  /** Human-readable: `pos`, `past + new`, `batch·pos`, `pos - 1`; names before numbers, what is added first. */
  toString(): string {
    const rank = (t: Term): number => (t.atoms.length === 0 ? 2 : t.coefficient < 0 ? 1 : 0);
    const texts = this.terms
      .toSorted((a, b) => rank(a) - rank(b))
      .map((t, i) => {
        const sign = t.coefficient < 0 ? "- " : i === 0 ? "" : "+ ";
        const size = Math.abs(t.coefficient);
        const names = t.atoms.map((a) => a.name).join("·");
        return sign + (names === "" ? String(size) : size === 1 ? names : `${size}·${names}`);
      });
    return texts.join(" ").replace(/^- /, "-");
  }
}

/** One dimension of a shape. */
export type Dim = number | Axis;

let atoms = 0;

/**
 * A new axis. Two calls give two axes, whatever their names.
 * @param name what error messages and graph inputs call it
 * @param size its length where known when it is made; sizes are otherwise read off the data that is fed
 * @example
 * const batch = axis("batch", 2);
 */
export function axis(name: string, size?: number): Axis {
  return new Axis([{ coefficient: 1, atoms: [{ id: atoms++, name, size }] }]);
}

function termsOf(dim: Dim): readonly Term[] {
  if (typeof dim !== "number") return dim.terms;
  return dim === 0 ? [] : [{ coefficient: dim, atoms: [] }];
}

/** Plain numbers first, then older atoms: an order that does not depend on how many atoms there are by now. */
function byAtoms(a: Term, b: Term): number {
  for (let i = 0; i < a.atoms.length && i < b.atoms.length; i++) {
    const difference = a.atoms[i]!.id - b.atoms[i]!.id;
    if (difference !== 0) return difference;
  }
  return a.atoms.length - b.atoms.length;
}

function fromTerms(terms: Iterable<Term>): Dim {
  const merged = new Map<string, Term>();
  for (const term of terms) {
    const key = term.atoms.map((a) => a.id).join(".");
    const known = merged.get(key);
    merged.set(key, known ? { coefficient: known.coefficient + term.coefficient, atoms: term.atoms } : term);
  }
  const kept = [...merged.values()].filter((t) => t.coefficient !== 0).sort(byAtoms);
  if (kept.length === 0) return 0;
  if (kept.length === 1 && kept[0]!.atoms.length === 0) return kept[0]!.coefficient;
  return new Axis(kept);
}

/**
 * Whether two dimensions are the same number or the same axis.
 * @example
 * sameDim(axis("batch"), axis("batch")); // false
 */
export function sameDim(a: Dim, b: Dim): boolean {
  return a === b || (typeof a === "object" && typeof b === "object" && a.key === b.key);
}

/** Whether two shapes are the same. */
export function sameShape(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((d, i) => sameDim(d, b[i]!));
}

/**
 * `a + b`.
 * @example
 * String(addDims(axis("past"), axis("new"))); // "past + new"
 */
export function addDims(a: Dim, b: Dim): Dim {
  return typeof a === "number" && typeof b === "number" ? a + b : fromTerms([...termsOf(a), ...termsOf(b)]);
}

/**
 * `a − b`.
 * @example
 * const pos = axis("pos");
 * String(subDims(addDims(pos, 3), pos)); // "3"
 */
export function subDims(a: Dim, b: Dim): Dim {
  return sameDim(a, b) ? 0 : addDims(a, mulDims(b, -1));
}

/**
 * `a · b`.
 * @example
 * String(mulDims(axis("batch"), axis("pos"))); // "batch·pos"
 */
export function mulDims(a: Dim, b: Dim): Dim {
  if (a === 0 || b === 0) return 0;
  if (typeof a === "number" && typeof b === "number") return a * b;
  if (a === 1) return b;
  if (b === 1) return a;
  const products: Term[] = [];
  for (const s of termsOf(a))
    for (const t of termsOf(b))
      products.push({
        coefficient: s.coefficient * t.coefficient,
        atoms: [...s.atoms, ...t.atoms].sort((x, y) => x.id - y.id),
      });
  return fromTerms(products);
}

/**
 * `a / b` where that is exact (a number, or every term of `a` divisible by the single term of `b`), else undefined.
 * @example
 * String(divideDims(mulDims(axis("pos"), 12), 4)); // "3·pos"
 */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  if (sameDim(a, b)) return 1;
  if (b === 1) return a;
  if (typeof a === "number" && typeof b === "number") return b !== 0 && a % b === 0 ? a / b : undefined;
  const divisor = termsOf(b);
  if (divisor.length !== 1) return undefined;
  const { coefficient, atoms: divided } = divisor[0]!;
  const terms: Term[] = [];
  for (const term of termsOf(a)) {
    if (term.coefficient % coefficient !== 0) return undefined;
    const rest = [...term.atoms];
    for (const atom of divided) {
      const at = rest.findIndex((r) => r.id === atom.id);
      if (at < 0) return undefined;
      rest.splice(at, 1);
    }
    terms.push({ coefficient: term.coefficient / coefficient, atoms: rest });
  }
  return fromTerms(terms);
}

/**
 * The product of dimensions.
 * @example
 * productOf([2, 3, 4]); // 24
 */
export function productOf(dims: readonly Dim[]): Dim {
  return dims.reduce(mulDims, 1);
}

/** The atom of an axis that is one plain name, else undefined. */
export function atomOf(dim: Dim): Atom | undefined {
  if (typeof dim === "number" || dim.terms.length !== 1) return undefined;
  const term = dim.terms[0]!;
  return term.coefficient === 1 && term.atoms.length === 1 ? term.atoms[0] : undefined;
}

/** The size of one plain name. */
function sizeOfAtom(atom: Atom, sizes: ReadonlyMap<number, number>): number {
  const size = sizes.get(atom.id) ?? atom.size;
  if (size === undefined)
    throw new GraphError(`the size of axis ${atom.name} is not known`, {
      code: "graph/unknown-axis",
      hint: "give the axis a size, or feed a tensor whose shape has it",
    });
  return size;
}

/**
 * The number a dimension stands for, given the size of each atom by id.
 * @example
 * evaluateDim(mulDims(axis("pos", 5), 2), new Map()); // 10
 */
export function evaluateDim(dim: Dim, sizes: ReadonlyMap<number, number>): number {
  if (typeof dim === "number") return dim;
  let total = 0;
  for (const { coefficient, atoms: factors } of dim.terms)
    total += factors.reduce((product, atom) => product * sizeOfAtom(atom, sizes), coefficient);
  return total;
}

/** A dimension written with other names for its atoms: the part of a structure key that must not depend on identity. */
export function dimKey(dim: Dim, rename: (atom: Atom) => number): string {
  if (typeof dim === "number") return String(dim);
  return dim.terms
    .map(
      (t) =>
        `${t.coefficient}*${t.atoms
          .map((a) => rename(a))
          .sort((x, y) => x - y)
          .join(".")}`,
    )
    .sort()
    .join("+");
}

/**
 * A shape for people: `[batch, pos, 768]`.
 * @example
 * shapeText([axis("batch"), 768]); // "[batch, 768]"
 */
export function shapeText(shape: readonly Dim[]): string {
  return `[${shape.map(String).join(", ")}]`;
}
