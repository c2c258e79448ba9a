/** @file An open store, as those see it who work on its files. */
import type { AnalysisEntry } from "../tables/index.ts";
import type { Manifest } from "./manifest.ts";

export interface OpenStore {
  readonly folder: string;
  readonly manifest: Manifest;
  /** Its analyses, the four first. */
  readonly names: readonly string[];
  entry(name: string): AnalysisEntry;
  /** The rows of the `examples` table. */
  examples(name: string): Promise<readonly object[]>;
  /** Reads and checks every shard. */
  verify(): Promise<void>;
}
