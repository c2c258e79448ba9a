import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { Sae } from "../../sae/index.ts";
import { displayLatentDashboards, type RankedMetrics } from "./links.ts";

/** Metrics of which only effects and counts are known. */
function metricsOf(
  hook: string,
  rows: readonly (readonly [latent: number, effect: number, active: number])[],
): RankedMetrics["hooks"][number] {
  return {
    hook: { name: `${hook}.hook_sae_acts_post`, width: 24576 },
    latents: Int32Array.from(rows, ([latent]) => latent),
    total_effect: Float64Array.from(rows, ([, effect]) => effect),
    num_samples_active: Float64Array.from(rows, ([, , active]) => active),
  };
}

function saeAt(hook: string, id: string | undefined): Sae {
  const array = (...dims: number[]): { dims: number[]; data: Float32Array } => ({
    dims,
    data: new Float32Array(dims.reduce((a, b) => a * b, 1)),
  });
  return Sae.fromParams(
    { architecture: "standard", d_in: 1, d_sae: 1, metadata: { hook_name: hook, neuronpedia_id: id } },
    { W_enc: array(1, 1), W_dec: array(1, 1), b_enc: array(1), b_dec: array(1) },
  );
}

interface Published {
  readonly hooks: Record<string, { rows: [latent: number, ablation: number, gradient: number][] }>;
}

// What the tutorial shows, in docs/notebook_artifacts/saelens_adapter_example of Interpretune (dbc36aa).
const expected = `Ablation-Mediated Latent Analysis for blocks.9.attn.hook_z.hook_sae_acts_post:

positive:
#9464 had total effect 0.15 and was active in 4 examples
https://neuronpedia.org/gpt2-small/9-att-kk/9464?embed=true&embedexplanation=true&embedplots=true&embedtest=true&height=300

negative:
#15185 had total effect -0.02 and was active in 3 examples
https://neuronpedia.org/gpt2-small/9-att-kk/15185?embed=true&embedexplanation=true&embedplots=true&embedtest=true&height=300

Ablation-Mediated Latent Analysis for blocks.10.attn.hook_z.hook_sae_acts_post:

positive:
#21019 had total effect 0.24 and was active in 4 examples
https://neuronpedia.org/gpt2-small/10-att-kk/21019?embed=true&embedexplanation=true&embedplots=true&embedtest=true&height=300

negative:
#8637 had total effect -0.16 and was active in 4 examples
https://neuronpedia.org/gpt2-small/10-att-kk/8637?embed=true&embedexplanation=true&embedplots=true&embedtest=true&height=300`;

it("the published lines come of the published effects", async () => {
  const file = new URL("../../../test/goldens/analysis/published/2026-08.json", import.meta.url);
  const { hooks } = JSON.parse(await readFile(file, "utf8")) as Published;
  const active = new Map([
    [9464, 4],
    [15185, 3],
    [21019, 4],
    [8637, 4],
  ]);
  const all = Object.entries(hooks).map(([name, { rows }]) =>
    metricsOf(
      name.replace(".hook_sae_acts_post", ""),
      rows.map(([latent, effect]) => [latent, effect, active.get(latent) ?? 0] as const),
    ),
  );
  const metrics = { hooks: all };
  const saes = [9, 10].map((layer) => saeAt(`blocks.${layer}.attn.hook_z`, `gpt2-small/${layer}-att-kk`));
  const shown = displayLatentDashboards(metrics, { title: "Ablation-Mediated Latent Analysis", saes });
  expect(String(shown)).toBe(expected);
  expect(await shown.toHTML({ style: false })).toContain('href="https://neuronpedia.org/gpt2-small/9-att-kk/9464"');
  expect(shown.toCSV().split("\r\n")[1]).toMatch(
    /^blocks\.9\.attn\.hook_z\.hook_sae_acts_post,positive,9464,0\.149696/,
  );
});

describe("lists", () => {
  const residual = "blocks.4.hook_resid_pre";
  const metrics = {
    hooks: [
      metricsOf(residual, [
        [5, -0.5, 1],
        [8, 0.25, 2],
        [9, 0, 1],
      ]),
    ],
  };

  it("link SAEs at any kind of hook point, by their own id or a given one", () => {
    const own = displayLatentDashboards(metrics, { saes: [saeAt(residual, "gemma-2-2b/4-res-16k")] });
    expect(own.links[0]!.page).toBe("https://neuronpedia.org/gemma-2-2b/4-res-16k/8");
    const given = displayLatentDashboards(metrics, {
      saes: [saeAt(residual, "a/b")],
      neuronpediaIds: { [`${residual}.hook_sae_acts_post`]: "c/d" },
    });
    expect(given.links[0]!.page).toBe("https://neuronpedia.org/c/d/8");
  });

  it("say so where an SAE has no id", async () => {
    const none = displayLatentDashboards(metrics, { saes: [saeAt(residual, undefined)] });
    expect(String(none)).toContain("#8 had total effect 0.25 and was active in 2 examples\nno Neuronpedia page");
    expect(await none.toHTML()).not.toContain("href");
  });

  it("say so where they hold effects of the other sign", () => {
    const three = displayLatentDashboards(metrics, { topK: 3 });
    expect(three.links.map(({ list, latent }) => [list, latent])).toEqual([
      ["positive", 8],
      ["positive", 9],
      ["positive", 5],
      ["negative", 5],
      ["negative", 9],
      ["negative", 8],
    ]);
    expect(String(three)).toContain(
      "positive:\n(2 of these 3 have no positive effect: fewer than 3 latents do)\n#8 had",
    );
    expect(String(three)).toContain(
      "negative:\n(2 of these 3 have no negative effect: fewer than 3 latents do)\n#5 had",
    );
    expect(String(displayLatentDashboards(metrics))).not.toContain("have no");
  });
});
