/** @file One table model: columns and rows, rendered for a terminal, as Markdown, CSV and JSON. */
import stringWidth from "string-width";
import { inspectAs } from "../graph/inspect.ts";

export type Cell = string | number | boolean | null;

export interface Column {
  /** Name in JSON and CSV, as in stored columns: `clean_logit_diff`. */
  readonly key: string;
  /** Heading where people read. */
  readonly label: string;
  /** Default: `decimal` (points below each other) where every cell is a number, else `left`. */
  readonly align?: "left" | "right" | "decimal";
  /** How people read a cell; JSON and CSV always have the full value. */
  readonly format?: (cell: Cell) => string;
  /** Wrap text at word boundaries to this many terminal columns. */
  readonly wrap?: number;
}

/**
 * A table that reads well everywhere: `toString` draws a grid for the terminal, `toMarkdown` a pipe table with
 * aligned columns, `toCSV` (RFC 4180) and `toJSON` (one record per row) carry the full values. Grids and pipe tables
 * are laid out as Python's tabulate does, which the published tables were made with.
 *
 * @example
 * ```ts
 * const table = new Table([{ key: "op", label: "Op" }, { key: "correct", label: "Total Correct" }], [["base", 3]]);
 * console.log(String(table));
 * ```
 */
export class Table {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
  /** A line above the table, where it has one. */
  readonly title: string | undefined;

  constructor(columns: readonly Column[], rows: readonly (readonly Cell[])[], title?: string) {
    this.columns = columns;
    this.rows = rows;
    this.title = title;
  }

  /** A grid for the terminal, below its title. */
  toString(): string {
    const { heads, lines, widths, left } = this.#layout((text) => text);
    const rule = (stroke: string): string => `+${widths.map((w) => stroke.repeat(w + 2)).join("+")}+`;
    const draw = (cells: string[][]): string[] =>
      Array.from({ length: Math.max(1, ...cells.map((cell) => cell.length)) }, (_, line) => {
        const parts = cells.map((cell, c) => ` ${pad(cell[line] ?? "", widths[c]!, left[c]!)} `);
        return `|${parts.join("|")}|`;
      });
    const body = lines.flatMap((row) => [...draw(row), rule("-")]);
    return [...this.#heading(), rule("-"), ...draw(heads.map((head) => [head])), rule("="), ...body].join("\n");
  }

  /** A pipe table, without its title. */
  toMarkdown(): string {
    const { heads, lines, widths, left } = this.#layout((text) => text.replaceAll("|", "\\|"));
    const draw = (cells: string[]): string =>
      `|${cells.map((cell, c) => ` ${pad(cell, widths[c]!, left[c]!)} `).join("|")}|`;
    const rule = widths.map((w, c) => (left[c] ? `:${"-".repeat(w + 1)}` : `${"-".repeat(w + 1)}:`));
    return [draw(heads), `|${rule.join("|")}|`, ...lines.map((row) => draw(row.map((cell) => cell.join("<br>"))))].join(
      "\n",
    );
  }

  /** One record per row, full values; numbers that are not finite are null. */
  toJSON(): Record<string, Cell>[] {
    return this.rows.map((row) => Object.fromEntries(this.columns.map(({ key }, c) => [key, finite(row[c] ?? null)])));
  }

  /** A header line and one line per row, full values. */
  toCSV(): string {
    return [this.columns.map(({ key }) => key), ...this.rows].map((cells) => csvLine(cells)).join("");
  }

  static {
    inspectAs(this, String);
  }

  #heading(): string[] {
    return this.title === undefined ? [] : [this.title];
  }

