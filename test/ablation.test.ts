/** Exact ablation of single latents against one full forward pass per latent, with a hook that sets the latent to 0. */
import { describe, expect, test } from "vitest";
import { analyzeBatch, type AnalysisOptions } from "../src/analysis/run/batch.ts";
import type { AnalysisBatch } from "../src/analysis/ops/index.ts";
import { add, leaf, mean, mul, sub, takeRows, where, type Tensor } from "../src/graph/index.ts";
import type { HookedModel, HookSpec, TokenBatch } from "../src/model/index.ts";
import { spliceHooks, type LatentModel, type Sae, type SpliceOptions } from "../src/sae/index.ts";
import { thinned } from "./support/full.ts";
import { indexLeaf, numbersOf, padded, rowsOf } from "./support/model.ts";
import {
  notCausal,
  randomModel,
  randomRows,
  randomSae,
  randomTranscoder,
  saeKinds,
  shapes,
  type SaeKind,
} from "./support/random.ts";

const labels = [1, 0, 2];
/** Answers of each row its own. */
const answers = [
  [3, 8, 12],
  [5, 2, 20],
  [9, 7, 1],
];

interface Setting {
  model: HookedModel;
  saes: LatentModel[];
  side: "left" | "right";
  options: AnalysisOptions;
  /** What stands in the place of a latent: the same as `options.ablateLatentFn`, written for whole activations. */
  instead?: (acts: Tensor) => Tensor;
}

interface Values {
  diff: number;
  loss: number;
  pred: number;
}

/** What the logits of one position say, computed here. */
function valuesOf(logits: readonly number[], row: number, kind: "mean" | "best-other"): Values {
  const picked = answers[row]!.map((id) => logits[id]!);
  const right = picked[labels[row]!]!;
  const others = picked.filter((_, c) => c !== labels[row]);
  const against = kind === "mean" ? others.reduce((a, b) => a + b) / others.length : Math.max(...others);
  const top = Math.max(...logits);
  const logSum = top + Math.log(logits.reduce((s, x) => s + Math.exp(x - top), 0));
  return { diff: right - against, loss: logSum - right, pred: picked.indexOf(Math.max(...picked)) };
}

/** The full forward pass with SAEs spliced and one latent of one of them set to 0 (or to something else) at a mask. */
async function fullForward(
  { model, saes, options, instead }: Setting,
  batch: TokenBatch,
  index: readonly number[],
  zero?: { hook: string; latent: number; width: number; everywhere: boolean },
): Promise<Values[]> {
  const splice: SpliceOptions = { useErrorTerm: options.useErrorTerm };
  const hooks: HookSpec[] = [...(options.fwdHooks ?? [])];
  if (zero !== undefined) {
    const { latent, width, everywhere } = zero;
    const keep = new Float32Array(batch.batchSize * batch.length * width).fill(1);
    for (let b = 0; b < batch.batchSize; b++)
      for (let p = 0; p < batch.length; p++)
        if (everywhere || p === index[b]) keep[(b * batch.length + p) * width + latent] = 0;
    const mask = leaf(keep, [batch.batchSize, batch.length, width], { shape: [batch.batch, batch.pos, width] });
    const other = instead ?? ((acts: Tensor): Tensor => mul(acts, 0));
    hooks.push([zero.hook, (acts): Tensor => add(mul(acts, mask), mul(other(acts), sub(1, mask)))]);
  }
  const at = indexLeaf(index, [batch.batchSize, 1], [batch.batch, 1]);
  const logits = await model.run(batch, (traced) => takeRows(traced.logits, at), {
    splices: spliceHooks(saes, splice),
    hooks,
  });
  return rowsOf(numbersOf(logits), model.cfg.d_vocab_out).map((row, b) => valuesOf(row, b, options.diff ?? "mean"));
}

