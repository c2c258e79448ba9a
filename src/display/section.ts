/** @file Several results below each other, under a heading. */
import stringWidth from "string-width";
import { displayAs, type Displayable, type HtmlOptions, type PngOptions } from "./displayable.ts";
import { csvLine } from "./numbers.ts";
import { displayStyle, svgStart } from "./style.ts";
import { escapeHtml, printable, wrap } from "./text.ts";

/** A part of a section: a result, or a paragraph of plain text. */
export type SectionItem = Displayable | string;

/**
 * Results and paragraphs below each other, under a title. Sections nest: headings of inner ones are smaller.
 *
 * @example
 * ```ts
 * const table = new Table([{ key: "op", label: "Op" }], [["logit_diffs_base"]]);
 * const section = new Section([table, "Of the first six examples."], { title: "Operations" });
 * console.log(String(section));
 * ```
 */
export class Section<Item extends SectionItem = SectionItem> implements Displayable {
  readonly title: string | undefined;
  readonly items: readonly Item[];

  constructor(items: readonly Item[], { title }: { readonly title?: string } = {}) {
    this.items = items;
    this.title = title;
  }

  /** Title, underlined; items with an empty line between them. */
  toString(): string {
    const title = this.title === undefined ? [] : [`${printable(this.title)}\n${"=".repeat(stringWidth(this.title))}`];
    return [...title, ...this.items.map((item) => (typeof item === "string" ? printable(item) : String(item)))].join(
      "\n\n",
    );
  }

  async toHTML({ style = true, level = 2 }: HtmlOptions = {}): Promise<string> {
    const inner = { style: false, level: Math.min(6, level + 1) };
    const title = this.title === undefined ? "" : `<h${level}>${escapeHtml(this.title)}</h${level}>`;
    const items = this.items.map(async (item) =>
      typeof item === "string" ? `<p>${escapeHtml(item)}</p>` : item.toHTML(inner),
    );
    return `${style ? displayStyle : ""}<section class="it-section">${title}${(await Promise.all(items)).join("")}</section>`;
  }

  async toSVG(): Promise<string> {
    const texts = (text: string, size: number, weight: number): string => {
      const lines = wrap(text, Math.floor(1500 / size));
      const rows = lines.map((line, i) => `<text x="8" y="${(i + 1) * size * 1.4}">${escapeHtml(line)}</text>`);
      const width = 16 + Math.ceil(Math.max(...lines.map((line) => stringWidth(line))) * size * 0.62);
      const height = Math.ceil(lines.length * size * 1.4 + size);
      return `<svg width="${width}" height="${height}" font-size="${size}" font-weight="${weight}">${rows.join("")}</svg>`;
    };
    const title = this.title === undefined ? [] : [texts(this.title, 16, 600)];
    const items = this.items.map(async (item) => (typeof item === "string" ? texts(item, 13, 400) : item.toSVG()));
    const parts = [...title, ...(await Promise.all(items))].map((svg) => ({ svg, ...sizeOf(svg) }));
    const width = Math.max(0, ...parts.map((part) => part.width));
    let height = 0;
    const placed = parts.map(({ svg, height: own }) => {
      const at = height;
      height += own;
      return svg.replace("<svg ", `<svg y="${at}" `);
    });
    return svgStart(width, height, escapeHtml(this.title ?? "")) + placed.join("") + "</svg>";
  }

  async toPNG(options: PngOptions = {}): Promise<Uint8Array> {
    const { png } = await import("./png.ts");
    return png(await this.toSVG(), options);
  }

  toJSON(): { title: string | null; items: unknown[] } {
    const items = this.items.map((item) =>
      typeof item === "string" ? item : { title: item.title ?? null, data: item.toJSON() },
    );
    return { title: this.title ?? null, items };
  }

  /** The items' own CSV, each below a line with its title, empty lines between them. */
  toCSV(): string {
    return this.items
      .map((item) => (typeof item === "string" ? csvLine([item]) : csvLine([item.title]) + item.toCSV()))
      .join("\r\n");
  }

  static {
    displayAs(this);
  }
}

function sizeOf(svg: string): { width: number; height: number } {
  const tag = svg.slice(0, svg.indexOf(">"));
  const read = (name: string): number => Number(new RegExp(` ${name}="([\\d.]+)"`).exec(tag)?.[1] ?? 0);
  return { width: read("width"), height: read("height") };
}
