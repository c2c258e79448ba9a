/** @file Attention: projections, rotary positions, masks, scores, pattern, heads; hooks beside the math. */
import { addDims, sameDim, subDims, type Dim } from "../../graph/axis.ts";
import {
  add,
  and,
  branch,
  broadcastTo,
  concat,
  constant,
  div,
  gather,
  greater,
  lessEqual,
  matmul,
  max,
  mul,
  pad,
  range,
  reshape,
  sizeOf,
  slice,
  softmax,
  sub,
  sum,
  takeAlong,
  tanh,
  transpose,
  unsqueeze,
  where,
} from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { kvHeads, type ModelConfig } from "../config.ts";
import type { Trace } from "../hooks/trace.ts";
import { normalize, type BlockContext } from "./norm.ts";

/** Keys (before rotation) and values of one layer. */
export interface KeyValues {
  readonly keys: Tensor; // [batch, pos, kv_head, d_head]
  readonly values: Tensor; // [batch, pos, kv_head, d_head]
  /** The keys after rotation, where they are known: independent positions then need not rotate them again. */
  readonly rotated?: Tensor; // [batch, pos, kv_head, d_head]
}

/** What every layer's attention shares in one pass. */
export interface AttentionContext {
  /** Cosines and sines at the queries' and at all keys' positions; absent without rotary embedding. */
  readonly rotary: { readonly queries: Rotation; readonly keys: Rotation } | undefined;
  /** Additive mask per kind of layer, 0 or −∞: [batch or 1, 1, query, key]. */
  readonly bias: (layer: number) => Tensor | undefined;
  /** Whether a query may find all keys masked. */
  readonly emptyRows: boolean;
  /** New positions see the past and themselves, not each other. */
  readonly independent: boolean;
  /** Earlier positions; with independent new ones, keys and values may hold unused slots after them. */
  readonly past: Dim;
  /** Learned positions that a shortformer adds to queries and keys. */
  readonly shortformer: Tensor | undefined;
}

export interface Rotation {
  readonly cos: Tensor; // [batch, 1, pos, rotary_dim / 2]
  readonly sin: Tensor;
}

/** Rotates the first `rotary_dim` entries of each head; head by head, where sines of all positions lie side by side. */
function rotate(given: Tensor, { cos, sin }: Rotation, cfg: ModelConfig): Tensor {
  const x = heads(given); // [batch, head, pos, d_head]
  const width = cfg.rotary_dim ?? cfg.d_head;
  const half = width / 2;
  const [a, b] = cfg.rotary_adjacent_pairs
    ? pairs(slice(x, -1, 0, width), half)
    : [slice(x, -1, 0, half), slice(x, -1, half, width)];
  const first = sub(mul(a, cos), mul(b, sin));
  const second = add(mul(b, cos), mul(a, sin));
  const turned = cfg.rotary_adjacent_pairs
    ? reshape(concat([unsqueeze(first, -1), unsqueeze(second, -1)], -1), [...x.shape.slice(0, -1), width])
    : concat([first, second], -1);
  return heads(width === cfg.d_head ? turned : concat([turned, slice(x, -1, width, cfg.d_head)], -1));
}

/** Even and odd entries of the last axis. */
function pairs(x: Tensor, half: number): [Tensor, Tensor] {
  const split = reshape(x, [...x.shape.slice(0, -1), half, 2]);
  const part = (i: number): Tensor => reshape(slice(split, -1, i, i + 1), [...x.shape.slice(0, -1), half]);
  return [part(0), part(1)];
}

/** `x · W` for per-head weights [head, d_model, d_head] → [batch, pos, head, d_head]. */
function project(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const [heads, dModel, dHead] = weight.shape as [Dim, Dim, Dim];
  const rows = reshape(transpose(weight, [0, 2, 1]), [-1, dModel]); // [head · d_head, d_model]
  const flat = matmul(x, rows, { transposeB: true });
  const withBias = bias === undefined ? flat : add(flat, reshape(bias, [-1]));
  return reshape(withBias, [...x.shape.slice(0, -1), heads, dHead]);
}