/** Runs the analysis and checks every latent (or each `stride`th) against the full forward pass. */
async function check(setting: Setting, stride = 1): Promise<void> {
  const { model, saes, side, options } = setting;
  const rows = randomRows([7, 4, 9], model.cfg.d_vocab, 5);
  const { ids, mask } = padded(rows, side, 0);
  const length = ids[0]!.length;
  const index = mask.map((row) => row.lastIndexOf(1));
  const batch: AnalysisBatch = {
    index: 0,
    dims: [rows.length, length],
    tokens: ids.flat(),
    mask: mask.flat(),
    answerIndices: index,
    labels,
    classes: 3,
    answerIds: answers.flat(),
    examples: [10, 11, 12],
  };
  const result = (await analyzeBatch(model, saes, batch, { ...options, analyses: ["logit_diffs_attr_ablation"] }))
    .logit_diffs_attr_ablation!;
  const tokens = model.batch(ids, { attentionMask: mask });
  const spliced = await fullForward(setting, tokens, index);
  expect(result.examples.map((e) => e.logit_diffs)).toBeAllClose(spliced.map((v) => v.diff));

  const { latents } = result;
  const full = new Map<string, Values[]>();
  const found = { diffs: [] as number[], losses: [] as number[], effects: [] as number[] };
  const expected: typeof found = { diffs: [], losses: [], effects: [] };
  const seenHooks = new Set<number>();
  for (let i = 0; i < latents.length; i++) {
    const latent = latents.latent[i]!;
    if (latent % stride !== 0) continue;
    const { name, width } = result.hooks[latents.hook[i]!]!;
    const key = `${name} ${latent}`;
    const zero = { hook: name, latent, width, everywhere: options.ablate === "all" };
    if (!full.has(key)) full.set(key, await fullForward(setting, tokens, index, zero));
    const b = latents.example[i]! - 10;
    const wanted = full.get(key)![b]!;
    found.diffs.push(latents.ablated_logit_diff![i]!);
    found.losses.push(latents.ablated_loss![i]!);
    found.effects.push(latents.attribution_values![i]!);
    expected.diffs.push(wanted.diff);
    expected.losses.push(wanted.loss);
    expected.effects.push(spliced[b]!.diff - wanted.diff);
    expect(latents.ablated_pred![i], key).toBe(wanted.pred);
    seenHooks.add(latents.hook[i]!);
  }
  expect(found.diffs).toBeAllClose(expected.diffs);
  expect(found.losses).toBeAllClose(expected.losses);
  expect(found.effects).toBeAllClose(expected.effects);
  // The latents of every SAE do something.
  expect(seenHooks.size).toBe(saes.length);
  expect(expected.effects.filter((x) => Math.abs(x) > 1e-3).length).toBeGreaterThan(saes.length);
}

/** Two (or more) hook points, and how far apart they act. */
const places: { readonly [name: string]: readonly string[] } = {
  "hook_z of two layers": ["blocks.1.attn.hook_z", "blocks.2.attn.hook_z"],
  "residuals of two layers": ["blocks.0.hook_resid_post", "blocks.2.hook_resid_pre"],
  "a residual and heads two layers on": ["blocks.0.hook_resid_pre", "blocks.2.attn.hook_z"],
  "outputs of one block and a later one": ["blocks.0.hook_attn_out", "blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"],
  "heads and residual of one block": ["blocks.1.attn.hook_z", "blocks.1.hook_resid_post"],
};

const families = ["gpt2", "llama", "gemma2"];
const cases = families.flatMap((family, f) =>
  Object.keys(places).flatMap((place, i) =>
    (["left", "right"] as const).map((side, s) => {
      const kind = (j: number): SaeKind => saeKinds[(2 * i + 3 * f + 4 * s + j) % saeKinds.length]!;
      const useErrorTerm = (i + f + s) % 2 === 0;
      return { family, place, side, useErrorTerm, kinds: places[place]!.map((_, j) => kind(j)).join(", ") };
    }),
  ),
);

describe("ablation through the causal cone equals the full forward pass per latent", () => {
  test("the cases use every kind of SAE in every family", () => {
    for (const family of families) {
      const used = new Set(cases.filter((c) => c.family === family).flatMap((c) => c.kinds.split(", ")));
      expect([...used].sort()).toEqual([...saeKinds].sort());
    }
  });

  test.each(thinned(cases))("$family, $place, $side padding, error term $useErrorTerm: $kinds", async (c) => {
    const model = randomModel(shapes[c.family]!, 1);
    const saes = places[c.place]!.map((hook, j) =>
      randomSae(model, hook, c.kinds.split(", ")[j]! as SaeKind, 12, j + 2),
    );
    await check({ model, saes, side: c.side, options: { useErrorTerm: c.useErrorTerm } });
  });

  test.each([
    ["gpt2", ["hook_embed", "blocks.1.hook_resid_mid"]],
    ["gpt2", ["hook_pos_embed", "blocks.0.hook_resid_pre"]],
    ["llama", ["blocks.0.attn.hook_k", "blocks.1.attn.hook_v"]],
    ["gemma2", ["blocks.1.attn.hook_q", "blocks.2.attn.hook_k"]],
    ["gpt2", ["blocks.0.hook_mlp_in", "blocks.2.hook_mlp_in"]],
    ["llama", ["blocks.1.hook_resid_mid", "ln_final.hook_normalized"]],
    ["gemma2", ["hook_embed", "unembed.hook_in"]],
  ])("other places: %s, %s", async (family, hooks) => {
    const model = randomModel(shapes[family]!, 3);
    const saes = hooks.map((hook, j) => randomSae(model, hook, "standard", 10, j + 4));
    await check({ model, saes, side: "left", options: {} });
  });

  test("differences to the best other answer", async () => {
    const model = randomModel(shapes["gpt2"]!, 7);
    const saes = ["blocks.0.hook_resid_pre", "blocks.1.attn.hook_z"].map((h, j) =>
      randomSae(model, h, "standard", 10, j),
    );
    await check({ model, saes, side: "right", options: { diff: "best-other" } });
  });

  test("more latents than one chunk holds", async () => {
    const model = randomModel(shapes["llama"]!, 8);
    const saes = ["blocks.0.hook_resid_post", "blocks.1.hook_mlp_out"].map((h, j) =>
      randomSae(model, h, "standard", 400, j),
    );
    await check({ model, saes, side: "left", options: {} }, 23);
  });
});

