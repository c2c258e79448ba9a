/** @file `interpretune info`: what a model is and what running it will take. */
import { Table, type Cell } from "../../analysis/table.ts";
import { evaluateDim, type Dim, type Tensor } from "../../graph/index.ts";
import { HookedModel, type ModelConfig } from "../../model/index.ts";
import { loadModelFiles } from "../../model/load.ts";
import { formatBytes } from "../../runtime/index.ts";
import type { CliContext } from "../context.ts";
import { Output } from "../output.ts";

export interface InfoFlags {
  readonly batchSize: number;
  readonly length: number;
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
  const loaded = await loadModelFiles(path, { signal: this.signal });
  const model = new HookedModel({ cfg: loaded.cfg, weights: loaded.weights, tokenizer: undefined });
  const { cfg } = model;
  const hooks = model.describeHooks();
  const forecast = forecastMemory(model, flags);
  const family = cfg.original_architecture ?? (loaded.kind === "native" ? "TransformerLens" : loaded.kind);
  const facts: [string, Cell][] = [
    ["model", cfg.model_name],
    ["family", family],
    ["files", loaded.kind],
    ["parameters", forecast.parameters],
    ...sizes.map((key): [string, Cell] => [key, cfg[key]]),
    ["positions", cfg.positional_embedding_type],
    ["normalization", cfg.normalization_type],
    ["activation", cfg.act_fn],
  ];
  const at = `${flags.batchSize} × ${flags.length} tokens`;
  const bytes: [string, number][] = [
    ["weights (float32)", forecast.weights_bytes],
    ["keys and values per token", forecast.kv_bytes_per_token],
    [`keys and values, ${at}`, forecast.kv_bytes],
    [`logits, ${at}`, forecast.logits_bytes],
    [`largest activation, ${at}`, forecast.largest_activation_bytes],
    [`all hook points kept, ${at}`, forecast.all_activations_bytes],
  ];
  const output = new Output(this, flags.json);
  const two = (a: string, b: string): { key: string; label: string }[] => [
    { key: "name", label: a },
    { key: "value", label: b },
  ];
  await output.say(
    `${new Table(
      two("Model", ""),
      facts.filter(([, value]) => value !== null),
    ).toMarkdown()}\n`,
  );
  await output.say(
    `${new Table(
      two("Memory", ""),
      bytes.map(([name, n]) => [name, formatBytes(n)]),
    ).toMarkdown()}\n`,
  );
  const points = hooks
    .map(({ name, shape }): Cell[] => [name, shape])
    .filter(([name]) => /^(?!blocks\.)|^blocks\.0\./.test(String(name)));
  await output.say(
    `${new Table(two("Hook point", "Shape"), points, `${hooks.length} hook points; blocks are alike, block 0 is shown`).toMarkdown()}`,
  );
  await output.document({
    ...Object.fromEntries(facts),
    unused_tensors: loaded.unused,
    hooks,
    forecast,
    batch_size: flags.batchSize,
    length: flags.length,
  });
  loaded.dispose();
}

interface Forecast {
  readonly parameters: number;
  readonly weights_bytes: number;
  readonly kv_bytes_per_token: number;
  readonly kv_bytes: number;
  readonly logits_bytes: number;
  readonly largest_activation_bytes: number;
  readonly all_activations_bytes: number;
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
  const atoms = new Map([
    [batch.batch.terms[0]!.atoms[0]!.id, batchSize],
    [batch.pos.terms[0]!.atoms[0]!.id, p],
  ]);
  const bytesOf = (x: Tensor): number => 4 * product(x.shape, (dim) => evaluateDim(dim, atoms));
  const values = Object.values(traced.hooks).map(bytesOf);
  const kv = model.cacheBytesPerToken;
  return {
    parameters,
    weights_bytes: 4 * parameters,
    kv_bytes_per_token: kv,
    kv_bytes: kv * batchSize * p,
    logits_bytes: bytesOf(traced.logits),
    largest_activation_bytes: Math.max(...values),
    all_activations_bytes: values.reduce((a, b) => a + b, 0),
  };
}
