/** @file Token batches: ids, attention mask, positions, made into leaves once and reused. */
import { axis, type Axis } from "../../graph/axis.ts";
import { broadcastTo, range } from "../../graph/index.ts";
import { leaf, placeholder, type Tensor } from "../../graph/tensor.ts";
import { ModelError } from "../errors.ts";
import type { KeyValues } from "../transformer/attention.ts";

/**
 * How positions and masks are derived.
 * - `explicit`: the batch's own mask; positions count real tokens. Results do not depend on padding.
 * - `tlLegacy`: TransformerLens' rule: the mask is guessed from ids (leading or trailing pads; when BOS is the pad id
 *   and BOS is prepended, the last leading pad counts as BOS); positions count real tokens.
 * - `padded`: the batch's own mask, but positions 0, 1, 2 … over the padded row.
 */
export type PositionPolicy = "explicit" | "tlLegacy" | "padded";

export interface TokenBatchOptions {
  /** 1 for real tokens, 0 for padding, per row. Default: all real. */
  mask?: readonly (readonly number[])[] | undefined;
  positions?: PositionPolicy;
  /** The position axis to use, for batches that must share it. Default: a new one. */
  pos?: Axis;
  /** What `tlLegacy` guesses with. */
  legacy?: { padId: number; bosId: number | undefined; paddingSide: "left" | "right"; prependBos: boolean };
}

/** Token ids and everything derived from them. One object gives one set of leaves, so that runs over it share work. */
export interface TokenBatch {
  readonly ids: readonly (readonly number[])[];
  /** 0 or 1 per token, after the position policy. */
  readonly mask: readonly (readonly number[])[];
  readonly policy: PositionPolicy;
  readonly batchSize: number;
  readonly length: number;
  /** Index of the last real token of each row. */
  readonly lastPositions: readonly number[];
  readonly largestPosition: number;
  readonly batch: Axis;
  readonly pos: Axis;
  /** int64 [batch, pos] */
  readonly tokens: Tensor;
  /** int64 [batch, pos] */
  readonly positions: Tensor;
  /** bool [batch, pos], after a past [batch, past + pos]; undefined when every token is real. */
  readonly keyMask: Tensor | undefined;
  /** Some row starts with padding, so that some causal query sees no key. */
  readonly emptyRows: boolean;
  /** What the tokens follow. */
  readonly past?: PastLeaves;
}

/** Earlier tokens as leaves, with the batch's axes. */
export interface PastLeaves {
  /** Keys (before rotation) and values by layer, null where a layer was not run. */
  readonly keyValues: readonly (KeyValues | null)[];
  /** int64 [batch, past + pos]: positions of all keys. */
  readonly positions: Tensor;
  /** 0 or 1 for each earlier token. */
  readonly mask: readonly (readonly number[])[];
}

/** A row-major rectangle of numbers as rows. */
export const rowsOf = (data: ArrayLike<number>, [rows, width]: readonly [number, number]): number[][] =>
  Array.from({ length: rows }, (_, r) => Array.from({ length: width }, (_, i) => data[r * width + i]!));

/** Rows of equal width as int64. */
export const int64Rows = (rows: readonly (readonly number[])[], width: number): BigInt64Array => {
  const out = new BigInt64Array(rows.length * width);
  rows.forEach((row, b) => row.forEach((x, p) => (out[b * width + p] = BigInt(x))));
  return out;
};

/** TransformerLens' mask from ids (spec: "Padding: exact rule"). */
function legacyMask(ids: readonly (readonly number[])[], legacy: NonNullable<TokenBatchOptions["legacy"]>): number[][] {
  return ids.map((row) => {
    const mask = row.map(() => 1);
    if (legacy.paddingSide === "right") {
      for (let p = row.length - 1; p >= 0 && row[p] === legacy.padId; p--) mask[p] = 0;
      return mask;
    }
    let first = 0;
    while (first < row.length && row[first] === legacy.padId) mask[first++] = 0;
    if (legacy.prependBos && legacy.bosId === legacy.padId) mask[Math.max(first - 1, 0)] = first === 0 ? mask[0]! : 1;
    return mask;
  });
}

/** Positions of the tokens of one row. */
export function positionsOf(mask: readonly number[], policy: PositionPolicy): number[] {
  if (policy === "padded") return mask.map((_, p) => p);
  let count = 0;
  return mask.map((m) => Math.max((count += m) - 1, 0));
}

