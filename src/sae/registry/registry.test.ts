import { expect, it, describe } from "vitest";
import { describeWithShared, readJson, shared } from "../../../test/support/shared.ts";
import { findSaeRelease, registeredSae, saeReleases, searchSaes } from "./registry.ts";

describe("the registry of SAEs", () => {
  it("knows the tutorials' release: repository, loader, files, Neuronpedia ids", () => {
    const release = findSaeRelease("gpt2-small-hook-z-kk")!;
    expect(release).toMatchObject({
      repo: "ckkissane/attn-saes-gpt2-small-all-layers",
      model: "gpt2-small",
      loader: "connor_rob_hook_z",
    });
    // L, C, S, DC, V of the release's table
    const rows: [number, string, number, string, number][] = [
      [0, "1.80e+00", 24576, "1.00e-06", 9],
      [5, "1.00e+00", 49152, "1.00e-06", 9],
      [8, "1.30e+00", 24576, "1.00e-05", 6],
      [9, "1.20e+00", 24576, "1.00e-06", 9],
      [10, "1.30e+00", 24576, "1.00e-05", 9],
      [11, "3.00e+00", 24576, "3.16e-06", 9],
    ];
    for (const [layer, l1, width, dead, version] of rows)
      expect(registeredSae(release.name, `blocks.${layer}.hook_z`)).toMatchObject({
        path: `gpt2-small_L${layer}_Hcat_z_lr1.20e-03_l1${l1}_ds${width}_bs4096_dc${dead}_rsanthropic_rie25000_nr4_v${version}.pt`,
        neuronpediaId: `gpt2-small/${layer}-att-kk`,
      });
  });

  it("knows Gemma Scope's canonical widths by their L0, and what is odd about single SAEs", () => {
    const l0 = [
      105, 102, 141, 59, 124, 68, 70, 69, 71, 73, 77, 80, 82, 84, 84, 78, 78, 77, 74, 73, 71, 70, 72, 75, 73, 116,
    ];
    const path = (layer: number): string =>
      registeredSae("gemma-scope-2b-pt-res-canonical", `layer_${layer}/width_16k/canonical`).path;
    expect(l0.map((_, layer) => path(layer))).toEqual(l0.map((n, layer) => `layer_${layer}/width_16k/average_l0_${n}`));
    expect(registeredSae("gpt2-small-res-jb", "blocks.11.hook_resid_post").neuronpediaId).toBe("gpt2-small/12-res-jb");
    expect(findSaeRelease("gpt2-small-res-jb")!.overrides).toEqual({
      model_from_pretrained_kwargs: { center_writing_weights: true },
    });
  });

  it("names near releases and ids", () => {
    expect(() => registeredSae("gpt2-small-hook-z-k", "blocks.9.hook_z")).toThrow(/near ones: gpt2-small-hook-z-kk/);
    expect(() => registeredSae("gpt2-small-hook-z-kk", "blocks.9.hookz")).toThrow(/near ones: blocks.9.hook_z/);
  });

  it("finds by words", () => {
    expect(searchSaes("GPT2-small hook_z").map(({ id }) => id)).toEqual(
      Array.from({ length: 12 }, (_, layer) => `blocks.${layer}.hook_z`),
    );
    expect(searchSaes("gemma-2-2b/12-gemmascope-res-16k").length).toBeGreaterThan(0);
    expect(searchSaes("no such thing")).toEqual([]);
  });
});

interface Source {
  releases: Record<
    string,
    {
      repo: string;
      model: string;
      loader: string | null;
      config_overrides?: object;
      saes: ({ id: string; path: string | number } & Record<string, string | number>)[];
    }
  >;
}

describeWithShared("the whole registry", ["spec/sae-registry.json"], () => {
  it("says of each SAE what SAELens says", () => {
    const { releases } = readJson<Source>(shared("spec/sae-registry.json"));
    expect(new Set(saeReleases().map(({ name }) => name))).toEqual(new Set(Object.keys(releases)));
    let count = 0;
    for (const [name, { repo, model, loader, config_overrides = {}, saes }] of Object.entries(releases)) {
      const release = findSaeRelease(name)!;
      expect(release).toMatchObject({ repo, model, loader: loader ?? "native", overrides: config_overrides });
      const byId = new Map(release.saes.map((sae) => [sae.id, sae]));
      expect(byId.size).toBe(saes.length);
      for (const { id, path, neuronpedia, l0, variance_explained, norm_scaling_factor } of saes) {
        const { release: _, ...facts } = byId.get(id)!;
        const expected = {
          ...{ id, path: String(path), neuronpediaId: neuronpedia, l0 },
          ...{ varianceExplained: variance_explained, normScalingFactor: norm_scaling_factor },
        };
        expect(facts).toEqual(Object.fromEntries(Object.entries(expected).filter(([, value]) => value !== undefined)));
        count++;
      }
    }
    expect(count).toBe(13_857);
  });
});
