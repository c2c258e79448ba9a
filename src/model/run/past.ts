/** @file What earlier tokens leave for those that follow them: keys, values and their mask. */
import { addDims, axis } from "../../graph/axis.ts";
import { leaf, type Tensor } from "../../graph/tensor.ts";
import { kvHeads, type ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { ForwardOutput } from "../transformer/transformer.ts";
import { int64Rows, positionsOf, type TokenBatch } from "./batch.ts";

/**
 * Keys and values of a run, to be continued by another, any number of times: nothing in it changes.
 * @example
 * const past = await model.run("The Eiffel Tower is in", (traced) => traced.past);
 * const logits = await model.run(" Paris", { past, prependBos: false });
 */
export interface Past {
  /** Keys **before** rotation and values of each layer, [batch, pos, kv_head, d_head]; null where a layer was not run. */
  readonly keyValues: readonly ({ readonly keys: Tensor; readonly values: Tensor } | null)[];
  /** 1 for real tokens, 0 for padding, for each row. */
  readonly mask: readonly (readonly number[])[];
}

/** Everything up to and with a batch's tokens. */
export function pastAfter(batch: TokenBatch, output: ForwardOutput): Past {
  return {
    keyValues: output.keyValues.map((kv) => kv && { keys: kv.keys, values: kv.values }),
    mask: batch.past === undefined ? batch.mask : batch.past.mask.map((row, b) => [...row, ...batch.mask[b]!]),
  };
}

/**
 * The batch as what follows a realized past: its positions go on counting.
 * @throws ModelError when the past does not fit the batch or the model
 */
export function continueBatch(batch: TokenBatch, { keyValues, mask }: Past, cfg: ModelConfig): TokenBatch {
  const length = mask[0]?.length ?? 0;
  const dims = [batch.batchSize, length, kvHeads(cfg), cfg.d_head];
  const fits = ({ keys, values }: { keys: Tensor; values: Tensor }): boolean =>
    [keys, values].every((x) => x.dims.length === 4 && x.dims.every((d, i) => d === dims[i]));
  if (
    mask.length !== batch.batchSize ||
    keyValues.length !== cfg.n_layers ||
    !keyValues.every((kv) => kv === null || fits(kv))
  )
    throw new ModelError("the past does not fit this batch and model", {
      code: "model/past",
      expected: `${cfg.n_layers} layers of keys and values (${dims.join(", ")})`,
      received: `${keyValues.length} layers, ${mask.length} rows, keys (${keyValues.find((kv) => kv !== null)?.keys.dims.join(", ")})`,
    });
  const masks = mask.map((row, b) => [...row, ...batch.mask[b]!]);
  const positions = masks.map((row) => positionsOf(row, batch.policy));
  const own = positions.map((row) => row.slice(length));
  const past = axis("past", length);
  const all = [batch.batch, addDims(past, batch.pos)];
  const allDims = [batch.batchSize, length + batch.length];
  const cached = (x: Tensor, name: string): Tensor =>
    leaf(x.data, x.dims, { shape: [batch.batch, past, ...x.dims.slice(2)], dtype: x.dtype, name });
  const padded = masks.some((row) => row.includes(0));
  return {
    ...batch,
    largestPosition: own.flat().reduce((a, b) => Math.max(a, b), 0),
    positions: leaf(int64Rows(own, batch.length), [batch.batchSize, batch.length], {
      shape: [batch.batch, batch.pos],
      name: "positions",
    }),
    keyMask: padded
      ? leaf(Uint8Array.from(masks.flat()), allDims, { shape: all, dtype: "bool", name: "attention mask" })
      : undefined,
    emptyRows: masks.some((row) => !row.slice(0, length + 1).includes(1)),
    past: {
      keyValues: keyValues.map(
        (kv) => kv && { keys: cached(kv.keys, "past keys"), values: cached(kv.values, "past values") },
      ),
      positions: leaf(int64Rows(positions, allDims[1]!), allDims, { shape: all, name: "key positions" }),
      mask,
    },
  };
}
