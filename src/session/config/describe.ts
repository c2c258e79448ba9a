/** @file The table of options for editors and for people: JSON Schema, a list of options, a page of docs. */
import { z } from "zod";
import { Table } from "../../display/index.ts";
import { classPathsAt } from "./classPaths.ts";
import { kebabCase, snakeCase } from "./names.ts";
import { fieldsOf, sectionOf, sectionSchema } from "./schema.ts";
import { sections } from "./sections.ts";
import type { Field, SectionName } from "./types.ts";

interface JsonSchema {
  [key: string]: unknown;
  $defs?: Record<string, JsonSchema>;
  properties?: Record<string, JsonSchema>;
}

/** The keys that sections stand at, by section. */
const keysOf = (section: string): string[] =>
  Object.keys(sections)
    .flatMap((each) => fieldsOf(each))
    .filter(([, field]) => sectionOf(field)?.section === section)
    .map(([name]) => snakeCase(name));

/**
 * The JSON Schema (draft 2020-12) of session files, with descriptions and defaults, for editors. Where published files have
 * `class_path` and `init_args`, both spellings are allowed.
 * @example
 * sessionJsonSchema()["$schema"]; // "https://json-schema.org/draft/2020-12/schema"
 */
export function sessionJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(sectionSchema("SessionFile", "snake"), { io: "input", reused: "inline" }) as JsonSchema;
  const defs = schema.$defs ?? {};
  const nodes: Record<string, JsonSchema> = {};
  for (const [section, fields] of Object.entries(defs)) {
    for (const [name, property] of Object.entries(fields.properties ?? {}))
      if (["datamodule_cls", "module_cls", "module_cfg_mixin"].includes(name))
        property["anyOf"] = named(name, property);
    const paths = [...new Set(keysOf(section).flatMap((key) => classPathsAt(key)))];
    if (paths.length === 0) continue;
    const own = `${section}Fields`;
    nodes[own] = fields;
    nodes[section] = { anyOf: [{ $ref: `#/$defs/${own}` }, nodeOf(paths, { $ref: `#/$defs/${own}` })] };
  }
  return { ...schema, title: "Interpretune session", $defs: { ...defs, ...nodes } };
}

const nodeOf = (paths: readonly string[], args: JsonSchema): JsonSchema => ({
  type: "object",
  properties: { class_path: { enum: paths }, init_args: { anyOf: [args, { type: "null" }] } },
  required: ["class_path"],
  additionalProperties: false,
});

function named(key: string, property: JsonSchema): JsonSchema[] {
  const paths = classPathsAt(key);
  const { anyOf, type, items } = property;
  delete property["type"];
  delete property["items"];
  const before = Array.isArray(anyOf) ? (anyOf as JsonSchema[]) : [{ type, ...(items === undefined ? {} : { items }) }];
  return [
    ...before,
    { type: "object", properties: { class_path: { type: "string", examples: paths } }, required: ["class_path"] },
  ];
}

/** What a field takes, in words. */
function kindText({ kind = "", oneOf }: Field): string {
  return oneOf === undefined ? (words[kind] ?? kind) : oneOf.join(", ");
}
const words: Readonly<Record<string, string>> = {
  count: "integer from 1",
  limit: "integer from −1",
  positive: "number above 0",
  flag: "true or false",
  share: "number from 0 to below 1",
  loraStart: "true, false or gaussian",
  off: "false, 0 or none",
  texts: "list of texts",
  names: "text, or list of texts",
  integers: "list of integers",
  answers: "list of token ids or vocabulary strings",
  mapping: "mapping",
  words: "mapping of texts",
  ids: "mapping of token ids",
  counts: "mapping of integers from 1",
  positives: "mapping of numbers above 0",
  optimizer: "class_path and init_args",
  schedule: "class_path and init_args",
  callbacks: "list of class_path and init_args",
  loggers: "list of class_path and init_args",
  times: "true, false or a number",
  anything: "anything",
  combinations: "list of lists of adapters",
  component: "class_path",
  seed: "integer, or true",
};

const defaultText = ({ default: value }: Field): string => (value === null ? "" : JSON.stringify(value));

/**
 * Every option with its flag, what it takes, its default and its meaning: what `run --options` prints.
 * @param section default: a whole session file
 * @example
 * console.log(String(optionsTable("PromptConfig")));
 */
export function optionsTable(section: SectionName = "SessionFile"): Table {
  const rows = (at: string, path: readonly string[]): (readonly string[])[] =>
    fieldsOf(at).flatMap(([name, field]) => {
      const here = [...path, kebabCase(name)];
      const nested = sectionOf(field);
      return nested === undefined || nested.list
        ? [[here.join("."), kindText(field), defaultText(field), field.about]]
        : rows(nested.section, here);
    });
  return new Table(
    [
      { key: "option", label: "Option" },
      { key: "takes", label: "Takes" },
      { key: "default", label: "Default" },
      { key: "meaning", label: "Meaning" },
    ],
    rows(section, []),
  );
}

/**
 * The page of docs on configuration, in Markdown: a table for each section.
 * @example
 * configurationPage().startsWith("# Configuration"); // true
 */
export function configurationPage(): string {
  const cell = (text: string): string => text.replaceAll("|", "\\|");
  const linked = (row: Field): string => {
    const nested = sectionOf(row);
    if (nested === undefined) return cell(kindText(row));
    return `${nested.list ? "list of " : ""}[${nested.section}](#${nested.section.toLowerCase()})`;
  };
  const parts = Object.entries(sections).map(([name, { about }]) => {
    const rows = Object.entries<Field>(sections[name as keyof typeof sections].fields).map(([field, row]) => {
      const value = defaultText(row);
      const effect = row.effect === "none" ? "*Accepted, without effect.* " : "";
      return `| \`${snakeCase(field)}\` | ${linked(row)} | ${value === "" ? "" : `\`${cell(value)}\``} | ${effect}${cell(row.about)} |`;
    });
    const includes =
      "includes" in sections[name as keyof typeof sections] ? "Also the fields of SharedConfig.\n\n" : "";
    return `## ${name}\n\n${about}.\n\n${includes}| key | takes | default | meaning |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n`;
  });
  return `# Configuration\n\n${intro}\n\n${parts.join("\n")}`;
}

const intro = `Every option of a session. Keys are written as below in YAML, in camelCase in TypeScript (\`evalBatchSize\`), in kebab-case
as flags (\`--set eval-batch-size=2\`). This page, the types, the checks and the JSON Schema (\`interpretune run --schema\`) are
made of one table, \`src/session/config/sections.ts\`.

Sessions also look at the environment: \`IT_CONFIG_DEFAULTS\` is a folder of YAML files that come first, \`IT_GLOBAL_SEED\` a
seed where none is given, \`IT_ANALYSIS_OP_PATHS\` a path list of op collections (YAML files of compositions, folders of them,
components, repositories in the hub's cache by id or folder: read as data, never fetched), \`IT_OP_PRECEDENCE\` collections
with commas between them, as in \`prefer_ops\`.`;
