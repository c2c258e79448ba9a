/** @file A metric that is watched, and which of its values is better. */

/** Whether smaller or larger is better. */
export type MonitorMode = "min" | "max";

/** @returns whether the first is better, by more than so much */
export const isBetter = (mode: MonitorMode, a: number, b: number, by = 0): boolean =>
  mode === "min" ? a < b - by : a > b + by;

export const worst = (mode: MonitorMode): number => (mode === "min" ? Infinity : -Infinity);
