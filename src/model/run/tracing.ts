/** @file Tracing a forward pass: where it starts and stops, and async hooks that cut it. */
import { leaf, type Tensor } from "../../graph/tensor.ts";
import type { Runtime, WeightPolicy } from "../../runtime/runtime.ts";
import type { ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import { TraceCut, type Trace } from "../hooks/trace.ts";
import { forward, type TransformerParts } from "../transformer/transformer.ts";
import type { ModelWeights } from "../weights/weights.ts";
import type { TokenBatch } from "./batch.ts";
import { batchOf, inContext, type InputReader } from "./inputs.ts";
import { continueBatch } from "./past.ts";
import type { ModelInput, RunOptions } from "./runOptions.ts";
import { tracedView, type Traced } from "./traced.ts";

/** What async hooks have given in place of the values that they saw. */
export type Cuts = ReadonlyMap<string, Tensor>;

/** What runs ask of a model: what it computes with, and the hooks of its every run. */
export interface TraceableModel extends InputReader {
  readonly weights: ModelWeights;
  readonly runtime: Runtime;
  readonly weightPolicy: WeightPolicy;
  /** What a forward pass over so many positions needs beside its input. */
  parts(positions: number): TransformerParts;
  /** A trace with the hooks and splices of the model and those of one run. */
  newTrace(options: Pick<RunOptions, "hooks" | "splices" | "capture">, cuts?: Cuts): Trace;
}

type Realizing = Pick<RunOptions, "weights" | "signal">;

/** How a run of a model is realized. */
export const realizeOptions = (
  model: Pick<TraceableModel, "weightPolicy">,
  { weights = model.weightPolicy, signal }: Realizing,
): { weights: WeightPolicy; signal: AbortSignal | undefined } => ({ weights, signal });

/** The expression of a forward pass over a batch. */
export function traceForward(
  model: Pick<TraceableModel, "cfg" | "parts">,
  batch: TokenBatch,
  options: RunOptions,
  trace: Trace,
  weights: ModelWeights,
): Traced {
  const { cfg } = model;
  const startAtLayer = layerOf(options.startAtLayer, cfg) ?? 0;
  const stopAtLayer = layerOf(options.stopAtLayer, cfg);
  const residual = options.residual && residualOf(options.residual, batch, cfg);
  if (options.startAtLayer !== undefined && residual === undefined)
    throw new ModelError("startAtLayer needs the residual that enters that block", {
      code: "model/start",
      expected: "`residual` [batch, pos, d_model]",
    });
  const { tokens, positions, keyMask, emptyRows, past } = batch;
  const output = forward(
    { ...model.parts(batch.largestPosition + 1), weights },
    {
      ...{ tokens, positions, keyMask, emptyRows, residual, startAtLayer, stopAtLayer },
      past: past?.keyValues,
      keyPositions: past?.positions,
    },
    trace,
  );
  const partial = startAtLayer > 0 || stopAtLayer !== undefined;
  if (options.capture !== undefined || trace.hooked) trace.finish(partial);
  return tracedView(batch, output, trace);
}

/** The forward pass of a run over its input, to be traced once or, with async hooks, several times. */
export function traceRun(
  model: TraceableModel,
  input: ModelInput,
  options: RunOptions,
  weights: ModelWeights = model.weights,
): (cuts: Cuts) => Traced {
  const { cfg } = model;
  const { past } = options;
  const own = batchOf(model, input, options);
  const batch = past === undefined ? own : inContext(continueBatch(own, past, cfg), cfg);
  return (cuts) => traceForward(model, batch, options, model.newTrace({ capture: "*", ...options }, cuts), weights);
}

/** Builds expressions, again after each async hook on the way: its value is realized, and what it gives takes its place. */
export async function awaitHooks<T>(model: TraceableModel, build: (cuts: Cuts) => T, options: Realizing): Promise<T> {
  const { runtime } = model;
  const how = realizeOptions(model, options);
  const cuts = new Map<string, Tensor>();
  for (;;) {
    try {
      return build(cuts);
    } catch (cut) {
      if (!(cut instanceof TraceCut)) throw cut;
      const value = await runtime.realize(cut.value, how);
      const returned = (await cut.hook(value, cut.point)) ?? value;
      const result = await runtime.realize(returned, how);
      cuts.set(
        cut.key,
        leaf(result.data, result.dims, { shape: cut.value.shape, dtype: result.dtype, name: cut.point.name }),
      );
    }
  }
}

/** Builds expressions, again after each async hook on the way, and realizes them. */
export async function realizeAwaiting<T>(
  model: TraceableModel,
  build: (cuts: Cuts) => T,
  options: Realizing,
): Promise<T> {
  return model.runtime.realize(await awaitHooks(model, build, options), realizeOptions(model, options));
}

/** Realizes what is selected from a run. What is selected is built once, after the last async hook. */
export async function realizeRun<T>(
  model: TraceableModel,
  input: ModelInput,
  select: (traced: Traced) => T,
  options: RunOptions,
): Promise<T> {
  const traced = await awaitHooks(model, traceRun(model, input, options), options);
  return model.runtime.realize(select(traced), realizeOptions(model, options));
}

/** A block's number from 0; negative ones count from the end. */
function layerOf(layer: number | undefined, { n_layers }: ModelConfig): number | undefined {
  if (layer === undefined) return undefined;
  const at = layer < 0 ? layer + n_layers : layer;
  if (!Number.isInteger(at) || at < 0 || at > n_layers)
    throw new ModelError("there is no such layer", {
      code: "model/layer",
      expected: `an integer from ${-n_layers} to ${n_layers}`,
      received: String(layer),
    });
  return at;
}

/** A residual given as data gets the batch's axes. */
function residualOf(residual: Tensor, batch: TokenBatch, { d_model }: ModelConfig): Tensor {
  if (residual.storage === undefined) return residual;
  return leaf(residual.data, residual.dims, {
    shape: [batch.batch, batch.pos, d_model],
    dtype: residual.dtype,
    name: "residual",
  });
}