  /** Cells as text in lines, decimal points padded to stand below each other; the width of every column. */
  #layout(escape: (text: string) => string): {
    heads: string[];
    lines: string[][][];
    widths: number[];
    left: boolean[];
  } {
    const heads = this.columns.map(({ label }) => escape(printable(label)));
    const columns = this.columns.map((column, c) => {
      const cells = this.rows.map((row) => row[c] ?? null);
      const numeric = cells.length > 0 && cells.every((cell) => typeof cell === "number");
      const align = column.align ?? (numeric ? "decimal" : "left");
      const texts = cells.map((cell) => escape(printable((column.format ?? display)(cell))));
      const blocks = texts.map((text) => (column.wrap === undefined ? text.split("\n") : wrap(text, column.wrap)));
      return { left: align === "left", blocks: align === "decimal" ? alignPoints(texts).map((t) => [t]) : blocks };
    });
    const widths = columns.map(({ blocks }, c) =>
      Math.max(stringWidth(heads[c]!) + 2, ...blocks.flat().map((text) => stringWidth(text))),
    );
    const lines = this.rows.map((_, r) => columns.map(({ blocks }) => blocks[r]!));
    return { heads, lines, widths, left: columns.map(({ left }) => left) };
  }
}

/** A number as C's `%g` writes it: six significant digits, no trailing zeros. */
export function general(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0";
  const strip = (digits: string): string => (digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits);
  const [digits, power] = value.toExponential(5).split("e") as [string, string];
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 6) return strip(fixed(value, 5 - exponent));
  return `${strip(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** A number with a fixed count of decimals as C's `%.nf` writes it: exact ties go to the even digit. */
export function fixed(value: number, decimals: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const scaled = Math.abs(value) * 10 ** decimals;
  // Only multiples of 2^-(decimals + 1) lie exactly between two decimals.
  const tie = Number.isInteger(value * 2 ** (decimals + 1)) && scaled % 1 === 0.5;
  const even = tie && Math.floor(scaled) % 2 === 0;
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  return sign + (even ? Math.floor(scaled) / 10 ** decimals : Math.abs(value)).toFixed(decimals);
}

/** One line of CSV with its line end. Absent and not finite values are empty, lists are JSON. */
export function csvLine(cells: readonly unknown[]): string {
  const texts = cells.map((cell) => {
    if (cell === null || cell === undefined) return "";
    if (typeof cell === "number") return Number.isFinite(cell) ? String(cell) : "";
    const text = typeof cell === "string" ? cell : JSON.stringify(cell);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  });
  return texts.join(",") + "\r\n";
}

function finite(cell: Cell): Cell {
  return typeof cell === "number" && !Number.isFinite(cell) ? null : cell;
}

function display(cell: Cell): string {
  return typeof cell === "number" ? general(cell) : cell === null ? "" : String(cell);
}

/** Text of strangers must not drive the terminal: control characters are shown, not sent. */
function printable(text: string): string {
  const lines = text.replaceAll("\r\n", "\n").replaceAll("\t", "    ");
  return lines.replace(
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

function pad(text: string, width: number, left: boolean): string {
  const space = " ".repeat(Math.max(0, width - stringWidth(text)));
  return left ? text + space : space + text;
}

/** Appends spaces so that right-aligned numbers have their decimal points below each other. */
function alignPoints(texts: readonly string[]): string[] {
  const after = texts.map((text) => {
    const point = text.includes(".") ? text.lastIndexOf(".") : text.lastIndexOf("e");
    return point < 0 ? -1 : text.length - point - 1;
  });
  const most = Math.max(-1, ...after);
  return texts.map((text, i) => text + " ".repeat(most - after[i]!));
}

/** Lines of at most `width` columns, broken between words, inside a word only where it is wider than a line. */
function wrap(text: string, width: number): string[] {
  const out: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      let rest = word;
      const joined = line === "" ? rest : `${line} ${rest}`;
      if (stringWidth(joined) <= width) {
        line = joined;
        continue;
      }
      if (line !== "") out.push(line);
      while (stringWidth(rest) > width) {
        const head = clip(rest, width);
        out.push(head);
        rest = rest.slice(head.length);
      }
      line = rest;
    }
    out.push(line);
  }
  return out;
}

/** The longest start of the text that fits, at least one character. */
function clip(text: string, width: number): string {
  let head = "";
  for (const character of text) {
    if (head !== "" && stringWidth(head + character) > width) break;
    head += character;
  }
  return head;
}