/** The same where every head reads an input of its own: x [batch, pos, head, d_model]. */
function projectSplit(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const byHead = matmul(transpose(x, [0, 2, 1, 3]), weight); // [batch, head, pos, d_head]
  const out = transpose(byHead, [0, 2, 1, 3]);
  return bias === undefined ? out : add(out, bias);
}

const scaleOf = (cfg: ModelConfig, layer: number): number => {
  const base = cfg.use_attn_scale ? (cfg.attn_scale > 0 ? cfg.attn_scale : Math.sqrt(cfg.d_head)) : 1;
  return cfg.scale_attn_by_inverse_layer_idx ? base * (layer + 1) : base;
};

/**
 * Queries, keys and values of a block. Where somebody asks for the flagged points, each head reads a copy of the residual
 * of its own, normalised by itself.
 */
function projections(
  resid: Tensor,
  normalized: Tensor,
  block: BlockContext,
  shared: AttentionContext,
): Record<"q" | "k" | "v", Tensor> {
  const { name, trace, cfg, weight } = block;
  const heads = { q: cfg.n_heads, k: kvHeads(cfg), v: kvHeads(cfg) };
  const copy = (n: number): Tensor =>
    broadcastTo(unsqueeze(resid, 2), [...resid.shape.slice(0, 2), n, resid.shape[2]!]); // [batch, pos, head, d_model]
  const perHead = (point: string, n: number, start: Tensor | undefined): Tensor | undefined => {
    if (!trace.wants(`${name}.${point}`)) return start;
    return trace.fire(`${name}.${point}`, branch(start ?? copy(n), point));
  };
  // As in TransformerLens: with grouped keys there is no one copy per head for all three.
  const attnIn = heads.q === heads.k ? perHead("hook_attn_in", cfg.n_heads, undefined) : undefined;
  const part = (which: "q" | "k" | "v"): Tensor => {
    const input = perHead(`hook_${which}_input`, heads[which], attnIn);
    const w = weight(`attn.W_${which.toUpperCase()}`);
    const b = weight(`attn.b_${which.toUpperCase()}`, false);
    const positional = which === "v" ? undefined : shared.shortformer;
    const made =
      input === undefined
        ? project(positional === undefined ? normalized : add(normalized, positional), w, b)
        : projectSplit(normalize(input, block, "ln1", { silent: true }), w, b);
    return trace.fire(`${name}.attn.hook_${which}`, made);
  };
  return { q: part("q"), k: part("k"), v: part("v") };
}

/** Queries against keys per head, [batch, head, query, key]; grouped keys are shared, not copied. */
function headProduct(a: Tensor, b: Tensor, groups: number, transposeB: boolean): Tensor {
  if (groups === 1) return matmul(a, b, { transposeB });
  const [batch, heads, rows] = a.shape as [Dim, number, Dim];
  const split = reshape(a, [batch, heads / groups, groups, rows, a.shape[3]!]);
  const product = matmul(split, unsqueeze(b, 2), { transposeB });
  return reshape(product, [batch, heads, rows, product.shape[4]!]);
}

const heads = (x: Tensor): Tensor => transpose(x, [0, 2, 1, 3]); // [batch, pos, head, d] ⇄ [batch, head, pos, d]

