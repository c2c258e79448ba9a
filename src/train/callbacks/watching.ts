/** @file Callbacks that watch: learning rates, the time. */
import { TrainError } from "../errors.ts";
import type { TrainerCallback } from "../trainer/protocol.ts";

/**
 * Logs the learning rate that each parameter group's step was made with: `lr`, or `lr-<group>` where there are several.
 * @param options `interval`: after each step (default) or each epoch
 * @example
 * const trainer = new Trainer({ callbacks: [learningRateMonitor()], loggers: [csvLogger("runs/metrics.csv")] });
 */
export function learningRateMonitor({
  interval = "step",
}: { readonly interval?: "step" | "epoch" } = {}): TrainerCallback {
  let used: Readonly<Record<string, number>> = {};
  return {
    name: "LearningRateMonitor",
    onFitStart(view) {
      used = view.learner.learningRates;
    },
    onStep(view, { epochEnded }) {
      const rates = Object.entries(used);
      used = view.learner.learningRates; // those of the next step: schedules have stepped
      if (interval === "epoch" && !epochEnded) return;
      view.log(Object.fromEntries(rates.map(([group, rate]) => [rates.length === 1 ? "lr" : `lr-${group}`, rate])));
    },
  };
}

/** A timer as the trainer has it. */
export interface Timer extends TrainerCallback {
  readonly name: "Timer";
  /** Seconds of training, those before a resume included. */
  readonly seconds: number;
}

/**
 * Stops a fit after some time; what is used is kept over resumes.
 * @param options `duration`: seconds, or `DD:HH:MM:SS`
 * @throws TrainError for a duration that is neither
 * @example
 * const trainer = new Trainer({ maxEpochs: -1, callbacks: [timer({ duration: "00:00:10:00" })] });
 */
export function timer({
  duration = Infinity,
  now = () => performance.now() / 1000,
}: { readonly duration?: number | string; readonly now?: () => number } = {}): Timer {
  const limit = typeof duration === "number" ? duration : secondsOf(duration);
  let before = 0;
  let start = now();
  const seconds = (): number => before + now() - start;
  return {
    name: "Timer",
    get seconds() {
      return seconds();
    },
    onFitStart() {
      start = now();
    },
    onStep(view) {
      if (seconds() >= limit) view.stop("max time");
    },
    state: () => ({ seconds: seconds() }),
    restore(state) {
      before = (state as { seconds: number }).seconds;
      start = now();
    },
  };
}

function secondsOf(text: string): number {
  const parts = /^(\d+):(\d+):(\d+):(\d+)$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined)
    throw new TrainError("a duration is a number of seconds, or DD:HH:MM:SS", {
      code: "train/options",
      received: text,
    });
  const [days, hours, minutes, seconds] = parts as [number, number, number, number];
  return ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
}
