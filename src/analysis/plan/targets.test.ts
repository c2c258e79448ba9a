/** @file Targets: by name, by layer, by match; an empty match is an error. */
import { afterAll, describe, expect, it } from "vitest";
import { randomModel, randomSae, shapes } from "../../../test/support/random.ts";
import { AnalysisError } from "../errors.ts";
import { LatentAnalysisTargets } from "./targets.ts";
import { thrown } from "../../../test/support/failure.ts";

const model = randomModel(shapes["gpt2"]!, 1);
const saes = [
  randomSae(model, "blocks.1.attn.hook_z", "standard", 24, 1),
  randomSae(model, "blocks.2.hook_resid_pre", "standard", 10, 2),
];
const hookNames = saes.map((sae) => `${sae.hookName}.hook_sae_acts_post`);
afterAll(() => model.dispose());

describe("targets", () => {
  const resolved = (targets: LatentAnalysisTargets): string[] => targets.resolve(model, saes).map(({ name }) => name);

  it("are named as published", () => {
    const { saeFqns } = new LatentAnalysisTargets({ targetLayers: [9, 10] });
    expect(saeFqns).toEqual([
      { release: "gpt2-small-hook-z-kk", saeId: "blocks.9.hook_z" },
      { release: "gpt2-small-hook-z-kk", saeId: "blocks.10.hook_z" },
    ]);
    const ids = new LatentAnalysisTargets({ saeRelease: "r", targetSaeIds: ["x"], targetLayers: [9] });
    expect(ids.saeFqns).toEqual([{ release: "r", saeId: "x" }]);
    const first = new LatentAnalysisTargets({
      saeFqns: [["a", "b"], { release: "c", saeId: "d" }],
      targetSaeIds: ["x"],
    });
    expect(first.saeFqns.map(({ release, saeId }) => release + saeId)).toEqual(["ab", "cd"]);
    expect(new LatentAnalysisTargets().saeFqns).toEqual([]);
    expect(new LatentAnalysisTargets({ layers: [3], saeIdFactoryFn: (layer) => `L${layer}` }).saeFqns[0]!.saeId).toBe(
      "L3",
    );
  });

  it("are resolved by layers, ids, fqns and match function", () => {
    expect(resolved(new LatentAnalysisTargets())).toEqual(hookNames);
    expect(resolved(new LatentAnalysisTargets({ layers: [2] }))).toEqual([hookNames[1]]);
    expect(resolved(new LatentAnalysisTargets({ targetSaeIds: ["blocks.1.hook_z"] }))).toEqual([hookNames[0]]);
    expect(resolved(new LatentAnalysisTargets({ saeFqns: [["any", "blocks.2.hook_resid_pre"]] }))).toEqual([
      hookNames[1],
    ]);
    const match = (name: string, layers: readonly number[] | null): boolean =>
      name.includes("hook_z") && layers === null;
    expect(resolved(new LatentAnalysisTargets({ saeHookMatchFn: match }))).toEqual([hookNames[0]]);
    // Empty lists are what is not given: they do not choose nothing.
    expect(resolved(new LatentAnalysisTargets({ targetLayers: [], targetSaeIds: [], saeFqns: [] }))).toEqual(hookNames);
  });

  it("that match nothing are an error which names what there is", () => {
    for (const options of [
      { layers: [0] },
      { layers: [1, 7] },
      { targetSaeIds: ["blocks.3.hook_z"] },
      { saeFqns: [["r", "blocks.9.hook_z"] as const] },
      { saeHookMatchFn: () => false },
    ])
      expect(thrown(AnalysisError, () => resolved(new LatentAnalysisTargets(options)))).toMatchObject({
        code: "analysis/targets",
        expected: expect.stringContaining(hookNames[0]!) as string,
      });
    expect(thrown(AnalysisError, () => new LatentAnalysisTargets({ layers: [-1] })).code).toBe("analysis/targets");
    expect(thrown(AnalysisError, () => new LatentAnalysisTargets({ saeFqns: [["x"] as never] })).code).toBe(
      "analysis/targets",
    );
    expect(thrown(AnalysisError, () => new LatentAnalysisTargets().resolve(model, [])).code).toBe("analysis/no-saes");
  });
});
