/** @file Optimisers as expressions, equal to PyTorch's: one table of update rules. */
import { z } from "zod";
import { abs, add, div, maximum, mul, sqrt, sub, type Tensor } from "../../graph/index.ts";
import { TrainError } from "../errors.ts";

export interface AdamOptions {
  lr: number;
  betas: readonly [number, number];
  eps: number;
  weightDecay: number;
  amsgrad: boolean;
}
export interface SgdOptions {
  lr: number;
  momentum: number;
  dampening: number;
  weightDecay: number;
  nesterov: boolean;
}
export interface RmspropOptions {
  lr: number;
  alpha: number;
  eps: number;
  weightDecay: number;
  momentum: number;
  centered: boolean;
}
export interface AdagradOptions {
  lr: number;
  lrDecay: number;
  weightDecay: number;
  initialAccumulatorValue: number;
  eps: number;
}

const rate = z.number().nonnegative();
const fraction = z.number().min(0).lt(1);
const betas = z.tuple([fraction, fraction]).readonly();
const adamOptions = (weightDecay: number): z.ZodType<AdamOptions> =>
  z.strictObject({
    lr: rate.default(1e-3),
    betas: betas.default([0.9, 0.999]),
    eps: rate.default(1e-8),
    weightDecay: rate.default(weightDecay),
    amsgrad: z.boolean().default(false),
  });
const sgdOptions: z.ZodType<SgdOptions> = z
  .strictObject({
    lr: rate.default(1e-3),
    momentum: rate.default(0),
    dampening: z.number().default(0),
    weightDecay: rate.default(0),
    nesterov: z.boolean().default(false),
  })
  .refine((o) => !o.nesterov || (o.momentum > 0 && o.dampening === 0), {
    error: "nesterov needs a momentum and no dampening",
    path: ["nesterov"],
  });
const rmspropOptions: z.ZodType<RmspropOptions> = z.strictObject({
  lr: rate.default(1e-2),
  alpha: fraction.default(0.99),
  eps: rate.default(1e-8),
  weightDecay: rate.default(0),
  momentum: rate.default(0),
  centered: z.boolean().default(false),
});
const adagradOptions: z.ZodType<AdagradOptions> = z.strictObject({
  lr: rate.default(1e-2),
  lrDecay: rate.default(0),
  weightDecay: rate.default(0),
  initialAccumulatorValue: rate.default(0),
  eps: rate.default(1e-10),
});

/** What one parameter's update is made of; all tensors have the parameter's shape. */
interface UpdateInput<O> {
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  /** State tensors by name. */
  readonly slots: Readonly<Record<string, Tensor>>;
  /** Scalars of this step, by name. */
  readonly at: Readonly<Record<string, Tensor>>;
  readonly options: O;
}

interface Updated {
  readonly parameter: Tensor;
  readonly slots: Readonly<Record<string, Tensor>>;
}

/** How an optimiser changes a parameter. */
interface Rule<O> {
  /** Options with PyTorch's names and defaults, in camelCase. */
  readonly options: z.ZodType<O>;
  /** State tensors of a parameter, by PyTorch's names, with the value they start from. */
  readonly slots: (options: O) => Readonly<Record<string, number>>;
  /** Numbers of a step, computed in double precision as PyTorch does. @param step counts from 1 */
  readonly scalars: (options: O, lr: number, step: number) => Readonly<Record<string, number>>;
  readonly update: (input: UpdateInput<O>) => Updated;
}

const decayed = ({ gradient, parameter }: UpdateInput<unknown>, weightDecay: number): Tensor =>
  weightDecay === 0 ? gradient : add(gradient, mul(parameter, weightDecay));

/** `old·beta + now·(1 − beta)` */
const blend = (old: Tensor, now: Tensor, beta: number): Tensor => add(mul(old, beta), mul(now, 1 - beta));

