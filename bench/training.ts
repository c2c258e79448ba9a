/**
 * @file Steps of training against PyTorch with TransformerLens, in one run: a two-layer transformer on 32 rows of 32 tokens,
 * and the full batch of addition modulo 113 in one layer.
 */
import { leaf, logSoftmax, mean, neg, select, takeAlong, type Tensor } from "../src/graph/index.ts";
import { meanLoss, placeholderBatch, type ModelConfigInput, type TokenBatch } from "../src/model/index.ts";
import { Runtime } from "../src/runtime/index.ts";
import { Learner, trainable } from "../src/train/index.ts";
import { HookedModel, ms, peers, randomIds, report, timed } from "./lib.ts";

const adam = { name: "AdamW", lr: 1e-3, weightDecay: 1, betas: [0.9, 0.98] } as const;
const rows = peers("tiny", "--steps", "100", "--full-batch-steps", "4", "--repeat", "5");
/** The faster of the peer's runs with one thread and with two, in steps a second. */
const peer = (name: string, batch: number): number =>
  Math.max(
    0,
    ...rows
      .filter((row) => row.name === name && row.metric === "throughput" && row.params?.["batch"] === batch)
      .map(({ value }) => value),
  );

interface Task {
  readonly what: string;
  readonly peer: string;
  readonly bar: number;
  readonly config: ModelConfigInput;
  readonly ids: readonly (readonly number[])[];
  readonly loss: (logits: Tensor, batch: TokenBatch) => Tensor;
  readonly repeat: number;
}

const prime = 113;
const pairs = Array.from({ length: prime ** 2 }, (_, n) => [Math.floor(n / prime), n % prime, prime]);
const sums = BigInt64Array.from(pairs, ([a, b]) => BigInt((a! + b!) % prime));

const tasks: readonly Task[] = [
  {
    what: "training steps, 2 layers, d_model 64, batch 32 × 32",
    peer: "tiny.train_2L_d64",
    bar: 2,
    config: {
      ...{ n_layers: 2, d_model: 64, n_heads: 4, d_head: 16, d_mlp: 256, n_ctx: 32, d_vocab: 100, d_vocab_out: 100 },
      act_fn: "gelu_new",
      normalization_type: "LN",
    },
    ids: randomIds(32, 32, 100),
    loss: (logits, { tokens }) => meanLoss(logits, tokens),
    repeat: 100,
  },
  {
    what: "training steps, addition modulo 113, 1 layer, d_model 128, full batch",
    peer: "tiny.train_mod_addition",
    bar: 1.5,
    config: {
      ...{ n_layers: 1, d_model: 128, n_heads: 4, d_head: 32, d_mlp: 512, n_ctx: 3, d_vocab: 114, d_vocab_out: 113 },
      act_fn: "relu",
      normalization_type: null,
    },
    ids: pairs,
    loss: (logits, { batch }) => {
      const last = logSoftmax(select(logits, 1, -1), -1); // [pair, 113]
      return neg(mean(takeAlong(last, leaf(sums, [prime ** 2, 1], { shape: [batch, 1] }), 1)));
    },
    repeat: 8,
  },
];

for (const { what, peer: name, bar, config, ids, loss, repeat } of tasks) {
  const runtime = new Runtime();
  const { model, parameters } = trainable(HookedModel.fromConfig(config, { seed: 0, runtime }));
  const learner = new Learner({ parameters, optimizer: adam, runtime });
  const batch = placeholderBatch(config.n_ctx);
  const step = await learner.compile({ tokens: batch.tokens }, () => ({
    loss: loss(model.trace(batch).logits, batch),
  }));
  const tokens = { dims: [ids.length, ids[0]!.length], data: BigInt64Array.from(ids.flat(), BigInt) };
  const { median } = await timed(() => step({ tokens }), { repeat, warmup: 3 });
  const theirs = peer(name, ids.length);
  const ratio = theirs === 0 ? null : 1000 / median / theirs;
  report({
    row: 4,
    what,
    ours: `${(1000 / median).toPrecision(3)} steps/s (${ms(median)})`,
    theirs: theirs === 0 ? "not set up" : `${theirs.toPrecision(3)} steps/s (TransformerLens)`,
    ratio,
    bar: `≥ ${bar}×`,
    holds: ratio === null ? null : ratio >= bar,
  });
  learner.dispose();
  await runtime.dispose();
}
