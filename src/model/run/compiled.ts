/** @file A forward pass compiled once, for loops where tracing would cost more than the model. */
import type { OptionNames } from "../../graph/options.ts";
import type { WeightPolicy } from "../../runtime/runtime.ts";
import { checkModelOptions, ModelError } from "../errors.ts";
import type { Splice } from "../hooks/hookPoint.ts";
import { placeholderBatch } from "./batch.ts";
import type { HookSpec } from "./runOptions.ts";
import type { Traced } from "./traced.ts";
import { traceRun, type TraceableModel } from "./tracing.ts";

export interface CompileOptions {
  /** Default `packed`: the graph holds its own copy of the weights, laid out for the processor. */
  weights?: WeightPolicy;
  /** Hooks over lazy values; they are traced once. */
  hooks?: readonly HookSpec[];
  splices?: ReadonlyMap<string, Splice>;
  /** The longest input it will be called with. Default: the context, at most 2048. */
  maxLength?: number;
}

const compileNames: OptionNames<CompileOptions> = { weights: true, hooks: true, splices: true, maxLength: true };

/** A compiled forward pass over rows of equal length without padding. */
export interface CompiledModel<T> {
  /** @param ids token ids [batch][pos] */
  (ids: readonly (readonly number[])[]): Promise<T>;
  dispose(): Promise<void>;
}

/** See {@link HookedModel.compile}. */
export async function compileModel<T>(
  model: TraceableModel,
  select: (traced: Traced) => T,
  options: CompileOptions = {},
): Promise<CompiledModel<T>> {
  checkModelOptions(options, compileNames, "compile");
  const { maxLength = Math.min(model.cfg.n_ctx, 2048), weights = "packed", hooks, splices } = options;
  const view = placeholderBatch(maxLength);
  const { tokens } = view;
  const traced = traceRun(model, view, { hooks, splices });
  const run = await model.runtime.compile({ tokens }, () => select(traced(new Map())), { weights });
  const call = (ids: readonly (readonly number[])[]): Promise<T> => {
    const length = ids[0]?.length ?? 0;
    if (length === 0 || length > maxLength || ids.some((row) => row.length !== length))
      throw new ModelError("a compiled model takes rows of equal length", {
        code: "model/compiled",
        expected: `1 to ${maxLength} tokens in every row`,
        received: ids.map((row) => row.length).join(", "),
      });
    const data = new BigInt64Array(ids.length * length);
    let at = 0;
    for (const row of ids) for (const id of row) data[at++] = BigInt(id);
    return run({ tokens: { dims: [ids.length, length], data } });
  };
  return Object.assign(call, { dispose: () => run.dispose() });
}
