/** @file A metric that is watched, and which of its values is better. */
import { TrainError } from "../errors.ts";
import type { TrainerView } from "../trainer/protocol.ts";

/** Whether smaller or larger is better. */
export type MonitorMode = "min" | "max";

/** @returns whether the first is better, by more than so much */
export const isBetter = (mode: MonitorMode, a: number, b: number, by = 0): boolean =>
  mode === "min" ? a < b - by : a > b + by;

export const worst = (mode: MonitorMode): number => (mode === "min" ? Infinity : -Infinity);

/**
 * The latest value of a metric.
 * @returns undefined where it is not there and need not be
 */
export function monitored(view: TrainerView, name: string, strict: boolean, who: string): number | undefined {
  const value = view.metrics[name];
  if (value !== undefined || !strict) return value;
  throw new TrainError(`${who} watches a metric that nobody has logged`, {
    code: "train/monitor",
    expected: `one of ${Object.keys(view.metrics).join(", ")}`,
    received: name,
  });
}
