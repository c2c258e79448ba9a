/**
 * @file Row 3 of training: low-rank adapters on SmolLM2-135M (GGUF), 50 steps of 8 of RTE's training prompts: the mean loss
 * of the last five steps against that of the first five, and whether memory stays level.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { batches, openDataset } from "../src/data/index.ts";
import { leaf, logSoftmax, mean, neg, squeeze, takeAlong, takeRows } from "../src/graph/index.ts";
import { rowsOf } from "../src/model/run/batch.ts";
import { addLora, Learner } from "../src/train/index.ts";
import { HookedModel, report } from "./lib.ts";

const shared = join(import.meta.dirname, "../../../../shared");
const gguf = join(shared, "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
const steps = 50;

if (existsSync(gguf)) await finetune();
else process.stderr.write("finetune: no ../shared/models/smollm2-135m-instruct\n");

async function finetune(): Promise<void> {
  const base = await HookedModel.load(gguf);
  const { model, parameters } = addLora(base, { rank: 8, alpha: 16, targets: ["blocks.*.attn.W_*"] });
  const learner = new Learner({ parameters, optimizer: { name: "AdamW", lr: 5e-4 }, clip: { norm: 1 } });
  const data = await openDataset(join(shared, "data/rte/train.jsonl"), { limit: steps * 8 });
  const losses: number[] = [];
  const memory: number[] = [];
  const start = performance.now();
  for await (const batch of batches(data, { tokenizer: model.tokenizer, batchSize: 8 })) {
    const rows = model.batch(rowsOf(batch.tokens, batch.dims), { attentionMask: rowsOf(batch.mask, batch.dims) });
    const column = (ids: Int32Array): ReturnType<typeof leaf> =>
      leaf(BigInt64Array.from(ids, BigInt), [ids.length, 1], { shape: [rows.batch, 1] });
    const logits = squeeze(takeRows(model.trace(rows).logits, column(batch.answerIndices)), 1); // [batch, d_vocab]
    const loss = neg(mean(takeAlong(logSoftmax(logits, -1), column(batch.labelIds), 1)));
    losses.push((await learner.step({ loss })).loss);
    memory.push(process.memoryUsage.rss());
    process.stderr.write(`step ${losses.length}: ${losses.at(-1)!.toFixed(4)}\n`);
  }
  const seconds = (performance.now() - start) / 1000 / steps;
  const average = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;
  const [first, last] = [average(losses.slice(0, 5)), average(losses.slice(-5))];
  const row = { row: 3, theirs: "", bar: "≤ 0.7" } as const;
  const what = "SmolLM2-135M, LoRA on attention, RTE, 50 steps of 8: mean loss of the last five / first five";
  const ours = `${last.toFixed(3)} / ${first.toFixed(3)} (${seconds.toFixed(1)} s a step)`;
  report({ ...row, what, ours, ratio: last / first, holds: last / first <= 0.7 });
  const [early, late] = [Math.max(...memory.slice(5, 15)), Math.max(...memory.slice(-10))];
  report({
    ...row,
    what: "peak RSS of the last ten steps / of steps 6 to 15",
    ours: `${(late / 1e9).toFixed(2)} GB / ${(early / 1e9).toFixed(2)} GB`,
    ratio: late / early,
    bar: "level: ≤ 1.1",
    holds: late / early <= 1.1,
  });
  learner.dispose();
  base.dispose();
}