/** Adam (Kingma and Ba 2015, arXiv 1412.6980), with decay in the gradient, or decoupled from it (arXiv 1711.05101). */
const adam = (decoupled: boolean): Rule<AdamOptions> => ({
  options: adamOptions(decoupled ? 0.01 : 0),
  slots: ({ amsgrad }) => ({ exp_avg: 0, exp_avg_sq: 0, ...(amsgrad ? { max_exp_avg_sq: 0 } : {}) }),
  scalars: ({ betas: [beta1, beta2], weightDecay }, lr, step) => ({
    stepSize: lr / (1 - beta1 ** step),
    rootScale: 1 / Math.sqrt(1 - beta2 ** step),
    ...(decoupled && weightDecay > 0 ? { keep: 1 - lr * weightDecay } : {}),
  }),
  update: (input) => {
    const { slots, at, options } = input;
    const [beta1, beta2] = options.betas;
    const gradient = decoupled ? input.gradient : decayed(input, options.weightDecay);
    const parameter = at["keep"] === undefined ? input.parameter : mul(input.parameter, at["keep"]);
    const exp_avg = blend(slots["exp_avg"]!, gradient, beta1);
    const exp_avg_sq = blend(slots["exp_avg_sq"]!, mul(gradient, gradient), beta2);
    const most = slots["max_exp_avg_sq"];
    const max_exp_avg_sq = most && maximum(most, exp_avg_sq);
    const root = add(mul(sqrt(max_exp_avg_sq ?? exp_avg_sq), at["rootScale"]!), options.eps);
    return {
      parameter: sub(parameter, mul(div(exp_avg, root), at["stepSize"]!)),
      slots: { exp_avg, exp_avg_sq, ...(max_exp_avg_sq && { max_exp_avg_sq }) },
    };
  },
});

/** Stochastic gradient descent with momentum, dampening and Nesterov's look ahead. */
const sgd: Rule<SgdOptions> = {
  options: sgdOptions,
  slots: ({ momentum }): Readonly<Record<string, number>> => (momentum === 0 ? {} : { momentum_buffer: 0 }),
  // The first gradient is not dampened.
  scalars: ({ momentum, dampening }, lr, step) => ({
    lr,
    ...(momentum === 0 ? {} : { gain: step === 1 ? 1 : 1 - dampening }),
  }),
  update: (input): Updated => {
    const { parameter, slots, at, options } = input;
    const gradient = decayed(input, options.weightDecay);
    const buffer = slots["momentum_buffer"];
    if (buffer === undefined) return { parameter: sub(parameter, mul(gradient, at["lr"]!)), slots: {} };
    const momentum_buffer = add(mul(buffer, options.momentum), mul(gradient, at["gain"]!));
    const direction = options.nesterov ? add(gradient, mul(momentum_buffer, options.momentum)) : momentum_buffer;
    return { parameter: sub(parameter, mul(direction, at["lr"]!)), slots: { momentum_buffer } };
  },
};

/** RMSprop (Hinton, lecture 6e), centred and with momentum where asked for. */
const rmsprop: Rule<RmspropOptions> = {
  options: rmspropOptions,
  slots: ({ momentum, centered }) => ({
    square_avg: 0,
    ...(momentum > 0 ? { momentum_buffer: 0 } : {}),
    ...(centered ? { grad_avg: 0 } : {}),
  }),
  scalars: (_options, lr) => ({ lr }),
  update: (input) => {
    const { parameter, slots, at, options } = input;
    const gradient = decayed(input, options.weightDecay);
    const square_avg = blend(slots["square_avg"]!, mul(gradient, gradient), options.alpha);
    const grad_avg = slots["grad_avg"] && blend(slots["grad_avg"], gradient, options.alpha);
    const variance = grad_avg === undefined ? square_avg : sub(square_avg, mul(grad_avg, grad_avg));
    const scaled = div(gradient, add(sqrt(variance), options.eps));
    const momentum_buffer = slots["momentum_buffer"] && add(mul(slots["momentum_buffer"], options.momentum), scaled);
    return {
      parameter: sub(parameter, mul(momentum_buffer ?? scaled, at["lr"]!)),
      slots: { square_avg, ...(momentum_buffer && { momentum_buffer }), ...(grad_avg && { grad_avg }) },
    };
  },
};

