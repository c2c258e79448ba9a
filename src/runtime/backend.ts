/** @file What a place that computes must offer: it compiles a plan and runs it on data. */
import type { Atom } from "../graph/axis.ts";
import type { DataArray } from "../graph/dtype.ts";
import type { Tensor } from "../graph/tensor.ts";

/** Data with its concrete dimensions. */
export interface Buffer {
  readonly dims: readonly number[];
  readonly data: DataArray;
}

/** A graph ready to be compiled. Nothing here depends on the fed data, only on its shape. */
export interface Plan {
  readonly outputs: readonly Tensor[];
  /** Leaves and host-computed tensors, in the order in which they are fed. */
  readonly feeds: readonly Tensor[];
  /** Weights that are built into the graph. */
  readonly packed: ReadonlySet<Tensor>;
  /** The plain axes in use, in the order of first appearance. */
  readonly atoms: readonly Atom[];
  /** Attention layers that one fused operation computes. */
  readonly fused: number;
  /** The structure key. */
  readonly key: string;
}

/** A compiled plan. */
export interface Executable {
  /** Bytes it holds beside the fed data: packed weights. */
  readonly bytes: number;
  /**
   * @param feeds in the order of `plan.feeds`
   * @param sizes in the order of `plan.atoms`; undefined where nothing says how long an axis is
   * @param into where outputs are to be written, by their number; the others get memory of their own
   */
  run(
    feeds: readonly Buffer[],
    sizes: readonly (number | undefined)[],
    into?: ReadonlyMap<number, Buffer>,
  ): Promise<Buffer[]>;
  dispose(): Promise<void>;
}

export interface Backend {
  readonly name: string;
  readonly device: string;
  /** Threads of one operation, where that is the backend's choice. */
  readonly threads?: number;
  /** Whether compiled plans are worth keeping. */
  readonly caches: boolean;
  /** Whether attention and norms that nobody looks into are to be one operation each. Sizes must then not be 0. */
  readonly fuses?: boolean;
  compile(plan: Plan): Promise<Executable>;
}
