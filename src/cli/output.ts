/** @file Where output goes: with `--json` stdout is one JSON document, and everything for people is on stderr. */
import stringWidth from "string-width";
import { wrap } from "../display/text.ts";
import type { CliContext, OutputStream } from "./context.ts";

/** Writes text and waits where the reader is slower than we are. */
export async function write(stream: OutputStream, text: string): Promise<void> {
  if (stream.write(text) === false && stream.once !== undefined)
    await new Promise<void>((resolve) => stream.once!("drain", resolve));
}

/** JSON in which numbers that are not finite are null and typed arrays are lists. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    ArrayBuffer.isView(item) && !(item instanceof DataView) ? Array.from(item as Float32Array) : item,
  );
}

/** The output of one command. */
export class Output {
  readonly json: boolean;
  readonly #context: CliContext;

  constructor(context: CliContext, json: boolean | undefined) {
    this.#context = context;
    this.json = json ?? false;
  }

  /** Columns of the terminal that people read; infinitely many where it is none. */
  get width(): number {
    const { stdout, stderr } = this.#context.process;
    return (this.json ? stderr : stdout).columns ?? Infinity;
  }

  /** Lines for people: on stdout, or on stderr beside a JSON document. */
  async say(text: string): Promise<void> {
    const { stdout, stderr } = this.#context.process;
    await write(this.json ? stderr : stdout, `${text}\n`);
  }

  /** The document, if it was asked for. */
  async document(value: unknown): Promise<void> {
    if (this.json) await write(this.#context.process.stdout, `${toJson(value)}\n`);
  }

  /** The document in pieces, for those that may be large. */
  async stream(pieces: Iterable<string> | AsyncIterable<string>): Promise<void> {
    for await (const piece of pieces) await write(this.#context.process.stdout, piece);
  }
}

/** The narrowest that a column is made to fit a terminal. */
const narrowest = 20;

/**
 * Rows as lines with their columns below each other.
 * @param width of the terminal: the last column is broken between words to fit. Default: it is not
 */
export function aligned(rows: readonly (readonly string[])[], width: number = Infinity): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, c) => (widths[c] = Math.max(widths[c] ?? 0, stringWidth(cell))));
  const last = widths.length - 1;
  const before = widths.slice(0, -1).reduce((sum, each) => sum + each + 2, 2);
  widths[last] = Math.min(widths[last]!, Math.max(narrowest, width - before));
  const pad = (cell: string, c: number): string => cell + " ".repeat(widths[c]! - stringWidth(cell));
  return rows
    .flatMap((row) => {
      const broken = row.map((cell, c) =>
        c === last && stringWidth(cell) > widths[c]! ? wrap(cell, widths[c]!) : [cell],
      );
      const height = Math.max(...broken.map(({ length }) => length));
      return Array.from({ length: height }, (_, line) => broken.map((lines) => lines[line] ?? ""));
    })
    .map((cells) => `  ${cells.map(pad).join("  ").trimEnd()}`)
    .join("\n");
}
