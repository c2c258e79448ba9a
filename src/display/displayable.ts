/** @file What results have in common: they read well in a terminal, a notebook, a page and as data. */
import { inspectAs } from "../graph/inspect.ts";

export interface HtmlOptions {
  /** Whether the style sheet (`displayStyle`) comes with it. A page that has it once says false. Default true. */
  readonly style?: boolean;
  /** Of headings, 1 to 6. Default 2. */
  readonly level?: number;
}

export interface PngOptions {
  /** Pixels per unit of the drawing. Default 2. */
  readonly scale?: number;
  /** Default `light`. */
  readonly theme?: "light" | "dark";
}

/**
 * A result: data with renderings. `toString` is for terminals and logs; `toHTML` a fragment without scripts or network;
 * `toSVG` a complete drawing with `width` and `height`, in the colours of the page around it or, alone, of the reader's
 * light or dark preference; `toJSON` and `toCSV` have the full values.
 */
export interface Displayable {
  readonly title?: string | undefined;
  toString(): string;
  toHTML(options?: HtmlOptions): Promise<string>;
  toSVG(): Promise<string>;
  toPNG(options?: PngOptions): Promise<Uint8Array>;
  toJSON(): unknown;
  toCSV(): string;
}

/** Renderings of one thing by MIME type, as notebooks take them. */
export type MimeBundle = Readonly<Record<string, string>>;

const notebook = Symbol.for("Jupyter.display");

/**
 * Makes instances of a class print as their text (Node, Deno) and show in notebooks as text, HTML and drawing.
 * @example
 * class Greeting extends Section {
 *   static {
 *     displayAs(this);
 *   }
 * }
 */
export function displayAs(type: { readonly prototype: Displayable }): void {
  inspectAs(type, String);
  Object.defineProperty(type.prototype, Symbol.for("Deno.customInspect"), {
    value(this: Displayable): string {
      return String(this);
    },
  });
  Object.defineProperty(type.prototype, notebook, {
    async value(this: Displayable): Promise<MimeBundle> {
      const [html, svg] = await Promise.all([this.toHTML(), this.toSVG()]);
      return { "text/plain": String(this), "text/html": html, "image/svg+xml": svg };
    },
  });
}

/**
 * Data that shows itself by a view of it: the renderings are made of the view when they are asked for, and do not
 * appear among the data's own properties.
 * @param full what `toJSON` and `toCSV` give where that is not the data itself and the view's CSV
 * @example
 * const counted = displayed({ n: 3 }, () => new Table([{ key: "n", label: "N" }], [[3]]));
 * await counted.toHTML();
 * counted.n; // 3
 */
export function displayed<T extends object>(
  data: T,
  view: () => Displayable,
  full: Partial<Pick<Displayable, "toJSON" | "toCSV">> = {},
): T & Displayable {
  const methods: Displayable = {
    toString: () => String(view()),
    toHTML: (options) => view().toHTML(options),
    toSVG: () => view().toSVG(),
    toPNG: (options) => view().toPNG(options),
    toJSON: () => data,
    toCSV: () => view().toCSV(),
    ...full,
  };
  displayAs({ prototype: methods });
  for (const key of Reflect.ownKeys(methods))
    Object.defineProperty(data, key, { value: Reflect.get(methods, key), enumerable: false });
  return data as T & Displayable;
}

/**
 * Whether something is a result that shows itself.
 * @example
 * isDisplayable(new Table([{ key: "n", label: "N" }], [[1]])); // true
 */
export function isDisplayable(value: unknown): value is Displayable {
  return typeof value === "object" && value !== null && notebook in value && "toHTML" in value;
}
