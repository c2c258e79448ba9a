/** @file The parameters of an SAE as arrays in memory, and the configuration that they fit. */
import type { SaeConfig } from "../config/config.ts";

/** One parameter: row-major float32 with its dimensions. */
export interface SaeArray {
  readonly dims: readonly number[];
  readonly data: Float32Array;
}
/** Parameters by name. */
export type SaeArrays = Readonly<Record<string, SaeArray>>;

/** A configuration and arrays that fit each other. */
export interface PreparedSae {
  readonly cfg: SaeConfig;
  readonly arrays: SaeArrays;
}
