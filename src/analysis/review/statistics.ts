/** @file Statistics of few, mostly zero numbers: spread, resampling, correlation, exact counts. */
import { uniformAt } from "../../graph/index.ts";

/** How means are resampled. */
export interface BootstrapOptions {
  /** Default 1000. */
  readonly resamples?: number;
  /** Share of the resampled means between the ends of an interval. Default 0.95. */
  readonly level?: number;
  /** The same seed gives the same intervals, everywhere. Default 0. */
  readonly seed?: number;
}

/** The value below which a share of sorted values lies, between two of them in proportion (Hyndman and Fan's type 7). */
function quantile(at: (rank: number) => number, count: number, share: number): number {
  const place = share * (count - 1);
  const low = Math.floor(place);
  const value = at(low);
  return low + 1 < count ? value + (place - low) * (at(low + 1) - value) : value;
}

/** What `spread` says of n values. */
export interface Spread {
  /** Of a sample: divided by n - 1; NaN for one value. */
  readonly sd: number;
  readonly min: number;
  readonly q25: number;
  readonly median: number;
  readonly q75: number;
  readonly max: number;
}

/** The spread of n values of which only those that are not 0 are given. */
export function spread(values: Float64Array, n: number): Spread {
  const sorted = values.slice().sort();
  const zeros = n - sorted.length;
  const negative = sorted.findIndex((value) => value >= 0);
  const start = negative < 0 ? sorted.length : negative;
  const at = (rank: number): number =>
    rank < start ? sorted[rank]! : rank < start + zeros ? 0 : sorted[rank - zeros]!;
  const mean = sum(values) / n;
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, zeros * mean ** 2);
  const [min, q25, median, q75, max] = [0, 0.25, 0.5, 0.75, 1].map((share) => quantile(at, n, share)) as [
    ...[number, number, number, number, number],
  ];
  return { sd: n > 1 ? Math.sqrt(squares / (n - 1)) : NaN, min, q25, median, q75, max };
}

/**
 * How often each of n examples is drawn in each resample of n draws, [n, resamples]: draw i of resample r is number
 * r·n + i of the seed's stream.
 */
export function resample(n: number, { resamples = 1000, seed = 0 }: BootstrapOptions): Uint16Array {
  const counts = new Uint16Array(n * resamples);
  for (let r = 0; r < resamples; r++)
    for (let i = 0; i < n; i++) counts[Math.floor(uniformAt(seed, r * n + i) * n) * resamples + r]!++;
  return counts;
}

/**
 * The percentile interval of the mean over n examples (Efron 1979), most of which are 0.
 * @param examples which of the n the values belong to
 * @param counts what `resample` gave for n
 */
export function meanInterval(
  examples: Int32Array,
  values: Float64Array,
  counts: Uint16Array,
  n: number,
  level: number,
): [low: number, high: number] {
  const resamples = counts.length / n;
  const means = new Float64Array(resamples);
  examples.forEach((example, i) => {
    const [value, from] = [values[i]! / n, example * resamples];
    for (let r = 0; r < resamples; r++) means[r]! += value * counts[from + r]!;
  });
  means.sort();
  const end = (share: number): number => quantile((rank) => means[rank]!, resamples, share);
  return [end((1 - level) / 2), end((1 + level) / 2)];
}

/** Pearson's correlation; NaN where one side does not vary. */
export function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [x, y] = [centred(a), centred(b)];
  const product = x.reduce((total, value, i) => total + value * y[i]!, 0);
  const norm = Math.sqrt(sum(x.map((value) => value ** 2)) * sum(y.map((value) => value ** 2)));
  return norm === 0 ? NaN : product / norm;
}

/** Spearman's rank correlation, equal values sharing the mean of their ranks. */
export function spearman(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return pearson(ranks(a), ranks(b));
}

/** Ranks from 1, equal values sharing their mean. */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const out = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) out[order[i]!] = (start + 1 + end) / 2;
    start = end;
  }
  return out;
}

/**
 * The chance that counts of two equally likely outcomes are as uneven as these or more so (McNemar's exact test of the
 * pairs that changed).
 */
export function evenOdds(a: number, b: number): number {
  const n = a + b;
  let logarithm = -n * Math.LN2; // of the chance of exactly i
  let tail = 0;
  for (let i = 0; i <= Math.min(a, b); i++) {
    tail += Math.exp(logarithm);
    logarithm += Math.log((n - i) / (i + 1));
  }
  return Math.min(1, 2 * tail);
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

function centred(values: ArrayLike<number>): Float64Array {
  const mean = sum(values) / values.length;
  return Float64Array.from(values, (value) => value - mean);
}
