import { describe, expect, it } from "vitest";
import { joinResults } from "./join.ts";
import { analysisResult, type AnalysisResult } from "./four.ts";

const hooks = [{ name: "blocks.1.attn.hook_z.hook_sae_acts_post", width: 8 }];
const part = (example: number, latent: number, over: { width?: number } = {}): AnalysisResult =>
  analysisResult(
    "logit_diffs_sae",
    over.width === undefined ? hooks : [{ ...hooks[0]!, width: over.width }],
    [
      {
        example,
        batch: example,
        label_ids: 3,
        orig_labels: 0,
        answer_indices: 1,
        loss: 1,
        logit_diffs: example - 1,
        preds: 0,
        answer_logits: [1, 0],
      },
    ],
    [{ example, hook: hooks[0]!.name, latent, activation: 0.5 }],
  );

describe("results of batches", () => {
  it("join in order", () => {
    const all = joinResults([part(0, 5), part(1, 2)]);
    expect(all.examples.map(({ logit_diffs }) => logit_diffs)).toEqual([-1, 0]);
    expect([...all.latents.latent]).toEqual([5, 2]);
    expect([...all.latents.example]).toEqual([0, 1]);
  });

  it("do not join when they are none, of different hooks, or out of order", () => {
    expect(() => joinResults([])).toThrow(/no results to join/);
    expect(() => joinResults([part(0, 5), part(1, 2, { width: 16 })])).toThrow(/different analyses/);
    expect(() => joinResults([part(1, 5), part(0, 2)])).toThrow(/ascending order/);
  });
});
