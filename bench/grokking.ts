/**
 * @file Row 3 of training: grokking (Power et al. 2022, arXiv 2201.02177; Nanda et al. 2023, arXiv 2301.05217). One layer
 * learns addition modulo 113 from 30 % of the pairs, full batch, weight decay 1, until the others are right too. Its curve
 * goes to bench/grokking.csv and grokking.svg. About an hour on two cores; `GROKKING_STEPS` stops it earlier.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { argMax, leaf, logSoftmax, mean, neg, placeholder, select, takeAlong, uniformAt } from "../src/graph/index.ts";
import { placeholderBatch } from "../src/model/index.ts";
import { Learner, trainable } from "../src/train/index.ts";
import { grokkingCurve } from "./grokkingCurve.ts";
import { HookedModel, report } from "./lib.ts";

const bench = join(import.meta.dirname, "../../../bench");
const prime = 113;
const limit = Number(process.env["GROKKING_STEPS"] ?? 25_000);
const pairs = Array.from({ length: prime ** 2 }, (_, n) => [Math.floor(n / prime), n % prime, prime]);
const order = pairs.map((_, i) => i).sort((a, b) => uniformAt(0, a) - uniformAt(0, b));
const cut = Math.floor(0.3 * pairs.length);
const [train, test] = [order.slice(0, cut), order.slice(cut)].map((part) => part.map((i) => pairs[i]!)) as [
  number[][],
  number[][],
];
const sumOf = ([a, b]: readonly number[]): number => (a! + b!) % prime;

const { model, parameters } = trainable(
  HookedModel.fromConfig(
    {
      ...{ n_layers: 1, n_heads: 4, d_model: 128, d_head: 32, d_mlp: 512, n_ctx: 3, d_vocab: 114, d_vocab_out: 113 },
      act_fn: "relu",
      normalization_type: null,
    },
    { seed: 0 },
  ),
);
const learner = new Learner({
  parameters,
  optimizer: { name: "AdamW", lr: 1e-3, weightDecay: 1, betas: [0.9, 0.98] },
});
const batch = placeholderBatch(3);
const sums = placeholder([batch.batch, 1], "int64", "sums");
const step = await learner.compile({ tokens: batch.tokens, sums }, (given) => {
  const logProbs = logSoftmax(select(model.trace(batch).logits, 1, -1), -1); // [pair, 113]
  return { loss: neg(mean(takeAlong(logProbs, given.sums, 1))) };
});
const data = {
  tokens: leaf(BigInt64Array.from(train.flat(), BigInt), [train.length, 3]),
  sums: leaf(
    BigInt64Array.from(train, (pair) => BigInt(sumOf(pair))),
    [train.length, 1],
  ),
};

async function accuracy(): Promise<number> {
  const found = await model.run(test, ({ logits }) => argMax(select(logits, 1, -1), -1)); // [pair]
  return test.filter((pair, i) => Number(found.data[i]) === sumOf(pair)).length / test.length;
}

const curve = ["step,train_loss,test_accuracy"];
let right = 0;
let done = 0;
while (done < limit && right <= 0.995) {
  const { loss } = await step(data);
  done++;
  if (done % 250 !== 0) continue;
  right = await accuracy();
  curve.push(`${done},${loss.toExponential(4)},${right.toFixed(5)}`);
  const csv = `${curve.join("\n")}\n`;
  writeFileSync(join(bench, "grokking.csv"), csv);
  writeFileSync(join(bench, "grokking.svg"), await grokkingCurve(csv));
  process.stderr.write(`${curve.at(-1)!}\n`);
}
report({
  row: 3,
  what: `grokking addition modulo 113 from 30 % of the pairs: test accuracy after ${done} steps`,
  ours: `${(100 * right).toFixed(2)} %`,
  theirs: "",
  ratio: null,
  bar: "> 99 %, ≤ 25 000 steps",
  holds: right > 0.99,
});
