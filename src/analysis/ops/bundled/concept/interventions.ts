/** @file What an intervention does to the activation of one position. */
import {
  add,
  broadcastTo,
  div,
  leaf,
  matmul,
  maximum,
  mul,
  reshape,
  sub,
  type Dim,
  type Tensor,
} from "../../../../graph/index.ts";
import { AnalysisError } from "../../../errors.ts";
import { smallest } from "./state.ts";
import { dot, pseudoInverse } from "./vectors.ts";

/** What is done with activation h, tensor v and scale s. */
export type InterventionMode = "replace" | "add" | "project" | "patch";

/** A tensor as data. */
export interface Plain {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number>;
}

/** One intervention at one hook point. */
export interface Intervention {
  readonly mode: InterventionMode;
  readonly tensor: Plain;
  readonly scale: number;
  /** For `project`: onto the tensor (true), or the tensor onto the activation. */
  readonly tensorAsBasis: boolean;
}

/** A fed vector: changing it does not compile anything anew. */
const fed = (data: ArrayLike<number>, dims: readonly number[], name: string): Tensor =>
  leaf(Float32Array.from(data), dims, { name });

type Change = (h: Tensor, v: Float32Array, s: Tensor, intervention: Intervention) => Tensor;

/** Each takes h [batch, 1, d] and v [d] (two such for `patch`). */
const changes: { readonly [M in InterventionMode]: Change } = {
  // h ← v
  replace: (h, v) => broadcastTo(fed(v, [1, 1, v.length], "intervention"), h.shape),
  // h ← h + s·v
  add: (h, v, s) => add(h, mul(fed(v, [v.length], "intervention"), s)),
  // h ← s·(h·v / max(v·v, 1e-12))·v, or with h as the basis s·(v·h / max(h·h, 1e-12))·h
  project: (h, v, s, { tensorAsBasis }) => {
    const along = matmul(h, fed(v, [v.length, 1], "intervention")); // [batch, 1, 1]
    if (tensorAsBasis) {
      const basis = fed(v, [v.length], "intervention");
      return mul(mul(div(along, fed([Math.max(dot(v, v), smallest)], [1], "v·v")), basis), s);
    }
    const square = mul(h, h).sum(-1, { keepDims: true });
    return mul(mul(div(along, maximum(square, smallest)), h), s);
  },
  // c = pinv([v, w]) h; h ← h + [v, w](s·swap(c) − c): what is orthogonal to both stays
  patch: (h, vectors, s) => {
    const d = vectors.length / 2;
    const [v, w] = [vectors.subarray(0, d), vectors.subarray(d)];
    const [p, q] = pseudoInverse(v, w);
    const coefficients = matmul(h, fed([...p, ...q], [2, d], "pseudo-inverse"), { transposeB: true }); // [batch, 1, 2]
    const swapped = matmul(coefficients, fed([...w, ...v], [2, d], "swapped vectors"));
    return add(h, sub(mul(swapped, s), matmul(coefficients, fed(vectors, [2, d], "vectors"))));
  },
};

/** How many vectors a mode takes, as the tensor's leading axis. */
const leadingAxes = (mode: InterventionMode): readonly number[] => (mode === "patch" ? [2] : []);

/** Whether data of some dimensions stretches to others. */
function stretches(dims: readonly number[], to: readonly number[]): boolean {
  const from = to.length - dims.length;
  return from >= 0 && dims.every((size, i) => size === to[from + i] || size === 1);
}

/** Whether a tensor fits a mode at a hook point whose positions have these dimensions. */
export const fitsMode = (dims: readonly number[], mode: InterventionMode, own: readonly number[]): boolean =>
  mode === "patch" ? dims[0] === 2 && stretches(dims.slice(1), own) : stretches(dims, own);

/** Data stretched to dimensions, row-major. */
function stretch({ dims, data }: Plain, to: readonly number[]): Float32Array {
  const padded = [...new Array<number>(to.length - dims.length).fill(1), ...dims];
  const size = to.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length: size }, (_, flat) => {
    let [at, stride, rest] = [0, 1, flat];
    for (let axis = to.length - 1; axis >= 0; axis--) {
      const index = rest % to[axis]!;
      rest = Math.floor(rest / to[axis]!);
      if (padded[axis] !== 1) at += index * stride;
      stride *= padded[axis]!;
    }
    return data[at]!;
  });
}

/**
 * The activation of one position after an intervention.
 * @param h [batch, 1, …]
 * @throws AnalysisError when the tensor does not fit the hook point
 */
export function intervene(h: Tensor, intervention: Intervention, where: string): Tensor {
  const { mode, tensor, scale } = intervention;
  const own = h.shape.slice(2).map((dim) => sized(dim, where));
  if (!fitsMode(tensor.dims, mode, own))
    throw new AnalysisError("the tensor of an intervention does not fit its hook point", {
      code: "analysis/intervention",
      where,
      expected: `something that stretches to [${[...leadingAxes(mode), ...own].join(", ")}] (${mode})`,
      received: `[${tensor.dims.join(", ")}]`,
    });
  const width = own.reduce((a, b) => a * b, 1);
  const vectors = stretch(tensor, [...leadingAxes(mode), ...own]);
  const flat = reshape(h, [h.shape[0]!, 1, width]);
  return reshape(changes[mode](flat, vectors, fed([scale], [1], "scale"), intervention), h.shape);
}

function sized(dim: Dim, where: string): number {
  if (typeof dim === "number") return dim;
  throw new AnalysisError("interventions need a hook point whose positions have vectors of one size", {
    code: "analysis/intervention",
    where,
    received: String(dim),
  });
}
