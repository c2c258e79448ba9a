/** @file Columns: what ops read and write, and which of it a store keeps. */
import type { Tensor } from "../graph/index.ts";
import type { HookInfo } from "./store/index.ts";

/** How the values of a column are kept. `float32` and `int32` are exact for everything the engine gives. */
export type ColumnType = "float32" | "int32" | "bool" | "string" | "json";

/** One column of an op. */
export interface ColumnSpec {
  /** What a value belongs to: an example, an active latent of an example, or a whole batch. */
  readonly per: "example" | "latent" | "batch";
  readonly type: ColumnType;
  /** Every value is a list (of any length) of the type. Default false. */
  readonly list?: boolean;
  /** The op works without it. Default false. */
  readonly optional?: boolean;
  /** Handed from op to op, never stored. Default false. */
  readonly intermediate?: boolean;
  readonly description: string;
}

/** Columns by name, snake_case as stored. */
export type ColumnSpecs = Readonly<Record<string, ColumnSpec>>;

/** A value of a column of type example or batch. */
export type ColumnValue = number | boolean | string | readonly number[] | readonly boolean[] | readonly string[] | null;

/** Latent columns of one batch: rows ordered by row, hook, latent; only active latents (> 0). */
export interface LatentTable {
  readonly length: number;
  /** Row in the batch. */
  readonly row: Int32Array;
  /** Index into the hooks. */
  readonly hook: Int32Array;
  readonly latent: Int32Array;
  readonly activation: Float32Array;
  /** The other columns by name, one value per row. */
  readonly values: Readonly<Record<string, Float32Array | Int32Array>>;
}

/** What one op left of one batch, realized: the columns that are stored. */
export interface OpBatchResult {
  readonly op: string;
  /** Columns that are stored, by name. */
  readonly columns: ColumnSpecs;
  /** Hooks of the latents in forward-pass order. */
  readonly hooks: readonly HookInfo[];
  /** Columns per example: one value for each row of the batch, in its order. */
  readonly examples: Readonly<Record<string, readonly ColumnValue[]>>;
  /** Latents, where the op has any column per latent or names alive latents. */
  readonly latents: LatentTable | null;
  /** Columns per batch. */
  readonly batch: Readonly<Record<string, ColumnValue>>;
}

/** What stands in a column while ops run: an expression, a tree of them by hook, or plain data. */
export type ColumnData =
  | Tensor
  | Readonly<Record<string, Tensor>>
  | LatentTable
  | ArrayLike<number>
  | readonly unknown[]
  | number
  | string
  | boolean
  | null
  | object;
