/** @file The singular value decomposition of a product of two thin matrices, in float64. */

/** A matrix by its columns. */
export type Columns = readonly Float64Array[];

/** left · diag(values) · rightᵀ; the values descend. Columns of `left` with the value 0 are 0. */
export interface SingularValues {
  readonly left: Columns;
  readonly values: Float64Array;
  readonly right: Columns;
}

/**
 * The decomposition of a · bᵀ, for a [m, k] and b [n, k] of float32 numbers, with k of m and n at most: QR of both, then of
 * the small product in between (one-sided Jacobi, Hestenes 1958). The columns of `right` are orthonormal whatever the rank
 * is.
 */
export function singularValuesOfProduct(a: Columns, b: Columns): SingularValues {
  const [qa, ra] = orthogonalised(a);
  const [qb, rb] = orthogonalised(b);
  const rank = a.length;
  // (ra · rbᵀ)[i, j] = Σ ra[i, c] · rb[j, c]
  const core = Array.from({ length: rank }, (_, j) =>
    Float64Array.from({ length: rank }, (_, i) => {
      let sum = 0;
      for (let c = 0; c < rank; c++) sum += ra[c]![i]! * rb[c]![j]!;
      return sum;
    }),
  );
  const { left, values, right } = jacobi(core);
  return { left: left.map((u) => combined(qa, u)), values, right: right.map((v) => combined(qb, v)) };
}

const dot = (x: Float64Array, y: Float64Array, from = 0): number => {
  let sum = 0;
  for (let i = from; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
};

/** Σ weight[j] · columns[j] */
function combined(columns: Columns, weights: Float64Array): Float64Array {
  const sum = new Float64Array(columns[0]!.length);
  for (const [j, column] of columns.entries()) {
    const weight = weights[j]!;
    for (let i = 0; i < sum.length; i++) sum[i]! += weight * column[i]!;
  }
  return sum;
}

/** Householder's QR: orthonormal columns and the triangle, each of as many columns as there were. */
function orthogonalised(columns: Columns): [q: Columns, r: Columns] {
  const rank = columns.length;
  const length = Math.max(columns[0]!.length, rank);
  const widened = (column: ArrayLike<number>): Float64Array => {
    const x = new Float64Array(length);
    x.set(column);
    return x;
  };
  const work = columns.map(widened);
  const mirrors: { readonly normal: Float64Array; readonly square: number; readonly from: number }[] = [];
  const reflect = (x: Float64Array, { normal, square, from }: (typeof mirrors)[number]): void => {
    const scale = (2 * dot(normal, x, from)) / square;
    for (let i = from; i < length; i++) x[i]! -= scale * normal[i]!;
  };
  for (const [from, x] of work.entries()) {
    const norm = Math.sqrt(dot(x, x, from));
    if (norm === 0) continue;
    const normal = new Float64Array(length);
    normal.set(x.subarray(from), from);
    normal[from]! += x[from]! < 0 ? -norm : norm;
    const mirror = { normal, square: dot(normal, normal, from), from };
    for (let j = from; j < rank; j++) reflect(work[j]!, mirror);
    mirrors.push(mirror);
  }
  const q = work.map((_, j) => {
    const x = new Float64Array(length);
    x[j] = 1;
    for (const mirror of mirrors.toReversed()) reflect(x, mirror);
    return x.subarray(0, columns[0]!.length);
  });
  return [q, work.map((x) => x.subarray(0, rank))];
}

/** Cosines below this are none: the results become float32. */
const orthogonal = 2 ** -40;
/** What is below this part of the largest value is rounding. */
const rounding = 2 ** -46;
const sweeps = 30;

/** Turns pairs of columns until all are orthogonal; the turns make `right`. */
function jacobi(given: Columns): SingularValues {
  const size = given.length;
  const columns = given.map((x) => x.slice());
  const turns = given.map((_, j) => Float64Array.from({ length: size }, (_, i) => (i === j ? 1 : 0)));
  const turn = (x: Float64Array, y: Float64Array, cos: number, sin: number): void => {
    for (let i = 0; i < size; i++) {
      const [xi, yi] = [x[i]!, y[i]!];
      x[i] = cos * xi - sin * yi;
      y[i] = sin * xi + cos * yi;
    }
  };
  for (let sweep = 0, turned = true; turned && sweep < sweeps; sweep++) {
    turned = false;
    for (let p = 0; p < size; p++)
      for (let q = p + 1; q < size; q++) {
        const [x, y] = [columns[p]!, columns[q]!];
        const [xx, yy, xy] = [dot(x, x), dot(y, y), dot(x, y)];
        if (Math.abs(xy) <= orthogonal * Math.sqrt(xx * yy)) continue;
        turned = true;
        const zeta = (yy - xx) / (2 * xy);
        const tan = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
        const cos = 1 / Math.sqrt(1 + tan * tan);
        turn(x, y, cos, cos * tan);
        turn(turns[p]!, turns[q]!, cos, cos * tan);
      }
  }
  const norms = columns.map((x) => Math.sqrt(dot(x, x)));
  const smallest = rounding * Math.max(...norms);
  const order = norms.map((_, j) => j).sort((i, j) => norms[j]! - norms[i]!);
  const values = order.map((j) => (norms[j]! > smallest ? norms[j]! : 0));
  return {
    values: Float64Array.from(values),
    left: order.map((j, i) => columns[j]!.map((x) => (values[i]! > 0 ? x / values[i]! : 0))),
    right: order.map((j) => turns[j]!),
  };
}
