/** @file Recognises causal attention whose scores and pattern nobody looks at, and makes one operation of it. */
import { sameDim, sameShape, type Dim } from "../axis.ts";
import { causalAttention } from "../ops/attention.ts";
import { operations as ops } from "../ops/table.ts";
import { reshape, transpose } from "../ops/shape.ts";
import { where } from "../ops/values.ts";
import type { Tensor } from "../tensor.ts";
import { topological } from "../traverse.ts";
import { constantOf, exchanged, users } from "./fusing.ts";
import { simplified } from "./simplify.ts";

/** Heads must be a multiple of this long for the fused operator. */
const headMultiple = 8;

/** A value by position and head, [batch, pos, head, d], or with the two swapped. */
interface Operand {
  readonly x: Tensor;
  readonly swapped: boolean;
  readonly shape: readonly Dim[]; // [batch, pos, head, d]
}

/** Attention as it was written down: everything the one operation needs, and what it makes superfluous. */
interface Attention {
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  readonly scale: number;
  readonly softCap: number;
  readonly window: number;
  /** Beyond causality and window; undefined where they are all there is. */
  readonly bias: Tensor | undefined;
  /** Which queries see a key at all, [batch or 1, 1, pos, 1]; the others give 0. */
  readonly seen: Tensor | undefined;
  /** Values that only attention itself may use. */
  readonly inner: readonly Tensor[];
}

const beneathReshapes = (x: Tensor): Tensor => (x.op === ops.Reshape ? beneathReshapes(x.inputs[0]!) : x);

/** The operand of a swap of positions and heads: [batch, head, pos, d] → [batch, pos, head, d]. */
function positionsFirst(x: Tensor): Tensor | undefined {
  const perm = x.op === ops.Transpose ? (x.attributes["perm"] as readonly number[]) : [];
  return perm.join() === "0,2,1,3" ? x.inputs[0] : undefined;
}

/** What is multiplied head by head, before its swap where there is one. */
function operandOf(x: Tensor): Operand {
  const straight = positionsFirst(x);
  return straight === undefined
    ? { x, swapped: true, shape: [0, 2, 1, 3].map((axis) => x.shape[axis]!) }
    : { x: straight, swapped: false, shape: straight.shape };
}

/**
 * The operands of a product per head, [batch, head, m, n] × [batch, kv_head, n, k]: written plainly where there are as
 * many heads, else with the heads split in groups.
 */
function headProduct(
  x: Tensor,
  transposeB: boolean,
): { left: Tensor; right: Tensor; inner: readonly Tensor[] } | undefined {
  const product = beneathReshapes(x);
  if (product.op !== ops.MatMul || x.rank !== 4) return undefined;
  const { transA, transB } = product.attributes;
  if (transA === true || transB !== transposeB) return undefined;
  const [a, b] = product.inputs as [Tensor, Tensor];
  if (product === x) return a.rank === 4 && b.rank === 4 ? { left: a, right: b, inner: [x] } : undefined;
  const [left, right] = [beneathReshapes(a), beneathReshapes(b)];
  if (a.rank !== 5 || b.rank !== 5 || left.rank !== 4 || right.rank !== 4) return undefined;
  const [batch, heads, ...rows] = left.shape as [Dim, Dim, ...Dim[]];
  const [, shared, ...columns] = right.shape as [Dim, Dim, ...Dim[]];
  if (typeof heads !== "number" || typeof shared !== "number") return undefined;
  const grouped =
    sameShape(a.shape, [batch, shared, heads / shared, ...rows]) &&
    sameShape(b.shape, [batch, shared, 1, ...columns]) &&
    sameShape(x.shape.slice(0, 3), left.shape.slice(0, 3));
  return grouped ? { left, right, inner: [x, product, a] } : undefined;
}

/** Whether these are the positions 0 … n−1 along one axis of a mask [1, 1, query, key]. */
function isRange(x: Tensor, axis: 2 | 3): boolean {
  const size = x.shape[axis]!;
  if (!sameShape(x.shape, axis === 2 ? [1, 1, size, 1] : [1, 1, 1, size])) return false;
  let at = beneathReshapes(x);
  if (at.op === ops.Add && at.inputs[1]!.op === ops.Size && at.inputs[1]!.attributes["dim"] === 0) at = at.inputs[0]!;
  return at.op === ops.Range && sameDim(at.shape[0]!, size);
}

/** What a mask says: causal or not, the window, and whether anything else. */
interface Mask {
  causal: boolean;
  window: number;
  more: boolean;
}

function readMask(condition: Tensor, mask: Mask): Mask {
  const [a, b] = condition.inputs as [Tensor, Tensor];
  if (condition.op === ops.And) return readMask(b, readMask(a, mask));
  if (condition.op === ops.LessOrEqual && isRange(a, 3) && isRange(b, 2)) return { ...mask, causal: true };
  if (condition.op === ops.Greater && isRange(a, 3) && b.op === ops.Sub && isRange(b.inputs[0]!, 2)) {
    const window = constantOf(b.inputs[1]);
    if (window !== undefined && window > 0 && mask.window === 0) return { ...mask, window };
  }
  return { ...mask, more: true };
}

/** An additive bias, 0 or −∞. */
function readBias(bias: Tensor): Mask | undefined {
  if (bias.op !== ops.Where || constantOf(bias.inputs[1]) !== 0 || constantOf(bias.inputs[2]) !== -Infinity)
    return undefined;
  const mask = readMask(bias.inputs[0]!, { causal: false, window: 0, more: false });
  return mask.causal ? mask : undefined;
}