describe("ablation of a transcoder's latents equals the full forward pass per latent", () => {
  const mlp = (layer: number): [string, string] => [
    `blocks.${layer}.ln2.hook_normalized`,
    `blocks.${layer}.hook_mlp_out`,
  ];
  const kinds = ["transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"] as const;

  test.each(
    thinned(
      families.flatMap((family, f) =>
        (["left", "right"] as const).flatMap((side, s) =>
          [0, 1].map((n) => ({ family, side, kind: kinds[2 * n + ((f + s) % 2)]!, useErrorTerm: (s + n) % 2 === 0 })),
        ),
      ),
    ),
  )("$kind at an MLP between SAEs: $family, $side padding, error term $useErrorTerm", async (c) => {
    const model = randomModel(shapes[c.family]!, 1);
    const saes = [
      randomSae(model, "blocks.0.hook_resid_post", "standard", 10, 2),
      randomTranscoder(model, mlp(1), c.kind, 12, 3),
      randomSae(model, "blocks.2.attn.hook_z", "topk", 10, 4),
    ];
    await check({ model, saes, side: c.side, options: { useErrorTerm: c.useErrorTerm } });
  });

  test.each([
    ["heads, from the residual", "llama", [["blocks.1.hook_resid_pre", "blocks.1.attn.hook_z"]]],
    ["the residual, from heads", "gpt2", [["blocks.0.attn.hook_z", "blocks.0.hook_resid_post"]]],
    [
      "the MLP, from an input that fires only when asked for",
      "llama",
      [["blocks.2.hook_mlp_in", "blocks.2.hook_mlp_out"]],
    ],
    ["a later block", "gpt2", [["blocks.0.ln2.hook_normalized", "blocks.2.hook_mlp_out"]]],
    ["a block, from the embedding", "gemma2", [["hook_embed", "blocks.1.hook_attn_out"]]],
    [
      "a later block and one between",
      "llama",
      [
        ["blocks.0.hook_resid_pre", "blocks.1.hook_mlp_out"],
        ["blocks.1.attn.hook_z", "blocks.2.hook_attn_out"],
      ],
    ],
    ["the end, from the last block", "gpt2", [["blocks.2.hook_mlp_out", "ln_final.hook_normalized"]]],
  ] as const)("that stands for %s: %s", async (_what, family, ways) => {
    const model = randomModel(shapes[family]!, 3);
    const saes = [
      ...ways.map((way, i) => randomTranscoder(model, way, "skip_transcoder", 8, i + 5)),
      randomSae(model, "blocks.1.hook_resid_mid", "standard", 8, 8),
    ];
    await check({ model, saes, side: "left", options: {} });
    await check({ model, saes, side: "right", options: { ablate: "all", useErrorTerm: true } }, 2);
    await check(
      { model, saes, side: "left", options: { ablateLatentFn: (acts, { mask }) => where(mask, 0, acts) } },
      3,
    );
  });

  test("where it reads what an SAE puts there, in models that are causal and that are not", async () => {
    for (const config of [shapes["llama"]!, notCausal["bidirectional"]!]) {
      const model = randomModel(config, 6);
      const saes = [
        randomSae(model, mlp(1)[0], "jumprelu", 10, 1),
        randomTranscoder(model, mlp(1), "skip_transcoder", 10, 2),
      ];
      await check({ model, saes, side: "left", options: {} });
    }
  });
});

