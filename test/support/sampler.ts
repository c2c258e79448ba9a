/** @file Draws the leaves of random expressions: shapes with and without axes, well-separated numbers, indices, masks. */
import fc, { type GeneratorValue } from "fast-check";
import { axis, dtypes, evaluateDim, leaf, type Dim, type DType, type Tensor } from "../../src/graph/index.ts";
import { uniformAt } from "../../src/graph/ops/random.ts";
import { fromFloat64 } from "../../src/runtime/reference.ts";

/** Where numbers are drawn from: anywhere around 0, or at least 0.5 away from it (on the positive side). */
export type Domain = "any" | "away" | "positive";

const noSizes: ReadonlyMap<number, number> = new Map();

/** The number a dimension stands for when its axes declare their sizes. */
export const sizeOfDim = (dim: Dim): number => evaluateDim(dim, noSizes);

/**
 * Draws leaves. Numbers of one sampler differ from each other in size by at least 0.01 and are at least that far from
 * 0, so that no finite difference steps over a kink or a tie.
 */
export class Sampler {
  readonly dtype: DType;
  /** The leaves of `dtype` drawn so far. */
  readonly numbers: Tensor[] = [];
  readonly #draw: GeneratorValue;
  readonly #slots: number[];
  readonly #seed: number;
  #drawn = 0;

  constructor(draw: GeneratorValue, dtype: DType) {
    this.dtype = dtype;
    this.#draw = draw;
    this.#seed = this.int(0, 2 ** 20);
    this.#slots = Array.from({ length: 100 }, (_, i) => i);
  }

  int(min: number, max: number): number {
    return this.#draw(fc.integer, { min, max });
  }

  flip(): boolean {
    return this.#draw(fc.boolean);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.int(0, choices.length - 1)]!;
  }

  /** A number in [0, 1) that shrinking leaves alone. */
  #uniform(): number {
    return uniformAt(this.#seed, this.#drawn++);
  }

  /** A size: a number or an axis that declares it. */
  dim(min = 1, max = 3): Dim {
    const size = this.int(min, max);
    return this.flip() ? axis("n", size) : size;
  }

  shape(minRank = 0, maxRank = 3, min = 1): Dim[] {
    return Array.from({ length: this.int(minRank, maxRank) }, () => this.dim(min));
  }

  /** A shape that broadcasts to `shape`: leading axes dropped, some others of size 1. */
  broadcastable(shape: readonly Dim[]): Dim[] {
    return shape.slice(this.int(0, shape.length)).map((d) => (this.int(0, 3) === 0 ? 1 : d));
  }

  permutation(rank: number): number[] {
    return this.#draw(fc.shuffledSubarray, [...Array(rank).keys()], { minLength: rank });
  }

  /** Some axes of a rank, sorted. */
  axes(rank: number): number[] {
    return this.#draw(fc.subarray, [...Array(rank).keys()], { minLength: 1 });
  }

  /** A number in [−0.5, 0.5), not distinct from others. */
  small(): number {
    return this.#uniform() - 0.5;
  }

  leaf(shape: readonly Dim[], dtype: DType, value: (i: number) => number): Tensor {
    const dims = shape.map(sizeOfDim);
    const data = Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => value(i));
    return leaf(fromFloat64(data, dtype), dims, { shape, dtype });
  }

  #distinct(domain: Domain): number {
    if (dtypes[this.dtype].kind !== "float") {
      const whole = Math.floor(this.#uniform() * 6);
      return domain !== "any" ? whole + 1 : this.dtype === "uint8" ? whole : whole - 3;
    }
    const [slot] = this.#slots.splice(Math.floor(this.#uniform() * this.#slots.length), 1);
    if (slot === undefined) throw new Error("the sampler ran out of distinct numbers");
    const size = 0.02 + slot * 0.02 + (this.#uniform() - 0.5) * 0.01;
    const sign = domain !== "positive" && this.#uniform() < 0.5 ? -1 : 1;
    return sign * (domain === "any" ? size : size + 0.5);
  }

  /** A leaf of the sampler's dtype. */
  number(shape: readonly Dim[], domain: Domain = "any"): Tensor {
    const bool = this.dtype === "bool";
    const made = this.leaf(shape, this.dtype, () => (bool ? Math.round(this.#uniform()) : this.#distinct(domain)));
    this.numbers.push(made);
    return made;
  }

  bool(shape: readonly Dim[]): Tensor {
    return this.leaf(shape, "bool", () => Math.round(this.#uniform()));
  }

  /** Indices into an axis of a size; repeated ones are likely, negative ones happen. */
  index(shape: readonly Dim[], size: Dim): Tensor {
    const n = sizeOfDim(size);
    const negative = this.flip();
    return this.leaf(shape, this.pick(["int64", "int32"]), () => {
      const at = Math.floor(this.#uniform() * n);
      return negative && this.#uniform() < 0.3 ? at - n : at;
    });
  }
}

export { fc };