const axes = new Map<string, Axis>();

/** One axis for all batches of a size, so that values of one run fit into another run of that size. */
function sizedAxis(name: string, size: number): Axis {
  const key = `${name} ${size}`;
  let found = axes.get(key);
  if (found === undefined) axes.set(key, (found = axis(name, size)));
  return found;
}

/**
 * A batch of equally long rows of ids.
 * @throws ModelError when rows differ in length, are empty, or the mask does not fit
 * @example
 * const batch = tokenBatch([[5, 6, 7], [0, 8, 9]], { mask: [[1, 1, 1], [0, 1, 1]] });
 */
export function tokenBatch(ids: readonly (readonly number[])[], options: TokenBatchOptions = {}): TokenBatch {
  const { positions: policy = "explicit", legacy } = options;
  const length = ids[0]?.length ?? 0;
  if (length === 0)
    throw new ModelError("a token batch needs at least one row of at least one token", { code: "model/batch" });
  ids.forEach((row, b) => {
    if (row.length !== length)
      throw new ModelError("rows of a token batch differ in length", {
        code: "model/batch",
        where: `row ${b}`,
        expected: `${length} tokens`,
        received: String(row.length),
        hint: "pad them and give a mask",
      });
    const bad = row.find((id) => !Number.isInteger(id) || id < 0);
    if (bad !== undefined)
      throw new ModelError("token ids are non-negative integers", {
        code: "model/batch",
        where: `row ${b}`,
        received: String(bad),
      });
  });
  if (policy === "tlLegacy" && legacy === undefined)
    throw new ModelError("the tlLegacy position policy guesses the mask from ids and needs the pad id", {
      code: "model/batch",
      hint: "give `legacy`, or use a model with a tokenizer",
    });
  const given = options.mask;
  if (
    given !== undefined &&
    (given.length !== ids.length || given.some((row) => row.length !== length || row.some((m) => m !== 0 && m !== 1)))
  )
    throw new ModelError("an attention mask is 0 or 1 for every token", {
      code: "model/batch",
      expected: `[${ids.length}, ${length}]`,
      received: `[${given.length}, ${given[0]?.length ?? 0}]`,
    });
  const mask = policy === "tlLegacy" ? legacyMask(ids, legacy!) : (given ?? ids.map((row) => row.map(() => 1)));
  const padded = mask.some((row) => row.includes(0));
  const positionRows = mask.map((row) => positionsOf(row, policy));
  const batch = sizedAxis("batch", ids.length);
  const { pos = sizedAxis("pos", length) } = options;
  const dims = [ids.length, length];
  const make = (data: BigInt64Array | Uint8Array, name: string, dtype: "int64" | "bool"): Tensor =>
    leaf(data, dims, { shape: [batch, pos], dtype, name });
  return {
    ids,
    mask,
    policy,
    batchSize: ids.length,
    length,
    lastPositions: mask.map((row) => row.lastIndexOf(1)),
    largestPosition: positionRows.reduce((top, row) => row.reduce((a, b) => Math.max(a, b), top), 0),
    batch,
    pos,
    tokens: make(int64Rows(ids, length), "tokens", "int64"),
    positions: make(int64Rows(positionRows, length), "positions", "int64"),
    keyMask: padded ? make(Uint8Array.from(mask.flat()), "attention mask", "bool") : undefined,
    emptyRows: mask.some((row) => row[0] === 0),
  };
}

/**
 * A batch whose tokens are not there yet: rows of one length, none of them padded, for functions that are traced once.
 * @param maxLength the longest rows it will stand for
 * @example
 * const batch = placeholderBatch(4);
 * const last = await model.runtime.compile({ tokens: batch.tokens }, () => select(model.trace(batch).logits, 1, -1));
 * await last({ tokens: leaf(BigInt64Array.of(1n, 2n, 3n), [1, 3]) }); // [1, d_vocab]
 */
export function placeholderBatch(maxLength: number): TokenBatch {
  const [batch, pos] = [axis("batch"), axis("pos")];
  return {
    ids: [],
    mask: [],
    policy: "explicit",
    batchSize: 0,
    length: 0,
    lastPositions: [],
    largestPosition: maxLength - 1,
    batch,
    pos,
    tokens: placeholder([batch, pos], "int64", "tokens"),
    positions: broadcastTo(range(pos), [batch, pos]),
    keyMask: undefined,
    emptyRows: false,
  };
}
