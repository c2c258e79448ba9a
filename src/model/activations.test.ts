import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sharedPath } from "../../test/support/goldens.ts";
import { gradients, leaf, sum } from "../graph/index.ts";
import { realize } from "../runtime/index.ts";
import { activationAliases, activationNames, activations, type ActivationName } from "./activations.ts";
import { readActivation } from "./families/hfConfig.ts";

describe("activations are transformers'", () => {
  const golden = JSON.parse(readFileSync(sharedPath("goldens/families/activations.json"), "utf8")) as {
    points: number[];
    refused: string[];
    cases: Record<string, { values: number[]; derivatives: number[] }>;
  };

  test("all of those without parameters are here, and no others", () => {
    const ours = [...activationNames, ...Object.keys(activationAliases)];
    expect(ours.toSorted()).toEqual(Object.keys(golden.cases).toSorted());
  });

  test.each(Object.entries(golden.cases))("%s", async (name, { values, derivatives }) => {
    const x = leaf(Float32Array.from(golden.points), [golden.points.length]);
    const y = activations[readActivation(name, "config.json")](x);
    const [dx] = gradients(sum(y), [x]);
    const found = await realize({ y, dx: dx! });
    for (const [tensor, expected] of [[found.y, values] as const, [found.dx, derivatives] as const])
      expected.forEach((number, i) => {
        const rounding = 2e-6 * Math.max(1, Math.abs(number));
        expect(Math.abs(Number(tensor.data[i]) - number), `at ${golden.points[i]}`).toBeLessThan(rounding);
      });
  });

  test.each([...golden.refused, "gelu_11"])("%s is refused by its name, with the names that there are", (name) => {
    expect(() => readActivation(name, "config.json")).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("activation function is not supported") as string,
        expected: expect.stringContaining("gelu_new, gelu_fast") as string,
        received: name,
      }),
    );
  });

  test("gelu is the exact one", () => {
    const exact: ActivationName = readActivation("gelu", "config.json");
    expect(exact).toBe("gelu");
    expect(golden.cases["gelu"]!.values).not.toEqual(golden.cases["gelu_new"]!.values);
  });
});