/** One attention layer from the normalised residual to its output before any post-norm. */
export function attention(
  resid: Tensor,
  normalized: Tensor,
  block: BlockContext,
  shared: AttentionContext,
  past: KeyValues | undefined,
): { out: Tensor; keyValues: KeyValues } {
  const { name, trace, cfg, layer, weight } = block;
  const point = `${name}.attn`;
  const groups = cfg.n_heads / kvHeads(cfg);
  const { q, k, v } = projections(resid, normalized, block, shared);

  const join = (old: Tensor | undefined, fresh: Tensor): Tensor =>
    old === undefined || shared.independent ? fresh : concat([old, fresh], 1);
  const keys = join(past?.keys, k); // [batch, key, kv_head, d_head]
  const values = join(past?.values, v);

  let rotatedQ = q;
  let rotatedK = keys;
  if (shared.rotary !== undefined) {
    rotatedQ = trace.fire(`${point}.hook_rot_q`, rotate(q, shared.rotary.queries, cfg));
    const keyRotation = shared.independent ? shared.rotary.queries : shared.rotary.keys;
    rotatedK = trace.fire(`${point}.hook_rot_k`, rotate(keys, keyRotation, cfg));
  }
  const scaled = heads(div(rotatedQ, scaleOf(cfg, layer))); // [batch, head, query, d_head]

  const cap = (x: Tensor): Tensor =>
    cfg.attn_scores_soft_cap > 0 ? mul(tanh(div(x, cfg.attn_scores_soft_cap)), cfg.attn_scores_soft_cap) : x;
  let raw: Tensor;
  if (shared.independent) {
    const oldKeys =
      past!.rotated ?? (shared.rotary === undefined ? past!.keys : rotate(past!.keys, shared.rotary.keys, cfg));
    const all = headProduct(scaled, heads(oldKeys), groups, true);
    // Not a slice: narrowing would push that into the keys and copy them.
    const old = sameDim(all.shape[3]!, shared.past) ? all : gather(all, range(shared.past), 3); // [batch, head, query, past]
    const repeated = repeatHeads(heads(rotatedK), groups); // [batch, head, query, d_head]
    const self = sum(mul(scaled, repeated), -1, { keepDims: true }); // [batch, head, query, 1]
    // A splice at the keys makes variants of them alone.
    raw = concat([broadcastTo(old, [...self.shape.slice(0, 3), shared.past]), self], -1);
  } else raw = headProduct(scaled, heads(rotatedK), groups, true);

  const bias = shared.bias(layer);
  const masked = bias === undefined ? cap(raw) : add(cap(raw), bias);
  const scores = trace.fire(`${point}.hook_attn_scores`, masked); // [batch, head, query, key]
  const pattern = trace.fire(`${point}.hook_pattern`, toPattern(scores, shared.emptyRows ? bias : undefined));

  let z: Tensor;
  if (shared.independent) {
    const unused = subDims(past!.values.shape[1]!, shared.past);
    const old = pad(slice(pattern, -1, 0, shared.past), -1, 0, unused);
    const fromPast = headProduct(old, heads(past!.values), groups, false);
    z = add(fromPast, mul(slice(pattern, -1, shared.past), repeatHeads(heads(values), groups)));
  } else z = headProduct(pattern, heads(values), groups, false);
  const hookedZ = trace.fire(`${point}.hook_z`, heads(z)); // [batch, query, head, d_head]
  return {
    out: output(hookedZ, point, trace, weight("attn.W_O"), weight("attn.b_O", false)),
    keyValues: { keys, values, rotated: rotatedK },
  };
}

/** Softmax; a row without any visible key becomes 0, and no NaN reaches a gradient. */
function toPattern(scores: Tensor, bias: Tensor | undefined): Tensor {
  if (bias === undefined) return softmax(scores, -1);
  const seen = greater(max(bias, -1, { keepDims: true }), constant(-Infinity)); // [batch, 1, query, 1]
  return where(seen, softmax(where(seen, scores, 0), -1), 0);
}

/** Each key/value head once per query head of its group. */
function repeatHeads(x: Tensor, groups: number): Tensor {
  if (groups === 1) return x;
  const [batch, count, rows, width] = x.shape as [Dim, number, Dim, Dim];
  const wide = broadcastTo(unsqueeze(x, 2), [batch, count, groups, rows, width]);
  return reshape(wide, [batch, count * groups, rows, width]);
}

