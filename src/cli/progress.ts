/** @file Progress of long work on stderr: a bar in a terminal, now and then a line elsewhere. */

/** The part of `process.stderr` that progress needs. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface ProgressOptions {
  readonly label?: string;
  /** How much there is to do; without it there is a count and a rate, but no bar and no time left. */
  readonly total?: number;
  /** What is counted. Default `it`. */
  readonly unit?: string;
  /** Default `process.stderr`, so that stdout stays clean. */
  readonly stream?: ProgressStream;
  /** Seconds between lines where the stream is not a terminal. Default 10. */
  readonly interval?: number;
  /** On abort the bar is closed, so that a message starts on a line of its own. */
  readonly signal?: AbortSignal;
  /** Milliseconds, rising. Default `performance.now`. */
  readonly clock?: () => number;
  /** Bytes to show. Default the resident memory of this process. */
  readonly memory?: () => number;
}

/** Milliseconds between redraws in a terminal. */
const redraw = 100;
/** Weight of the newest measurement in the rate, as in tqdm. */
const smoothing = 0.3;

/**
 * A bar such as `ablation:  45%|████▌     | 90/200 [00:12<00:15, 7.31 ex/s, 1.2 GB]`.
 *
 * @example
 * ```ts
 * using progress = new Progress({ label: "analyze", total: 64, unit: "ex" });
 * for (let done = 1; done <= 64; done++) progress.update(done);
 * ```
 */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #stream: ProgressStream;
  readonly #clock: () => number;
  readonly #start: number;
  readonly #onAbort = (): void => this.finish("interrupted");
  #total: number | undefined;
  #done = 0;
  #note = "";
  #drawnAt: number;
  #drawnDone = 0;
  #rate: number | undefined;
  #finished = false;

  constructor(options: ProgressOptions = {}) {
    this.#options = options;
    this.#stream = options.stream ?? process.stderr;
    this.#clock = options.clock ?? (() => performance.now());
    this.#total = options.total;
    this.#start = this.#clock();
    this.#drawnAt = this.#start;
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (this.#stream.isTTY) this.#draw();
  }

  /** `done` of the total is done now; the note is shown behind the numbers. The total may still change. */
  update(done: number, { note = this.#note, total = this.#total }: { note?: string; total?: number } = {}): void {
    if (this.#finished) return;
    [this.#done, this.#note, this.#total] = [done, note, total];
    const now = this.#clock();
    const seconds = (now - this.#drawnAt) / 1000;
    if (seconds < (this.#stream.isTTY ? redraw / 1000 : (this.#options.interval ?? 10))) return;
    const newest = (done - this.#drawnDone) / seconds;
    this.#rate = this.#rate === undefined ? newest : smoothing * newest + (1 - smoothing) * this.#rate;
    [this.#drawnAt, this.#drawnDone] = [now, done];
    this.#draw();
  }

  /** One more, or `by` more, is done. */
  advance(by: number = 1, note?: string): void {
    this.update(this.#done + by, note === undefined ? {} : { note });
  }

  /** Prints a line without tearing the bar. */
  print(line: string): void {
    const bar = this.#stream.isTTY === true && !this.#finished;
    this.#stream.write(bar ? `\r\x1b[K${line}\n` : `${line}\n`);
    if (bar) this.#draw();
  }

  /** Draws the last state and ends the line. Later calls do nothing. */
  finish(note: string = this.#note): void {
    if (this.#finished) return;
    this.#note = note;
    this.#rate = undefined; // the last line shows the mean
    this.#draw();
    if (this.#stream.isTTY) this.#stream.write("\n");
    this.#finished = true;
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
  }

  [Symbol.dispose](): void {
    this.finish();
  }

  #draw(): void {
    const { label, unit = "it", memory = () => process.memoryUsage.rss() } = this.#options;
    const elapsed = (this.#clock() - this.#start) / 1000;
    const rate = this.#rate ?? (elapsed > 0 ? this.#done / elapsed : 0);
    const left = this.#total === undefined || rate === 0 ? undefined : (this.#total - this.#done) / rate;
    const share = this.#total ? Math.min(1, this.#done / this.#total) : undefined;
    const times = this.#total === undefined ? clockTime(elapsed) : `${clockTime(elapsed)}<${clockTime(left)}`;
    const facts = [times, speed(rate, unit), size(memory()), this.#note].filter(Boolean).join(", ");
    const count = this.#total === undefined ? `${this.#done} ${unit}` : `${this.#done}/${this.#total}`;
    const head = `${label === undefined ? "" : `${label}: `}${share === undefined ? "" : percent(share)}`;
    const tail = `${count} [${facts}]`;
    if (!this.#stream.isTTY) {
      this.#stream.write(`${head}${share === undefined ? "" : " "}${tail}\n`);
      return;
    }
    const room = (this.#stream.columns ?? 80) - 1;
    const cells = Math.min(40, room - head.length - tail.length - 3);
    const bar = share === undefined || cells < 4 ? " " : `|${blocks(share, cells)}| `;
    this.#stream.write(`\r${(head + bar + tail).slice(0, room)}\x1b[K`);
  }
}

/**
 * Goes through `items` with a progress bar; between two items an aborted signal throws its reason.
 *
 * @example
 * ```ts
 * const data = await openDataset("rte/validation.jsonl");
 * for await (const row of track(data, { label: "read", unit: "row" })) console.log(row.label);
 * ```
 */
export async function* track<T>(
  items: Iterable<T> | AsyncIterable<T>,
  options: ProgressOptions = {},
): AsyncGenerator<T> {
  const total = options.total ?? (Array.isArray(items) ? items.length : undefined);
  using progress = new Progress({ ...options, total });
  options.signal?.throwIfAborted();
  for await (const item of items) {
    yield item;
    progress.advance();
    options.signal?.throwIfAborted();
  }
}

function percent(share: number): string {
  return `${String(Math.floor(100 * share)).padStart(3)}%`;
}

function blocks(share: number, cells: number): string {
  const eighths = Math.round(share * cells * 8);
  const full = "█".repeat(Math.floor(eighths / 8));
  return (full + " ▏▎▍▌▋▊▉".charAt(eighths % 8).trim()).padEnd(cells);
}

/** `mm:ss` or `h:mm:ss`. */
function clockTime(seconds: number | undefined): string {
  if (seconds === undefined || !Number.isFinite(seconds)) return "?";
  const whole = Math.round(Math.max(0, seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`;
}

function speed(rate: number, unit: string): string {
  if (rate === 0) return `? ${unit}/s`;
  return rate < 1 ? `${(1 / rate).toFixed(2)} s/${unit}` : `${rate.toFixed(2)} ${unit}/s`;
}

function size(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
