/** @file Metrics of a phase: means over examples, not over batches. */

/**
 * Means of what batches log, weighted by their examples: a smaller last batch counts for what it is.
 * @example
 * const metrics = new Metrics();
 * metrics.add("accuracy", 1, 3);
 * metrics.add("accuracy", 0, 1);
 * metrics.values; // { accuracy: 0.75 }
 */
export class Metrics {
  readonly #sums = new Map<string, { total: number; examples: number }>();

  /** Adds the mean of a batch. */
  add(name: string, value: number, examples: number): void {
    const sum = this.#sums.get(name) ?? { total: 0, examples: 0 };
    this.#sums.set(name, { total: sum.total + value * examples, examples: sum.examples + examples });
  }

  get values(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#sums].map(([name, { total, examples }]) => [name, total / examples]));
  }

  clear(): void {
    this.#sums.clear();
  }
}
