/**
 * @file Learning-rate schedules: PyTorch's (`torch.optim.lr_scheduler`, 2.11) and transformers', under their own names and
 * with their own arguments, in camelCase. The table below is what a configuration may name.
 */
import { z } from "zod";
import { TrainError } from "../errors.ts";

const rate = z.number().nonnegative();
const share = z.number().min(0).max(1);
const count = z.int().positive();
const steps = z.int().nonnegative();

/** Everything that decides what comes next. Plain numbers and lists: JSON holds it exactly. */
export interface ScheduleState {
  /** Steps taken. */
  readonly step: number;
  /** The rate of each parameter group. */
  readonly rates: readonly number[];
  /** What the groups were made with; only in the state of the whole. */
  readonly bases?: readonly number[];
  /** Lowest (or highest) value of the watched metric; null before the first. */
  readonly best?: number | null;
  /** Steps without a better value. */
  readonly bad?: number;
  /** Steps to go in which nothing counts as bad. */
  readonly cooldown?: number;
  /** Of the schedules this one is made of. */
  readonly children?: readonly ScheduleState[];
}

/** How far a warm-up and what follows it go. */
interface Warmup {
  readonly numWarmupSteps: number;
  readonly numTrainingSteps: number;
}

/** The arguments of each schedule; those with a question mark have PyTorch's (or transformers') default. */
export interface ScheduleArguments {
  readonly ConstantLR: { readonly factor?: number; readonly totalIters?: number };
  readonly LinearLR: { readonly startFactor?: number; readonly endFactor?: number; readonly totalIters?: number };
  readonly PolynomialLR: { readonly totalIters?: number; readonly power?: number };
  readonly StepLR: { readonly stepSize: number; readonly gamma?: number };
  readonly MultiStepLR: { readonly milestones: readonly number[]; readonly gamma?: number };
  readonly ExponentialLR: { readonly gamma: number };
  readonly CosineAnnealingLR: { readonly TMax: number; readonly etaMin?: number };
  readonly CosineAnnealingWarmRestarts: { readonly T0: number; readonly TMult?: number; readonly etaMin?: number };
  /** Rates only: momentum is not cycled. Either the steps, or the epochs and how many steps each has. */
  readonly OneCycleLR: {
    readonly maxLr: number;
    readonly totalSteps?: number;
    readonly epochs?: number;
    readonly stepsPerEpoch?: number;
    readonly pctStart?: number;
    readonly annealStrategy?: "cos" | "linear";
    readonly divFactor?: number;
    readonly finalDivFactor?: number;
    readonly threePhase?: boolean;
  };
  /** Steps when a metric has stopped getting better. */
  readonly ReduceLROnPlateau: {
    readonly mode?: "min" | "max";
    readonly factor?: number;
    readonly patience?: number;
    readonly threshold?: number;
    readonly thresholdMode?: "rel" | "abs";
    readonly cooldown?: number;
    readonly minLr?: number | readonly number[];
    readonly eps?: number;
  };
  /** One after the other: each begins anew at its milestone. */
  readonly SequentialLR: { readonly schedulers: readonly ScheduleConfig[]; readonly milestones: readonly number[] };
  /** All at once: each goes on from the rate that the one before it gives. */
  readonly ChainedScheduler: { readonly schedulers: readonly ScheduleConfig[] };
  readonly get_constant_schedule: object;
  readonly get_constant_schedule_with_warmup: { readonly numWarmupSteps: number };
  readonly get_linear_schedule_with_warmup: Warmup;
  readonly get_cosine_schedule_with_warmup: Warmup & { readonly numCycles?: number };
  readonly get_cosine_with_hard_restarts_schedule_with_warmup: Warmup & { readonly numCycles?: number };
  readonly get_polynomial_decay_schedule_with_warmup: Warmup & { readonly lrEnd?: number; readonly power?: number };
}

/** The name of a schedule. */
export type ScheduleName = keyof ScheduleArguments;

/** A schedule with its arguments. */
export type ScheduleConfig = {
  readonly [N in ScheduleName]: { readonly name: N } & ScheduleArguments[N];
}[ScheduleName];

