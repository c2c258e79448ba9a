/**
 * @file Tokens per second of greedy generation at GPT-2-small's shape, random weights, after a 128-token prompt:
 * `npx jiti bench/generate.ts [--batch 1] [--new 64] [--prompt 128] [--weights fed|packed] [--repeat 5]`.
 * Prints one JSON line per policy, to be put beside `../shared/peers/bench.py generate`.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { HookedModel } from "../src/model/index.ts";
import { formatBytes, memory } from "../src/runtime/index.ts";

const { values } = parseArgs({
  options: {
    batch: { type: "string", default: "1" },
    new: { type: "string", default: "64" },
    prompt: { type: "string", default: "128" },
    weights: { type: "string", default: "fed,packed" },
    repeat: { type: "string", default: "5" },
  },
});
const [batch, newTokens, prompt, repeat] = [values.batch, values.new, values.prompt, values.repeat].map(Number) as [
  number,
  number,
  number,
  number,
];

const model = HookedModel.fromConfig({
  n_layers: 12,
  d_model: 768,
  n_ctx: 1024,
  d_head: 64,
  n_heads: 12,
  d_mlp: 3072,
  d_vocab: 50257,
  d_vocab_out: 50257,
  act_fn: "gelu_new",
  normalization_type: "LN",
  tie_word_embeddings: true,
});
const rows = Array.from({ length: batch }, (_, b) =>
  Array.from({ length: prompt }, (_, p) => ((b * 997 + p * 7919) % 50000) + 1),
);
const middle = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

for (const weights of values.weights.split(",") as ("fed" | "packed")[]) {
  const whole: number[] = [];
  const firsts: number[] = [];
  const steps: number[] = [];
  const options = { maxNewTokens: newTokens, greedy: true, stopAtEos: false, weights };
  for (let i = 0; i < repeat + 2; i++) {
    const start = performance.now();
    const times = [start];
    for await (const _ of model.generateStream(rows, options)) times.push(performance.now());
    if (i < 2) {
      process.stderr.write(
        `${weights} warm-up: first token ${(times[1]! - start).toFixed(0)} ms, second ${(times[2]! - times[1]!).toFixed(0)} ms\n`,
      );
      continue;
    }
    whole.push((1000 * batch * newTokens) / (times.at(-1)! - start));
    firsts.push(times[1]! - start);
    steps.push(...times.slice(3).map((t, k) => t - times[k + 2]!));
  }
  const compilations = model.runtime.compilations;
  console.log(
    JSON.stringify({
      name: "generate gpt2-small",
      weights,
      batch,
      prompt,
      newTokens,
      "tokens/s": Number(middle(whole).toFixed(1)),
      "decode tokens/s": Number(((1000 * batch) / middle(steps)).toFixed(1)),
      "first token ms": Number(middle(firsts).toFixed(1)),
      "token ms": Number(middle(steps).toFixed(2)),
      compilations,
      ledger: formatBytes(memory.bytes),
      rss: formatBytes(process.memoryUsage().rss),
      cpu: cpus()[0]!.model,
      threads: cpus().length,
    }),
  );
}
await model.runtime.dispose();
