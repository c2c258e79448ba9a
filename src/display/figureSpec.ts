/** @file What a plot is made of: series, axes, title and size. */
import type { Hue } from "./style.ts";

/**
 * What a series is drawn as, and what its columns mean.
 * * `stem` (x, y): a thin line from 0 to y with a dot at its end, for sparse values
 * * `dot` (x, y)
 * * `line` (x, y): through the points in their order
 * * `bar` (x, y): from 0 to y; with x2, from x to x2 as in a histogram
 * * `interval` (x, y, y2): upright from y to y2, as error bars are
 * * `rule` (y alone, or x alone): across the whole plot
 */
export type Mark = "stem" | "dot" | "line" | "bar" | "interval" | "rule";

/** Columns of equal length. Points with a value that is not finite are not drawn. */
export interface Series {
  readonly mark: Mark;
  /** In the legend, which is there when a series has a name, and in CSV. */
  readonly name?: string;
  /** Numbers, or categories in the order of their first appearance. */
  readonly x?: ArrayLike<number> | readonly string[];
  readonly y?: ArrayLike<number>;
  readonly x2?: ArrayLike<number>;
  readonly y2?: ArrayLike<number>;
  /** What a point says when the reader hovers over it. */
  readonly labels?: readonly string[];
  /** Default: `positive` and `negative` by the sign of y for stems and bars, `text` for intervals and rules,
   * otherwise `accent`. */
  readonly hue?: Hue;
  readonly dashed?: boolean;
}

export interface FigureAxis {
  readonly label?: string;
  /** Default: what the data needs; with stems and bars, 0 as well. */
  readonly domain?: readonly [low: number, high: number];
  /** `symlog` is linear near 0 and logarithmic far from it. Default `linear`. */
  readonly scale?: "linear" | "log" | "symlog";
}

export interface FigureSpec {
  readonly title?: string;
  /** Smaller, below the title. */
  readonly subtitle?: string;
  readonly x?: FigureAxis;
  readonly y?: FigureAxis;
  /** Drawn in this order, later ones on top. */
  readonly series: readonly Series[];
  /** Of the whole drawing, in CSS pixels. Default 640. */
  readonly width?: number;
  /** Of the whole drawing, title included, in CSS pixels. Default 400. */
  readonly height?: number;
}
