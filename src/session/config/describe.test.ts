import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { configurationPage, optionsTable, sessionJsonSchema } from "./describe.ts";
import { optionPaths } from "./read.ts";

const entry = (name: string): string => readFileSync(new URL(`../entries/${name}.yaml`, import.meta.url), "utf8");

describe("the JSON Schema", () => {
  const schema = z.fromJSONSchema(sessionJsonSchema());

  it.each(["rte_demo.gpt2.core", "rte_demo.gpt2.sae_lens", "rte_demo.gpt2.transformer_lens"])("accepts %s", (name) => {
    expect(schema.safeParse(parse(entry(name))).error).toBeUndefined();
  });

  it("accepts fields in place of class_path nodes, and refuses what is not an option", () => {
    const at = (module: object): boolean => schema.safeParse({ registered_cfg: { module_cfg: module } }).success;
    expect(at({ tl_cfg: { fold_ln: true } })).toBe(true);
    expect(at({ tl_cfg: { class_path: "ITLensFromPretrainedConfig", init_args: { fold_ln: true } } })).toBe(true);
    expect(at({ tl_cfg: { fold: true } })).toBe(false);
    expect(at({ tl_cfg: { class_path: "os.system" } })).toBe(false);
    expect(at({ positions: "guessed" })).toBe(false);
    expect(at({ generative_step_cfg: { lm_generation_cfg: { max_new_tokens: 0 } } })).toBe(false);
  });
});

it("the list of options has all of them, with meanings", () => {
  const { rows } = optionsTable();
  const paths = optionPaths().map((path) => `${path.join(".")}.`);
  const leaves = paths.filter((path) => !paths.some((other) => other !== path && other.startsWith(path)));
  expect(rows.length).toBe(leaves.length);
  expect(rows.every((row) => String(row[3]).length > 5)).toBe(true);
});

it("docs/configuration.md is up to date (npx vitest run -u writes it)", async () => {
  await expect(configurationPage()).toMatchFileSnapshot("../../../docs/configuration.md");
});
