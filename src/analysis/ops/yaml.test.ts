/** Compositions from YAML, and where their faults stand. */
import { describe, expect, test } from "vitest";
import { SessionError } from "../../session/errors.ts";
import { AnalysisError } from "../errors.ts";
import { parseYaml } from "../../session/config/yaml.ts";
import { opFileOf } from "../../session/components/opFile.ts";
import type { OpCollection } from "../../session/protocol.ts";
import { bundledOps, manualStep, ops, readCompositions, withComponents, withOps, type OpTable } from "./index.ts";
import { requireInputs } from "./op.ts";

const file = "my-ops.yaml";

describe("compositions from YAML", () => {
  test("are ops under their names and aliases", () => {
    const table = readCompositions(`
composite_operations:
  my_gradients:
    composition: labels_to_ids.model_gradient.gradient_attribution
    aliases: [mine, My/Gradients]
    description: What each latent does, roughly.
`);
    const op = table.find("My-Gradients");
    expect(op).toMatchObject({ name: "my_gradients", description: "What each latent does, roughly." });
    expect(op.output).toEqual(ops.logitDiffsAttrGrad.output);
    expect([op.requires, op.requiresGradient]).toEqual([["saes"], true]);
    expect([table.find("mine"), table.find("my.gradients")]).toEqual([op, op]);
    expect(table.find("model_fwd")).toBe(ops.modelFwd);
  });

  test("name each other in any order, and ops of one's own", () => {
    const own = manualStep("user.repo.step", {}, () => ({}));
    const table = readCompositions(
      `
composite_operations:
  whole: { composition: "part.(user.repo.step)" }
  part: { composition: labels_to_ids.model_fwd.logit_diffs }
`,
      { table: withOps(bundledOps, [own]) },
    );
    expect(table.find("whole").steps.map(({ name }) => name)).toEqual([
      "labels_to_ids",
      "model_fwd",
      "logit_diffs",
      "user.repo.step",
    ]);
  });

  test("may read what an outer chain gives; run without it, they say where they stand", () => {
    const table = readCompositions(
      `composite_operations:
  effects: { composition: model_ablation.ablation_attribution }
  whole: { composition: logit_diffs_sae.effects }
`,
      { file },
    );
    expect(table.find("whole").input).toEqual(ops.logitDiffsAttrAblation.input);
    expect(() => requireInputs(table.find("whole"))).not.toThrow();
    expect(() => requireInputs(table.find("effects"))).toThrow(
      /Missing required analysis input '\w+' for model_ablation; in my-ops.yaml:2:27/,
    );
  });

  test("give parameters to their members", () => {
    const table = readCompositions(`
composite_operations:
  yes_no:
    composition: concept_direction.model_fwd_intervention
    params:
      concept_direction: { group_a: [Yes], group_b: [No] }
      direction_intervention: { scale: 2, target_ids: [3] }
`);
    const [direction, intervention] = table.find("yes_no").steps;
    expect(direction!.params).toMatchObject({ mode: "mean_difference", groupA: ["Yes"], groupB: ["No"] });
    expect(intervention!.params).toMatchObject({ scale: 2, targetIds: [3], hook: "unembed.hook_in" });
  });
});

