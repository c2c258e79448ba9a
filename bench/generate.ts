/** @file Row 11, first half: tokens per second of greedy generation after a 128-token prompt, prompt included. */
import type { WeightPolicy } from "../src/runtime/index.ts";
import { gpt2Small, HookedModel, peers, peerValue, randomIds, report, timed } from "./lib.ts";

const [prompt, newTokens] = [128, 64];
const model = HookedModel.fromConfig(gpt2Small, { seed: 1 });

/** Tokens per second of whole generations. */
async function rate(batch: number, weights: WeightPolicy): Promise<number> {
  const ids = randomIds(batch, prompt);
  const options = { maxNewTokens: newTokens, greedy: true, stopAtEos: false, weights };
  const { median } = await timed(() => model.generate(ids, options), { repeat: 5, warmup: 1 });
  return (1000 * batch * newTokens) / median;
}

const ours = new Map<string, number>();
for (const weights of ["fed", "packed"] as const)
  for (const batch of [1, 4]) ours.set(`${batch} ${weights}`, await rate(batch, weights));
await model.runtime.dispose();

const rows = peers("generate", "--new-tokens", String(newTokens), "--batches", "1,4", "--models", "hf_sdpa,hooked");
const names = { hf_sdpa: "Hugging Face", hooked: "HookedTransformer" } as const;
const perSecond = (x: number): string => `${x.toFixed(1)} tokens/s`;
for (const [peer, batch, weights, bar] of [
  ["hf_sdpa", 1, "packed", 1.8],
  ["hooked", 1, "packed", 6],
  ["hf_sdpa", 1, "fed", undefined],
  ["hf_sdpa", 4, "packed", undefined],
] as const) {
  const own = ours.get(`${batch} ${weights}`)!;
  const theirs = peerValue(rows, `generate.${peer}.greedy`, "throughput", { batch, prompt, new_tokens: newTokens });
  const ratio = theirs === undefined ? null : own / theirs;
  report({
    row: 11,
    what: `generation, batch ${batch}, ${prompt} + ${newTokens} tokens, weights ${weights}`,
    ours: perSecond(own),
    theirs: theirs === undefined ? "not set up" : `${perSecond(theirs)} (${names[peer]})`,
    ratio,
    bar: bar === undefined ? "" : `≥ ${bar}×`,
    holds: ratio === null || bar === undefined ? null : ratio >= bar,
  });
}
