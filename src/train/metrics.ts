/** @file Metrics of a phase: means over examples, not over batches, and counts of right and wrong classes. */

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
  readonly #classes = new Map<string, { readonly of: ClassMetric; readonly counts: ClassCounts }>();

  /** Adds the mean of a batch. */
  add(name: string, value: number, examples: number): void {
    const sum = this.#sums.get(name) ?? { total: 0, examples: 0 };
    this.#sums.set(name, { total: sum.total + value * examples, examples: sum.examples + examples });
  }

  /**
   * Adds the classes of a batch to metrics that no mean over batches gives.
   * @param metrics names in the log, with what they are
   */
  addClasses(
    labels: ArrayLike<number>,
    predictions: ArrayLike<number>,
    metrics: Readonly<Record<string, ClassMetric>>,
  ): void {
    for (const [name, of] of Object.entries(metrics)) {
      let entry = this.#classes.get(name);
      if (entry === undefined) this.#classes.set(name, (entry = { of, counts: new ClassCounts() }));
      entry.counts.add(labels, predictions);
    }
  }

  get values(): Readonly<Record<string, number>> {
    const means = [...this.#sums].map(([name, { total, examples }]) => [name, total / examples] as const);
    const classes = [...this.#classes].map(([name, { of, counts }]) => [name, counts[of]] as const);
    return Object.fromEntries([...means, ...classes]);
  }

  clear(): void {
    this.#sums.clear();
    this.#classes.clear();
  }

  /** What {@link restore} takes; JSON holds it exactly. */
  state(): MetricsState {
    return {
      sums: Object.fromEntries(this.#sums),
      classes: Object.fromEntries(
        [...this.#classes].map(([name, { of, counts }]) => [name, { of, ...counts.state() }]),
      ),
    };
  }

  restore({ sums, classes }: MetricsState): void {
    this.clear();
    for (const [name, sum] of Object.entries(sums)) this.#sums.set(name, sum);
    for (const [name, { of, labels, predictions }] of Object.entries(classes))
      this.addClasses(labels, predictions, { [name]: of });
  }
}

/** Metrics half-way through a phase. */
export interface MetricsState {
  readonly sums: Readonly<Record<string, { readonly total: number; readonly examples: number }>>;
  readonly classes: Readonly<
    Record<
      string,
      { readonly of: ClassMetric; readonly labels: readonly number[]; readonly predictions: readonly number[] }
    >
  >;
}

/** A metric of classes; see {@link ClassCounts}. */
export type ClassMetric = "accuracy" | "f1" | "macroF1" | "matthews";

/**
 * How often each class was taken for which, batch after batch, and what scikit-learn makes of it. Without examples every
 * metric is NaN.
 * @example
 * const counts = new ClassCounts();
 * counts.add([1, 0, 1], [1, 1, 1]);
 * counts.add([0], [0]);
 * [counts.accuracy, counts.f1]; // [0.75, 0.8]
 */
export class ClassCounts {
  /** Rows are labels, columns predictions. */
  readonly #table = new Map<number, Map<number, number>>();
  #examples = 0;

  /** @throws RangeError when there are more labels than predictions, or fewer */
  add(labels: ArrayLike<number>, predictions: ArrayLike<number>): void {
    if (labels.length !== predictions.length)
      throw new RangeError(`${labels.length} labels for ${predictions.length} predictions`);
    for (let i = 0; i < labels.length; i++) {
      let row = this.#table.get(labels[i]!);
      if (row === undefined) this.#table.set(labels[i]!, (row = new Map<number, number>()));
      row.set(predictions[i]!, (row.get(predictions[i]!) ?? 0) + 1);
    }
    this.#examples += labels.length;
  }

  get examples(): number {
    return this.#examples;
  }

  /** The share of right predictions. */
  get accuracy(): number {
    return this.#right() / this.#examples;
  }

  /** Of class 1: the harmonic mean of precision and recall; 0 where the class is neither there nor predicted. */
  get f1(): number {
    return this.#examples === 0 ? NaN : this.#f1Of(1);
  }

  /** The mean of F1 over the classes that are there or predicted, unweighted. */
  get macroF1(): number {
    const classes = this.#classes();
    return classes.reduce((sum, each) => sum + this.#f1Of(each), 0) / classes.length;
  }

  /** Matthews' correlation of labels and predictions, for any number of classes; 0 where one of them never varies. */
  get matthews(): number {
    if (this.#examples === 0) return NaN;
    const classes = this.#classes();
    const s = this.#examples;
    const labels = classes.map((each) => this.#labelled(each));
    const predicted = classes.map((each) => this.#predicted(each));
    const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
    const scale = Math.sqrt((s * s - dot(predicted, predicted)) * (s * s - dot(labels, labels)));
    return scale === 0 ? 0 : (this.#right() * s - dot(predicted, labels)) / scale;
  }

  /** Labels and predictions that give these counts. */
  state(): { readonly labels: readonly number[]; readonly predictions: readonly number[] } {
    const pairs = [...this.#table].flatMap(([label, row]) =>
      [...row].flatMap(([prediction, n]) => new Array<readonly [number, number]>(n).fill([label, prediction])),
    );
    return { labels: pairs.map(([label]) => label), predictions: pairs.map(([, prediction]) => prediction) };
  }

  #classes(): number[] {
    const predicted = [...this.#table.values()].flatMap((row) => [...row.keys()]);
    return [...new Set([...this.#table.keys(), ...predicted])];
  }

  #count(label: number, prediction: number): number {
    return this.#table.get(label)?.get(prediction) ?? 0;
  }

  #right(): number {
    return [...this.#table.keys()].reduce((sum, each) => sum + this.#count(each, each), 0);
  }

  #labelled(label: number): number {
    return [...(this.#table.get(label)?.values() ?? [])].reduce((sum, n) => sum + n, 0);
  }

  #predicted(prediction: number): number {
    return [...this.#table.keys()].reduce((sum, label) => sum + this.#count(label, prediction), 0);
  }

  #f1Of(each: number): number {
    const all = this.#labelled(each) + this.#predicted(each);
    return all === 0 ? 0 : (2 * this.#count(each, each)) / all;
  }
}

/** What GLUE and SuperGLUE report of a task, under the names they use; tasks that are not here: accuracy. */
const published: Readonly<Record<string, Readonly<Record<string, ClassMetric>>>> = {
  cola: { matthews_correlation: "matthews" },
  mrpc: { accuracy: "accuracy", f1: "f1" },
  qqp: { accuracy: "accuracy", f1: "f1" },
  cb: { accuracy: "accuracy", f1: "macroF1" },
  axb: { matthews_correlation: "matthews" },
};

/**
 * The metrics of a task of GLUE or SuperGLUE.
 * @example
 * taskMetrics("cola"); // { matthews_correlation: "matthews" }
 * taskMetrics("rte"); // { accuracy: "accuracy" }
 */
export function taskMetrics(task: string): Readonly<Record<string, ClassMetric>> {
  return published[task] ?? { accuracy: "accuracy" };
}
