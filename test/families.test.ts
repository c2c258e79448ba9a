/** Tiny models of every family in both config layouts, with padded rows in one batch, against Hugging Face transformers. */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { HookedModel } from "../src/model/index.ts";
import { describeWithGoldens, goldenTensors, sharedPath } from "./support/goldens.ts";
import { atReal, goldenBatch, numbersOf } from "./support/model.ts";

const families = [
  "gpt2",
  "gpt2-inverse-layer",
  "gpt-neox-parallel",
  "gpt-neox-sequential",
  "llama-gqa",
  "llama-tied-rope-scaled",
  "llama-biases",
  "gemma2",
  "qwen2",
  "mistral-window",
];
/** `config.json` as on the hub, and as transformers 5 writes it. */
const layouts = ["config.json", "config.transformers5.json"];

/** The family's model with one of its configs. */
async function load(folder: string, config: string): Promise<HookedModel> {
  if (config === "config.json") return HookedModel.load(folder);
  const made = mkdtempSync(join(tmpdir(), "family-"));
  try {
    copyFileSync(join(folder, config), join(made, "config.json"));
    copyFileSync(join(folder, "model.safetensors"), join(made, "model.safetensors"));
    return await HookedModel.load(made);
  } finally {
    rmSync(made, { recursive: true });
  }
}

for (const family of families)
  describeWithGoldens(`${family} against transformers`, [`goldens/families/${family}`], () => {
    const folder = sharedPath(`goldens/families/${family}`);
    const there = layouts.filter((config) => existsSync(join(folder, config)));

    test.each(there)("%s: logits, residuals, patterns, losses", async (config) => {
      const model = await load(folder, config);
      const golden = await goldenTensors(join(folder, "golden.safetensors"));
      const batch = goldenBatch(golden, "input_ids", "attention_mask");
      const mask = golden.numbers("attention_mask");
      const { logits, lossPerToken, loss, hooks } = await model.run(batch, (traced) => ({
        logits: traced.logits,
        lossPerToken: traced.lossPerToken,
        loss: traced.loss,
        hooks: { ...traced.hooks },
      }));
      const close = (received: readonly number[], name: string): void =>
        expect(atReal(received, mask), name).toBeAllClose(atReal(golden.numbers(name), mask));

      close(numbersOf(logits), "logits");
      const { n_layers: layers, n_heads: heads } = model.cfg;
      close(numbersOf(hooks["blocks.0.hook_resid_pre"]!), "hidden_states.0");
      for (let i = 1; i < layers; i++)
        close(numbersOf(hooks[`blocks.${i - 1}.hook_resid_post`]!), `hidden_states.${i}`);
      close(numbersOf(hooks["unembed.hook_in"]!), `hidden_states.${layers}`);

      const square = heads * batch.length * batch.length;
      const full = batch.mask.flatMap((row, b) => (row.includes(0) ? [] : [b]));
      for (let layer = 0; layer < layers; layer++) {
        const pattern = numbersOf(hooks[`blocks.${layer}.attn.hook_pattern`]!);
        const rows = full.flatMap((b) => pattern.slice(b * square, (b + 1) * square));
        expect(rows, `pattern ${layer}`).toBeAllClose(golden.numbers(`attentions.${layer}`));
      }

      const weights = golden.numbers("loss_weight");
      const losses = golden.numbers("loss_per_token").map((x, i) => x * weights[i]!);
      expect(numbersOf(lossPerToken)).toBeAllClose(losses);
      const count = weights.reduce((a, b) => a + b);
      expect(numbersOf(loss)).toBeAllClose([losses.reduce((a, b) => a + b) / count]);
      model.dispose();
    });
  });
