/** @file The table of options as zod schemas, in either spelling, and what is read off them. */
import { z } from "zod";
import { snakeCase } from "./names.ts";
import { sections } from "./sections.ts";
import { trainingNode, type NodeKind } from "./training.ts";
import type { Config, Field, SectionName } from "./types.ts";

/** camelCase for TypeScript; snake_case for YAML. */
export type Spelling = "camel" | "snake";

type Section = { readonly about: string; readonly fields: Readonly<Record<string, Field>>; readonly includes?: string };
const table: Readonly<Record<string, Section>> = sections;

const text = z.string();
const integer = z.int();
const json = z.json();

/** Kinds that are nodes of `class_path` and `init_args`, and which. */
const nodeKinds: Readonly<Record<string, { readonly of: NodeKind; readonly list: boolean }>> = {
  optimizer: { of: "optimizer", list: false },
  schedule: { of: "schedule", list: false },
  callbacks: { of: "callback", list: true },
  loggers: { of: "logger", list: true },
};

const scalars: Readonly<Record<string, z.ZodType>> = {
  text,
  integer,
  count: integer.min(1),
  limit: integer.min(-1),
  number: z.number(),
  positive: z.number().positive(),
  flag: z.boolean(),
  share: z.number().min(0).lt(1),
  loraStart: z.union([z.boolean(), z.literal("gaussian")], {
    error: "expected true, false or gaussian: other ways to begin are not here",
  }),
  off: z.union([z.literal(false), z.literal(0), z.array(json).max(0), z.strictObject({})], {
    error: "expected none or false: this is not here",
  }),
  texts: z.array(text),
  names: z.union([text.min(1), z.array(text.min(1)).min(1)], { error: "expected a name or a list of names" }),
  integers: z.array(integer),
  answers: z
    .array(
      z.union([integer.min(0), text.min(1), z.array(text.min(1)).min(1)], { error: "expected a token id or a text" }),
    )
    .min(2),
  mapping: z.record(text, json),
  words: z.record(text, text),
  ids: z.record(text, integer.min(0)),
  counts: z.record(text, integer.min(1)),
  positives: z.record(text, z.number().positive()),
  times: z.union([z.boolean(), integer.min(1)], { error: "expected true, false or a number from 1" }),
  anything: json,
  combinations: z.array(z.array(text).min(1)),
  component: text,
  seed: z.union([integer.min(0), z.boolean()], { error: "expected a number from 0, or true" }),
};

/** The fields of a section by camelCase name, those it includes first. */
export function fieldsOf(section: string): readonly (readonly [name: string, field: Field])[] {
  const { includes, fields } = table[section]!;
  return [...(includes === undefined ? [] : fieldsOf(includes)), ...Object.entries(fields)];
}

/** The section that a kind names, and whether it is a list of it; undefined for scalars. */
export function sectionOf({ kind = "" }: Field): { section: string; list: boolean } | undefined {
  const section = kind.replace(/\[\]$/, "");
  return section in table ? { section, list: kind.endsWith("[]") } : undefined;
}

const built = new Map<string, z.ZodType>();

/**
 * The zod schema of a section: unknown keys are errors, defaults are filled in.
 * @example
 * sectionSchema("GenerationConfig", "snake").parse({ max_new_tokens: 1 });
 */
export function sectionSchema(section: SectionName, spelling: Spelling): z.ZodType {
  return objectOf(section, spelling);
}

function objectOf(section: string, spelling: Spelling): z.ZodType {
  const key = `${spelling} ${section}`;
  let schema = built.get(key);
  if (schema === undefined) {
    const shape = fieldsOf(section).map(([name, field]) => [
      spelling === "camel" ? name : snakeCase(name),
      valueOf(field, spelling),
    ]);
    schema = z
      .strictObject(Object.fromEntries(shape) as Record<string, z.ZodType>)
      .meta({ id: section, description: table[section]!.about });
    built.set(key, schema);
  }
  return schema;
}

function valueOf(field: Field, spelling: Spelling): z.ZodType {
  const bare = bareOf(field, spelling);
  const { about, effect } = field;
  const described = bare.describe(effect === "none" ? `Accepted, without effect. ${about}` : about);
  if (field.default === null) return described.nullable().default(null);
  return sectionOf(field) === undefined ? described.default(field.default) : described.prefault(field.default);
}

function bareOf(field: Field, spelling: Spelling): z.ZodType {
  if (field.oneOf !== undefined) return z.enum(field.oneOf);
  const node = nodeKinds[field.kind ?? ""];
  if (node !== undefined) {
    const schema = trainingNode(node.of, spelling);
    return node.list ? z.array(schema) : schema;
  }
  const nested = sectionOf(field);
  if (nested === undefined) return scalars[field.kind!]!;
  // A schema of its own: descriptions belong to the place, identifiers to the section.
  const object = z.lazy(() => objectOf(nested.section, spelling));
  return nested.list ? z.array(object) : object;
}

/**
 * A checked section in snake_case as camelCase. Free mappings keep their names.
 * @example
 * camelised("PromptConfig", { question_suffix: "?" }).questionSuffix; // "?"
 */
export function camelised<S extends SectionName>(section: S, value: Readonly<Record<string, unknown>>): Config<S> {
  return respelled(section, value, "snake", "camel") as Config<S>;
}

/** A section in camelCase as snake_case, for files and records. @internal */
export function snaked(section: SectionName, value: object): Record<string, unknown> {
  return respelled(section, value as Record<string, unknown>, "camel", "snake");
}

function respelled(
  section: string,
  value: Readonly<Record<string, unknown>>,
  from: Spelling,
  to: Spelling,
): Record<string, unknown> {
  const spell = (name: string, how: Spelling): string => (how === "camel" ? name : snakeCase(name));
  const out: Record<string, unknown> = {};
  for (const [name, field] of fieldsOf(section)) {
    const item = value[spell(name, from)];
    if (item === undefined) continue;
    const nested = sectionOf(field);
    const one = (x: unknown): unknown =>
      nested === undefined || typeof x !== "object" || x === null
        ? x
        : respelled(nested.section, x as Record<string, unknown>, from, to);
    const isNode = nodeKinds[field.kind ?? ""] !== undefined;
    const each = (x: unknown): unknown =>
      isNode && typeof x === "object" && x !== null ? respelledNode(x, from) : one(x);
    out[spell(name, to)] = Array.isArray(item) ? item.map(each) : each(item);
  }
  return out;
}

function respelledNode(node: object, from: Spelling): object {
  const { class_path, init_args, classPath, initArgs } = node as Record<string, unknown>;
  return from === "snake"
    ? { classPath: class_path, initArgs: init_args }
    : { class_path: classPath, init_args: initArgs };
}
