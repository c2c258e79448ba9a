/** @file The arithmetic of directions, in float64. */

/** Numbers of a vector. */
export type Vector = ArrayLike<number>;

/** u·v. */
export function dot(u: Vector, v: Vector): number {
  let total = 0;
  for (let i = 0; i < u.length; i++) total += u[i]! * v[i]!;
  return total;
}

/** A weighted sum of vectors that grows. */
export interface WeightedSum {
  weight: number;
  sum: Float64Array;
}

export const emptySum = (width: number): WeightedSum => ({ weight: 0, sum: new Float64Array(width) });

/** Adds a vector in place. */
export function addTo(total: WeightedSum, x: Vector, weight: number): void {
  total.weight += weight;
  for (let i = 0; i < x.length; i++) total.sum[i]! += weight * x[i]!;
}

/** The weighted mean; zeros where nothing weighs anything. */
export const meanOf = ({ weight, sum }: WeightedSum): Float64Array => sum.map((x) => (weight > 0 ? x / weight : 0));

/** What of `a` is not along `b`: a − (a·b / max(b·b, 1e-12)) b. */
export function rejection(a: Vector, b: Vector): Float64Array {
  const share = dot(a, b) / Math.max(dot(b, b), 1e-12);
  return Float64Array.from(a, (x, i) => x - share * b[i]!);
}

/** The vector at length 1; as it is where its length is 0 or not finite. */
export function unit(x: Float64Array): Float64Array {
  const length = Math.sqrt(dot(x, x));
  return Number.isFinite(length) && length > 0 ? x.map((value) => value / length) : x;
}

/**
 * The pseudo-inverse of the matrix whose columns are two vectors: two rows that give the coefficients of any vector in
 * them (least squares, smallest coefficients). Directions whose singular value is below rounding count as none.
 */
export function pseudoInverse(v: Vector, w: Vector): [Float64Array, Float64Array] {
  const [a, b, c] = [dot(v, v), dot(v, w), dot(w, w)]; // the Gram matrix [[a, b], [b, c]]
  const middle = (a + c) / 2;
  const spread = Math.hypot((a - c) / 2, b);
  const rounding = (2 ** -23 * Math.max(v.length, 2)) ** 2;
  const inverse = [0, 0, 0];
  for (const value of [middle + spread, middle - spread]) {
    if (!(value > rounding * (middle + spread))) continue;
    // The eigenvector of this eigenvalue, from the row of (G − λ) that is farther from 0.
    const [x, y] = Math.abs(a - value) > Math.abs(c - value) ? [-b, a - value] : [c - value, -b];
    const length = Math.hypot(x, y);
    const [p, q] = length > 0 ? [x / length, y / length] : value === middle + spread ? [1, 0] : [0, 1];
    inverse[0]! += (p * p) / value;
    inverse[1]! += (p * q) / value;
    inverse[2]! += (q * q) / value;
  }
  const [i, j, k] = inverse as [number, number, number];
  return [Float64Array.from(v, (x, n) => i * x + j * w[n]!), Float64Array.from(v, (x, n) => j * x + k * w[n]!)];
}
