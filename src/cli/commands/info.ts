/** @file `interpretune info`: what a model is and what running it will take. */
import { evaluateDim, type Dim, type Tensor } from "../../graph/index.ts";
import { HookedModel, type ModelConfig } from "../../model/index.ts";
import { flaggedPoints } from "../../model/hooks/filter.ts";
import { loadModelFiles } from "../../model/files/load.ts";
import { formatBytes } from "../../runtime/index.ts";
import type { CliContext } from "../context.ts";
import { cliHub } from "../hub.ts";
import { aligned, Output } from "../output.ts";

export interface InfoFlags {
  readonly batchSize: number;
  readonly length: number;
  readonly offline?: boolean;
  readonly json?: boolean;
}

/** The keys of a configuration that say how large a model is. */
const sizes = [
  "n_layers",
  "d_model",
  "n_heads",
  "n_key_value_heads",
  "d_head",
  "d_mlp",
  "d_vocab",
  "n_ctx",
] as const satisfies readonly (keyof ModelConfig)[];

export async function info(this: CliContext, flags: InfoFlags, path: string): Promise<void> {
  const { hub, finish } = cliHub(this, flags);
  const loaded = await loadModelFiles(path, { signal: this.signal, headersOnly: true, hub }).finally(finish);
  const model = new HookedModel({ cfg: loaded.cfg, weights: loaded.weights, tokenizer: undefined });
  const { cfg } = model;
  const hooks = model.describeHooks();
  const forecast = forecastMemory(model, flags);
  const family = cfg.original_architecture ?? (loaded.kind === "native" ? "TransformerLens" : loaded.kind);
  const facts = {
    model: cfg.model_name,
    family,
    files: loaded.kind,
    parameters: forecast.parameters,
    ...Object.fromEntries(sizes.map((key) => [key, cfg[key]])),
    positions: cfg.positional_embedding_type,
    normalization: cfg.normalization_type,
    activation: cfg.act_fn,
  };
  const at = `${flags.batchSize} × ${forecast.length} tokens`;
  const bytes: [string, number][] = [
    ["weights (float32)", forecast.weights_bytes],
    ["views of weights, kept", forecast.view_bytes],
    [`values in between, at most, ${at}`, forecast.intermediate_bytes],
    ["keys and values per token", forecast.kv_bytes_per_token],
    [`keys and values, ${at}`, forecast.kv_bytes],
    [`logits, ${at}`, forecast.logits_bytes],
    [`largest activation, ${at}`, forecast.largest_activation_bytes],
    [`all hook points kept, ${at}`, forecast.all_activations_bytes],
    [`one run for logits, all in all, ${at}`, forecast.run_bytes],
  ];
  const output = new Output(this, flags.json);
  const shown = Object.entries(facts).flatMap(([name, value]) => (value === null ? [] : [[name, shownFact(value)]]));
  await output.say(`${aligned(shown)}\n\nMemory\n${aligned(bytes.map(([name, n]) => [name, formatBytes(n)]))}\n`);
  const ofBlock0 = hooks.filter(({ name }) => !name.startsWith("blocks.") || name.startsWith("blocks.0."));
  const points = ofBlock0.map(({ name, shape }) => [name, shape, isFlagged(name) ? "by explicit name" : ""]);
  await output.say(`${hooks.length} hook points; of the blocks, which are alike, block 0 is shown\n${aligned(points)}`);
  const unused_tensors = loaded.unused;
  await output.document({ ...facts, unused_tensors, hooks, forecast: { batch_size: flags.batchSize, ...forecast } });
  loaded.dispose();
}

const shownFact = (value: string | number): string =>
  typeof value === "number" ? value.toLocaleString("en-US") : value;

const isFlagged = (name: string): boolean => flaggedPoints.includes(name.slice(name.lastIndexOf(".") + 1));

interface Forecast {
  /** Tokens per row, at most the context. */
  readonly length: number;
  readonly parameters: number;
  readonly weights_bytes: number;
  /** Views of weights that a run computes once. */
  readonly view_bytes: number;
  /** Most that a run for logits holds between weights and results. */
  readonly intermediate_bytes: number;
  readonly kv_bytes_per_token: number;
  readonly kv_bytes: number;
  readonly logits_bytes: number;
  readonly largest_activation_bytes: number;
  readonly all_activations_bytes: number;
  readonly run_bytes: number;
}

function forecastMemory(model: HookedModel, { batchSize, length }: InfoFlags): Forecast {
  const { cfg } = model;
  const product = (shape: readonly Dim[], sizeOf: (dim: Dim) => number): number =>
    shape.reduce<number>((n, dim) => n * sizeOf(dim), 1);
  const fixed = (dim: Dim): number => (typeof dim === "number" ? dim : NaN);
  const parameters = [...model.weights].reduce(
    (n, [name, { shape }]) => n + (cfg.tie_word_embeddings && name === "unembed.W_U" ? 0 : product(shape, fixed)),
    0,
  );
  const p = Math.min(length, cfg.n_ctx);
  const batch = model.batch(Array.from({ length: batchSize }, () => new Array<number>(p).fill(0)));
  const traced = model.trace(batch, { capture: "*" });
  const bytesOf = (x: Tensor): number => 4 * product(x.shape, (dim) => evaluateDim(dim, new Map()));
  const values = Object.values(traced.hooks).map(bytesOf);
  const kv = model.cacheBytesPerToken;
  const run = model.runtime.forecast(traced.logits);
  return {
    length: p,
    parameters,
    weights_bytes: 4 * parameters,
    view_bytes: run.views,
    intermediate_bytes: run.intermediates,
    kv_bytes_per_token: kv,
    kv_bytes: kv * batchSize * p,
    logits_bytes: bytesOf(traced.logits),
    largest_activation_bytes: Math.max(...values),
    all_activations_bytes: values.reduce((a, b) => a + b, 0),
    run_bytes: run.total,
  };
}
