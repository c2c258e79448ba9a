/** @file Dropout of low-rank adapters: in training, an adapter does not see all of its projection's input. */
import {
  add,
  broadcastTo,
  cast,
  greaterEqual,
  leaf,
  matmul,
  mul,
  randomUniform,
  reshape,
  sub,
  sum,
  unsqueeze,
  type Tensor,
} from "../../graph/index.ts";
import type { Hook, HookedModel } from "../../model/index.ts";
import { TrainError } from "../errors.ts";
import type { Lora, LoraAdapter } from "./lora.ts";

/** Where a projection's input and output can be seen, below its block. */
interface Places {
  readonly input: string;
  readonly output: (gated: boolean) => string;
}

const places: Readonly<Record<string, Places>> = {
  "attn.W_Q": { input: "ln1.hook_normalized", output: () => "attn.hook_q" },
  "attn.W_K": { input: "ln1.hook_normalized", output: () => "attn.hook_k" },
  "attn.W_V": { input: "ln1.hook_normalized", output: () => "attn.hook_v" },
  "attn.W_O": { input: "attn.hook_z", output: () => "hook_attn_out" },
  "mlp.W_in": { input: "ln2.hook_normalized", output: (gated) => (gated ? "mlp.hook_pre_linear" : "mlp.hook_pre") },
  "mlp.W_gate": { input: "ln2.hook_normalized", output: () => "mlp.hook_pre" },
  "mlp.W_out": { input: "mlp.hook_post", output: () => "hook_mlp_out" },
};

/**
 * Hooks under which adapters do not see a share of their input, as PEFT's `lora_dropout` in training: of each projection's
 * input [batch, pos, in] every entry is 0 with this probability, and the others are scaled up, for the adapter alone. The
 * projections of one module, which share their A, share what they do not see. Nothing is left out without the hooks: in
 * validation, in generation and in analyses.
 * @param seed from 0, another one for each step: what is left out is a function of it
 * @param model what runs, where its weights were processed. Default: the model with the adapters
 * @throws TrainError where a projection's input or output cannot be seen in this model
 * @example
 * const lora = addLora(model, { rank: 2, targets: ["blocks.*.attn.W_Q"], dropout: 0.1 });
 * const learner = new Learner({ parameters: lora.parameters, optimizer: { name: "AdamW", lr: 1e-3 } });
 * const batch = lora.model.batch([[1, 2, 3, 4]]);
 * for (let step = 0; step < 2; step++)
 *   await learner.step({ loss: lora.model.withHooks(loraDropout(lora, step)).trace(batch).loss });
 */
export function loraDropout(
  lora: Lora,
  seed: number,
  model: Pick<HookedModel, "weights"> = lora.model,
): (readonly [string, Hook])[] {
  const { base, adapters, dropout } = lora;
  if (dropout === 0) return [];
  const { cfg, weights } = base;
  const fail = (name: string, received: string): never => {
    throw new TrainError("adapters of this projection have no dropout in this model", {
      code: "train/lora",
      where: name,
      received,
      hint: "lora_dropout: 0",
    });
  };
  /** What a projection reads, by where it is seen; of this trace. */
  const inputs = new Map<string, Tensor>();
  const kept = new Map<Tensor, (x: Tensor) => Tensor>();
  const hooks = new Map<string, Hook>();
  for (const [name, adapter] of adapters) {
    const [, block, part] = /^(blocks\.\d+)\.(.+)$/.exec(name)!;
    const { input, output } = places[part!]!;
    const norm = /^(ln\d)\.hook_normalized$/.exec(input)?.[1];
    if (norm !== undefined && cfg.normalization_type === null) fail(name, "a model without norms");
    if (norm === "ln1" && cfg.positional_embedding_type === "shortformer") fail(name, "positions added to queries");
    if (part!.endsWith("_O") || part!.endsWith("_out"))
      if (cfg.use_normalization_before_and_after) fail(name, "a norm after it");
    const at = `${block!}.${input}`;
    const [scale, ownShift] = ["w", "b"].map((each) => weights.get(`${block!}.${norm}.${each}`));
    const shift = input === "attn.hook_z" ? missingValues(lora.model, model, block!, cfg.n_heads) : ownShift;
    hooks.set(at, (value) => {
      // As the file's module reads it, whatever of the norm was folded away.
      const scaled = scale === undefined ? value : mul(value, scale);
      inputs.set(at, shift === undefined ? scaled : add(scaled, shift));
      return value;
    });
    let change = kept.get(adapter.A);
    if (change === undefined) kept.set(adapter.A, (change = changeOf(dropout, seedOf(seed, kept.size))));
    const own = change;
    hooks.set(`${block!}.${output(cfg.gated_mlp)}`, (value) =>
      add(value, reshape(adapted(own(flat(inputs.get(at)!, adapter)), adapter), value.shape)),
    );
  }
  return [...hooks];
}

/** What attention's values are where what it reads is 0, [kv_head, d_head]; undefined: 0. */
function restingValues({ weights }: Pick<HookedModel, "weights">, block: string): Tensor | undefined {
  const bias = weights.get(`${block}.attn.b_V`);
  const read = weights.get(`${block}.ln1.b`);
  if (read === undefined) return bias;
  const made = sum(mul(weights.get(`${block}.attn.W_V`)!, unsqueeze(read, -1)), 1);
  return bias === undefined ? made : add(made, bias);
}

/** What the files' model has in its values, and so in what attention makes of them, that one with processed weights adds later. */
function missingValues(
  files: Pick<HookedModel, "weights">,
  model: Pick<HookedModel, "weights">,
  block: string,
  heads: number,
): Tensor | undefined {
  const whole = restingValues(files, block);
  if (files === model || whole === undefined) return undefined;
  const there = restingValues(model, block);
  const missing = there === undefined ? whole : sub(whole, there);
  const [own, width] = missing.shape as [number, number];
  return reshape(broadcastTo(unsqueeze(missing, 1), [own, heads / own, width]), [heads, width]);
}

/** Heads taken together where there are any. */
const flat = (x: Tensor, { A }: LoraAdapter): Tensor => reshape(x, [x.shape[0]!, x.shape[1]!, A.shape[1]!]);

const adapted = (x: Tensor, { A, B, scale }: LoraAdapter): Tensor =>
  mul(matmul(matmul(x, A, { transposeB: true }), B, { transposeB: true }), scale); // [batch, pos, out]

/** What dropout changes about an input: the same for the same tensor. */
function changeOf(probability: number, seed: Tensor): (x: Tensor) => Tensor {
  return (x) => {
    const drawn = randomUniform(seed, x.shape);
    return mul(x, sub(mul(cast(greaterEqual(drawn, probability), "float32"), 1 / (1 - probability)), 1));
  };
}

/** Streams of one step lie side by side. */
const seedOf = (seed: number, stream: number): Tensor =>
  leaf(BigInt64Array.of(BigInt(seed) * 4096n + BigInt(stream)), [], { name: "dropout" });
