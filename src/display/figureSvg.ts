/** @file Figures as SVG, drawn by Observable Plot on a document of its own. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import type { FigureSpec, Mark, Series } from "./figure.ts";
import { extent } from "./scale.ts";
import { paint, svgStart, type Hue } from "./style.ts";
import { escapeHtml, wrap } from "./text.ts";

interface Point {
  readonly x: number | string;
  readonly y: number;
  readonly x2: number;
  readonly y2: number;
  readonly label: string | undefined;
}

interface Style {
  readonly color: string | ((point: Point) => string);
  readonly dash: string | undefined;
}

const hover = { title: "label" };

/** A series as marks of Plot. */
const marks: Readonly<Record<Mark, (points: Point[], style: Style, series: Series) => Plot.Markish[]>> = {
  stem: (points, { color }) => [
    Plot.ruleX(points, { x: "x", y1: 0, y2: "y", stroke: color, strokeWidth: 1.25 }),
    Plot.dot(points, { x: "x", y: "y", fill: color, r: 2.5, ...hover }),
  ],
  dot: (points, { color }) => [Plot.dot(points, { x: "x", y: "y", fill: color, fillOpacity: 0.75, r: 3.5, ...hover })],
  line: (points, { color, dash }) => [
    Plot.line(points, { x: "x", y: "y", stroke: color as string, strokeWidth: 1.75, strokeDasharray: dash }),
    ...(points.some(({ label }) => label !== undefined)
      ? [Plot.dot(points, { x: "x", y: "y", fill: color, r: 2, ...hover })]
      : []),
  ],
  bar: (points, { color }, { x2 }) => [
    x2
      ? Plot.rectY(points, { x1: "x", x2: "x2", y: "y", fill: color, inset: 0.5, ...hover })
      : typeof points[0]?.x === "string"
        ? Plot.barY(points, { x: "x", y: "y", fill: color, ...hover })
        : Plot.ruleX(points, { x: "x", y1: 0, y2: "y", stroke: color, strokeWidth: 5, ...hover }),
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

function styleOf({ mark, hue, dashed }: Series): Style {
  const signed = hue === undefined && (mark === "stem" || mark === "bar");
  const plain: Hue = hue ?? (mark === "rule" || mark === "interval" ? "text" : "accent");
  return {
    color: signed ? ({ y }) => paint(y < 0 ? "negative" : "positive") : paint(plain),
    dash: dashed ? "6 4" : undefined,
  };
}

function pointsOf({ x, y, x2, y2, labels }: Series): Point[] {
  const column = (values: ArrayLike<number> | undefined, p: number): number => values?.[p] ?? NaN;
  return Array.from({ length: (x ?? y)?.length ?? 0 }, (_, p) => ({
    x: x ? x[p]! : p,
    y: column(y, p),
    x2: column(x2, p),
    y2: column(y2, p),
    label: labels?.[p],
  }));
}

/** The figure as a complete drawing. The same figure gives the same text. */
export function drawSvg(spec: FigureSpec): string {
  const { width = 640, height = 400, title, subtitle } = spec;
  const head = heading(spec, width);
  const { document } = parseHTML("<html></html>");
  const signed = spec.series.some(({ mark }) => mark === "stem" || mark === "bar");
  const ticks = Math.max(3, Math.floor(width / 110));
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
    y: { ...scaleOf(spec, "y"), nice: spec.y?.domain === undefined },
    color: { type: "identity" },
    marks: [
      Plot.gridY({ stroke: "currentColor", strokeOpacity: 0.13, ticks: 6 }),
      Plot.axisX({
        label: spec.x?.label ?? null,
        labelAnchor: "center",
        labelArrow: "none",
        labelOffset: 42,
        ticks,
        tickSize: 4,
      }),
      Plot.axisY({
        label: spec.y?.label ?? null,
        labelAnchor: "center",
        labelArrow: "none",
        labelOffset: left - 8,
        ticks: 6,
        tickSize: 0,
      }),
      ...(signed ? [Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.5 })] : []),
      ...spec.series.flatMap((series) => marks[series.mark](pointsOf(series), styleOf(series), series)),
    ],
  });
  const plot = drawn.outerHTML.replace(/<style>.*?<\/style>/s, "").replace("<svg ", `<svg y="${head.height}" `);
  const label = [title, subtitle].filter((text) => text !== undefined).join(". ");
  return svgStart(width, height, escapeHtml(label)) + head.svg + plot + "</svg>";
}

function scaleOf(spec: FigureSpec, along: "x" | "y"): Plot.ScaleOptions {
  const { domain, categories } = extent(spec, along);
  if (categories)
    return {
      domain: categories,
      type: along === "x" && spec.series.some(({ mark }) => mark === "bar") ? "band" : "point",
    };
  return { type: spec[along]?.scale ?? "linear", domain };
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
  let x = 16;
  const named = series.filter(({ name }) => name !== undefined);
  if (named.length > 0) y += 18;
  for (const each of named) {
    const { color, dash } = styleOf(each);
    const [first, second] = typeof color === "string" ? [color, color] : [paint("positive"), paint("negative")];
    const symbol =
      dash !== undefined || each.mark === "line" || each.mark === "rule" || each.mark === "interval"
        ? `<path d="M${x},${y - 4}h14" stroke="${first}" stroke-width="2"${dash === undefined ? "" : ` stroke-dasharray="4 3"`}/>`
        : `<circle cx="${x + 4}" cy="${y - 4}" r="4" fill="${first}"/><circle cx="${x + 10}" cy="${y - 4}" r="4" fill="${second}"/>`;
    out.push(symbol, `<text x="${x + 20}" y="${round(y)}" font-size="12">${escapeHtml(each.name!)}</text>`);
    x += 44 + each.name!.length * 6.8;
  }
  return { svg: out.join(""), height: Math.ceil(y + 6) };
}

const round = (value: number): number => Math.round(value * 100) / 100;
