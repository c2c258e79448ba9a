/**
 * @file Learning-rate schedules: PyTorch's (`torch.optim.lr_scheduler`, 2.11) and transformers', under their own names and
 * with their own arguments. The table below is what a configuration may name.
 */
import { z } from "zod";
import { TrainError } from "./errors.ts";

const rate = z.number().nonnegative();
const share = z.number().min(0).max(1);
const count = z.int().positive();
const steps = z.int().nonnegative();

/** A class by name with its arguments, as published files write it. */
export interface ScheduleNode {
  /** With or without `torch.optim.lr_scheduler.` or `transformers.` */
  readonly classPath: string;
  readonly initArgs?: Readonly<Record<string, unknown>>;
}

/** Everything that decides what comes next. Plain numbers and lists: JSON holds it exactly. */
export interface ScheduleState {
  /** Steps taken. */
  readonly step: number;
  /** The rate of each parameter group. */
  readonly rates: readonly number[];
  /** Lowest (or highest) value of the watched metric; null before the first. */
  readonly best?: number | null;
  /** Steps without a better value. */
  readonly bad?: number;
  /** Steps to go in which nothing counts as bad. */
  readonly cooldown?: number;
  /** Of the schedules this one is made of. */
  readonly children?: readonly ScheduleState[];
}

interface Kind {
  readonly module: "torch.optim.lr_scheduler" | "transformers";
  readonly args: z.ZodType<object>;
  /** @param rates what the groups have now @param bases what they were made with */
  start(args: object, rates: readonly number[], bases: readonly number[]): ScheduleState;
  next(args: object, state: ScheduleState, bases: readonly number[], metric: number | undefined): ScheduleState;
  readonly watches?: true;
}

/** A kind whose arguments have a known type. */
type Ruled<S extends z.ZodRawShape> = Kind & { readonly args: z.ZodObject<S> };

/** The rate after `t` steps, from the one before and the one the group was made with. */
type Rule<A> = (args: A, t: number, rate: number, base: number) => number;

/** A schedule that is a rule; the first rate is the group's own unless said otherwise. */
function ruled<S extends z.ZodRawShape>(
  module: Kind["module"],
  shape: S,
  rule: Rule<z.infer<z.ZodObject<S>>>,
  first: Rule<z.infer<z.ZodObject<S>>> = (_, _t, rate) => rate,
): Ruled<S> {
  const args = z.strictObject(shape);
  type Args = z.infer<typeof args>;
  return { module, args, ...following<Args>(rule, first) };
}

function following<A>(rule: Rule<A>, first: Rule<A>): Pick<Kind, "start" | "next"> {
  const apply = (by: Rule<A>, args: object, step: number, rates: readonly number[], bases: readonly number[]) => ({
    step,
    rates: rates.map((each, group) => by(args as A, step, each, bases[group]!)),
  });
  return {
    start: (args, rates, bases) => apply(first, args, 0, rates, bases),
    next: (args, { step, rates }, bases) => apply(rule, args, step + 1, rates, bases),
  };
}

/** Rules of PyTorch go on from the rate there is. */
const torch = <S extends z.ZodRawShape>(
  shape: S,
  rule: Rule<z.infer<z.ZodObject<S>>>,
  first?: Rule<z.infer<z.ZodObject<S>>>,
): Ruled<S> => ruled("torch.optim.lr_scheduler", shape, rule, first);

/** Rules of transformers: the base rate times a factor. */
function transformers<S extends z.ZodRawShape>(
  shape: S,
  factor: (args: z.infer<z.ZodObject<S>>, t: number, base: number) => number,
): Ruled<S> {
  const rule: Rule<z.infer<z.ZodObject<S>>> = (args, t, _rate, base) => base * factor(args, t, base);
  return ruled("transformers", shape, rule, rule);
}

