/** @file Activation patching over all layers of GPT-2 small's shape, one prompt of five tokens, against `transformer_lens.patching`. */
import { activationPatch } from "../src/model/index.ts";
import { against, gpt2Small, HookedModel, peers, peerValue, randomIds, report, timed } from "./lib.ts";

const positions = 5;
const model = HookedModel.fromConfig(gpt2Small, { seed: 1 });
const [clean, corrupted] = [randomIds(1, positions), randomIds(1, positions)];
const rows = peers("patching", "--positions", String(positions), "--repeat", "3");
for (const [name, forwards] of [
  ["resid_pre", 12 * positions],
  ["attn_head_out_all_pos", 12 * 12],
] as const) {
  const { median } = await timed(
    () =>
      activationPatch(model, name, {
        corrupted,
        clean,
        metric: (logits) => logits.select(1, -1).select(1, 5297).sub(logits.select(1, -1).select(1, 2949)).sum(),
      }),
    { repeat: 5, warmup: 1 },
  );
  const peer = peerValue(rows, `patching.${name}`, "time", { positions });
  const what = `activation patching, ${name}, ${forwards} patches, ${positions} positions`;
  report(against(null, what, median, peer, undefined, "transformer_lens.patching"));
}
