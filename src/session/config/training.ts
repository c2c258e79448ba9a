/** @file Optimisers and learning-rate schedules that a configuration may name, and their arguments. */
import { z } from "zod";

const rate = z.number().nonnegative();
const count = z.int().positive();
const betas = z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]);
const adam = { lr: rate, betas, eps: rate, weight_decay: rate, amsgrad: z.boolean() };

/** Arguments by the class's name, as PyTorch calls them. All are optional. */
const optimizers: Readonly<Record<string, Readonly<Record<string, z.ZodType>>>> = {
  AdamW: adam,
  Adam: adam,
  SGD: { lr: rate, momentum: rate, dampening: rate, weight_decay: rate, nesterov: z.boolean() },
};
const schedules: Readonly<Record<string, Readonly<Record<string, z.ZodType>>>> = {
  CosineAnnealingWarmRestarts: { T_0: count, T_mult: count, eta_min: rate },
  CosineAnnealingLR: { T_max: count, eta_min: rate },
  ConstantLR: { factor: rate, total_iters: count },
  LinearLR: { start_factor: rate, end_factor: rate, total_iters: count },
  ExponentialLR: { gamma: rate },
  StepLR: { step_size: count, gamma: rate },
};
const modules = { optimizers: "torch.optim", schedules: "torch.optim.lr_scheduler" } as const;

/** Every class that may be named, by each of its names. */
const classes: ReadonlyMap<string, Readonly<Record<string, z.ZodType>>> = new Map([
  ...named(optimizers, modules.optimizers),
  ...named(schedules, modules.schedules),
]);

function named(
  kinds: Readonly<Record<string, Readonly<Record<string, z.ZodType>>>>,
  module: string,
): (readonly [string, Readonly<Record<string, z.ZodType>>])[] {
  return Object.entries(kinds).flatMap(([name, args]) => [
    [name, args],
    [`${module}.${name}`, args],
  ]);
}

/** The names of optimisers and schedules, with and without `torch.optim`. */
export const trainingClasses: readonly string[] = [...classes.keys()];

/** `{ class_path, init_args }` of a known optimiser or schedule. */
export function trainingNode(spelling: "camel" | "snake"): z.ZodType {
  const [path, args] = spelling === "camel" ? ["classPath", "initArgs"] : ["class_path", "init_args"];
  return z
    .strictObject({ [path]: z.enum(trainingClasses), [args]: z.record(z.string(), z.json()).default({}) })
    .superRefine((node, context) => {
      const known = classes.get(node[path] as string);
      if (known === undefined) return;
      for (const [name, value] of Object.entries(node[args] as Record<string, unknown>)) {
        const schema = known[name];
        if (schema === undefined)
          context.addIssue({ code: "unrecognized_keys", keys: [name], path: [args], input: { [name]: value } });
        const checked = schema?.safeParse(value);
        for (const issue of checked?.error?.issues ?? [])
          context.addIssue({ code: "custom", message: issue.message, path: [args, name, ...issue.path] });
      }
    });
}