const warmup = { num_warmup_steps: steps, num_training_steps: steps };
type Warmup = { readonly num_warmup_steps: number; readonly num_training_steps: number };
const rising = (t: number, steps: number): number => t / Math.max(1, steps);
/** How far it is after the warm-up: 0 to 1. */
const progress = ({ num_warmup_steps, num_training_steps }: Warmup, t: number): number =>
  (t - num_warmup_steps) / Math.max(1, num_training_steps - num_warmup_steps);

/** Steps since the last restart, and to the next. */
function cycle(t: number, first: number, factor: number): readonly [now: number, length: number] {
  if (factor === 1) return [t % first, first];
  let [now, length] = [t, first];
  while (now >= length) [now, length] = [now - length, length * factor];
  return [now, length];
}

const oneCycle = z
  .strictObject({
    max_lr: rate,
    total_steps: count.optional(),
    epochs: count.optional(),
    steps_per_epoch: count.optional(),
    pct_start: share.default(0.3),
    anneal_strategy: z.enum(["cos", "linear"]).default("cos"),
    div_factor: z.number().positive().default(25),
    final_div_factor: z.number().positive().default(1e4),
    three_phase: z.boolean().default(false),
  })
  .refine((args) => !Number.isNaN(totalSteps(args)), {
    error: "expected total_steps, or epochs and steps_per_epoch",
    path: ["total_steps"],
  });
type OneCycle = z.infer<typeof oneCycle>;

interface CycleLength {
  readonly total_steps?: number | undefined;
  readonly epochs?: number | undefined;
  readonly steps_per_epoch?: number | undefined;
}
const totalSteps = ({ total_steps, epochs = NaN, steps_per_epoch = NaN }: CycleLength): number =>
  total_steps ?? epochs * steps_per_epoch;

function oneCycleRate(args: OneCycle, t: number): number {
  const { max_lr, pct_start, div_factor, final_div_factor } = args;
  const total = totalSteps(args);
  if (t > total)
    throw new TrainError("OneCycleLR is at its end", {
      code: "train/schedule",
      expected: `${total} steps`,
      received: String(t),
    });
  const low = max_lr / div_factor;
  const end = low / final_div_factor;
  const up = pct_start * total - 1;
  const phases = args.three_phase
    ? ([
        [up, low, max_lr],
        [2 * pct_start * total - 2, max_lr, low],
        [total - 1, low, end],
      ] as const)
    : ([
        [up, low, max_lr],
        [total - 1, max_lr, end],
      ] as const);
  const at = phases.findIndex(([last], i) => t <= last || i === phases.length - 1);
  const [last, from, to] = phases[at]!;
  const start = at === 0 ? 0 : phases[at - 1]![0];
  const part = (t - start) / (last - start);
  return args.anneal_strategy === "cos"
    ? to + ((from - to) / 2) * (Math.cos(Math.PI * part) + 1)
    : (to - from) * part + from;
}

const plateau = z.strictObject({
  mode: z.enum(["min", "max"]).default("min"),
  factor: z.number().min(0).lt(1).default(0.1),
  patience: steps.default(10),
  threshold: rate.default(1e-4),
  threshold_mode: z.enum(["rel", "abs"]).default("rel"),
  cooldown: steps.default(0),
  min_lr: z.union([rate, z.array(rate)]).default(0),
  eps: rate.default(1e-8),
});

function isBetter({ mode, threshold, threshold_mode }: z.infer<typeof plateau>, now: number, best: number): boolean {
  const sign = mode === "min" ? -1 : 1;
  const bar = threshold_mode === "rel" ? best * (1 + sign * threshold) : best + sign * threshold;
  return mode === "min" ? now < bar : now > bar;
}

type Child = readonly [kind: Kind, args: object];

