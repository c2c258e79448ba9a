/** @file A schedule that sets a learner's rates when it is due. */
import { TrainError } from "../errors.ts";
import type { Learner } from "../learner/learner.ts";
import { makeSchedule, type Schedule, type ScheduleConfig } from "./schedules.ts";

/** A schedule of learning rates, and when it steps. */
export interface ScheduledRates {
  readonly config: ScheduleConfig;
  /** Default `epoch`. */
  readonly interval?: "epoch" | "step";
  /** After so many epochs or steps. Default 1. */
  readonly frequency?: number;
  /** The metric that a plateau schedule watches. */
  readonly monitor?: string;
  /** Whether a metric that is missing is an error. Default true. */
  readonly strict?: boolean;
}

/** The value of a metric that somebody watches; undefined where it is missing and may be. */
export function monitored(
  metrics: Readonly<Record<string, number>>,
  name: string,
  strict: boolean,
  who: string,
): number | undefined {
  const value = metrics[name];
  if (value !== undefined || !strict) return value;
  throw new TrainError(`${who} watches a metric that nobody has logged`, {
    code: "train/monitor",
    expected: `one of ${Object.keys(metrics).join(", ")}`,
    received: name,
  });
}

/** A schedule over the groups of a learner. */
export interface LearnerSchedule {
  readonly schedule: Schedule;
  /** Sets the learner's rates to the schedule's. */
  apply(): void;
  /** Steps where it is due: `count` epochs or steps are done. */
  step(interval: "epoch" | "step", count: number, metrics: Readonly<Record<string, number>>): void;
}

/** Begins a schedule over a learner's present rates, and sets its first ones. */
export function scheduleLearner(learner: Learner, scheduled: ScheduledRates): LearnerSchedule {
  const { config, interval = "epoch", frequency = 1, monitor, strict = true } = scheduled;
  const groups = Object.keys(learner.learningRates);
  const schedule = makeSchedule(config, Object.values(learner.learningRates));
  const apply = (): void => {
    for (const [i, group] of groups.entries()) learner.setLearningRate(schedule.rates[i]!, group);
  };
  apply();
  return {
    schedule,
    apply,
    step(now, count, metrics) {
      if (interval !== now || count % frequency !== 0) return;
      const watched = schedule.watches ? monitor : undefined;
      const metric = watched === undefined ? undefined : monitored(metrics, watched, strict, "the schedule");
      if (watched !== undefined && metric === undefined) return;
      schedule.step(metric);
      apply();
    },
  };
}
