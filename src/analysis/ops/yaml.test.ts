/** Compositions from YAML, and where their faults stand. */
import { describe, expect, test } from "vitest";
import { SessionError } from "../../session/errors.ts";
import { AnalysisError } from "../errors.ts";
import { bundledOps, manualStep, ops, readCompositions, withOps } from "./index.ts";

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
    [
      inside("composition: labels_to_ids.logit_diffs"),
      `${file}:3:18`,
      /Missing required analysis input 'answer_logits' for logit_diffs/,
    ],
    [inside("composition: model_fwd\nimplementation: os.system"), `${file}:4:5`, /a composition has no implementation/],
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
