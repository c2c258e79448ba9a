/** @file Stops where a metric gets no better. */
import { monitored } from "../schedules/scheduled.ts";
import type { TrainerCallback } from "../trainer/protocol.ts";
import { isBetter, worst, type MonitorMode } from "./monitor.ts";

/** Lightning's options. */
export interface EarlyStoppingOptions {
  /** What is watched, such as `val_loss`. */
  readonly monitor: string;
  /** Whether smaller or larger is better. Default min. */
  readonly mode?: MonitorMode;
  /** Better is better by more than this. Default 0. */
  readonly minDelta?: number;
  /** Checks without a better value before it stops. Default 3. */
  readonly patience?: number;
  /** Stop when the metric is not finite. Default true. */
  readonly checkFinite?: boolean;
  /** Stop as soon as it is better than this. */
  readonly stoppingThreshold?: number;
  /** Stop as soon as it is worse than this. */
  readonly divergenceThreshold?: number;
  /** Check at the end of epochs instead of after validation. */
  readonly checkOnTrainEpochEnd?: boolean;
  /** Whether a metric that is missing is an error. Default true. */
  readonly strict?: boolean;
}

/** An early stopping as the trainer has it. */
export interface EarlyStopping extends TrainerCallback {
  readonly name: "EarlyStopping";
  /** The best value so far. */
  readonly best: number | undefined;
  /** Begins to count anew, as with a new phase. */
  reset(): void;
}

/**
 * Stops a fit when a metric has not got better for some validations.
 * @example
 * const trainer = new Trainer({ maxEpochs: 100, callbacks: [earlyStopping({ monitor: "val_loss", patience: 2 })] });
 */
export function earlyStopping(options: EarlyStoppingOptions): EarlyStopping {
  const { monitor, mode = "min", minDelta = 0, patience = 3, checkFinite = true, strict = true } = options;
  const { stoppingThreshold, divergenceThreshold, checkOnTrainEpochEnd = false } = options;
  let wait = 0;
  let best: number | null = null;
  const ends = (value: number): boolean => {
    if (checkFinite && !Number.isFinite(value)) return true;
    if (stoppingThreshold !== undefined && isBetter(mode, value, stoppingThreshold)) return true;
    if (divergenceThreshold !== undefined && isBetter(mode, divergenceThreshold, value)) return true;
    const better = isBetter(mode, value, best ?? worst(mode), minDelta);
    if (better) [best, wait] = [value, 0];
    else wait++;
    return wait >= patience;
  };
  return {
    name: "EarlyStopping",
    get best() {
      return best ?? undefined;
    },
    reset() {
      wait = 0;
    },
    onStep(view, { validated, epochEnded, validates }) {
      if (!(checkOnTrainEpochEnd || !validates ? epochEnded : validated)) return;
      const value = monitored(view.metrics, monitor, strict, "EarlyStopping");
      if (value !== undefined && ends(value)) view.stop("early stopping");
    },
    state: () => ({ wait, best }),
    restore(state) {
      ({ wait, best } = state as { wait: number; best: number | null });
    },
  };
}
