/** @file Made-up rows of stores for the tests that end writers: the four analyses, and an op with every kind of column. */
import { analysisNames, type AnalysisEntry, type LatentRow, type StoredRow } from "../../src/analysis/tables/index.ts";
import type { ShardTables, StoreOptions } from "../../src/analysis/store/index.ts";

const hooks = [
  { name: "blocks.9.attn.hook_z.hook_sae_acts_post", width: 512 },
  { name: "blocks.10.attn.hook_z.hook_sae_acts_post", width: 300 },
];

const own: AnalysisEntry = {
  name: "own",
  op: "own_op",
  latents: true,
  columns: {
    score: { per: "example", type: "float32", description: "" },
    words: { per: "example", type: "string", list: true, description: "" },
    share: { per: "latent", type: "float32", description: "" },
    direction: { per: "batch", type: "float32", list: true, description: "" },
  },
};

export const storeConfig = { made_up: true, seed: 1 };
export const storeOptions: StoreOptions = { analyses: [...analysisNames, own], hooks, shards: 6, resume: true };

/** A number in [0, 1) that depends on its arguments only. */
function draw(...keys: number[]): number {
  let h = 2166136261;
  for (const key of keys) h = Math.imul(h ^ key, 16777619) ^ (h >>> 13);
  return (h >>> 0) / 2 ** 32;
}

/** The tables of a shard: eight examples, in the last one three. */
export function storeRows(shard: number, name: string): ShardTables {
  const analysis = (analysisNames as readonly string[]).indexOf(name);
  const examples = Array.from({ length: shard === 5 ? 3 : 8 }, (_, b) => shard * 8 + b);
  const batch = shard;
  const active = examples.flatMap((example) =>
    hooks.flatMap(({ name: hook, width }, code) =>
      Array.from({ length: width }, (_, latent) => ({ example, hook, code, latent })).flatMap((each) => {
        const activation = draw(example, each.latent, width) - 0.9;
        return activation > 0 ? [{ ...each, activation }] : [];
      }),
    ),
  );
  if (analysis < 0)
    return {
      examples: examples.map((example): StoredRow => ({
        example,
        batch,
        score: draw(example),
        words: [`${example}`, "é"],
      })),
      latents: {
        length: active.length,
        example: Int32Array.from(active, ({ example }) => example),
        hook: Int32Array.from(active, ({ code }) => code),
        latent: Int32Array.from(active, ({ latent }) => latent),
        activation: Float32Array.from(active, ({ activation }) => activation),
        ...{ share: Float32Array.from(active, ({ example, latent }) => draw(example, latent)) },
      },
      batches: [{ batch, direction: [0.5, shard] }],
    };
  const diffs = new Map(examples.map((example) => [example, draw(example, analysis) - 0.5]));
  const latents = active.map(({ example, hook, latent, activation }): LatentRow => {
    const effect = draw(example, latent, analysis) - 0.5;
    return {
      ...{ example, hook, latent, activation },
      ...(analysis >= 2 && { attribution_values: effect }),
      ...(analysis === 3 && { ablated_logit_diff: diffs.get(example)! - effect, ablated_loss: 6, ablated_pred: 1 }),
    };
  });
  return {
    examples: examples.map((example) => {
      const diff = diffs.get(example)!;
      return {
        ...{ example, batch, label_ids: 2949, orig_labels: 1, answer_indices: -1, loss: 6 + draw(example, 1) },
        ...{ logit_diffs: diff, preds: diff > 0 ? 1 : 0, answer_logits: [0, diff] },
        ...{ prompts: `prompt ${example}`, tokens: [example, 1, 2] },
      };
    }),
    latents: analysis === 0 ? [] : latents,
  };
}
