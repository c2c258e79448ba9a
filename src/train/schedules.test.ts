import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sharedPath } from "../../test/support/goldens.ts";
import { createSchedule, scheduleNode, schedules, type Schedule, type ScheduleNode } from "./schedules.ts";

interface Golden {
  readonly plateau_metric: readonly number[];
  readonly schedules: readonly {
    readonly name: string;
    readonly kind: string;
    readonly lr: number;
    readonly settings: Readonly<Record<string, unknown>>;
    readonly learning_rates: readonly number[];
  }[];
}
interface More {
  readonly bases: readonly number[];
  readonly metric: readonly number[];
  readonly schedules: readonly {
    readonly class_path: string;
    readonly init_args: Readonly<Record<string, unknown>>;
    readonly rates: readonly (readonly number[])[];
  }[];
}
const read = <T>(path: string): T => JSON.parse(readFileSync(sharedPath(path), "utf8")) as T;
const golden = read<Golden>("goldens/optim/schedules.json");
const more = read<More>("goldens/optim/more_schedules.json");

/** The rates before the first step and after each. */
function run(schedule: Schedule, metric: readonly number[], from = 0): (readonly number[])[] {
  return [schedule.rates, ...metric.slice(from).map((value) => schedule.step(schedule.watches ? value : undefined))];
}

function expectEqual(got: readonly number[], wanted: readonly number[]): void {
  expect(got.length).toBe(wanted.length);
  for (const [i, value] of got.entries())
    expect(Math.abs(value - wanted[i]!), `step ${i}: ${value} for ${wanted[i]}`).toBeLessThanOrEqual(
      1e-12 * Math.abs(wanted[i]!),
    );
}

/** transformers' functions under the names of their kinds. */
const functions: Readonly<Record<string, string>> = {
  cosine_with_warmup: "transformers.get_cosine_schedule_with_warmup",
  linear_with_warmup: "transformers.get_linear_schedule_with_warmup",
  constant_with_warmup: "transformers.get_constant_schedule_with_warmup",
  polynomial_with_warmup: "transformers.get_polynomial_decay_schedule_with_warmup",
};

describe("schedules", () => {
  it.each(golden.schedules)("$name is PyTorch's", ({ kind, lr, settings, learning_rates }) => {
    const classPath = functions[kind] ?? `torch.optim.lr_scheduler.${kind}`;
    const rates = run(createSchedule({ classPath, initArgs: settings }, [lr]), golden.plateau_metric);
    expectEqual(
      rates.map(([rate]) => rate!),
      learning_rates,
    );
  });

  it.each(more.schedules)("$class_path of two groups is PyTorch's", ({ class_path, init_args, rates }) => {
    const got = run(createSchedule({ classPath: class_path, initArgs: init_args }, more.bases), more.metric);
    expectEqual(got.flat(), rates.flat());
  });

  it("are all in the goldens", () => {
    const covered = [
      ...golden.schedules.map(({ kind }) => functions[kind]?.replace("transformers.", "") ?? kind),
      ...more.schedules.map(({ class_path }) => class_path),
    ];
    expect(Object.keys(schedules).filter((name) => !covered.includes(name))).toEqual([]);
  });

  it.each(more.schedules)(
    "$class_path goes on from its state as if it had not stopped",
    ({ class_path, init_args }) => {
      const node: ScheduleNode = { classPath: class_path, initArgs: init_args };
      const whole = createSchedule(node, more.bases);
      const expected = run(whole, more.metric);
      for (const stop of [0, 1, 5, 11, 17]) {
        const first = createSchedule(node, more.bases);
        run(first, more.metric.slice(0, stop));
        const second = createSchedule(node, more.bases);
        second.restore(JSON.parse(JSON.stringify(first.state())) as ReturnType<Schedule["state"]>);
        expect(run(second, more.metric, stop)).toEqual(expected.slice(stop));
        expect(second.state()).toEqual(whole.state());
      }
    },
  );

  it("refuse what they do not take, by name", () => {
    const make = (classPath: string, initArgs: ScheduleNode["initArgs"]) => () =>
      createSchedule({ classPath, initArgs }, [1]);
    expect(make("StepLR", {})).toThrow("StepLR does not take these arguments; in step_size");
    expect(make("StepLR", { step_size: 1, gama: 2 })).toThrow('Unrecognized key: "gama"');
    expect(make("Steps", {})).toThrow("there is no such schedule; expected one of ConstantLR, LinearLR");
    const inner = [{ class_path: "ReduceLROnPlateau", init_args: {} }];
    expect(make("ChainedScheduler", { schedulers: inner })).toThrow("watches a metric cannot be one of several");
    expect(
      make("SequentialLR", { schedulers: [scheduleNode("ExponentialLR", { gamma: 1 })], milestones: [3] }),
    ).toThrow("expected one milestone less than schedulers");
    expect(make("ChainedScheduler", { schedulers: [{ class_path: "StepLR", init_args: {} }] })).toThrow("step_size");
    const plateau = createSchedule(scheduleNode("ReduceLROnPlateau", {}), [1]);
    expect(() => plateau.step()).toThrow("pl_lrs_cfg.monitor");
    expect(() => plateau.restore({ step: 0, rates: [1, 2] })).toThrow("other parameter groups");
    expect(make("OneCycleLR", { max_lr: 1 })).toThrow("total_steps");
  });

  it("have arguments that the compiler knows", () => {
    // @ts-expect-error milestones are numbers
    const wrong = (): ScheduleNode => scheduleNode("MultiStepLR", { milestones: ["a"] });
    // @ts-expect-error gamma has no default here
    const missing = (): ScheduleNode => scheduleNode("ExponentialLR", {});
    for (const node of [wrong(), missing()]) expect(() => createSchedule(node, [1])).toThrow("does not take");
  });

  it("OneCycleLR does not go past its end", () => {
    const schedule = createSchedule(scheduleNode("OneCycleLR", { max_lr: 1, total_steps: 3 }), [1]);
    run(schedule, [0, 0, 0]);
    expect(() => schedule.step()).toThrow("3 steps");
  });
});
