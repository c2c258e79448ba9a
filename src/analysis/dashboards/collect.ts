/** @file Statistics of activations over a stream of tokens, in memory that does not grow with it. */
import { uniformAt } from "../../graph/index.ts";
import type { Histogram } from "./types.ts";

/** Keeps the `size` items with the largest scores; of equal ones those with the smaller rank. */
export class Best<T> {
  readonly #size: number;
  readonly #items: { score: number; rank: number; item: T }[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  /** `make` is called only for an item that is kept. */
  offer(score: number, rank: number, make: () => T): void {
    const items = this.#items;
    const before = (other: { score: number; rank: number }): boolean =>
      score > other.score || (score === other.score && rank < other.rank);
    if (items.length >= this.#size && !(this.#size > 0 && before(items.at(-1)!))) return;
    let at = items.length;
    while (at > 0 && before(items[at - 1]!)) at--;
    items.splice(at, 0, { score, rank, item: make() });
    if (items.length > this.#size) items.pop();
  }

  /** Best first. */
  get items(): T[] {
    return this.#items.map(({ item }) => item);
  }
}

const bins = 64;

/** Counts of positive numbers in equal bins from 0, whose width doubles when a number does not fit. */
export class GrowingHistogram {
  #width = 0;
  #counts: number[] = new Array<number>(bins).fill(0);

  add(value: number): void {
    if (this.#width === 0) this.#width = 2 ** Math.ceil(Math.log2(value)) / bins;
    while (value > this.#width * bins) {
      const old = this.#counts;
      this.#counts = old.map((_, i) => (2 * i < bins ? old[2 * i]! + old[2 * i + 1]! : 0));
      this.#width *= 2;
    }
    this.#counts[Math.min(bins - 1, Math.ceil(value / this.#width) - 1)]!++;
  }

  /** Without the empty bins at the end. */
  get histogram(): Histogram {
    const last = this.#counts.findLastIndex((count) => count > 0);
    const counts = this.#counts.slice(0, last + 1);
    return { counts, edges: counts.length === 0 ? [] : [...counts, 0].map((_, i) => i * this.#width) };
  }
}

/** Part of a row around a token. */
export interface Window {
  readonly row: number;
  readonly position: number;
  readonly activation: number;
  readonly start: number;
  readonly activations: readonly number[];
}

export interface CollectorOptions {
  readonly topExamples: number;
  /** Active tokens kept as a uniform sample, for the intervals. */
  readonly sample: number;
  /** Tokens before and after. */
  readonly context: readonly [before: number, after: number];
}

/** Everything one latent needs of the stream. */
class LatentStream {
  readonly top: Best<Window>;
  readonly sample: Best<Window>;
  readonly histogram: GrowingHistogram = new GrowingHistogram();
  active = 0;
  rows = 0;
  sum = 0;
  max = 0;

  constructor({ topExamples, sample }: CollectorOptions) {
    this.top = new Best(topExamples);
    this.sample = new Best(sample);
  }
}

/** A row of one batch: activations [length, latents], and which positions count. */
export interface RowActivations {
  readonly row: number;
  readonly length: number;
  readonly counts: (position: number) => boolean;
  readonly at: (position: number, latent: number) => number;
}

/** Takes rows, gives statistics of each latent and correlations between them, whatever the order of the rows. */
export class Collector {
  readonly streams: readonly LatentStream[];
  readonly #options: CollectorOptions;
  readonly #products: Float64Array;
  readonly #squares: Float64Array;
  #tokens = 0;
  #rows = 0;

  constructor(latents: number, options: CollectorOptions) {
    this.#options = options;
    this.streams = Array.from({ length: latents }, () => new LatentStream(options));
    this.#products = new Float64Array(latents * latents);
    this.#squares = new Float64Array(latents);
  }

  get tokens(): number {
    return this.#tokens;
  }

  get rows(): number {
    return this.#rows;
  }

  add(row: RowActivations): void {
    const n = this.streams.length;
    const peaks = new Int32Array(n).fill(-1);
    this.#rows++;
    const active: number[] = [];
    for (let position = 0; position < row.length; position++) {
      if (!row.counts(position)) continue;
      this.#tokens++;
      active.length = 0;
      for (let latent = 0; latent < n; latent++) {
        const value = row.at(position, latent);
        if (!(value > 0)) continue;
        active.push(latent);
        const stream = this.streams[latent]!;
        stream.active++;
        stream.sum += value;
        stream.max = Math.max(stream.max, value);
        stream.histogram.add(value);
        // A hash of the place as score: a uniform sample that does not depend on the order.
        stream.sample.offer(uniformAt(row.row, position), row.row, () => this.#window(row, latent, position));
        if (peaks[latent]! < 0 || value > row.at(peaks[latent]!, latent)) peaks[latent] = position;
      }
      this.#correlate(row, position, active);
    }
    peaks.forEach((position, latent) => {
      if (position < 0) return;
      const stream = this.streams[latent]!;
      stream.rows++;
      stream.top.offer(row.at(position, latent), row.row, () => this.#window(row, latent, position));
    });
  }

  #correlate(row: RowActivations, position: number, active: readonly number[]): void {
    const n = this.streams.length;
    for (const [i, a] of active.entries()) {
      const value = row.at(position, a);
      this.#squares[a]! += value * value;
      for (let j = i + 1; j < active.length; j++)
        this.#products[a * n + active[j]!]! += value * row.at(position, active[j]!);
    }
  }

  #window(row: RowActivations, latent: number, position: number): Window {
    const [before, after] = this.#options.context;
    const start = Math.max(0, position - before);
    const end = Math.min(row.length, position + after + 1);
    const activations = Array.from({ length: end - start }, (_, i) => row.at(start + i, latent));
    return { row: row.row, position, activation: row.at(position, latent), start, activations };
  }

  /** Pearson correlation of two latents over all tokens, zeros included; NaN where one never varies. */
  correlation(a: number, b: number): number {
    const n = this.#tokens;
    const [x, y] = [this.streams[a]!, this.streams[b]!];
    const product = this.#products[Math.min(a, b) * this.streams.length + Math.max(a, b)]!;
    const spread = (i: number, sum: number): number => n * this.#squares[i]! - sum * sum;
    return (n * product - x.sum * y.sum) / Math.sqrt(spread(a, x.sum) * spread(b, y.sum));
  }
}

/** Counts of numbers in `count` equal bins between the smallest and the largest. */
export function histogramOf(values: ArrayLike<number>, count: number): Histogram {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]!);
    high = Math.max(high, values[i]!);
  }
  if (!(high > low)) return { edges: [low, high], counts: [values.length] };
  const counts = new Array<number>(count).fill(0);
  const scale = count / (high - low);
  for (let i = 0; i < values.length; i++) counts[Math.min(count - 1, Math.floor((values[i]! - low) * scale))]!++;
  return { counts, edges: Array.from({ length: count + 1 }, (_, i) => low + i / scale) };
}
