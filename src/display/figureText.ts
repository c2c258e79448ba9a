/** @file Figures in a terminal: dots of braille characters, two across and four down in each. */
import stringWidth from "string-width";
import type { FigureSpec, Mark, Series } from "./figureSpec.ts";
import { general } from "./numbers.ts";
import { extent, type Extent } from "./scale.ts";
import { pad, printable, wrap } from "./text.ts";

/** Characters of a drawing, axes not counted. */
const [across, down] = [66, 14];

type Stroke = readonly [x1: number, y1: number, x2: number, y2: number];

interface Frame {
  readonly x: Extent;
  readonly y: Extent;
}

/** The strokes of one point, in places from 0 to 1. */
const strokes: Readonly<Record<Mark, (series: Series, point: number, frame: Frame) => Stroke[]>> = {
  stem: (series, p, frame) => {
    const [x, y] = at(series, p, frame);
    return [[x, ground(frame), x, y]];
  },
  dot: (series, p, frame) => {
    const [x, y] = at(series, p, frame);
    const [dx, dy] = [1 / (across * 2 - 1), 1 / (down * 4 - 1)];
    return [
      [x - dx, y, x + dx, y],
      [x, y - dy, x, y + dy],
    ];
  },
  line: (series, p, frame) => [[...at(series, Math.max(0, p - 1), frame), ...at(series, p, frame)]],
  bar: (series, p, frame) => {
    const [x, y] = at(series, p, frame);
    const half = frame.x.categories ? 0.35 / frame.x.categories.length : 0;
    const end = series.x2 ? frame.x.place(series.x2[p]!) - 0.5 / (across * 2) : x + half;
    const columns = Math.max(1, Math.ceil((end - x + half) * across * 2));
    return Array.from({ length: columns }, (_, i): Stroke => {
      const place = x - half + ((end - x + half) * i) / columns;
      return [place, ground(frame), place, y];
    });
  },
  interval: (series, p, frame) => {
    const [x, y] = at(series, p, frame);
    return [[x, y, x, frame.y.place(series.y2![p]!)]];
  },
  rule: ({ x, y }, p, frame) => {
    if (x) return [[frame.x.place(x[p]!), 0, frame.x.place(x[p]!), 1]];
    return [[0, frame.y.place(y![p]!), 1, frame.y.place(y![p]!)]];
  },
};

function at({ x, y }: Series, p: number, frame: Frame): [number, number] {
  return [frame.x.place(x?.[p] ?? p), frame.y.place(y![p]!)];
}

/** Where bars and stems stand: 0, or the floor where it is not on the axis. */
function ground({ y }: Frame): number {
  const zero = y.place(0);
  return Number.isFinite(zero) ? Math.min(1, Math.max(0, zero)) : 0;
}

/** The figure as lines of text: title, plot with axes, legend. */
export function drawText(spec: FigureSpec): string {
  const frame = { x: extent(spec, "x"), y: extent(spec, "y") };
  const dots = new Uint8Array(across * down);
  for (const series of spec.series) {
    const length = (series.x ?? series.y)?.length ?? 0;
    for (let p = 0; p < length; p++)
      for (const stroke of strokes[series.mark](series, p, frame)) draw(dots, stroke, series.dashed ? 6 : 0);
  }
  const [low, high] = frame.y.domain.map((value) => general(Number(value.toPrecision(3)))) as [string, string];
  const margin = Math.max(stringWidth(low), stringWidth(high));
  const zero =
    frame.y.domain[0] < 0 && frame.y.domain[1] > 0 ? down - 1 - Math.round(frame.y.place(0) * (down - 1)) : -1;
  const rows = Array.from({ length: down }, (_, row) => {
    const label = row === 0 ? high : row === down - 1 ? low : row === zero ? "0" : "";
    const cells = Array.from(dots.subarray(row * across, (row + 1) * across), (bits) =>
      bits === 0 ? " " : String.fromCharCode(0x2800 + bits),
    );
    return `${pad(label, margin, false)} ${label === "" ? "│" : "┤"}${cells.join("")}`.trimEnd();
  });
  const indent = " ".repeat(margin + 1);
  const { categories, domain } = frame.x;
  const ends = categories ? [categories[0]!, categories.at(-1)!] : domain.map((v) => general(Number(v.toPrecision(6))));
  const left = printable(ends[0]!);
  const right = printable(ends[1]!);
  const label = printable(spec.x?.label ?? "");
  const space = across - stringWidth(left) - stringWidth(right) - stringWidth(label);
  const axis =
    space < 2
      ? [`${left} … ${right}`, label]
      : [left + " ".repeat(space >> 1) + label + " ".repeat(space - (space >> 1)) + right];
  const names = spec.series.flatMap(({ name }) => (name === undefined ? [] : [printable(name)]));
  return [
    ...[spec.title, spec.subtitle].flatMap((text) => (text === undefined ? [] : wrap(printable(text), 80))),
    ...(spec.y?.label === undefined ? [] : [printable(spec.y.label)]),
    ...rows,
    `${indent}└${"─".repeat(across)}`,
    ...axis.map((text) => `${indent} ${text}`.trimEnd()),
    ...(names.length === 0 ? [] : [`${indent} ${names.join(", ")}`]),
  ].join("\n");
}

/** Bits of a braille character by dot: two columns of four rows. */
const bits = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/** Sets the dots along a stroke, with gaps of `dash`; what lies outside of the plot is left out. */
function draw(dots: Uint8Array, stroke: Stroke, dash: number): void {
  if (!stroke.every(Number.isFinite)) return;
  const [width, height] = [across * 2 - 1, down * 4 - 1];
  const [x1, y1, x2, y2] = [stroke[0] * width, (1 - stroke[1]) * height, stroke[2] * width, (1 - stroke[3]) * height];
  const steps = Math.min(4 * (width + height), Math.ceil(Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1))));
  for (let i = 0; i <= steps; i++) {
    if (dash > 0 && Math.floor(i / dash) % 2 === 1) continue;
    const part = steps === 0 ? 0 : i / steps;
    const x = Math.round(x1 + (x2 - x1) * part);
    const y = Math.round(y1 + (y2 - y1) * part);
    if (x >= 0 && x <= width && y >= 0 && y <= height) dots[(y >> 2) * across + (x >> 1)]! |= bits[x & 1]![y & 3]!;
  }
}
