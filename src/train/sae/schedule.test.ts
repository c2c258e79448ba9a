import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { describeWithGoldens, sharedPath } from "../../../test/support/goldens.ts";
import { parseSaeTrainingOptions, scheduledSteps, stepsOf } from "./options.ts";
import { saeSchedule, warmedUp } from "./schedule.ts";

interface Golden {
  readonly learning_rate: Readonly<
    Record<
      string,
      {
        readonly settings: {
          readonly scheduler_name: "constant" | "cosineannealing" | "cosineannealingwarmrestarts";
          readonly training_steps: number;
          readonly lr: number;
          readonly warm_up_steps: number;
          readonly decay_steps: number;
          readonly lr_end: number;
          readonly num_cycles: number;
        };
        readonly learning_rates: readonly number[];
      }
    >
  >;
  readonly "coefficient_warm_up_5_final_2.5": readonly number[];
}

describeWithGoldens("SAELens' schedules", ["goldens/sae-training/schedules.json"], () => {
  const golden = (): Golden =>
    JSON.parse(readFileSync(sharedPath("goldens/sae-training/schedules.json"), "utf8")) as Golden;

  test.each(["constant", "constant-warm-decay", "cosine-warm-decay", "restarts"])("learning rate: %s", (name) => {
    const { settings, learning_rates } = golden().learning_rate[name]!;
    const schedule = saeSchedule(
      {
        lr: settings.lr,
        lrEnd: settings.lr_end,
        lrSchedulerName: settings.scheduler_name,
        lrWarmUpSteps: settings.warm_up_steps,
        lrDecaySteps: settings.decay_steps,
        nRestartCycles: settings.num_cycles,
      },
      settings.training_steps,
    );
    const rates = [schedule.rates[0]!];
    while (rates.length < learning_rates.length) rates.push(schedule.step()[0]!);
    rates.forEach((rate, i) => expect(Math.abs(rate - learning_rates[i]!), `step ${i}`).toBeLessThan(1e-12));
  });

  test("coefficients warm up from 0", () => {
    const wanted = golden()["coefficient_warm_up_5_final_2.5"];
    expect(wanted.map((_, step) => warmedUp(2.5, 5, step))).toEqual(wanted);
  });
});

test("a last step that is not whole is beyond the schedule, as in SAELens: a decay has ended before it", () => {
  const options = parseSaeTrainingOptions({ trainingTokens: 2500, trainBatchSizeTokens: 1000, lr: 1, lrDecaySteps: 1 });
  const schedule = saeSchedule(options, scheduledSteps(options));
  const rates = Array.from({ length: stepsOf(options) }, () => {
    const [rate] = schedule.rates;
    schedule.step();
    return rate;
  });
  expect(rates).toEqual([1, 1, 0]);
});