/** What a schedule is in the table. */
export interface ScheduleKind {
  /** Where Python has it. */
  readonly module: "torch.optim.lr_scheduler" | "transformers";
  /** Checks arguments and fills in defaults. */
  readonly args: z.ZodType<object>;
  /** Whether a step needs the value of a metric. */
  readonly watches?: true;
  /** @param rates what the groups have now @param bases what they were made with */
  start(args: object, rates: readonly number[], bases: readonly number[]): ScheduleState;
  next(args: object, state: ScheduleState, bases: readonly number[], metric: number | undefined): ScheduleState;
}
type Kind = ScheduleKind;

/** The rate after `t` steps, from the one before and the one the group was made with. */
type Rule<A> = (args: A, t: number, rate: number, base: number) => number;

/** A schedule that is a rule; the first rate is the group's own unless said otherwise. */
function ruled<S extends z.ZodRawShape>(
  module: Kind["module"],
  shape: S,
  rule: Rule<z.infer<z.ZodObject<S>>>,
  first: Rule<z.infer<z.ZodObject<S>>> = (_, _t, rate) => rate,
): Kind {
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
): Kind => ruled("torch.optim.lr_scheduler", shape, rule, first);

/** Rules of transformers: the base rate times a factor. */
function transformers<S extends z.ZodRawShape>(
  shape: S,
  factor: (args: z.infer<z.ZodObject<S>>, t: number, base: number) => number,
): Kind {
  const rule: Rule<z.infer<z.ZodObject<S>>> = (args, t, _rate, base) => base * factor(args, t, base);
  return ruled("transformers", shape, rule, rule);
}

const warmup = { numWarmupSteps: steps, numTrainingSteps: steps };
const rising = (t: number, steps: number): number => t / Math.max(1, steps);
/** How far it is after the warm-up: 0 to 1. */
const progress = ({ numWarmupSteps, numTrainingSteps }: Warmup, t: number): number =>
  (t - numWarmupSteps) / Math.max(1, numTrainingSteps - numWarmupSteps);

/** Steps since the last restart, and to the next. */
function cycle(t: number, first: number, factor: number): readonly [now: number, length: number] {
  if (factor === 1) return [t % first, first];
  let [now, length] = [t, first];
  while (now >= length) [now, length] = [now - length, length * factor];
  return [now, length];
}

const oneCycle = z
  .strictObject({
    maxLr: rate,
    totalSteps: count.optional(),
    epochs: count.optional(),
    stepsPerEpoch: count.optional(),
    pctStart: share.default(0.3),
    annealStrategy: z.enum(["cos", "linear"]).default("cos"),
    divFactor: z.number().positive().default(25),
    finalDivFactor: z.number().positive().default(1e4),
    threePhase: z.boolean().default(false),
  })
  .refine((args) => !Number.isNaN(totalSteps(args)), {
    error: "expected totalSteps, or epochs and stepsPerEpoch",
    path: ["totalSteps"],
  });
type OneCycle = z.infer<typeof oneCycle>;

interface CycleLength {
  readonly totalSteps?: number | undefined;
  readonly epochs?: number | undefined;
  readonly stepsPerEpoch?: number | undefined;
}
const totalSteps = ({ totalSteps, epochs = NaN, stepsPerEpoch = NaN }: CycleLength): number =>
  totalSteps ?? epochs * stepsPerEpoch;

function oneCycleRate(args: OneCycle, t: number): number {
  const { maxLr, pctStart, divFactor, finalDivFactor } = args;
  const total = totalSteps(args);
  if (t > total)
    throw new TrainError("OneCycleLR is at its end", {
      code: "train/schedule",
      expected: `${total} steps`,
      received: String(t),
    });
  const low = maxLr / divFactor;
  const end = low / finalDivFactor;
  const up = pctStart * total - 1;
  const phases = args.threePhase
    ? ([
        [up, low, maxLr],
        [2 * pctStart * total - 2, maxLr, low],
        [total - 1, low, end],
      ] as const)
    : ([
        [up, low, maxLr],
        [total - 1, maxLr, end],
      ] as const);
  const at = phases.findIndex(([last], i) => t <= last || i === phases.length - 1);
  const [last, from, to] = phases[at]!;
  const start = at === 0 ? 0 : phases[at - 1]![0];
  const part = (t - start) / (last - start);
  return args.annealStrategy === "cos"
    ? to + ((from - to) / 2) * (Math.cos(Math.PI * part) + 1)
    : (to - from) * part + from;
}

