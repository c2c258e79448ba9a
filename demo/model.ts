/** @file Training the demo's model: rows of passages with questions, what there is to learn from each, one compiled step. */
import { taskPrompt } from "../src/data/index.ts";
import {
  add,
  div,
  logSoftmax,
  mul,
  neg,
  placeholder,
  select,
  softplus,
  squeeze,
  sub,
  sum,
  takeAlong,
  type Tensor,
} from "../src/graph/index.ts";
import { HookedModel, placeholderBatch, type ModelConfigInput, type Tokenizer } from "../src/model/index.ts";
import type { Buffer, Runtime } from "../src/runtime/index.ts";
import { Learner, makeSchedule, settled, trainable } from "../src/train/index.ts";
import { passages, take, type Example, type Passage } from "./task.ts";
import { answer, answers, idOf, question, tokenize, vocabulary } from "./tokenizer.ts";

/** What decides the model. */
export interface ModelRecipe {
  readonly seed: number;
  readonly sizes: Pick<ModelConfigInput, "n_layers" | "d_model" | "n_heads" | "d_head" | "d_mlp" | "n_ctx">;
  readonly steps: number;
  /** Passages a step. */
  readonly batch: number;
  /** Questions about a passage. */
  readonly questions: number;
  readonly learningRate: number;
  readonly warmUp: number;
  readonly weightDecay: number;
  /** Steps between evaluations. */
  readonly every: number;
}

/** A point of the curve: means since the last point, in nats, and accuracy on validation examples. */
export interface Point extends Readonly<Record<Part, number>> {
  readonly step: number;
  readonly accuracy: Accuracy;
}

/** Shares of right answers: of all, and of each family. */
export type Accuracy = Readonly<Record<string, number>>;

const parts = ["answers", "verdicts", "text"] as const;
type Part = (typeof parts)[number];

const [yes, no] = answers.map(idOf) as [number, number];

/** A passage with its questions and answers as tokens, and what is to be learnt at each token. */
interface Row {
  readonly tokens: readonly number[];
  /** Where an answer comes next. */
  readonly answers: readonly (0 | 1)[];
  /** Inside a question: 1 while it can still become one that is implied, −1 from the word on that it cannot. */
  readonly verdicts: readonly (-1 | 0 | 1)[];
  /** Where the next word of an implied question comes. */
  readonly text: readonly (0 | 1)[];
}

const tokensOfClaim = (hypothesis: string): number[] => tokenize(hypothesis.slice(0, -1));

function rowOf({ premise, questions, implied }: Passage): Row {
  const known = implied.map(tokensOfClaim);
  const start = [idOf("<s>"), ...tokenize(premise)];
  const row = {
    tokens: start,
    answers: start.map((): 0 | 1 => 0),
    verdicts: start.map((): -1 | 0 | 1 => 0),
    text: start.map((): 0 | 1 => 0),
  };
  for (const { hypothesis, label } of questions) {
    const asked = tokensOfClaim(hypothesis);
    const possible = (upTo: number): boolean =>
      known.some((claim) => asked.slice(0, upTo + 1).every((id, i) => id === claim[i]));
    row.tokens.push(idOf(question), ...asked, idOf(answer), [yes, no][label]!);
    row.answers.push(0, ...asked.map((): 0 => 0), 1, 0);
    row.verdicts.push(0, ...asked.map((_, i): -1 | 1 => (possible(i) ? 1 : -1)), label === 0 ? 1 : -1, 0);
    row.text.push(0, ...asked.map((_, i): 0 | 1 => (label === 0 && i < asked.length - 1 ? 1 : 0)), 0, 0);
  }
  return row;
}

/** What a step takes. */
interface Inputs<T> {
  readonly tokens: T; // [batch, pos]
  readonly next: T; // [batch, pos, 1]
  readonly answers: T; // [batch, pos]
  readonly verdicts: T; // [batch, pos]
  readonly text: T; // [batch, pos]
}

/** Rows side by side, filled up at their ends. */
function inputsOf(rows: readonly Row[]): Inputs<Buffer> {
  const length = Math.max(...rows.map(({ tokens }) => tokens.length));
  const filled = (of: (row: Row) => readonly number[]): number[] =>
    rows.flatMap((row) => Array.from({ length }, (_, i) => of(row)[i] ?? 0));
  const dims = [rows.length, length];
  const ids = (of: (row: Row) => readonly number[], shape: readonly number[]): Buffer => ({
    dims: shape,
    data: BigInt64Array.from(filled(of), BigInt),
  });
  const floats = (of: (row: Row) => readonly number[]): Buffer => ({ dims, data: Float32Array.from(filled(of)) });
  return {
    tokens: ids(({ tokens }) => tokens, dims),
    next: ids(({ tokens }) => tokens.slice(1), [...dims, 1]),
    answers: floats(({ answers }) => answers),
    verdicts: floats(({ verdicts }) => verdicts),
    text: floats(({ text }) => text),
  };
}

const weighted = (x: Tensor, weight: Tensor): Tensor => div(sum(mul(x, weight)), sum(weight));

/**
 * What the model is asked for, each part a mean: the answers; after each word of a question, whether it can still be
 * implied (from the difference of the two answers' logits); and the words of questions that are.
 */
