/** @file Activations of a model on documents. */
import type { JsonObject } from "../../../formats/index.ts";
import { reshape, type Tensor } from "../../../graph/index.ts";
import type { HookedModel, TokenBatch } from "../../../model/index.ts";
import { TrainError } from "../../errors.ts";
import type { SaeTrainingOptions } from "../options.ts";
import { packer, type Documents, type PackerState, type TokenRow } from "./packing.ts";
import { rowWidth, type ActivationRows, type ActivationSource } from "./source.ts";

/** The rows of tokens of one forward pass. */
export interface TokenRows {
  readonly batch: TokenBatch;
  /** Of each token of the batch, whether its activations count. */
  readonly counts: Uint8Array;
}

/** Positions of a row that count. */
function positions(slice: readonly (number | null)[], length: number): readonly [number, number] {
  const [from, to] = slice.length === 1 ? [0, slice[0]] : slice;
  const at = (value: number | null | undefined, otherwise: number): number =>
    value === null || value === undefined ? otherwise : value < 0 ? value + length : value;
  return [at(from, 0), Math.min(at(to, length), length)];
}

/** Ids whose activations are left out. */
function excludedIds(model: HookedModel, excluded: SaeTrainingOptions["excludeSpecialTokens"]): ReadonlySet<number> {
  if (typeof excluded !== "boolean") return new Set(excluded);
  if (!excluded || !model.hasTokenizer) return new Set();
  return new Set(Object.values(model.tokenizer.special.ids));
}

/** Makes batches of rows, with what of them counts. */
export function tokenRowsOf(model: HookedModel, options: SaeTrainingOptions): (rows: readonly TokenRow[]) => TokenRows {
  const excluded = excludedIds(model, options.excludeSpecialTokens);
  const [from, to] = positions(options.seqposSlice, options.contextSize);
  if (!(from < to))
    throw new TrainError("no position of a row counts", {
      code: "train/sae-data",
      where: "seqpos_slice",
      received: JSON.stringify(options.seqposSlice),
      expected: `positions within a context of ${options.contextSize}`,
    });
  return (rows) => {
    const ids = rows.map((row) => row.ids);
    const padded = rows.some(({ length, ids: own }) => length < own.length);
    const mask = rows.map(({ length, ids: own }) => own.map((_, p) => (p < length ? 1 : 0)));
    const batch = model.batch(ids, padded ? { attentionMask: mask } : {});
    const counts = Uint8Array.from(
      ids.flatMap((row, r) =>
        row.map((id, p) => (p >= from && p < to && mask[r]![p] === 1 && !excluded.has(id) ? 1 : 0)),
      ),
    );
    return { batch, counts };
  };
}

/** The values of hook points with heads merged: [batch, pos, width]. */
export function hookValues(hooks: Readonly<Record<string, Tensor>>, names: readonly string[]): Record<string, Tensor> {
  return Object.fromEntries(
    names.map((name) => {
      const value = hooks[name]!;
      return [name, value.rank <= 3 ? value : reshape(value, [value.shape[0]!, value.shape[1]!, -1])];
    }),
  );
}

/** The width of each hook point, heads merged. Nothing is run. */
export function hookWidths(model: HookedModel, names: readonly string[]): ReadonlyMap<string, number> {
  const { hooks } = model.trace([[0]], { capture: names as string[] });
  return new Map(names.map((name) => [name, widthOf(hookValues(hooks, [name])[name]!, name)]));
}

function widthOf(value: Tensor, name: string): number {
  const width = value.shape.at(-1);
  if (typeof width === "number" && value.rank === 3) return width;
  throw new TrainError("there is nothing to train an SAE on at this hook point", {
    code: "train/sae-data",
    where: name,
    expected: "activations [batch, pos, …]",
    received: value.label,
  });
}

/** @param from where to go on */
export function modelSource(
  model: HookedModel,
  documents: Documents,
  hookNames: readonly string[],
  options: SaeTrainingOptions,
  from?: JsonObject,
): ActivationSource {
  const widths = hookWidths(model, hookNames);
  const tokenizer = model.hasTokenizer ? model.tokenizer : undefined;
  const { counted = 0, ...begun } = (from ?? {}) as Partial<PackerState> & { counted?: number };
  const rows = packer(documents, tokenizer, options, from && (begun as PackerState));
  const made = tokenRowsOf(model, options);
  const width = rowWidth({ widths });
  const capture = [...hookNames];
  /** Activations of the first reading. */
  let first = counted;
  return {
    widths,
    get size() {
      return rows.state.epoch > 0 ? first : undefined;
    },
    get state() {
      return { ...rows.state, counted: first };
    },
    close: () => rows.close(),
    next: async (): Promise<ActivationRows> => {
      const taken: TokenRow[] = [];
      let inFirst = 0;
      while (taken.length < options.storeBatchSizePrompts) {
        taken.push(await rows.next());
        if (rows.state.epoch === 0) inFirst++;
      }
      const { batch, counts } = made(taken);
      for (let i = 0; i < inFirst * options.contextSize; i++) first += counts[i]!;
      const values = await model.run(batch, ({ hooks }) => hookValues(hooks, hookNames), { capture });
      const parts = [...widths].map(([name, own]) => ({ data: values[name]!.data as Float32Array, width: own }));
      return sideBySide(parts, counts, width);
    },
  };
}

/** The rows that count, hook points side by side. */
function sideBySide(
  parts: readonly { readonly data: Float32Array; readonly width: number }[],
  counts: Uint8Array,
  width: number,
): ActivationRows {
  const rows = counts.reduce((a, b) => a + b, 0);
  const data = new Float32Array(rows * width);
  let at = 0;
  counts.forEach((counted, token) => {
    if (counted === 0) return;
    for (const part of parts) {
      data.set(part.data.subarray(token * part.width, (token + 1) * part.width), at);
      at += part.width;
    }
  });
  return { rows, data };
}
