import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { sharedPath } from "../../../test/support/goldens.ts";
import { makeSchedule, schedules, type Schedule, type ScheduleConfig } from "./schedules.ts";

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
  cosine_with_warmup: "get_cosine_schedule_with_warmup",
  linear_with_warmup: "get_linear_schedule_with_warmup",
  constant_with_warmup: "get_constant_schedule_with_warmup",
  polynomial_with_warmup: "get_polynomial_decay_schedule_with_warmup",
};

const camel = (name: string): string => name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Published names and arguments as ours. */
function configOf(name: string, args: Readonly<Record<string, unknown>>): ScheduleConfig {
  const own = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map((each: unknown) =>
          typeof each === "object" ? configOf((each as Node).class_path, (each as Node).init_args) : each,
        )
      : value;
  return {
    name,
    ...Object.fromEntries(Object.entries(args).map(([key, value]) => [camel(key), own(value)])),
  } as ScheduleConfig;
}
interface Node {
  readonly class_path: string;
  readonly init_args: Readonly<Record<string, unknown>>;
}

describe("schedules", () => {
  it.each(golden.schedules)("$name is PyTorch's", ({ kind, lr, settings, learning_rates }) => {
    const rates = run(makeSchedule(configOf(functions[kind] ?? kind, settings), [lr]), golden.plateau_metric);
    expectEqual(
      rates.map(([rate]) => rate!),
      learning_rates,
    );
  });

  it.each(more.schedules)("$class_path of two groups is PyTorch's", ({ class_path, init_args, rates }) => {
    const got = run(makeSchedule(configOf(class_path, init_args), more.bases), more.metric);
    expectEqual(got.flat(), rates.flat());
  });

  it("are all in the goldens", () => {
    const covered = [
      ...golden.schedules.map(({ kind }) => functions[kind] ?? kind),
      ...more.schedules.map(({ class_path }) => class_path),
    ];
    expect(Object.keys(schedules).filter((name) => !covered.includes(name))).toEqual([]);
  });

  it.each(more.schedules)(
    "$class_path goes on from its state as if it had not stopped",
    ({ class_path, init_args }) => {
      const node = configOf(class_path, init_args);
      const whole = makeSchedule(node, more.bases);
      const expected = run(whole, more.metric);
      for (const stop of [0, 1, 5, 11, 17]) {
        const first = makeSchedule(node, more.bases);
        run(first, more.metric.slice(0, stop));
        const second = makeSchedule(node, more.bases);
        second.restore(JSON.parse(JSON.stringify(first.state())) as ReturnType<Schedule["state"]>);
        expect(run(second, more.metric, stop)).toEqual(expected.slice(stop));
        expect(second.state()).toEqual(whole.state());
      }
    },
  );

  it("refuse what they do not take, by name", () => {
    const make = (name: string, args: object) => () => makeSchedule({ name, ...args } as ScheduleConfig, [1]);
    expect(make("StepLR", {})).toThrow("StepLR does not take these arguments; in stepSize");
    expect(make("StepLR", { stepSize: 1, gama: 2 })).toThrow('Unrecognized key: "gama"');
    expect(make("Steps", {})).toThrow("there is no such schedule; expected one of ConstantLR, LinearLR");
    const inner = [{ name: "ReduceLROnPlateau" }];
    expect(make("ChainedScheduler", { schedulers: inner })).toThrow("watches a metric cannot be one of several");
    expect(make("SequentialLR", { schedulers: [{ name: "ExponentialLR", gamma: 1 }], milestones: [3] })).toThrow(
      "expected one milestone less than schedulers",
    );
    expect(make("ChainedScheduler", { schedulers: [{ name: "StepLR" }] })).toThrow("stepSize");
    const plateau = makeSchedule({ name: "ReduceLROnPlateau" }, [1]);
    expect(() => plateau.step()).toThrow("pl_lrs_cfg.monitor");
    expect(() => plateau.restore({ step: 0, rates: [1, 2] })).toThrow("other parameter groups");
    expect(make("OneCycleLR", { maxLr: 1 })).toThrow("totalSteps");
  });

  it("have arguments that the compiler knows", () => {
    // @ts-expect-error milestones are numbers
    const wrong: ScheduleConfig = { name: "MultiStepLR", milestones: ["a"] };
    // @ts-expect-error gamma has no default here
    const missing: ScheduleConfig = { name: "ExponentialLR" };
    for (const config of [wrong, missing]) expect(() => makeSchedule(config, [1])).toThrow("does not take");
  });

  it("OneCycleLR does not go past its end", () => {
    const schedule = makeSchedule({ name: "OneCycleLR", maxLr: 1, totalSteps: 3 }, [1]);
    run(schedule, [0, 0, 0]);
    expect(() => schedule.step()).toThrow("3 steps");
  });
});
