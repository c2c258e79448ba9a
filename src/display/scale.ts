/** @file Where values lie on an axis, for drawings of our own. */
import type { FigureAxis, FigureSpec, Series } from "./figureSpec.ts";

const transforms: Readonly<Record<NonNullable<FigureAxis["scale"]>, (value: number) => number>> = {
  linear: (value) => value,
  log: Math.log10,
  symlog: (value) => Math.sign(value) * Math.log1p(Math.abs(value)),
};

/** An axis of a figure with its data: the values it covers and where each of them lies, from 0 to 1. */
export interface Extent {
  readonly domain: readonly [low: number, high: number];
  /** Names of the places 0, 1, … where the axis has categories. */
  readonly categories: readonly string[] | undefined;
  readonly place: (value: number | string) => number;
}

/** What the marks of a figure reach along an axis. */
export function extent(spec: FigureSpec, along: "x" | "y"): Extent {
  const { domain, scale = "linear" } = spec[along] ?? {};
  const all = spec.series.flatMap((series): (number | string)[] => [
    ...Array.from<number | string>(series[along] ?? []),
    ...Array.from(series[`${along}2`] ?? []),
    ...(along === "y" && fromZero(series) && scale !== "log" ? [0] : []),
  ]);
  const names = all.filter((value) => typeof value === "string");
  const categories = names.length > 0 ? [...new Set(names)] : undefined;
  const usable = all.map(Number).filter((value) => Number.isFinite(value) && (scale !== "log" || value > 0));
  const numbers = categories ? [-0.5, categories.length - 0.5] : usable;
  const [low, high] =
    domain ?? widened(min(numbers), max(numbers), scale === "log", spec.series.some(fromZero) && along === "y");
  const transform = transforms[scale];
  const [a, b] = [transform(low), transform(high)];
  const place = (value: number | string): number => {
    const at = typeof value === "string" ? categories!.indexOf(value) : value;
    return a === b ? 0.5 : (transform(at) - a) / (b - a);
  };
  return { domain: [low, high], categories, place };
}

/** Whether a series stands on 0. */
function fromZero({ mark }: Series): boolean {
  return mark === "stem" || mark === "bar";
}

/** A range of one value has no length; on a logarithmic axis bars end below the smallest of them. */
function widened(low: number, high: number, log: boolean, bars: boolean): readonly [number, number] {
  if (low !== high) return log && bars ? [low / 2, high] : [low, high];
  return log ? [low / 2, high * 2] : [low - 1, high + 1];
}

const min = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), values[0] ?? 0);
const max = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), values[0] ?? 1);
