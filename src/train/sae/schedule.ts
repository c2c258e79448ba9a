/** @file Learning rates and coefficients of each step, as SAELens has them. */
import { makeSchedule, type Schedule, type ScheduleConfig } from "../schedules/schedules.ts";
import type { TrainedSaeConfig } from "./config.ts";
import { kinds } from "./kinds.ts";
import type { SaeTrainingOptions } from "./options.ts";

type RateOptions = Pick<
  SaeTrainingOptions,
  "lr" | "lrEnd" | "lrSchedulerName" | "lrWarmUpSteps" | "lrDecaySteps" | "nRestartCycles"
>;

/** Linear warm-up, the schedule itself, then a linear decay to 0. @param steps of the whole training */
export function saeSchedule(options: RateOptions, steps: number): Schedule {
  const { lr, lrEnd, lrSchedulerName, lrWarmUpSteps: warm, lrDecaySteps: decay, nRestartCycles } = options;
  const between = steps - warm - decay;
  const main: { readonly [Name in RateOptions["lrSchedulerName"]]: () => ScheduleConfig } = {
    constant: () => ({ name: "ConstantLR", factor: 1, totalIters: 0 }),
    cosineannealing: () => ({ name: "CosineAnnealingLR", TMax: Math.max(between, 1), etaMin: lrEnd }),
    cosineannealingwarmrestarts: () => ({
      name: "CosineAnnealingWarmRestarts",
      T0: Math.max(Math.floor(between / nRestartCycles), 1),
      etaMin: lrEnd,
    }),
  };
  const from = lrSchedulerName === "constant" ? lr : lrEnd;
  const schedulers: ScheduleConfig[] = [main[lrSchedulerName]()];
  const milestones: number[] = [];
  if (warm > 0) {
    schedulers.unshift({ name: "LinearLR", startFactor: 1 / warm, endFactor: 1, totalIters: warm - 1 });
    milestones.push(warm);
  }
  if (decay > 0) {
    schedulers.push({ name: "LinearLR", startFactor: lr === 0 ? 1 : from / lr, endFactor: 0, totalIters: decay });
    milestones.push(steps - decay);
  }
  return makeSchedule({ name: "SequentialLR", schedulers, milestones }, [lr]);
}

/** A coefficient that rises from 0 to its value over so many steps. @param step counts from 0 */
export const warmedUp = (value: number, warmUpSteps: number, step: number): number =>
  step >= warmUpSteps ? value : value * (step / warmUpSteps);

/** The sparsity coefficient of a step; 0 for those that have none. */
export function sparsityCoefficient(cfg: TrainedSaeConfig, step: number): number {
  const { ranks, jumps } = kinds[cfg.architecture];
  if (ranks !== undefined) return 0;
  if (jumps) return warmedUp(cfg.l0Coefficient, cfg.l0WarmUpSteps, step);
  return warmedUp(cfg.l1Coefficient, cfg.l1WarmUpSteps, step);
}