function output(z: Tensor, point: string, trace: Trace, weight: Tensor, bias: Tensor | undefined): Tensor {
  const [batch, pos, headCount, width] = z.shape as [Dim, Dim, number, number];
  const out = trace.wants(`${point}.hook_result`)
    ? sum(trace.fire(`${point}.hook_result`, heads(matmul(heads(z), weight))), 2) // over [batch, pos, head, d_model]
    : matmul(reshape(z, [batch, pos, headCount * width]), reshape(weight, [headCount * width, -1]));
  return bias === undefined ? out : add(out, bias);
}

/** Additive masks for the kinds of layer a model has, built once a pass. */
export function attentionBias(
  cfg: ModelConfig,
  options: {
    query: Dim;
    past: Dim;
    keyMask: Tensor | undefined;
    /** A model's own masks, by position. */
    table: ((layer: number) => Tensor) | undefined;
    positions: Tensor;
    keyPositions: Tensor;
  },
): (layer: number) => Tensor | undefined {
  const { query, past, keyMask, table, positions, keyPositions } = options;
  const keys = addDims(past, query);
  const padding = keyMask === undefined ? undefined : unsqueeze(unsqueeze(keyMask, 1), 1); // [batch, 1, 1, key]
  const built = new Map<string, Tensor | undefined>();
  const build = (local: boolean): Tensor | undefined => {
    let allowed = padding;
    if (cfg.attention_dir === "causal") {
      const at = reshape(add(range(query), sizeOf(past)), [1, 1, query, 1]);
      const key = reshape(range(keys), [1, 1, 1, keys]);
      let visible = lessEqual(key, at);
      if (local) visible = and(visible, greater(key, sub(at, cfg.window_size!)));
      allowed = allowed === undefined ? visible : and(allowed, visible);
    }
    return allowed && where(allowed, constant(0), constant(-Infinity));
  };
  return (layer) => {
    if (table !== undefined) {
      if (padding === undefined) return slice(slice(table(layer), 0, past, keys), 1, 0, keys);
      const rows = gather(table(layer), positions, 0); // [batch, query, position]
      const columns = broadcastTo(unsqueeze(keyPositions, 1), [keyPositions.shape[0]!, query, keys]);
      const own = unsqueeze(takeAlong(rows, columns, 2), 1); // [batch, 1, query, key]
      return where(padding, own, constant(-Infinity));
    }
    const local = cfg.use_local_attn && cfg.attn_types?.[layer] === "local";
    const key = String(local);
    if (!built.has(key)) built.set(key, build(local));
    return built.get(key);
  };
}

/** The mask of independent positions: the past as given per position, and themselves. [batch, 1, query, past + 1] */
export function independentBias(
  cfg: ModelConfig,
  options: { pastMask: Tensor; query: Dim; past: Dim; index: Tensor },
): (layer: number) => Tensor {
  const { pastMask, query, past, index } = options;
  const batch = pastMask.shape[0]!;
  const visible = unsqueeze(unsqueeze(pastMask, 1), 1); // [batch, 1, 1, past]
  const self = broadcastTo(constant(0), [batch, 1, query, 1]);
  const built = new Map<boolean, Tensor>();
  const build = (local: boolean): Tensor => {
    const key = reshape(range(past), [1, 1, 1, past]);
    const at = reshape(index, [batch, 1, query, 1]);
    let allowed = and(visible, lessEqual(key, sub(at, 1)));
    if (local) allowed = and(allowed, greater(key, sub(at, cfg.window_size!)));
    return concat([where(allowed, constant(0), constant(-Infinity)), self], -1);
  };
  return (layer) => {
    const local = cfg.use_local_attn && cfg.attn_types?.[layer] === "local";
    if (!built.has(local)) built.set(local, build(local));
    return built.get(local)!;
  };
}

/** Cosines and sines at given positions, from a table over all positions. */
export function rotationAt(tables: { cos: Tensor; sin: Tensor }, positions: Tensor): Rotation {
  const at = (table: Tensor): Tensor => unsqueeze(gather(table, positions, 0), 1); // [batch, 1, pos, rotary_dim / 2]
  return { cos: at(tables.cos), sin: at(tables.sin) };
}
