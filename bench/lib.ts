/** @file What every bench shares: timing, the GPT-2-small-shaped model and its SAEs, the peers, rows of the table. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { uniformAt } from "../src/graph/index.ts";
import { HookedModel, loadTokenizer, type ModelConfigInput } from "../src/model/index.ts";
import { Sae } from "../src/sae/index.ts";

/** One line of the table. `ratio` says how `ours` and `theirs` compare; larger is better. */
export interface BenchRow {
  /** Row of the acceptance table it belongs to; null where there is none. */
  readonly row: number | null;
  readonly what: string;
  readonly ours: string;
  readonly theirs: string;
  readonly ratio: number | null;
  readonly bar: string;
  readonly holds: boolean | null;
}

/** Hands a row to whoever runs the bench: a line of JSON on stdout. */
export function report(row: BenchRow): void {
  console.log(JSON.stringify(row));
}

export interface Timing {
  readonly median: number;
  readonly min: number;
}

/** Milliseconds of an asynchronous function after warm-ups. */
export async function timed(
  run: () => Promise<unknown>,
  options: { repeat?: number; warmup?: number } = {},
): Promise<Timing> {
  const { repeat = 7, warmup = 3 } = options;
  for (let i = 0; i < warmup; i++) await run();
  const times: number[] = [];
  for (let i = 0; i < repeat; i++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { median: times[times.length >> 1]!, min: times[0]! };
}

export const ms = (x: number): string => (x < 10 ? `${x.toFixed(2)} ms` : `${x.toFixed(0)} ms`);

export const machine = (): string =>
  `${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} threads, Node ${process.version}`;

/** GPT-2 small's shape. */
export const gpt2Small: ModelConfigInput = {
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
};

/** Token ids from a seed, [batch, length]. */
export const randomIds = (batch: number, length: number, vocabulary = 50257): number[][] =>
  Array.from({ length: batch }, (_, b) =>
    Array.from({ length }, (_, p) => Math.floor(uniformAt(1, b * length + p) * vocabulary)),
  );

/** Floating-point operations of a forward pass: projections, attention (dense) and unembedding; as the peers count. */
export const forwardFlops = (batch: number, length: number): number =>
  batch * length * (12 * (24 * 768 * 768 + 4 * length * 768) + 2 * 768 * 50257);

/** The lengths of the first RTE prompts in GPT-2 tokens, where the material is beside the checkout. */
export async function rteLengths(count: number): Promise<number[]> {
  const shared = join(import.meta.dirname, sharedFolder);
  const path = join(shared, "data/rte/validation.jsonl");
  if (!existsSync(path)) return [62, 87, 54, 70].slice(0, count);
  const tokenizer = await loadTokenizer(join(shared, "tokenizers/gpt2"));
  const rows = readFileSync(path, "utf8").trim().split("\n").slice(0, count);
  return rows.map((line) => {
    const { premise, hypothesis } = JSON.parse(line) as { premise: string; hypothesis: string };
    const text = `${premise}Does the previous passage imply that ${hypothesis}? Answer with only one word, either Yes or No.`;
    return tokenizer.encode(text, { prependBos: true }).ids.length;
  });
}

/** From the compiled benches to the material beside the checkout. */
const sharedFolder = "../../../../shared";

/** Two standard SAEs 768 → 24576 at hook_z of blocks 9 and 10, about `active` latents per token. */
export async function hookZSaes(model: HookedModel, active = 75): Promise<Sae[]> {
  const width = 24576;
  const dIn = 768;
  const saes: Sae[] = [];
  const ids = randomIds(2, 64);
  for (const layer of [9, 10]) {
    const random = (seed: number, size: number, scale: number): Float32Array<ArrayBuffer> => {
      const out = new Float32Array(size);
      // Sums of four uniforms are normal enough, and fast.
      for (let i = 0; i < size; i++)
        out[i] =
          (uniformAt(seed, 4 * i) +
            uniformAt(seed, 4 * i + 1) +
            uniformAt(seed, 4 * i + 2) +
            uniformAt(seed, 4 * i + 3) -
            2) *
          scale *
          Math.sqrt(3);
      return out;
    };
    const encoder = random(layer, dIn * width, 1 / Math.sqrt(dIn));
    const z = await model.run(ids, ({ hooks }) => hooks[`blocks.${layer}.attn.hook_z`]!);
    const values = z.data as Float32Array;
    const sample: number[] = [];
    for (let t = 100; t < 128; t++)
      for (let j = 0; j < 2000; j++) {
        let pre = 0;
        for (let i = 0; i < dIn; i++) pre += values[t * dIn + i]! * encoder[i * width + j]!;
        sample.push(pre);
      }
    sample.sort((a, b) => b - a);
    const threshold = sample[Math.floor((sample.length * active) / width)]!;
    saes.push(
      Sae.fromParams(
        {
          architecture: "standard",
          d_in: dIn,
          d_sae: width,
          reshape_activations: "hook_z",
          metadata: { hook_name: `blocks.${layer}.attn.hook_z` },
        },
        {
          W_enc: { dims: [dIn, width], data: encoder },
          W_dec: { dims: [width, dIn], data: random(layer + 50, dIn * width, 0.1 / Math.sqrt(dIn)) },
          b_enc: { dims: [width], data: new Float32Array(width).fill(-threshold) },
          b_dec: { dims: [dIn], data: new Float32Array(dIn) },
        },
      ),
    );
  }
  return saes;
}

interface PeerRow {
  readonly name: string;
  readonly metric: string;
  readonly value: number;
  readonly unit: string;
  readonly params?: { readonly [name: string]: unknown };
}

/**
 * Runs a topic of the Python peers in this same bench, where `PEERS_PYTHON` names a Python that has them.
 * @returns its rows; none where the peers are not set up
 */
export function peers(topic: string, ...args: string[]): PeerRow[] {
  const python = process.env["PEERS_PYTHON"];
  if (python === undefined) return [];
  const script = join(import.meta.dirname, sharedFolder, "peers/bench.py");
  const { stdout, stderr, status } = spawnSync(python, [script, topic, ...args], { encoding: "utf8", maxBuffer: 1e8 });
  if (status !== 0) process.stderr.write(`peers ${topic}: ${stderr.trim().split("\n").at(-1) ?? "failed"}\n`);
  return (stdout ?? "")
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as PeerRow);
}

/** The value of a peer's row whose parameters include the given ones. */
export function peerValue(
  rows: readonly PeerRow[],
  name: string,
  metric: string,
  params: { [name: string]: unknown } = {},
): number | undefined {
  return rows.find(
    (r) => r.name === name && r.metric === metric && Object.entries(params).every(([k, v]) => r.params?.[k] === v),
  )?.value;
}

/** A row that compares with a peer; without the peer it only tells our number. */
export function against(
  row: number | null,
  what: string,
  ours: number,
  peer: number | undefined,
  bar: number | undefined,
  name: string,
): BenchRow {
  const ratio = peer === undefined ? null : peer / ours;
  return {
    row,
    what,
    ours: ms(ours),
    theirs: peer === undefined ? "not set up" : `${ms(peer)} (${name})`,
    ratio,
    bar: bar === undefined ? "" : `≥ ${bar}×`,
    holds: ratio === null || bar === undefined ? null : ratio >= bar,
  };
}

export { HookedModel };
