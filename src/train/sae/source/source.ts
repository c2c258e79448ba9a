/** @file Where activations come from: rows of several hook points at once, side by side. */
import type { JsonObject } from "../../../formats/index.ts";

/** Activations at the same tokens, hook points side by side: row-major [rows, Σ widths]. */
export interface ActivationRows {
  readonly rows: number;
  readonly data: Float32Array;
}

export interface ActivationSource {
  /** Hook points in their order, with their widths (heads merged). */
  readonly widths: ReadonlyMap<string, number>;
  /** The next activations; it begins anew at its end. */
  next(): Promise<ActivationRows>;
  /** Activations of the whole data, once they are known. */
  readonly size: number | undefined;
  /** Where it stands. */
  readonly state: JsonObject;
  /** Ends the reading of the data. */
  close(): Promise<void>;
}

/** Numbers of one row. */
export const rowWidth = (source: Pick<ActivationSource, "widths">): number =>
  [...source.widths.values()].reduce((a, b) => a + b, 0);