const plateau = z.strictObject({
  mode: z.enum(["min", "max"]).default("min"),
  factor: z.number().min(0).lt(1).default(0.1),
  patience: steps.default(10),
  threshold: rate.default(1e-4),
  thresholdMode: z.enum(["rel", "abs"]).default("rel"),
  cooldown: steps.default(0),
  minLr: z.union([rate, z.array(rate)]).default(0),
  eps: rate.default(1e-8),
});

function isBetter({ mode, threshold, thresholdMode }: z.infer<typeof plateau>, now: number, best: number): boolean {
  const sign = mode === "min" ? -1 : 1;
  const bar = thresholdMode === "rel" ? best * (1 + sign * threshold) : best + sign * threshold;
  return mode === "min" ? now < bar : now > bar;
}

type Child = readonly [kind: Kind, args: object];

/** A schedule inside another. */
const child = z.looseObject({ name: z.string() }).transform((node, context): Child => {
  const found = resolve(node);
  const fault = (message: string): never => {
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  };
  if (found instanceof TrainError) return fault(found.message);
  if (found[0].watches === true) return fault("a schedule that watches a metric cannot be one of several");
  return found;
});
const children = z.array(child).min(1);
const childrenOf = (args: object): readonly Child[] => (args as { schedulers: readonly Child[] }).schedulers;

/**
 * Every schedule by its published name.
 * @example
 * schedules.StepLR.args.parse({ stepSize: 3 }); // { stepSize: 3, gamma: 0.1 }
 */
export const schedules: { readonly [N in ScheduleName]: ScheduleKind } = {
  ConstantLR: torch(
    { factor: share.default(1 / 3), totalIters: steps.default(5) },
    ({ factor, totalIters }, t, rate) => (t === totalIters ? rate / factor : rate),
    ({ factor }, _t, rate) => rate * factor,
  ),
  LinearLR: torch(
    { startFactor: share.gt(0).default(1 / 3), endFactor: share.default(1), totalIters: steps.default(5) },
    ({ startFactor, endFactor, totalIters }, t, rate) =>
      t > totalIters
        ? rate
        : rate * (1 + (endFactor - startFactor) / (totalIters * startFactor + (t - 1) * (endFactor - startFactor))),
    ({ startFactor }, _t, rate) => rate * startFactor,
  ),
  PolynomialLR: torch(
    { totalIters: steps.default(5), power: z.number().default(1) },
    ({ totalIters, power }, t, rate) =>
      t > totalIters ? rate : rate * ((1 - t / totalIters) / (1 - (t - 1) / totalIters)) ** power,
  ),
  StepLR: torch({ stepSize: count, gamma: rate.default(0.1) }, ({ stepSize, gamma }, t, rate) =>
    t % stepSize === 0 ? rate * gamma : rate,
  ),
  MultiStepLR: torch(
    { milestones: z.array(steps), gamma: rate.default(0.1) },
    ({ milestones, gamma }, t, rate) => rate * gamma ** milestones.filter((each) => each === t).length,
  ),
  ExponentialLR: torch({ gamma: rate }, ({ gamma }, _t, rate) => rate * gamma),
  CosineAnnealingLR: torch({ TMax: count, etaMin: rate.default(0) }, ({ TMax, etaMin }, t, rate, base) => {
    if ((t - 1 - TMax) % (2 * TMax) === 0) return rate + ((base - etaMin) * (1 - Math.cos(Math.PI / TMax))) / 2;
    const height = (at: number): number => 1 + Math.cos((Math.PI * at) / TMax);
    return (height(t) / height(t - 1)) * (rate - etaMin) + etaMin;
  }),
  CosineAnnealingWarmRestarts: torch(
    { T0: count, TMult: count.default(1), etaMin: rate.default(0) },
    ({ T0, TMult, etaMin }, t, _rate, base) => {
      const [now, length] = cycle(t, T0, TMult);
      return etaMin + ((base - etaMin) * (1 + Math.cos((Math.PI * now) / length))) / 2;
    },
    (_, _t, _rate, base) => base,
  ),
  OneCycleLR: { module: "torch.optim.lr_scheduler", args: oneCycle, ...following(oneCycleRate, oneCycleRate) },
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
      const better = isBetter(args, metric, best ?? (args.mode === "min" ? Infinity : -Infinity));
      const cooling = cooldown > 0;
      const worse = cooling || better ? 0 : bad + 1;
      const reduce = worse > args.patience;
      const floor = (group: number): number => (typeof args.minLr === "number" ? args.minLr : (args.minLr[group] ?? 0));
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
  SequentialLR: {
    module: "torch.optim.lr_scheduler",
    args: z
      .strictObject({ schedulers: children, milestones: z.array(steps) })
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
      // One whose milestone is 0 begins with the first step, from the rates there are.
      const late = step === 1 && milestones[at - 1] === 0;
      const child =
        late || milestones[at - 1] === step
          ? now.start(own, late ? state.rates : bases, bases)
          : now.next(own, { ...state.children![0]!, rates: state.rates }, bases, undefined);
      return { step, rates: child.rates, children: [child] };
    },
  },
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
  get_constant_schedule_with_warmup: transformers({ numWarmupSteps: steps }, ({ numWarmupSteps }, t) =>
    t < numWarmupSteps ? rising(t, numWarmupSteps) : 1,
  ),
  get_linear_schedule_with_warmup: transformers(warmup, (args, t) =>
    t < args.numWarmupSteps
      ? rising(t, args.numWarmupSteps)
      : Math.max(0, (args.numTrainingSteps - t) / Math.max(1, args.numTrainingSteps - args.numWarmupSteps)),
  ),
  get_cosine_schedule_with_warmup: transformers({ ...warmup, numCycles: z.number().default(0.5) }, (args, t) =>
    t < args.numWarmupSteps
      ? rising(t, args.numWarmupSteps)
      : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * args.numCycles * 2 * progress(args, t)))),
  ),
  get_cosine_with_hard_restarts_schedule_with_warmup: transformers(
    { ...warmup, numCycles: count.default(1) },
    (args, t) => {
      if (t < args.numWarmupSteps) return rising(t, args.numWarmupSteps);
      const done = progress(args, t);
      return done >= 1 ? 0 : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((args.numCycles * done) % 1))));
    },
  ),
  get_polynomial_decay_schedule_with_warmup: transformers(
    { ...warmup, lrEnd: rate.default(1e-7), power: z.number().default(1) },
    (args, t, base) => {
      if (t < args.numWarmupSteps) return rising(t, args.numWarmupSteps);
      if (t > args.numTrainingSteps) return args.lrEnd / base;
      const left = 1 - (t - args.numWarmupSteps) / (args.numTrainingSteps - args.numWarmupSteps);
      return ((base - args.lrEnd) * left ** args.power + args.lrEnd) / base;
    },
  ),
};