describe("compositions of components", () => {
  const opFile = (text: string, owner = ""): OpCollection => ({
    opFiles: [opFileOf(parseYaml(text, file), { owner })],
  });
  const names = (table: OpTable, name: string): string[] => table.find(name).steps.map((step) => step.name);

  test("are found by name, alias and full name, on top of a table, and in compositions", () => {
    const own = manualStep("own_step", {}, () => ({}));
    const plain = opFile(
      "composite_operations: { plain: { composition: labels_to_ids.model_fwd, aliases: [p] } }",
      "a.b",
    );
    const more = opFile(
      "collection: { name: more, version: 1.2.0 }\ncomposite_operations: { more: { composition: (a.b.plain).own_step } }",
      "a.b",
    );
    const base = withOps(bundledOps, [own]);
    const table = withComponents(base, [plain, more]);
    expect(names(table, "a.b.Plain")).toEqual(["labels_to_ids", "model_fwd"]);
    expect([table.find("p"), table.find("a/b/plain")]).toEqual([table.find("plain"), table.find("plain")]);
    expect(names(table, "more.more")).toEqual(["labels_to_ids", "model_fwd", "own_step"]);
    expect(names(table, "(a.b.plain).own_step")).toEqual(["labels_to_ids", "model_fwd", "own_step"]);
    expect([base.has("plain"), bundledOps.has("plain")]).toEqual([false, false]);
  });

  test("clash with what is there: an error, or one of the two keeps the name", () => {
    const mine = opFile("composite_operations: { logit_diffs_base: { composition: logit_diffs_base.own } }", "org");
    const base = withOps(bundledOps, [manualStep("own", {}, () => ({}))]);
    expect(() => withComponents(base, [mine])).toThrow(
      /two ops have one name; in my-ops.yaml:1:25; got logit_diffs_base, as logit_diffs_base has it .rename one.*prefer/,
    );
    const kept = withComponents(base, [mine], { prefer: "table" });
    expect(kept.find("logit_diffs_base")).toBe(ops.logitDiffsBase);
    expect(names(kept, "org.logit_diffs_base").at(-1)).toBe("own");
    const replaced = withComponents(base, [mine], { prefer: "component" });
    expect(names(replaced, "logit_diffs_base")).toEqual(names(kept, "org.logit_diffs_base"));
    expect(replaced.find("org.logit_diffs_base")).toBe(replaced.find("logit_diffs_base"));
  });

  test("of two files under one name are an error, as are parts that are not there", () => {
    const one = opFile("composite_operations: { same: { composition: model_fwd } }");
    const files = [...one.opFiles, ...opFile("composite_operations:\n  Same: { composition: model_fwd }").opFiles];
    expect(() => withComponents(bundledOps, [{ opFiles: files }])).toThrow(
      "my-ops.yaml:2:3; got same, as my-ops.yaml:1",
    );
    const unknown = opFile("composite_operations: { a: { composition: labels_to_ids.ghost } }");
    expect(() => withComponents(bundledOps, [unknown])).toThrow(/my-ops.yaml:1:43: there is no op ghost/);
  });
});

describe("faults", () => {
  const inside = (body: string): string => `composite_operations:\n  mine:\n${body.replace(/^/gm, "    ")}\n`;

  test.each([
    ["", `${file}`, /empty/],
    ["composite_operations: [", `${file}:`, /cannot be read/],
    ["operations: {}", `${file}:1:1`, /a file of compositions has composite_operations/],
    ["composite_operations: 3", `${file}:1:23`, /a file of compositions has/],
    ["composite_operations:\n  mine: model_fwd", `${file}:2:3`, /mine is not a composition/],
    [inside("description: nothing"), `${file}:2:3`, /mine says no composition/],
    [inside("composition: 3"), `${file}:3:18`, /composition is a text/],
    [inside("composition: labels_to_ids.modl_fwd"), `${file}:3:18`, /no op modl_fwd.*nearest names: model_fwd/],
    [inside("composition: labels_to_ids..model_fwd"), `${file}:3:18`, /not a composition of ops/],
    [inside("composition: model_fwd\nimplementation: os.system"), `${file}:4:5`, /an op file cannot name code/],
    [inside("composition: model_fwd\ncompositions: a"), `${file}:4:5`, /a composition has no compositions/],
    [inside("composition: model_fwd\naliases: fwd"), `${file}:4:14`, /aliases are a list/],
    [inside("composition: model_fwd\naliases: [1]"), `${file}:4:15`, /an alias is a name/],
    [inside("composition: model_fwd\naliases: [logit_diffs_base]"), `${file}:2:3`, /two ops have one name/],
    [inside("composition: model_fwd.mine"), `${file}:2:3`, /contains itself.*mine → mine/],
    [inside("composition: model_fwd\nparams: 1"), `${file}:4:13`, /parameters stand under the names/],
    [inside("composition: model_fwd\nparams: { logit_diffs: {} }"), `${file}:4:15`, /an op that is not a member/],
    [inside("composition: model_fwd\nparams: { model_fwd: { x: 1 } }"), `${file}:4:26`, /model_fwd has no parameters/],
    [
      inside("composition: concept_direction\nparams: { concept_direction: { mode: median } }"),
      `${file}:4:34`,
      /a parameter of concept_direction is wrong.*mode/,
    ],
  ])("%j", (text, where, message) => {
    const read = (): unknown => readCompositions(text, { file });
    expect(read).toThrow(message);
    expect(read).toThrow(where);
    try {
      read();
    } catch (error) {
      expect(error instanceof AnalysisError || error instanceof SessionError).toBe(true);
    }
  });
});
