/** @file Figures as SVG, drawn by Observable Plot on a document of its own. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import type { FigureAxis, FigureSpec, Mark, Series } from "./figureSpec.ts";
import { general } from "./numbers.ts";
import { extent } from "./scale.ts";
import { paint, svgStart, type Hue } from "./style.ts";
import { escapeHtml, wrap, xmlText } from "./text.ts";

interface Point {
  readonly x: number | string;
  readonly y: number;
  readonly x2: number;
  readonly y2: number;
  readonly label: string | undefined;
}

interface Style {
  /** Where stems and bars stand. */
  readonly floor: number;
  readonly color: string;
  readonly dash: string | undefined;
}

const hover = { title: "label" };

/** A series as marks of Plot. */
const marks: Readonly<Record<Mark, (points: Point[], style: Style, series: Series) => Plot.Markish[]>> = {
  stem: (points, { color, floor }) => [
    Plot.ruleX(points, { x: "x", y1: floor, y2: "y", stroke: color, strokeWidth: 1.25 }),
    Plot.dot(points, { x: "x", y: "y", fill: color, r: 2.5, ...hover }),
  ],
  dot: (points, { color }) => [Plot.dot(points, { x: "x", y: "y", fill: color, fillOpacity: 0.75, r: 3.5, ...hover })],
  line: (points, { color, dash }) => [
    Plot.line(points, { x: "x", y: "y", stroke: color, strokeWidth: 1.75, strokeDasharray: dash }),
    ...(points.some(({ label }) => label !== undefined)
      ? [Plot.dot(points, { x: "x", y: "y", fill: color, r: 2, ...hover })]
      : []),
  ],
  bar: (points, { color, floor }, { x2 }) => [
    x2
      ? Plot.rectY(points, { x1: "x", x2: "x2", y1: floor, y2: "y", fill: color, inset: 0.5, ...hover })
      : typeof points[0]?.x === "string"
        ? Plot.barY(points, { x: "x", y1: floor, y2: "y", fill: color, ...hover })
        : Plot.ruleX(points, { x: "x", y1: floor, y2: "y", stroke: color, strokeWidth: 5, ...hover }),
  ],
  interval: (points, { color }) => [
    Plot.ruleX(points, { x: "x", y1: "y", y2: "y2", stroke: color, strokeWidth: 1.5, strokeOpacity: 0.7, ...hover }),
  ],
  rule: (points, { color, dash }, { x }) => [
    x
      ? Plot.ruleX(points, { x: "x", stroke: color, strokeOpacity: 0.5, strokeDasharray: dash, ...hover })
      : Plot.ruleY(points, { y: "y", stroke: color, strokeOpacity: 0.5, strokeDasharray: dash, ...hover }),
  ],
};

/** A series in parts of one colour each. */
function parts(series: Series): { color: string; points: (all: readonly Point[]) => Point[] }[] {
  const { mark, hue } = series;
  if (hue === undefined && (mark === "stem" || mark === "bar"))
    return [
      { color: paint("positive"), points: (all) => all.filter(({ y }) => y >= 0) },
      { color: paint("negative"), points: (all) => all.filter(({ y }) => y < 0) },
    ];
  const plain: Hue = hue ?? (mark === "rule" || mark === "interval" ? "text" : "accent");
  return [{ color: paint(plain), points: (all) => [...all] }];
}

function pointsOf({ x, y, x2, y2, labels }: Series): Point[] {
  const place = (value: number | string): number | string => (typeof value === "string" ? xmlText(value) : value);
  const column = (values: ArrayLike<number> | undefined, p: number): number => values?.[p] ?? NaN;
  return Array.from({ length: (x ?? y)?.length ?? 0 }, (_, p) => ({
    x: place(x?.[p] ?? p),
    y: column(y, p),
    x2: column(x2, p),
    y2: column(y2, p),
    label: labels && xmlText(labels[p]!),
  }));
}