/** Scores under a soft cap `c · tanh(x / c)`. */
function uncapped(x: Tensor): { raw: Tensor; softCap: number; inner: readonly Tensor[] } {
  const [tanh, cap] = x.inputs as [Tensor | undefined, Tensor | undefined];
  const softCap = constantOf(cap);
  if (x.op !== ops.Mul || tanh?.op !== ops.Tanh || softCap === undefined) return { raw: x, softCap: 0, inner: [] };
  const scaled = tanh.inputs[0]!;
  if (scaled.op !== ops.Div || constantOf(scaled.inputs[1]) !== softCap) return { raw: x, softCap: 0, inner: [] };
  return { raw: scaled.inputs[0]!, softCap, inner: [x, tanh, scaled] };
}

/** A softmax over keys, with 0 for queries that see none. */
function readPattern(
  pattern: Tensor,
): { scores: Tensor; seen: Tensor | undefined; inner: readonly Tensor[] } | undefined {
  const lastAxis = (x: Tensor): boolean => x.op === ops.Softmax && x.attributes["axis"] === 3;
  if (lastAxis(pattern)) return { scores: pattern.inputs[0]!, seen: undefined, inner: [pattern] };
  const [seen, soft] = pattern.inputs as [Tensor, Tensor];
  if (pattern.op !== ops.Where || constantOf(pattern.inputs[2]) !== 0 || !lastAxis(soft)) return undefined;
  const shown = soft.inputs[0]!;
  if (shown.op !== ops.Where || shown.inputs[0] !== seen || constantOf(shown.inputs[2]) !== 0) return undefined;
  if (seen.rank !== 4 || seen.shape[1] !== 1 || seen.shape[3] !== 1) return undefined;
  return { scores: shown.inputs[1]!, seen, inner: [pattern, soft, shown] };
}

/** Reads attention upwards from its heads' outputs [batch, pos, head, d]. */
function readAttention(z: Tensor): Attention | undefined {
  const mixed = z.dtype === "float32" ? positionsFirst(z) : undefined;
  const mix = mixed && headProduct(mixed, false);
  const pattern = mix && readPattern(mix.left);
  if (pattern?.scores.op !== ops.Add) return undefined;
  const [masked, bias] = pattern.scores.inputs as [Tensor, Tensor];
  const mask = readBias(bias);
  const { raw, softCap, inner } = uncapped(masked);
  const product = headProduct(raw, true);
  if (mix === undefined || mask === undefined || product === undefined) return undefined;
  const [q, k, v] = [product.left, product.right, mix.right].map(operandOf) as [Operand, Operand, Operand];
  const divisor = q.x.op === ops.Div ? constantOf(q.x.inputs[1]) : undefined;
  const fits =
    sameShape(q.shape.slice(0, 2), k.shape.slice(0, 2)) &&
    sameShape(k.shape, v.shape) &&
    typeof q.shape[3] === "number" &&
    q.shape[3] % headMultiple === 0 &&
    typeof q.shape[2] === "number" &&
    typeof k.shape[2] === "number";
  if (!fits) return undefined;
  return {
    q: divisor === undefined ? q : { ...q, x: q.x.inputs[0]! },
    k,
    v,
    scale: divisor === undefined ? 1 : 1 / divisor,
    softCap,
    window: mask.window,
    bias: mask.more ? bias : undefined,
    seen: pattern.seen,
    inner: [...mix.inner, ...pattern.inner, pattern.scores, ...inner, ...product.inner],
  };
}

function fused(
  { q, k, v, bias, seen, scale, softCap, window }: Attention,
  shape: readonly Dim[],
  made: (x: Tensor) => Tensor,
): Tensor {
  const flat = ({ x, swapped, shape: given }: Operand): Tensor => {
    const [batch, pos, heads, width] = given as [Dim, Dim, number, number];
    const straight = swapped ? simplified(transpose(made(x), [0, 2, 1, 3])) : beneathReshapes(made(x));
    return reshape(straight, [batch, pos, heads * width]);
  };
  const mask = bias && made(bias);
  const rows = seen && made(seen);
  // A query that sees nothing attends to everything before it, so that no NaN arises, and gives 0 in the end.
  const attributes = { heads: q.shape[2] as number, kvHeads: k.shape[2] as number, scale, softCap, window };
  const z = causalAttention([flat(q), flat(k), flat(v)], rows && mask ? where(rows, mask, 0) : mask, attributes);
  const byHead = reshape(z, shape);
  return rows === undefined ? byHead : where(transpose(rows, [0, 2, 1, 3]), byHead, 0);
}

/**
 * The same values with causal attention as one operation, wherever its scores and pattern serve nothing else: nobody
 * asked for them, hooked them, or needs them for a derivative.
 */
export function fuseAttention(outputs: readonly Tensor[]): readonly Tensor[] {
  const order = topological(outputs);
  if (!order.some((x) => x.op === ops.Softmax)) return outputs;
  const count = users(order, outputs);
  const found = new Map<Tensor, Attention>();
  for (const node of order) {
    if (node.op !== ops.Transpose) continue;
    const attention = readAttention(node);
    if (attention !== undefined && attention.inner.every((x) => count.get(x) === 1)) found.set(node, attention);
  }
  return exchanged(outputs, found, (attention, made, node) => fused(attention, node.shape, made));
}