function losses(logits: Tensor, { next, answers, verdicts, text }: Inputs<Tensor>): Record<Part, Tensor> {
  const surprise = neg(squeeze(takeAlong(logSoftmax(logits, -1), next, 2), -1)); // [batch, pos]
  const difference = sub(select(logits, -1, yes), select(logits, -1, no)); // [batch, pos]
  return {
    answers: weighted(surprise, answers),
    verdicts: weighted(softplus(neg(mul(difference, verdicts))), mul(verdicts, verdicts)),
    text: weighted(surprise, text),
  };
}

/** GPT-2's blocks with rotary positions. */
const config = ({ sizes }: ModelRecipe): ModelConfigInput => ({
  ...sizes,
  model_name: "interpretune-demo",
  original_architecture: "GPTNeoXForCausalLM",
  d_vocab: vocabulary.length,
  d_vocab_out: vocabulary.length,
  act_fn: "relu",
  normalization_type: "LN",
  positional_embedding_type: "rotary",
  rotary_dim: sizes.d_head,
  rotary_base: 10_000,
});

/** The share of examples that a model answers rightly: the larger of the two answers' logits. */
export async function accuracyOf(model: HookedModel, examples: readonly Example[]): Promise<Accuracy> {
  const tokensOf = ({ premise, hypothesis }: Example): number[] => [
    idOf("<s>"),
    ...tokenize(taskPrompt(premise, hypothesis)),
  ];
  const groups = new Map<number, Example[]>();
  for (const example of examples) {
    const { length } = tokensOf(example);
    groups.set(length, [...(groups.get(length) ?? []), example]);
  }
  const counts = new Map<string, { right: number; all: number }>();
  for (const group of groups.values()) {
    const logits = await model.run(group.map(tokensOf), ({ logits: all }) => select(all, 1, -1)); // [batch, d_vocab]
    group.forEach(({ label, family }, row) => {
      const [forYes, forNo] = [yes, no].map((id) => logits.data[row * vocabulary.length + id] as number);
      const right = forYes! > forNo! === (label === 0) ? 1 : 0;
      for (const name of ["all", family]) {
        const count = counts.get(name) ?? { right: 0, all: 0 };
        counts.set(name, { right: count.right + right, all: count.all + 1 });
      }
    });
  }
  return Object.fromEntries([...counts].map(([name, { right, all }]) => [name, right / all]));
}

/** Keys begin as queries, so that words attend to their like (Trockman and Kolter 2023, arXiv 2305.09828). */
function likeToLike(parameters: ReadonlyMap<string, Tensor>, layer: number): void {
  const [queries, keys] = ["W_Q", "W_K"].map((name) => parameters.get(`blocks.${layer}.attn.${name}`)!.data);
  keys!.set(queries as never);
}

/** Trains the model from nothing; a function of the recipe. */
export async function trainModel(
  recipe: ModelRecipe,
  tokenizer: Tokenizer,
  runtime: Runtime,
  onPoint: (point: Point) => void,
): Promise<{ model: HookedModel; curve: readonly Point[] }> {
  const { seed, steps, batch, learningRate: lr, warmUp, weightDecay, every } = recipe;
  const { model, parameters } = trainable(HookedModel.fromConfig(config(recipe), { seed, tokenizer, runtime }));
  for (let layer = 0; layer < recipe.sizes.n_layers; layer++) likeToLike(parameters, layer);
  const learner = new Learner({
    parameters,
    optimizer: { name: "AdamW", lr, weightDecay, betas: [0.9, 0.98] },
    clip: { norm: 1 },
    // GPT-NeoX's files have no place for it: so the model opens wherever those do.
    frozen: ["unembed.b_U"],
    runtime,
  });
  const schedule = makeSchedule(
    { name: "get_cosine_schedule_with_warmup", numWarmupSteps: warmUp, numTrainingSteps: steps },
    [lr],
  );
  const rows = placeholderBatch(recipe.sizes.n_ctx);
  const weights = (name: string): Tensor => placeholder([rows.batch, rows.pos], "float32", name);
  const inputs: Inputs<Tensor> = {
    tokens: rows.tokens,
    next: placeholder([rows.batch, rows.pos, 1], "int64", "next"),
    answers: weights("answers"),
    verdicts: weights("verdicts"),
    text: weights("text"),
  };
  const step = await learner.compile({ ...inputs }, (given) => {
    const metrics = losses(model.trace(rows).logits, given);
    return { loss: add(add(metrics.answers, mul(metrics.verdicts, 2)), metrics.text), metrics };
  });
  const validation = take("validation", seed, 1000);
  const source = passages("train", seed, recipe.questions);
  const curve: Point[] = [];
  const totals = { answers: 0, verdicts: 0, text: 0 };
  for (let done = 1; done <= steps; done++) {
    learner.setLearningRate(schedule.rates[0]!);
    const chosen = Array.from({ length: batch }, () => rowOf(source.next().value as Passage));
    const { metrics } = await step({ ...inputsOf(chosen) });
    schedule.step();
    for (const part of parts) totals[part] += metrics[part].item();
    if (done % every !== 0) continue;
    const means = Object.fromEntries(parts.map((part) => [part, totals[part] / every])) as Record<Part, number>;
    for (const part of parts) totals[part] = 0;
    const point = { step: done, ...means, accuracy: await accuracyOf(model, validation) };
    curve.push(point);
    onPoint(point);
  }
  await step.dispose();
  learner.dispose();
  return { model: settled(model), curve };
}