/** `{ class_path, init_args }` in either spelling, as the schedule it names. */
const child = z.preprocess(
  (node) => {
    if (typeof node !== "object" || node === null || !("class_path" in node)) return node;
    const { class_path, init_args, ...rest } = node as Record<string, unknown>;
    return { classPath: class_path, initArgs: init_args, ...rest };
  },
  z
    .strictObject({ classPath: z.string(), initArgs: z.record(z.string(), z.unknown()).optional() })
    .transform((node, context): Child => {
      const found = resolve(node);
      const fault = (message: string): never => {
        context.addIssue({ code: "custom", message });
        return z.NEVER;
      };
      if (found instanceof TrainError) return fault(found.message);
      if (found[0].watches === true) return fault("a schedule that watches a metric cannot be one of several");
      return found;
    }),
);
const children = z.array(child).min(1);
const childrenOf = (args: object): readonly Child[] => (args as { schedulers: readonly Child[] }).schedulers;

/** Every schedule by its published name. */
export const schedules = {
  ConstantLR: torch(
    { factor: share.default(1 / 3), total_iters: steps.default(5) },
    ({ factor, total_iters }, t, rate) => (t === total_iters ? rate / factor : rate),
    ({ factor }, _t, rate) => rate * factor,
  ),
  LinearLR: torch(
    { start_factor: share.gt(0).default(1 / 3), end_factor: share.default(1), total_iters: count.default(5) },
    ({ start_factor, end_factor, total_iters }, t, rate) =>
      t > total_iters
        ? rate
        : rate *
          (1 + (end_factor - start_factor) / (total_iters * start_factor + (t - 1) * (end_factor - start_factor))),
    ({ start_factor }, _t, rate) => rate * start_factor,
  ),
  PolynomialLR: torch(
    { total_iters: count.default(5), power: z.number().default(1) },
    ({ total_iters, power }, t, rate) =>
      t > total_iters ? rate : rate * ((1 - t / total_iters) / (1 - (t - 1) / total_iters)) ** power,
  ),
  StepLR: torch({ step_size: count, gamma: rate.default(0.1) }, ({ step_size, gamma }, t, rate) =>
    t % step_size === 0 ? rate * gamma : rate,
  ),
  MultiStepLR: torch(
    { milestones: z.array(steps), gamma: rate.default(0.1) },
    ({ milestones, gamma }, t, rate) => rate * gamma ** milestones.filter((each) => each === t).length,
  ),
  ExponentialLR: torch({ gamma: rate }, ({ gamma }, _t, rate) => rate * gamma),
  CosineAnnealingLR: torch({ T_max: count, eta_min: rate.default(0) }, ({ T_max, eta_min }, t, rate, base) => {
    if ((t - 1 - T_max) % (2 * T_max) === 0) return rate + ((base - eta_min) * (1 - Math.cos(Math.PI / T_max))) / 2;
    const height = (at: number): number => 1 + Math.cos((Math.PI * at) / T_max);
    return (height(t) / height(t - 1)) * (rate - eta_min) + eta_min;
  }),
  CosineAnnealingWarmRestarts: torch(
    { T_0: count, T_mult: count.default(1), eta_min: rate.default(0) },
    ({ T_0, T_mult, eta_min }, t, _rate, base) => {
      const [now, length] = cycle(t, T_0, T_mult);
      return eta_min + ((base - eta_min) * (1 + Math.cos((Math.PI * now) / length))) / 2;
    },
    (_, _t, _rate, base) => base,
  ),
  /** Rates only: momentum is not cycled. */
  OneCycleLR: { module: "torch.optim.lr_scheduler", args: oneCycle, ...following(oneCycleRate, oneCycleRate) },
  /** Steps when a metric has stopped getting better. */
  ReduceLROnPlateau: {
    module: "torch.optim.lr_scheduler",
    args: plateau,
    watches: true,
    start: (_, rates) => ({ step: 0, rates, best: null, bad: 0, cooldown: 0 }),
    next(given, { step, rates, best = null, bad = 0, cooldown = 0 }, _, metric) {
      const args = given as z.infer<typeof plateau>;
      if (metric === undefined)
        throw new TrainError("ReduceLROnPlateau steps with the metric it watches", {
          code: "train/schedule",
          hint: "name it as monitor (pl_lrs_cfg.monitor)",
        });
      const better = best === null || isBetter(args, metric, best);
      const cooling = cooldown > 0;
      const worse = cooling || better ? 0 : bad + 1;
      const reduce = worse > args.patience;
      const floor = (group: number): number =>
        typeof args.min_lr === "number" ? args.min_lr : (args.min_lr[group] ?? 0);
      const lower = (rate: number, group: number): number => {
        const next = Math.max(rate * args.factor, floor(group));
        return rate - next > args.eps ? next : rate;
      };
      return {
        step: step + 1,
        rates: reduce ? rates.map(lower) : rates,
        best: better ? metric : best,
        bad: reduce ? 0 : worse,
        cooldown: reduce ? args.cooldown : cooldown - Number(cooling),
      };
    },
  },
  /** One after the other: each begins anew at its milestone. */
  SequentialLR: {
    module: "torch.optim.lr_scheduler",
    args: z
      .strictObject({ schedulers: children, milestones: z.array(count) })
      .refine(({ schedulers, milestones }) => milestones.length === schedulers.length - 1, {
        error: "expected one milestone less than schedulers",
        path: ["milestones"],
      }),
    start(args, _, bases) {
      const [[first, own]] = childrenOf(args) as [Child];
      const state = first.start(own, bases, bases);
      return { step: 0, rates: state.rates, children: [state] };
    },
    next(args, state, bases) {
      const step = state.step + 1;
      const { milestones } = args as { milestones: readonly number[] };
      const at = milestones.filter((each) => each <= step).length;
      const [now, own] = childrenOf(args)[at]!;
      const child =
        milestones[at - 1] === step
          ? now.start(own, bases, bases)
          : now.next(own, { ...state.children![0]!, rates: state.rates }, bases, undefined);
      return { step, rates: child.rates, children: [child] };
    },
  },
  /** All at once: each goes on from the rate that the one before it gives. */
  ChainedScheduler: {
    module: "torch.optim.lr_scheduler",
    args: z.strictObject({ schedulers: children }),
    start(args, rates, bases) {
      const states = chained(childrenOf(args), rates, ([each, own], now) => each.start(own, now, bases));
      return { step: 0, rates: states.at(-1)!.rates, children: states };
    },
    next(args, { step, rates, children }, bases) {
      const states = chained(childrenOf(args), rates, ([each, own], now, i) =>
        each.next(own, { ...children![i]!, rates: now }, bases, undefined),
      );
      return { step: step + 1, rates: states.at(-1)!.rates, children: states };
    },
  },
  get_constant_schedule: transformers({}, () => 1),
  get_constant_schedule_with_warmup: transformers({ num_warmup_steps: steps }, ({ num_warmup_steps }, t) =>
    t < num_warmup_steps ? rising(t, num_warmup_steps) : 1,
  ),
  get_linear_schedule_with_warmup: transformers(warmup, (args, t) =>
    t < args.num_warmup_steps
      ? rising(t, args.num_warmup_steps)
      : Math.max(0, (args.num_training_steps - t) / Math.max(1, args.num_training_steps - args.num_warmup_steps)),
  ),
  get_cosine_schedule_with_warmup: transformers({ ...warmup, num_cycles: z.number().default(0.5) }, (args, t) =>
    t < args.num_warmup_steps
      ? rising(t, args.num_warmup_steps)
      : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * args.num_cycles * 2 * progress(args, t)))),
  ),
  get_cosine_with_hard_restarts_schedule_with_warmup: transformers(
    { ...warmup, num_cycles: count.default(1) },
    (args, t) => {
      if (t < args.num_warmup_steps) return rising(t, args.num_warmup_steps);
      const done = progress(args, t);
      return done >= 1 ? 0 : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((args.num_cycles * done) % 1))));
    },
  ),
  get_polynomial_decay_schedule_with_warmup: transformers(
    { ...warmup, lr_end: rate.default(1e-7), power: z.number().default(1) },
    (args, t, base) => {
      if (t < args.num_warmup_steps) return rising(t, args.num_warmup_steps);
      if (t > args.num_training_steps) return args.lr_end / base;
      const left = 1 - (t - args.num_warmup_steps) / (args.num_training_steps - args.num_warmup_steps);
      return ((base - args.lr_end) * left ** args.power + args.lr_end) / base;
    },
  ),
} as const satisfies Readonly<Record<string, Kind>>;

