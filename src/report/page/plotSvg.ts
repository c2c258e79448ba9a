/** @file A plot of points as SVG: axes, points, and where each came to lie. */
import { escapeText, short } from "../../analysis/dashboards/card.ts";

export interface PlotPoint {
  readonly x: number;
  readonly y: number;
  /** What it says; lines are kept. */
  readonly text: () => string;
  /** Where it leads, `#latent/0/9464`. */
  readonly opens?: string;
  readonly tone: "up" | "down" | "plain" | "hollow";
}

export interface PlotOptions {
  readonly title: string;
  /** One sentence on what is seen: the description for who does not see it. */
  readonly about: string;
  /** `stem`: from 0 to y, over a line of latents. */
  readonly mark: "dot" | "stem";
  readonly x: { readonly label: string; readonly domain?: readonly [number, number] };
  readonly y: { readonly label: string };
  readonly points: readonly PlotPoint[];
  /** The line on which both are equal. */
  readonly diagonal?: boolean;
  /** Height by width. Default 0.62. */
  readonly ratio?: number;
  readonly legend?: readonly (readonly [tone: PlotPoint["tone"], text: string])[];
}

const tones: readonly PlotPoint["tone"][] = ["hollow", "plain", "up", "down"];

/** About `count` round numbers within an interval. */
function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
}

function domain(values: readonly number[], withZero: boolean): [number, number] {
  let [low, high] = withZero ? [0, 0] : [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (!(high > low)) return [low === Infinity ? -1 : low - 1, high === -Infinity ? 1 : high + 1];
  const room = (high - low) * 0.05;
  return [low - (withZero && low === 0 ? 0 : room), high + (withZero && high === 0 ? 0 : room)];
}

/** Where a point lies, from the upper left corner. */
export interface Place {
  readonly x: number;
  readonly y: number;
}

/** From values to places. */
interface Scale {
  readonly domain: readonly [low: number, high: number];
  readonly at: (value: number) => number;
}

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly x: Scale;
  readonly y: Scale;
}

const [left, right, top, bottom] = [58, 10, 10, 40]; // margins
const n = (value: number): string => value.toFixed(1);

function frameOf({ x, mark, points }: PlotOptions, width: number, height: number): Frame {
  const scale = (domain: readonly [number, number], from: number, to: number): Scale => ({
    domain,
    at: (value) => from + ((value - domain[0]) / (domain[1] - domain[0])) * (to - from),
  });
  const values = (name: "x" | "y"): number[] => points.map((point) => point[name]);
  return {
    ...{ width, height },
    x: scale(x.domain ?? domain(values("x"), mark === "dot"), left, width - right),
    y: scale(domain(values("y"), true), height - bottom, top),
  };
}

/** Lines and labels of both axes. */
function axes({ mark, x: { label: across }, y: { label: up } }: PlotOptions, { width, height, x, y }: Frame): string[] {
  const kind = (tick: number): string => (Math.abs(tick) < 1e-12 ? "axis" : "gridline");
  const rounded = (tick: number): string => short(Number(tick.toPrecision(6)));
  const rows = ticks(y.domain[0], y.domain[1], Math.max(3, Math.round(height / 70))).map((tick) => {
    const at = n(y.at(tick));
    return (
      `<line class="${kind(tick)}" x1="${left}" x2="${width - right}" y1="${at}" y2="${at}"/>` +
      `<text x="${left - 7}" y="${n(y.at(tick) + 4)}" text-anchor="end">${rounded(tick)}</text>`
    );
  });
  const columns = ticks(x.domain[0], x.domain[1], Math.max(3, Math.round(width / 110))).map((tick) => {
    const at = n(x.at(tick));
    const line = `<line class="${kind(tick)}" y1="${top}" y2="${height - bottom}" x1="${at}" x2="${at}"/>`;
    return (
      (mark === "stem" ? "" : line) +
      `<text x="${at}" y="${height - bottom + 16}" text-anchor="middle">${mark === "stem" ? tick : rounded(tick)}</text>`
    );
  });
  return [
    ...rows,
    ...columns,
    `<text x="${(left + width - right) / 2}" y="${height - 5}" text-anchor="middle">${escapeText(across)}</text>`,
    `<text transform="translate(12 ${(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeText(up)}</text>`,
  ];
}

/** The line on which both are equal. */
function diagonal({ x, y }: Frame): string {
  const [low, high] = [Math.max(x.domain[0], y.domain[0]), Math.min(x.domain[1], y.domain[1])];
  if (!(high > low)) return "";
  return `<line class="diagonal" x1="${n(x.at(low))}" y1="${n(y.at(low))}" x2="${n(x.at(high))}" y2="${n(y.at(high))}"/>`;
}

/** All points of a tone are one path: thousands of elements would be slow to open. A dot is a line of no length. */
function marks(
  { points, mark }: PlotOptions,
  places: readonly Place[],
  floor: number,
  radius: number,
  tone: PlotPoint["tone"],
): string[] {
  const own = places.filter((_, i) => points[i]!.tone === tone);
  if (own.length === 0) return [];
  const stems = mark === "stem" ? own.map(({ x, y }) => `M${n(x)} ${n(floor)}V${n(y)}`) : [];
  const dots = own.map(({ x, y }) => `M${n(x)} ${n(y)}h0`).join("");
  const path = (name: string, width: number): string =>
    `<path class="dots ${name}" stroke-width="${width}" d="${dots}"/>`;
  return [
    ...(stems.length > 0 ? [`<path class="stem ${tone}" d="${stems.join("")}"/>`] : []),
    path(tone, 2 * radius),
    ...(tone === "hollow" ? [path("inside", 2 * radius - 2.6)] : []),
  ];
}

/** The plot at a size in pixels, and the places of its points. */
export function plotSvg(options: PlotOptions, width: number, height: number): { svg: string; places: Place[] } {
  const { points, mark } = options;
  const frame = frameOf(options, width, height);
  const places = points.map((point): Place => ({ x: frame.x.at(point.x), y: frame.y.at(point.y) }));
  const radius = mark === "stem" || points.length > 400 ? 2.6 : 3.6;
  const parts = [
    ...axes(options, frame),
    ...(options.diagonal === true ? [diagonal(frame)] : []),
    ...tones.flatMap((tone) => marks(options, places, frame.y.at(0), radius, tone)),
    `<circle class="ring" r="${radius + 3.5}" visibility="hidden"/>`,
  ];
  return { svg: `<svg viewBox="0 0 ${width} ${height}" aria-hidden="true">${parts.join("")}</svg>`, places };
}
