/** @file Row 11, second half: forward calls of a tiny model through `compile`, where overhead decides. */
import { Runtime } from "../src/runtime/index.ts";
import { against, HookedModel, peers, peerValue, randomIds, report, timed } from "./lib.ts";

const tiny = {
  n_layers: 2,
  d_model: 64,
  n_heads: 4,
  d_head: 16,
  d_mlp: 256,
  n_ctx: 32,
  d_vocab: 100,
  d_vocab_out: 100,
  act_fn: "gelu_new",
} as const;
const rows = peers("tiny", "--steps", "2", "--full-batch-steps", "1", "--repeat", "50");
for (const [batch, length] of [
  [1, 8],
  [32, 32],
] as const) {
  // Below a few hundred tokens one thread is faster than two.
  const model = HookedModel.fromConfig(tiny, {
    runtime: new Runtime({ threads: batch * length < 256 ? 1 : undefined }),
  });
  const forward = await model.compile((t) => t.logits);
  const ids = randomIds(batch, length, 100);
  const { median } = await timed(() => forward(ids), { repeat: 200, warmup: 50 });
  const peer = Math.min(
    ...[1, 2].map((threads) => peerValue(rows, "tiny.hooked.forward", "time", { batch, length, threads }) ?? Infinity),
  );
  report(
    against(
      11,
      `tiny model through compile [${batch},${length}]`,
      median,
      Number.isFinite(peer) ? peer : undefined,
      2,
      "HookedTransformer",
    ),
  );
  await forward.dispose();
}
