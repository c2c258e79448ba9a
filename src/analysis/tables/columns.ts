/** @file Columns: what ops read and write, and which of it a store keeps. */
import type { Tensor } from "../../graph/index.ts";
import type { HookInfo } from "./hookInfo.ts";

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

/** What only ops hand to each other: an expression, or one for each hook point. Never stored. */
export interface FlowSpec {
  readonly holds: "tensor" | "hooks";
  /** The op works without it. Default false. */
  readonly optional?: boolean;
  readonly description: string;
}

/** What an op reads or writes, by name. */
export type OpColumns = Readonly<Record<string, ColumnSpec | FlowSpec>>;

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

/** No columns at all. */
export type NoColumns = Readonly<Record<never, never>>;

/** Expressions by hook point. */
export type HookTensors = Readonly<Record<string, Tensor>>;

/** A column per latent while ops run: dense by hook, [batch, width]; or aligned with the rows of `alive_latents`. */
export type PerLatent = HookTensors | LatentTable | Float32Array | Int32Array;

type Plain<S, T> = S extends { readonly per: "batch" }
  ? S extends { readonly list: true }
    ? readonly T[]
    : T
  : S extends { readonly list: true }
    ? readonly (readonly T[])[]
    : readonly T[];
type Numbers = ArrayLike<number> | readonly ArrayLike<number>[];

/** What an op finds in a column: numbers are expressions, [batch] or [batch, n] per example, [] or [n] per batch. */
export type Held<S extends ColumnSpec | FlowSpec> = ColumnSpec extends S
  ? ColumnData | undefined
  : FlowSpec extends S
    ? ColumnData | undefined
    : HeldBy<S>;
type HeldBy<S> = S extends { readonly holds: "tensor" }
  ? Tensor
  : S extends { readonly holds: "hooks" }
    ? HookTensors
    : S extends { readonly per: "latent" }
      ? PerLatent
      : S extends { readonly type: "float32" | "int32" | "bool" }
        ? Tensor
        : S extends { readonly type: "string" }
          ? Plain<S, string | null>
          : Plain<S, unknown>;

/** What may be put into a column: numbers as expressions or as data. */
export type Given<S extends ColumnSpec | FlowSpec> = S extends {
  readonly per: "example" | "batch";
  readonly type: "float32" | "int32" | "bool";
}
  ? Tensor | Numbers | (S extends { readonly per: "batch" } ? number | boolean : never)
  : Held<S>;

type OptionalOf<C extends OpColumns> = {
  [K in keyof C]: C[K] extends { readonly optional: true } ? K : never;
}[keyof C];

/** Columns as an op gets them. */
export type Inputs<C extends OpColumns> = {
  readonly [K in Exclude<keyof C, OptionalOf<C>>]: Held<C[K]>;
} & { readonly [K in OptionalOf<C>]?: Held<C[K]> };

/** Columns as an op or its caller gives them. */
export type Outputs<C extends OpColumns> = {
  readonly [K in Exclude<keyof C, OptionalOf<C>>]: Given<C[K]>;
} & { readonly [K in OptionalOf<C>]?: Given<C[K]> };

/** What stands in a column while ops run: an expression, expressions by hook, or plain data. */
export type ColumnData =
  | Tensor
  | HookTensors
  | LatentTable
  | ArrayLike<number>
  | readonly unknown[]
  | number
  | string
  | boolean
  | null
  | object;

/** A batch while ops run: columns by name. */
export type Columns = Readonly<Record<string, ColumnData | undefined>>;
