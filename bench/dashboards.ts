/** @file Dashboards of 32 latents over 256 prompts of 128 tokens at GPT-2 small's shape, page included, against sae-dashboard. */
import { latentDashboards } from "../src/analysis/index.ts";
import { uniformAt } from "../src/graph/index.ts";
import { against, gpt2Small, HookedModel, hookZSaes, ms, peers, peerValue, randomIds, report } from "./lib.ts";

const model = HookedModel.fromConfig(gpt2Small, { seed: 1, weights: "packed" });
const saes = (await hookZSaes(model)).slice(0, 1);
const hook = saes[0]!.hookName;
const data = randomIds(256, 128);
const latents = Array.from({ length: 32 }, (_, i) => ({ hook, latent: Math.floor(uniformAt(9, i) * 24576) }));

const make = async (): Promise<number> => {
  const start = performance.now();
  const made = await latentDashboards({ model, saes, latents, data });
  await made.toHTML();
  return performance.now() - start;
};
// What cannot be avoided: the same forward pass up to the SAE's hook point, nothing else.
const forward = async (): Promise<number> => {
  const start = performance.now();
  for (let i = 0; i < data.length; i += 16)
    await model.run(model.batch(data.slice(i, i + 16)), ({ hooks }) => hooks[hook]!, { capture: hook });
  return performance.now() - start;
};
await latentDashboards({ model, saes, latents, data: data.slice(0, 16) });
const alone = await forward();
const ours = Math.min(await make(), await make());
const rows = peers("dashboards", "--latents", "32", "--prompts", "256", "--length", "128");
const peer = peerValue(rows, "dashboards.sae_dashboard.total", "time");
report(
  against(
    6,
    `dashboards of 32 latents over 256 × 128 tokens (the forward pass up to block 9's hook_z alone: ${ms(alone)})`,
    ours,
    peer === undefined ? undefined : peer * 1000,
    5,
    "sae-dashboard",
  ),
);
await model.runtime.dispose();
