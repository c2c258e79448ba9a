/** @file Matrix products with transposed operands and batch axes. */
import { sameDim, type Dim } from "../axis.ts";
import { broadcastShapes, broadcastStrides, sizeOfDims, stridesOf, walk } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import type { Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { requireKind } from "./rules.ts";
import { sumTo } from "./reduce.ts";
import { reshape } from "./shape.ts";

interface MatMulAttributes {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly [name: string]: boolean;
}

const flipped = (shape: readonly Dim[], flip: boolean): [rows: Dim, columns: Dim] => {
  const [a, b] = [shape.at(-2)!, shape.at(-1)!];
  return flip ? [b, a] : [a, b];
};

function misfit(a: Tensor, b: Tensor, attributes: MatMulAttributes): never {
  const [, inner] = flipped(a.shape, attributes.transA);
  const fits = sameDim(inner, flipped(b.shape, !attributes.transB)[0]);
  throw new GraphError(`matmul: inner dimensions differ: ${namedShape(a)} × ${namedShape(b)}`, {
    code: "graph/matmul",
    hint: fits ? `did you mean ${attributes.transB ? "no transposeB" : "transposeB"}?` : undefined,
  });
}

const matMulOperation: Operation<MatMulAttributes> = {
  name: "MatMul",
  infer: ([a, b], attributes) => {
    if (a!.rank < 2 || b!.rank < 2)
      throw new GraphError(`matmul: needs matrices, got ${namedShape(a!)} × ${namedShape(b!)}`, {
        code: "graph/matmul",
        hint: "unsqueeze a vector, or use einsum",
      });
    if (a!.dtype !== b!.dtype)
      throw new GraphError(`matmul: dtypes differ: ${a!.label} × ${b!.label}`, { code: "graph/dtype" });
    requireKind("matmul", a!, "number");
    const [rows, inner] = flipped(a!.shape, attributes.transA);
    const [inner2, columns] = flipped(b!.shape, attributes.transB);
    if (!sameDim(inner, inner2)) misfit(a!, b!, attributes);
    const batch = broadcastShapes("matmul", [a!.shape.slice(0, -2), b!.shape.slice(0, -2)], [a!, b!]);
    return { shape: [...batch, rows, columns], dtype: a!.dtype };
  },
  lower: ({ emit, inputs, node, attributes: { transA, transB } }) => {
    if (!transA && !transB) return emit.node("MatMul", inputs);
    if (node.dtype === "float32")
      return emit.node("FusedMatMul", inputs, { transA: Number(transA), transB: Number(transB) }, "com.microsoft");
    const swap = (i: number): string => {
      const rank = node.inputs[i]!.rank;
      const perm = [...Array(rank - 2).keys(), rank - 1, rank - 2];
      return emit.node("Transpose", [inputs[i]!], { perm });
    };
    return emit.node("MatMul", [transA ? swap(0) : inputs[0]!, transB ? swap(1) : inputs[1]!]);
  },
  gradient: ({ inputs: [a, b], gradient: g, attributes: { transA, transB }, needs }) => {
    const da = (): Tensor =>
      transA ? matmul(b!, g, { transposeA: transB, transposeB: true }) : matmul(g, b!, { transposeB: !transB });
    // A matrix shared by all batch rows: one product over the merged rows instead of a sum of products.
    const shared = b!.rank === 2 && a!.rank > 2 && !transA;
    const rows = (x: Tensor): Tensor => (shared ? reshape(x, [-1, x.shape.at(-1)!]) : x);
    const db = (): Tensor =>
      transB
        ? matmul(rows(g), rows(a!), { transposeA: true, transposeB: transA })
        : matmul(rows(a!), rows(g), { transposeA: !transA });
    return [needs(0) ? sumTo(da(), a!.shape) : undefined, needs(1) ? sumTo(db(), b!.shape) : undefined];
  },
  evaluate: ({ inputs: [a, b], dims, attributes: { transA, transB } }) => {
    const batch = dims.slice(0, -2);
    const [rows, columns] = dims.slice(-2) as [number, number];
    const inner = transA ? a!.dims.at(-2)! : a!.dims.at(-1)!;
    const sa = stridesOf(a!.dims).slice(-2) as [number, number];
    const sb = stridesOf(b!.dims).slice(-2) as [number, number];
    const [ar, ak] = transA ? [sa[1], sa[0]] : sa;
    const [bk, bc] = transB ? [sb[1], sb[0]] : sb;
    const batchStrides = [a!, b!].map((x) => {
      const size = x.dims.at(-2)! * x.dims.at(-1)!;
      return broadcastStrides(x.dims.slice(0, -2), batch).map((s) => s * size);
    });
    const out = new Float64Array(sizeOfDims(dims));
    walk(batch, batchStrides, (i, [at, bt]) => {
      const base = i * rows * columns;
      for (let r = 0; r < rows; r++)
        for (let k = 0; k < inner; k++) {
          const x = a!.data[at! + r * ar + k * ak]!;
          for (let c = 0; c < columns; c++) out[base + r * columns + c]! += x * b!.data[bt! + k * bk + c * bc]!;
        }
    });
    return out;
  },
  along: (node, axis, { transA, transB }) => {
    const [a, b] = node.inputs as [Tensor, Tensor];
    const last = node.rank - 1;
    if (axis === last - 1) return [transA ? a.rank - 1 : a.rank - 2, null];
    if (axis === last) return [null, transB ? b.rank - 2 : b.rank - 1];
    return [a, b].map((x) => {
      const at = axis - (node.rank - x.rank);
      return at < 0 || x.shape[at] === 1 ? null : at;
    });
  },
};

export const matMulOperations: { readonly MatMul: typeof matMulOperation } = { MatMul: matMulOperation };

/**
 * Matrix product over the last two axes; leading axes broadcast.
 * @param a [… , m, k], or [… , k, m] with `transposeA`
 * @param b [… , k, n], or [… , n, k] with `transposeB`
 * @returns [… , m, n]
 * @throws GraphError when inner dimensions differ, naming both shapes
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * (await realize(matmul(x, x, { transposeB: true }))).toArray(); // [5, 11, 11, 25]
 */
export function matmul(a: Tensor, b: Tensor, options: { transposeA?: boolean; transposeB?: boolean } = {}): Tensor {
  const { transposeA = false, transposeB = false } = options;
  return apply(matMulOperation, [a, b], { transA: transposeA, transB: transposeB });
}