function chained(
  all: readonly Child[],
  rates: readonly number[],
  step: (child: Child, rates: readonly number[], index: number) => ScheduleState,
): ScheduleState[] {
  const states: ScheduleState[] = [];
  for (const [i, child] of all.entries()) states.push(step(child, states.at(-1)?.rates ?? rates, i));
  return states;
}

/** The name of a schedule, without its module. */
export type ScheduleName = keyof typeof schedules;
/** The arguments of a schedule; those with a default may be left out. */
export type ScheduleArgs<N extends ScheduleName> = z.input<(typeof schedules)[N]["args"]>;

/** Every class path that is known, with its schedule's name: each name with and without its module. */
export const schedulePaths: ReadonlyMap<string, ScheduleName> = new Map(
  (Object.keys(schedules) as ScheduleName[]).flatMap((name) => [
    [name, name] as const,
    [`${schedules[name].module}.${name}`, name] as const,
  ]),
);

function resolve({ classPath, initArgs = {} }: ScheduleNode): Child | TrainError {
  const name = schedulePaths.get(classPath);
  if (name === undefined)
    return new TrainError("there is no such schedule", {
      code: "train/schedule",
      expected: `one of ${Object.keys(schedules).join(", ")}`,
      received: classPath,
    });
  const found: Kind = schedules[name];
  const checked = found.args.safeParse(initArgs);
  if (checked.success) return [found, checked.data];
  const [issue] = checked.error.issues;
  return new TrainError(`${name} does not take these arguments`, {
    code: "train/schedule",
    where: issue!.path.join(".") || undefined,
    received: JSON.stringify(initArgs),
    hint: issue!.message,
  });
}