/** Adagrad (Duchi et al. 2011). */
const adagrad: Rule<AdagradOptions> = {
  options: adagradOptions,
  slots: ({ initialAccumulatorValue }) => ({ sum: initialAccumulatorValue }),
  scalars: ({ lrDecay }, lr, step) => ({ lr: lr / (1 + (step - 1) * lrDecay) }),
  update: (input) => {
    const gradient = decayed(input, input.options.weightDecay);
    const sum = add(input.slots["sum"]!, mul(gradient, gradient));
    const scaled = div(gradient, add(sqrt(abs(sum)), input.options.eps));
    return { parameter: sub(input.parameter, mul(scaled, input.at["lr"]!)), slots: { sum } };
  },
};

/** An optimiser whose options are known. */
export interface Optimizer {
  readonly lr: number;
  /** State tensors of each parameter, with the value they start from. */
  readonly slots: Readonly<Record<string, number>>;
  /** Numbers of a step, in double precision. @param step counts from 1 */
  readonly scalars: (lr: number, step: number) => Readonly<Record<string, number>>;
  readonly update: (input: Omit<UpdateInput<unknown>, "options">) => Updated;
}

/** An entry of the table of optimisers. */
export interface OptimizerKind<O> {
  /** Options with PyTorch's names and defaults, in camelCase. */
  readonly options: z.ZodType<O>;
  /** @throws TrainError for options that do not fit */
  readonly make: (given: object) => Optimizer;
}

function kind<O extends { lr: number }>(name: string, rule: Rule<O>): OptimizerKind<O> {
  const make = (given: object): Optimizer => {
    const parsed = rule.options.safeParse(given);
    if (!parsed.success)
      throw new TrainError("the optimiser's options do not fit", {
        code: "train/optimizer",
        where: name,
        received: z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, " "),
      });
    const options = parsed.data;
    return {
      lr: options.lr,
      slots: rule.slots(options),
      scalars: (lr, step) => rule.scalars(options, lr, step),
      update: (input) => rule.update({ ...input, options }),
    };
  };
  return { options: rule.options, make };
}

/**
 * Every optimiser by PyTorch's name.
 * @example
 * Object.keys(optimizers); // ["AdamW", "Adam", "SGD", "RMSprop", "Adagrad"]
 */
export const optimizers: {
  readonly AdamW: OptimizerKind<AdamOptions>;
  readonly Adam: OptimizerKind<AdamOptions>;
  readonly SGD: OptimizerKind<SgdOptions>;
  readonly RMSprop: OptimizerKind<RmspropOptions>;
  readonly Adagrad: OptimizerKind<AdagradOptions>;
} = {
  AdamW: kind("AdamW", adam(true)),
  Adam: kind("Adam", adam(false)),
  SGD: kind("SGD", sgd),
  RMSprop: kind("RMSprop", rmsprop),
  Adagrad: kind("Adagrad", adagrad),
};

export type OptimizerName = keyof typeof optimizers;

/** An optimiser by name, with its options; what is left out has PyTorch's default. */
export type OptimizerConfig = {
  readonly [N in OptimizerName]: { readonly name: N } & Partial<
    (typeof optimizers)[N] extends OptimizerKind<infer O> ? O : never
  >;
}[OptimizerName];

/**
 * An optimiser of the table, its options checked.
 * @throws TrainError for a name that is not in the table, and for options that do not fit
 * @example
 * makeOptimizer({ name: "SGD", lr: 0.1, momentum: 0.9 }).slots; // { momentum_buffer: 0 }
 */
export function makeOptimizer(config: OptimizerConfig): Optimizer {
  const { name, ...given } = config;
  if (!Object.hasOwn(optimizers, name))
    throw new TrainError("there is no optimiser of this name", {
      code: "train/optimizer",
      expected: Object.keys(optimizers).join(", "),
      received: String(name),
    });
  return optimizers[name].make(given);
}