/** The figure as a complete drawing. The same figure gives the same text. */
export function drawSvg(spec: FigureSpec): string {
  const { width = 640, height = 400, title, subtitle } = spec;
  const head = heading(spec, width);
  const { document } = parseHTML("<html></html>");
  const signed = spec.series.some(({ mark }) => mark === "stem" || mark === "bar");
  const logarithmic = spec.y?.scale === "log";
  const floor = logarithmic ? extent(spec, "y").domain[0] : 0;
  const yTicks = logarithmic ? decades(extent(spec, "y").domain) : Math.min(7, Math.max(3, Math.floor(height / 60)));
  const left = 72;
  const bottom = spec.x?.label === undefined ? 28 : 48;
  const drawn = Plot.plot({
    document,
    className: "it-plot",
    width,
    height: height - head.height,
    marginLeft: left,
    marginRight: 24,
    marginTop: 12,
    marginBottom: bottom,
    style: { fontSize: "12px" },
    x: { ...scaleOf(spec, "x"), insetLeft: 8, insetRight: 8 },
    y: { ...scaleOf(spec, "y"), nice: spec.y?.domain === undefined && !logarithmic },
    color: { type: "identity" },
    marks: [
      Plot.gridY({ stroke: "currentColor", strokeOpacity: 0.13, ticks: yTicks }),
      Plot.axisX({
        label: labelOf(spec.x),
        labelAnchor: "center",
        labelArrow: "none",
        labelOffset: 42,
        ticks: Math.max(3, Math.floor(width / 110)),
        tickSize: 4,
      }),
      Plot.axisY({
        label: labelOf(spec.y),
        labelAnchor: "center",
        labelArrow: "none",
        labelOffset: left - 8,
        ticks: yTicks,
        tickFormat: logarithmic ? general : undefined,
        tickSize: 0,
      }),
      ...(signed && floor === 0 ? [Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.5 })] : []),
      ...spec.series.flatMap((series) => {
        const all = pointsOf(series);
        const dash = series.dashed ? "6 4" : undefined;
        return parts(series).flatMap(({ color, points }) =>
          marks[series.mark](points(all), { floor, color, dash }, series),
        );
      }),
    ],
  });
  const plot = drawn.outerHTML
    .replace(/<style>.*?<\/style>/s, "")
    .replace(/ font-family="[^"]*"/, "")
    .replaceAll(/<[^>]+>/g, (tag) => tag.replaceAll(/\d+\.\d{3,}/g, (digits) => String(round(Number(digits)))))
    .replace("<svg ", `<svg y="${head.height}" `);
  const label = [title ?? "Plot", ...(subtitle === undefined ? [] : [subtitle])].join(". ");
  return svgStart(width, height, escapeHtml(label)) + head.svg + plot + "</svg>";
}

function scaleOf(spec: FigureSpec, along: "x" | "y"): Plot.ScaleOptions {
  const { domain, categories } = extent(spec, along);
  if (categories)
    return {
      domain: categories.map(xmlText),
      type: along === "x" && spec.series.some(({ mark }) => mark === "bar") ? "band" : "point",
    };
  return { type: spec[along]?.scale ?? "linear", domain };
}

const labelOf = (axis: FigureAxis | undefined): string | null =>
  axis?.label === undefined ? null : xmlText(axis.label);

/** The powers of ten in a range. */
function decades([low, high]: readonly [number, number]): number[] {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => 10 ** (first + i));
}

/** Title, subtitle and legend. */
function heading({ title, subtitle, series }: FigureSpec, width: number): { svg: string; height: number } {
  const out: string[] = [];
  let y = 6;
  const write = (text: string, size: number, style: string): void => {
    for (const line of wrap(text, Math.floor((width - 28) / (size * 0.56)))) {
      y += size * 1.35;
      out.push(`<text x="14" y="${round(y)}" font-size="${size}" ${style}>${escapeHtml(line)}</text>`);
    }
  };
  if (title !== undefined) write(title, 15, `font-weight="600"`);
  if (subtitle !== undefined) write(subtitle, 12, `fill-opacity="0.75"`);
  let x = width;
  for (const each of series) {
    if (each.name === undefined) continue;
    const across = 44 + each.name.length * 6.8;
    if (x + across > width) {
      x = 16;
      y += 18;
    }
    out.push(
      symbol(each, x, y - 4),
      `<text x="${x + 20}" y="${round(y)}" font-size="12">${escapeHtml(each.name)}</text>`,
    );
    x += across;
  }
  return { svg: out.join(""), height: Math.ceil(y + 6) };
}

/** What stands before a name in the legend. */
function symbol(series: Series, x: number, y: number): string {
  const colors = parts(series).map(({ color }) => color);
  if (series.mark === "dot" || series.mark === "stem" || series.mark === "bar")
    return colors
      .map(
        (fill, i) =>
          `<circle cx="${round(x + (colors.length === 1 ? 7 : 3 + 8 * i))}" cy="${round(y)}" r="4" fill="${fill}"/>`,
      )
      .join("");
  const dashes = series.dashed ? ` stroke-dasharray="4 3"` : "";
  return `<path d="M${round(x)},${round(y)}h14" stroke="${colors[0]}" stroke-width="2"${dashes}/>`;
}

const round = (value: number): number => Math.round(value * 100) / 100;