/** A schedule on its way. */
export interface Schedule {
  /** The rate of each parameter group now. */
  readonly rates: readonly number[];
  /** True where {@link step} needs the value of a metric. */
  readonly watches: boolean;
  /** One step on. @param metric what a plateau schedule watches */
  step(metric?: number): readonly number[];
  /** What {@link restore} takes. */
  state(): ScheduleState;
  restore(state: ScheduleState): void;
}

/**
 * Names a schedule, with its arguments checked by the compiler.
 * @example
 * const node = scheduleNode("CosineAnnealingWarmRestarts", { T_0: 1, T_mult: 2, eta_min: 1e-6 });
 * createSchedule(node, [3e-5]).step(); // [ 0.00003 ]
 */
export function scheduleNode<N extends ScheduleName>(name: N, args: ScheduleArgs<N>): ScheduleNode {
  return { classPath: name, initArgs: args };
}

/**
 * A schedule over the rates that parameter groups were made with: the values of PyTorch 2.11 and transformers 5, step by
 * step. The rates before the first step may differ from those given: warm-ups begin low.
 * @throws TrainError for names and arguments that the schedule does not have
 * @example
 * const schedule = createSchedule({ classPath: "StepLR", initArgs: { step_size: 2, gamma: 0.5 } }, [0.1]);
 * schedule.step(); // [ 0.1 ]
 * schedule.step(); // [ 0.05 ]
 */
export function createSchedule(node: ScheduleNode, bases: readonly number[]): Schedule {
  const found = resolve(node);
  if (found instanceof TrainError) throw found;
  const [kind, args] = found;
  let state = kind.start(args, bases, bases);
  return {
    get rates() {
      return state.rates;
    },
    watches: kind.watches === true,
    step(metric) {
      state = kind.next(args, state, bases, metric);
      return state.rates;
    },
    state: () => state,
    restore(given) {
      if (given.rates.length !== bases.length)
        throw new TrainError("the schedule's state is of other parameter groups", {
          code: "train/resume",
          expected: `${bases.length} rates`,
          received: String(given.rates.length),
        });
      state = given;
    },
  };
}
