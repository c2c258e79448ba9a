/** @file Rows 9 and 10: the four analyses at the tutorial's size, against our own forward and against the peers. */
import { analyzeBatch, type AnalysisOptions } from "../src/analysis/run/batch.ts";
import type { AnalysisBatch } from "../src/analysis/ops/index.ts";
import { spliceHooks } from "../src/sae/index.ts";
import {
  against,
  gpt2Small,
  HookedModel,
  hookZSaes,
  ms,
  peers,
  peerValue,
  randomIds,
  report,
  rteLengths,
  timed,
} from "./lib.ts";

const model = HookedModel.fromConfig(gpt2Small, { seed: 1 });
const saes = await hookZSaes(model);
const lengths = await rteLengths(2);

/** Two left-padded prompts in rows of `width` tokens. */
function batchOf(width: number): AnalysisBatch {
  const mask = lengths.flatMap((n) => Array.from({ length: width }, (_, p) => (p >= width - n ? 1 : 0)));
  return {
    index: 0,
    dims: [2, width],
    tokens: randomIds(2, width).flat(),
    mask,
    answerIndices: [width - 1, width - 1],
    labels: [0, 1],
    classes: 2,
    answerIds: [5297, 2949, 5297, 2949],
    examples: [0, 1],
  };
}
const padded = batchOf(262);
const dynamic = batchOf(Math.max(...lengths));
const run = (batch: AnalysisBatch, analyses: NonNullable<AnalysisOptions["analyses"]>): Promise<unknown> =>
  analyzeBatch(model, saes, batch, { analyses, saveInputs: false });
const tokensOf = (batch: AnalysisBatch): ReturnType<HookedModel["batch"]> => {
  const [b, p] = batch.dims;
  const rows = (x: ArrayLike<number>): number[][] =>
    Array.from({ length: b }, (_, r) => Array.from({ length: p }, (_, i) => x[r * p + i]!));
  return model.batch(rows(batch.tokens), { attentionMask: rows(batch.mask) });
};

const spliced = model.withSplices(spliceHooks(saes));
const forward262 = (await timed(() => spliced.run(tokensOf(padded)))).median;
const three = (await timed(() => run(padded, ["logit_diffs_base", "logit_diffs_sae", "logit_diffs_attr_grad"]))).median;
const threeDynamic = (await timed(() => run(dynamic, ["logit_diffs_base", "logit_diffs_sae", "logit_diffs_attr_grad"])))
  .median;
const sae = (await timed(() => run(padded, ["logit_diffs_sae"]))).median;
const all = (await timed(() => run(padded, ["logit_diffs_sae", "logit_diffs_attr_ablation"]), { repeat: 5 })).median;
const result = await analyzeBatch(model, saes, padded, { analyses: ["logit_diffs_attr_ablation"] });
const pairs = result.logit_diffs_attr_ablation!.latents.length;
const perPair = (all - sae) / pairs;
await model.runtime.dispose();

report({
  row: 9,
  what: `ablation per (example, latent), ${pairs} pairs, loss included, against our spliced forward [2,262]`,
  ours: `${perPair.toFixed(3)} ms`,
  theirs: `${ms(forward262)} (our spliced forward)`,
  ratio: forward262 / perPair,
  bar: "≥ 500×",
  holds: forward262 / perPair >= 500,
});
const profile = peers("profile", "--cases", "hooked_saes", "--shapes", "2x262", "--repeat", "3");
const peerForward = peerValue(profile, "profile.forward", "time", { case: "hooked_saes", batch: 2, length: 262 });
// The peer runs one forward per latent that is alive in any row: latents, not pairs.
const alive = new Set(
  Array.from(
    result.logit_diffs_attr_ablation!.latents.latent,
    (l, i) => `${result.logit_diffs_attr_ablation!.latents.hook[i]}.${l}`,
  ),
).size;
const peerPerPair = peerForward === undefined ? undefined : (peerForward * alive) / pairs;
report(
  against(
    9,
    "ablation per active pair, against one HookedSAETransformer forward per latent",
    perPair,
    peerPerPair,
    2000,
    "peer forward × latents ÷ pairs",
  ),
);
report({
  row: 10,
  what: "base + SAE + gradient together [2,262] / one SAE-spliced forward",
  ours: ms(three),
  theirs: `${ms(forward262)} (our spliced forward)`,
  ratio: three / forward262,
  bar: "≤ 1.5",
  holds: three / forward262 <= 1.5,
});
const forwards = peers("forward", "--models", "hooked", "--shapes", "2x262", "--repeat", "3", "--no-grad-test");
const base = peerValue(forwards, "forward.hooked.logits", "time", { batch: 2, length: 262 });
// Interpretune's own three, recorded: 7.2 s where one plain forward took 904 ms; scaled by this run's plain forward.
const recorded = base === undefined ? undefined : (7200 / 903.85) * base;
report(
  against(
    10,
    "base + SAE + gradient at 2 × 262 (peer: recorded, scaled by its plain forward of this run)",
    three,
    recorded,
    10,
    "Interpretune, scaled",
  ),
);
report(
  against(
    10,
    `the same without padding to the split, 2 × ${dynamic.dims[1]}`,
    threeDynamic,
    recorded,
    20,
    "Interpretune, scaled",
  ),
);
