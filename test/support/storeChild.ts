/** @file A process that writes a store of made-up rows; the kill test ends it at random moments. */
import { StoreWriter, analysisNames, type AnalysisName, type ExampleRow, type LatentRow } from "../../src/analysis/store/index.ts";

const folder = process.argv[2]!;
const hooks = [
  { name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 512 },
  { name: "blocks.10.attn.hook_z.hook_sae_acts_post", width: 300 },
];

/** A number in [0, 1) that depends on its arguments only. */
function draw(...keys: number[]): number {
  let h = 2166136261;
  for (const key of keys) h = Math.imul(h ^ key, 16777619) ^ (h >>> 13);
  return (h >>> 0) / 2 ** 32;
}

function rows(shard: number, analysis: number): { examples: ExampleRow[]; latents: LatentRow[] } {
  const examples: ExampleRow[] = [];
  const latents: LatentRow[] = [];
  for (let b = 0; b < (shard === 5 ? 3 : 8); b++) {
    const example = shard * 8 + b;
    const diff = draw(example, analysis) - 0.5;
    examples.push({
      example,
      batch: shard,
      label_ids: 2949,
      orig_labels: 1,
      answer_indices: -1,
      loss: 6 + draw(example, 1),
      logit_diffs: diff,
      preds: diff > 0 ? 1 : 0,
      answer_logits: [0, diff],
      prompts: `prompt ${example}`,
      tokens: [example, 1, 2],
    });
    if (analysis === 0) continue;
    for (const hook of hooks) {
      for (let latent = 0; latent < hook.width; latent++) {
        const activation = draw(example, latent, hook.width) - 0.9;
        if (activation <= 0) continue;
        const effect = draw(example, latent, analysis) - 0.5;
        latents.push({
          example,
          hook: hook.name,
          latent,
          activation,
          ...(analysis >= 2 && { attribution_values: effect }),
          ...(analysis === 3 && { ablated_logit_diff: diff - effect, ablated_loss: 6, ablated_pred: 1 }),
        });
      }
    }
  }
  return { examples, latents };
}

const options = { analyses: analysisNames, hooks, shards: 6, resume: true };
const writer = await StoreWriter.create(folder, { made_up: true, seed: 1 }, options);
process.stdout.write("writing\n");
for (const { shard, analyses } of writer.missing())
  for (const name of analyses) await writer.write(shard, name, rows(shard, analysisNames.indexOf(name as AnalysisName)));
await writer.finish({ threads: 1, pid: process.pid });