function chained(
  all: readonly Child[],
  rates: readonly number[],
  step: (child: Child, rates: readonly number[], index: number) => ScheduleState,
): ScheduleState[] {
  const states: ScheduleState[] = [];
  for (const [i, child] of all.entries()) states.push(step(child, states.at(-1)?.rates ?? rates, i));
  return states;
}

function resolve({ name, ...given }: { readonly name: string }): Child | TrainError {
  if (!Object.hasOwn(schedules, name))
    return new TrainError("there is no such schedule", {
      code: "train/schedule",
      expected: `one of ${Object.keys(schedules).join(", ")}`,
      received: name,
    });
  const found = schedules[name as ScheduleName];
  const checked = found.args.safeParse(given);
  if (checked.success) return [found, checked.data];
  const [issue] = checked.error.issues;
  return new TrainError(`${name} does not take these arguments`, {
    code: "train/schedule",
    where: issue!.path.join(".") || undefined,
    received: JSON.stringify(given),
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
 * A schedule over the rates that parameter groups were made with: the values of PyTorch 2.11 and transformers 5, step by
 * step. The rates before the first step may differ from those given: warm-ups begin low.
 * @throws TrainError for names and arguments that the schedule does not have
 * @example
 * const schedule = makeSchedule({ name: "StepLR", stepSize: 2, gamma: 0.5 }, [0.1]);
 * schedule.step(); // [0.1]
 * schedule.step(); // [0.05]
 */
export function makeSchedule(config: ScheduleConfig, startRates: readonly number[]): Schedule {
  const found = resolve(config);
  if (found instanceof TrainError) throw found;
  const [kind, args] = found;
  let bases = startRates;
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
    state: () => ({ ...state, bases }),
    restore({ bases: saved = bases, ...given }) {
      if (given.rates.length !== bases.length)
        throw new TrainError("the schedule's state is of other parameter groups", {
          code: "train/resume",
          expected: `${bases.length} rates`,
          received: String(given.rates.length),
        });
      state = given;
      bases = saved;
    },
  };
}
