/**
 * @file Classes that a configuration names with their arguments and that stay nodes until training begins: optimisers,
 * schedules, callbacks, loggers. Which there are and what they take is said by the tables they come from.
 */
import { z } from "zod";
import {
  optimizers,
  schedules,
  type OptimizerConfig,
  type PublishedNode,
  type ScheduleConfig,
} from "../../train/index.ts";
import { callbacks, loggers } from "./trainerNodes.ts";
import type { ClassNode } from "./types.ts";

/** What a field may name. */
export type NodeKind = "optimizer" | "schedule" | "callback" | "logger";

interface Known {
  readonly name: string;
  readonly args: z.ZodType;
}
type Entry = readonly [name: string, args: z.ZodType, modules: readonly string[]];

const lightning = (room: string): string[] => [`lightning.pytorch.${room}`, `pytorch_lightning.${room}`];
const tables: { readonly [K in NodeKind]: readonly Entry[] } = {
  optimizer: Object.entries(optimizers).map(([name, { options }]) => [name, options, ["torch.optim"]]),
  schedule: Object.entries(schedules).map(([name, { args, module }]) => [name, args, [module]]),
  callback: Object.entries(callbacks).map(([name, { args, modules = [] }]) => [
    name,
    args,
    [...lightning("callbacks"), ...modules],
  ]),
  logger: Object.entries(loggers).map(([name, { args }]) => [name, args, lightning("loggers")]),
};

const pathsOf = (entries: readonly Entry[]): ReadonlyMap<string, Known> =>
  new Map(
    entries.flatMap(([name, args, modules]) =>
      [name, ...modules.map((module) => `${module}.${name}`)].map((path) => [path, { name, args }] as const),
    ),
  );
/** Every class that may be named, by each of its names. */
const known: { readonly [K in NodeKind]: ReadonlyMap<string, Known> } = {
  optimizer: pathsOf(tables.optimizer),
  schedule: pathsOf(tables.schedule),
  callback: pathsOf(tables.callback),
  logger: pathsOf(tables.logger),
};

/** `T_max` as `TMax`. */
const camel = (name: string): string => name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

/** Arguments in camelCase; nodes among them as `{ name, … }`. */
const ownArgs = (args: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(args).map(([name, value]) => [camel(name), ownValue(value)]));

function ownValue(value: unknown): unknown {
  if (Array.isArray(value)) return (value as readonly unknown[]).map(ownValue);
  if (typeof value !== "object" || value === null || !("class_path" in value || "classPath" in value)) return value;
  const { class_path, classPath, init_args, initArgs, ...rest } = value as Record<string, unknown>;
  const args = (init_args ?? initArgs ?? {}) as Readonly<Record<string, unknown>>;
  return {
    name: String(class_path ?? classPath)
      .split(".")
      .at(-1),
    ...ownArgs(args),
    ...rest,
  };
}

/** `{ class_path, init_args }` of a class of a kind. */
export function trainingNode(kind: NodeKind, spelling: "camel" | "snake"): z.ZodType {
  const [path, args] = spelling === "camel" ? ["classPath", "initArgs"] : ["class_path", "init_args"];
  return z
    .strictObject({ [path]: z.enum([...known[kind].keys()]), [args]: z.record(z.string(), z.json()).default({}) })
    .superRefine((node, context) => {
      const found = known[kind].get(node[path] as string);
      const given = node[args] as Readonly<Record<string, unknown>>;
      const checked = found?.args.safeParse(ownArgs(given));
      const published = (name: PropertyKey): PropertyKey =>
        Object.keys(given).find((each) => camel(each) === name) ?? snake(name);
      for (const issue of checked?.error?.issues ?? [])
        if (issue.code === "unrecognized_keys" && issue.path.length === 0)
          context.addIssue({ ...issue, keys: issue.keys.map((key) => String(published(key))), path: [args] });
        else {
          const [name, ...inside] = issue.path;
          const at = name === undefined ? [] : [published(name), ...(name === "schedulers" ? [] : inside)];
          context.addIssue({ code: "custom", message: issue.message, path: [args, ...at] });
        }
    });
}

/** `TMax` as `T_max`: what is missing is named as files write it. */
const snake = (name: PropertyKey): PropertyKey =>
  typeof name === "string" ? name.replaceAll(/(?<=.)([A-Z0-9])/g, (letter) => `_${letter.toLowerCase()}`) : name;

const configOf = (kind: NodeKind, { classPath, initArgs }: ClassNode): { readonly name: string } => ({
  ...ownArgs(initArgs),
  name: known[kind].get(classPath)?.name ?? classPath,
});

/** An optimiser as a learner takes it. */
export const optimizerOf = (node: ClassNode): OptimizerConfig => configOf("optimizer", node) as OptimizerConfig;
/** A schedule as a trainer takes it. */
export const scheduleOf = (node: ClassNode): ScheduleConfig => configOf("schedule", node) as ScheduleConfig;
/** A callback or logger with its arguments. */
export function trainerNodeOf<K extends "callback" | "logger">(
  kind: K,
  node: ClassNode,
): { readonly name: string; readonly args: object } {
  const { name, ...args } = configOf(kind, node);
  return { name, args };
}

/** A node that is written as files write it, inside of arguments. */
export const scheduleOfPublished = (node: PublishedNode): ScheduleConfig => ownValue(node) as ScheduleConfig;
