/** @file How far a run is, how fast, and how much memory it has. */
import { memory } from "../../runtime/index.ts";

/** How far a run is. */
export interface AnalyzeProgress {
  /** Examples that are done, those of earlier runs included. */
  readonly done: number;
  readonly total: number;
  /** Batches of this epoch that are done, and how many there are. */
  readonly batch: number;
  readonly batches: number;
  /** Counted from 0. */
  readonly epoch: number;
  /** Examples per second of computing; null before the first batch is done. */
  readonly rate: number | null;
  /** An estimate; null before the first batch is done. */
  readonly secondsLeft: number | null;
  /** Resident set of the process and bytes in the memory ledger. */
  readonly memory: { readonly rss: number; readonly ledger: number };
  /** (example, latent) pairs of the present batch that are ablated, where it is at that. */
  readonly pairs?: { readonly done: number; readonly total: number };
}

/** Counts what is done and tells. */
export class Tally {
  readonly #tell: ((progress: AnalyzeProgress) => void) | undefined;
  readonly #total: number;
  readonly #batches: number;
  #toCompute: number;
  #done = 0;
  #batch = 0;
  #epoch = 0;
  #computed = 0;
  #seconds = 0;

  /** @param toCompute examples that this run computes, over all epochs */
  constructor(
    tell: ((progress: AnalyzeProgress) => void) | undefined,
    counts: { readonly examples: number; readonly batches: number; readonly toCompute: number },
  ) {
    this.#tell = tell;
    this.#total = counts.examples;
    this.#batches = counts.batches;
    this.#toCompute = counts.toCompute;
  }

  startEpoch(epoch: number): void {
    [this.#epoch, this.#done, this.#batch] = [epoch, 0, 0];
  }

  /** A batch is done; without seconds it was done before. */
  finish(examples: number, seconds?: number): void {
    this.#done += examples;
    this.#batch++;
    if (seconds === undefined) return;
    this.#computed += examples;
    this.#seconds += seconds;
    this.#toCompute -= examples;
  }

  tell(pairs?: { readonly done: number; readonly total: number }): void {
    if (this.#tell === undefined) return;
    const rate = this.#seconds > 0 ? this.#computed / this.#seconds : null;
    this.#tell({
      done: this.#done,
      total: this.#total,
      batch: this.#batch,
      batches: this.#batches,
      epoch: this.#epoch,
      rate,
      secondsLeft: rate === null ? null : this.#toCompute / rate,
      memory: { rss: process.memoryUsage.rss(), ledger: memory.bytes },
      ...(pairs && { pairs }),
    });
  }
}

/** Seconds since the last lap. */
export function stopwatch(): { lap: () => number } {
  let last = performance.now();
  return {
    lap: () => {
      const now = performance.now();
      const seconds = (now - last) / 1000;
      last = now;
      return seconds;
    },
  };
}
