/** @file One table model: columns and rows, rendered for a terminal, as Markdown, CSV and JSON. */
import stringWidth from "string-width";
import { displayAs, type Displayable, type HtmlOptions, type PngOptions } from "./displayable.ts";
import { csvLine, general } from "./numbers.ts";
import { displayStyle, mono, sans, svgStart } from "./style.ts";
import { alignPoints, escapeHtml, pad, printable, wrap } from "./text.ts";

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
export class Table implements Displayable {
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

  async toHTML({ style = true }: HtmlOptions = {}): Promise<string> {
    const { numbers } = this;
    const caption = this.title === undefined ? "" : `<caption>${escapeHtml(this.title)}</caption>`;
    const kind = this.columns.map(({ wrap: width }, c) =>
      numbers[c] ? "it-number" : width === undefined ? "it-text" : "it-wrap",
    );
    const heads = this.columns.map(({ label }, c) => `<th scope="col" class="${kind[c]}">${escapeHtml(label)}</th>`);
    const texts = this.columns.map((column, c) => {
      const cells = this.rows.map((row) => (column.format ?? display)(row[c] ?? null));
      return numbers[c] ? alignPoints(cells).map((text) => text.replace(/ +$/, figureSpaces)) : cells;
    });
    const rows = this.rows.map((row, r) => {
      const cells = this.columns.map((_, c) => {
        const cell = row[c];
        const value = typeof cell === "number" ? ` data-value="${cell}"` : "";
        return `<td class="${kind[c]}"${value}>${escapeHtml(texts[c]![r]!)}</td>`;
      });
      return `<tr>${cells.join("")}</tr>`;
    });
    const head = `<thead><tr>${heads.join("")}</tr></thead>`;
    const table = `<table class="it-table">${caption}${head}<tbody>${rows.join("")}</tbody></table>`;
    return `${style ? displayStyle : ""}<div class="it-scroll" role="region" tabindex="0" aria-label="${escapeHtml(this.title ?? "Table")}">${table}</div>`;
  }

  async toSVG(): Promise<string> {
    const { heads, lines, widths, left } = this.#layout((text) => text);
    const [unit, leading, gap] = [7.5, 18, 3]; // of a character, of a line, characters between columns
    const starts = widths.map((_, c) => widths.slice(0, c).reduce((sum, width) => sum + width + gap, 2));
    const across = Math.max(starts.at(-1)! + widths.at(-1)! + 2, stringWidth(this.title ?? "") * 1.1 + 4);
    const out: string[] = [];
    let y = 8;
    const draw = (cells: readonly string[][]): void => {
      cells.forEach((cell, c) =>
        cell.forEach((text, line) => {
          const x = (starts[c]! + (left[c] ? 0 : widths[c]!)) * unit;
          const anchor = left[c] ? "" : ` text-anchor="end"`;
          const whole = left[c] ? text : text.replaceAll(" ", "\u00a0");
          if (text !== "")
            out.push(`<text x="${x}" y="${y + (line + 1) * leading - 5}"${anchor}>${escapeHtml(whole)}</text>`);
        }),
      );
      y += leading * Math.max(1, ...cells.map((cell) => cell.length)) + 4;
    };
    const rule = (opacity: number): void => {
      out.push(`<path d="M8,${y}H${across * unit - 8}" stroke="currentColor" stroke-opacity="${opacity}"/>`);
      y += 4;
    };
    if (this.title !== undefined) {
      out.push(
        `<text x="15" y="${y + 14}" font-family="${sans}" font-size="14" font-weight="600">${escapeHtml(this.title)}</text>`,
      );
      y += 26;
    }
    out.push(`<g font-weight="600">`);
    draw(heads.map((head) => [head]));
    out.push("</g>");
    rule(0.6);
    lines.forEach((cells) => {
      draw(cells);
      rule(0.15);
    });
    const start = svgStart(Math.ceil(across * unit), y + 4, escapeHtml(this.title ?? "Table"));
    return `${start}<g font-family="${mono}" font-size="12">${out.join("")}</g></svg>`;
  }

  async toPNG(options: PngOptions = {}): Promise<Uint8Array> {
    const { png } = await import("./png.ts");
    return png(await this.toSVG(), options);
  }

  /** Which columns hold numbers and nothing else. */
  get numbers(): boolean[] {
    return this.columns.map(
      (_, c) =>
        this.rows.length > 0 && this.rows.every((row) => typeof row[c] === "number" || (row[c] ?? null) === null),
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
    displayAs(this);
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

function finite(cell: Cell): Cell {
  return typeof cell === "number" && !Number.isFinite(cell) ? null : cell;
}

function display(cell: Cell): string {
  return typeof cell === "number" ? general(cell) : cell === null ? "" : String(cell);
}

/** Spaces as wide as the point and the digits that are not there. */
function figureSpaces(spaces: string): string {
  return `\u2008${"\u2007".repeat(spaces.length - 1)}`;
}