describe("ablation through whole rows", () => {
  test.each([
    ["bidirectional", "left"],
    ["bidirectional", "right"],
    ["own masks", "left"],
    ["own masks", "right"],
  ] as const)("a model that is not causal: %s, padding on the %s", async (name, side) => {
    const model = randomModel(notCausal[name]!, 4);
    const saes = [
      randomSae(model, "blocks.0.hook_resid_post", "jumprelu", 12, 1),
      randomSae(model, "blocks.2.attn.hook_z", "topk", 12, 2),
    ];
    await check({ model, saes, side, options: {} });
    await check({ model, saes, side, options: { ablate: "all", useErrorTerm: true } });
  });

  test.each(
    thinned(
      families.flatMap((family) =>
        (["left", "right"] as const).flatMap((side) => [false, true].map((e) => [family, side, e] as const)),
      ),
    ),
  )("at every position: %s, %s padding, error term %s", async (family, side, useErrorTerm) => {
    const model = randomModel(shapes[family]!, 6);
    const saes = [
      randomSae(model, "blocks.0.attn.hook_z", useErrorTerm ? "topk-rescaled" : "gated", 10, 1),
      randomSae(model, "blocks.1.hook_resid_pre", useErrorTerm ? "standard-layer-norm" : "batchtopk", 10, 2),
    ];
    await check({ model, saes, side, options: { ablate: "all", useErrorTerm } });
  });
});

describe("ablation by a function of one's own", () => {
  const functions: { readonly [name: string]: (acts: Tensor) => Tensor } = {
    "half of it": (acts) => mul(acts, 0.5),
    "the mean of the rows of the batch": (acts) => add(mul(acts, 0), mean(acts, 0, { keepDims: true })),
    "the mean of all positions": (acts) => add(mul(acts, 0), mean(acts, 1, { keepDims: true })),
  };

  test.each(
    Object.keys(functions).flatMap((name, i) =>
      families.map((family, f) => [name, family, (["left", "right"] as const)[(i + f) % 2]!, (i + f) % 3] as const),
    ),
  )("%s: %s, %s padding", async (name, family, side, n) => {
    const model = randomModel(shapes[family]!, 9);
    const saes = [
      randomSae(model, "blocks.0.hook_resid_post", "standard", 10, 1),
      randomSae(model, "blocks.2.attn.hook_z", n === 1 ? "topk" : "jumprelu", 10, 2),
    ];
    const instead = functions[name]!;
    const options: AnalysisOptions = {
      useErrorTerm: n === 0,
      ablate: n === 2 ? "all" : "answer",
      ablateLatentFn: (acts, { mask }) => where(mask, instead(acts), acts),
    };
    await check({ model, saes, side, options, instead });
  });

  test("sees the latent, its point and the answer positions", async () => {
    const model = randomModel(shapes["gpt2"]!, 2);
    const saes = ["hook_embed", "blocks.1.attn.hook_z"].map((h, j) => randomSae(model, h, "standard", 10, j));
    const seen = new Set<string>();
    const options: AnalysisOptions = {
      ablateLatentFn: (acts, { hook, latent, positions, mask }) => {
        seen.add([hook, latent.dims.length, positions.shape[0] === acts.shape[0], mask.dtype].join(" "));
        return where(mask, 0, acts);
      },
    };
    await check({ model, saes, side: "left", options });
    expect([...seen].sort()).toEqual(saes.map((sae) => `${sae.hookName}.hook_sae_acts_post 0 true bool`).sort());
  });

  test("of another shape is an error", async () => {
    const model = randomModel(shapes["gpt2"]!, 2);
    const saes = ["blocks.0.hook_resid_pre", "blocks.1.attn.hook_z"].map((h, j) =>
      randomSae(model, h, "standard", 10, j),
    );
    const options: AnalysisOptions = { ablateLatentFn: (acts) => acts.reshape([-1]) };
    await expect(check({ model, saes, side: "left", options })).rejects.toThrow("hook_sae_acts_post returned another");
  });
});

describe("ablation under hooks equals the full forward pass under the same hooks", () => {
  const hooks: AnalysisOptions["fwdHooks"] = [
    ["blocks.0.hook_resid_pre", (x): Tensor => mul(x, 1.5)],
    // Every position hears of all others: not causal.
    ["blocks.*.hook_mlp_out", (x): Tensor => sub(x, mul(mean(x, 1, { keepDims: true }), 0.5))],
    ["blocks.2.attn.hook_z.hook_sae_acts_post", (x): Tensor => mul(x, 2)],
  ];
  const saesOf = (model: HookedModel): Sae[] =>
    ["blocks.1.hook_resid_pre", "blocks.2.attn.hook_z"].map((h, j) => randomSae(model, h, "standard", 10, j + 1));

  test.each(families)("of the analysis: %s", async (family) => {
    const model = randomModel(shapes[family]!, 5);
    await check({ model, saes: saesOf(model), side: "left", options: { fwdHooks: hooks } });
  });

  test("of the model", async () => {
    const model = randomModel(shapes["gpt2"]!, 5);
    const undo = model.addHook(hooks[1]![0], hooks[1]![1]);
    await check({ model, saes: saesOf(model), side: "right", options: {} });
    undo();
  });
});
