/** @file Row 8: forward passes, caches and gradients through the public API, against TransformerLens. */
import { select, sub, sum } from "../src/graph/index.ts";
import { against, gpt2Small, HookedModel, peers, peerValue, randomIds, report, timed } from "./lib.ts";

const model = HookedModel.fromConfig(gpt2Small, { seed: 1, weights: "packed" });
const [yes, no] = [5297, 2949];

const logits = async (batch: number, length: number): Promise<number> => {
  const ids = randomIds(batch, length);
  return (await timed(() => model.run(ids))).median;
};
const ours = new Map<string, number>();
for (const [b, p] of [
  [2, 128],
  [1, 20],
  [8, 128],
  [1, 1024],
] as const)
  ours.set(`${b},${p}`, await logits(b, p));

const ids = randomIds(2, 128);
const cached = (
  await timed(() =>
    model.run(ids, (t) => ({
      z: Array.from({ length: 12 }, (_, l) => t.hooks[`blocks.${l}.attn.hook_z`]!),
      last: select(t.logits, 1, -1),
    })),
  )
).median;
const whole = (await timed(() => model.runWithCache(ids))).median;
const gradient = (
  await timed(() =>
    model.gradients(
      ids,
      (t) => {
        const last = select(t.logits, 1, -1);
        return sum(sub(select(last, 1, yes), select(last, 1, no)));
      },
      { names: "blocks.*.attn.hook_z" },
    ),
  )
).median;
await model.runtime.dispose();

const rows = [
  ...peers("forward", "--models", "hooked,bridge", "--shapes", "2x128", "--repeat", "5"),
  ...peers("forward", "--models", "hooked,bridge", "--shapes", "1x20,8x128,1x1024", "--repeat", "3", "--no-grad-test"),
];
const peer = (name: string, b: number, p: number): number | undefined =>
  peerValue(rows, name, "time", { batch: b, length: p });

for (const [b, p, bar] of [
  [2, 128, 2.8],
  [1, 20, 3],
  [8, 128, 2],
  [1, 1024, 2],
] as const)
  report(
    against(
      8,
      `logits [${b},${p}]`,
      ours.get(`${b},${p}`)!,
      peer("forward.hooked.logits", b, p),
      bar,
      "HookedTransformer",
    ),
  );
report(
  against(
    8,
    "all hook_z + last logits [2,128]",
    cached,
    peer("forward.hooked.run_with_cache", 2, 128),
    3.5,
    "HookedTransformer",
  ),
);
report(
  against(
    8,
    "runWithCache, every hook point [2,128]",
    whole,
    peer("forward.hooked.run_with_cache", 2, 128),
    1,
    "HookedTransformer",
  ),
);
report(
  against(
    8,
    "gradients at all hook_z [2,128]",
    gradient,
    peer("grad.hooked.autograd_grad_hook_z", 2, 128),
    3,
    "HookedTransformer",
  ),
);
report(
  against(8, "logits [2,128]", ours.get("2,128")!, peer("forward.bridge.logits", 2, 128), 2.3, "TransformerBridge"),
);
report(
  against(
    8,
    "all hook_z + last logits [2,128]",
    cached,
    peer("forward.bridge.run_with_cache", 2, 128),
    2.3,
    "TransformerBridge",
  ),
);
