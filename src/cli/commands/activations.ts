/** @file `interpretune activations`: hook points, logits and gradients as a safetensors file. */
import { writeSafetensors, type TensorData } from "../../formats/index.ts";
import { gradients, GraphError, type Tensor } from "../../graph/index.ts";
import type { HookedModel, Traced } from "../../model/index.ts";
import { compileFilter, noSuchPoint } from "../../model/hooks/filter.ts";
import { spliceHooks, type LatentModel } from "../../sae/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { checkWritable, logitDifference, readInput, readTargets } from "../inputs.ts";
import { layersBelow, load } from "../loading.ts";
import { aligned, Output } from "../output.ts";

export interface ActivationsFlags {
  readonly model: string;
  readonly text?: string;
  readonly tokens?: string;
  readonly saes?: readonly string[];
  readonly errorTerm?: boolean;
  readonly names?: readonly string[];
  readonly gradOf?: string;
  readonly threads?: number;
  readonly out: string;
  readonly offline?: boolean;
  readonly json?: boolean;
}

export async function activations(this: CliContext, flags: ActivationsFlags): Promise<void> {
  await checkWritable(flags.out);
  const globs = flags.names === undefined || flags.names.length === 0 ? ["*"] : flags.names;
  const reached = (saes: readonly LatentModel[]): number | undefined =>
    flags.gradOf === undefined ? layersBelow([...globs, ...saes.map(({ hookNameOut }) => hookNameOut)]) : undefined;
  const { model, saes, stopAtLayer } = await load(this, flags, reached);
  const batch = await readInput(model, flags, ["--text", "--tokens"]);
  const targets =
    flags.gradOf === undefined ? undefined : await readTargets(flags.gradOf, batch.batchSize, model.cfg.d_vocab_out);
  const asked = compileFilter(globs);
  const plain = compileFilter("*");
  const traced = model.trace(batch, {
    splices: saes.length === 0 ? undefined : spliceHooks(saes, { useErrorTerm: flags.errorTerm ?? false }),
    capture: (name) => plain(name) || asked(name),
    stopAtLayer,
  });
  const values = selected(traced, globs, stopAtLayer !== undefined);
  const grads = targets === undefined ? {} : differentiate(logitDifference(traced.logits, batch, targets), values);
  const done = await realize(model, { ...values, ...grads }, this.signal);
  await writeSafetensors(flags.out, done);
  const output = new Output(this, flags.json);
  const rows = Object.entries(done).map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
  const lines = rows.map(({ name, shape, dtype }) => [name, `[${shape.join(", ")}]`, dtype]);
  await output.say(`${aligned(lines)}\n${rows.length} tensors in ${flags.out}`);
  await output.document({ out: flags.out, tensors: rows });
}

/** The values that some glob names, in the order of the forward pass; every glob must name one. */
function selected(traced: Traced, globs: readonly string[], stopped: boolean): Record<string, Tensor> {
  const all = stopped ? traced.hooks : { ...traced.hooks, logits: traced.logits };
  for (const glob of globs)
    if (!Object.keys(all).some(compileFilter(glob)))
      throw noSuchPoint(`no hook point matches ${JSON.stringify(glob)}`, glob, Object.keys(all));
  return Object.fromEntries(Object.entries(all).filter(([name]) => compileFilter(globs)(name)));
}

function differentiate(scalar: Tensor, values: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  const names = Object.keys(values);
  try {
    const found = gradients(scalar, Object.values(values));
    return Object.fromEntries(names.map((name, i) => [`grad.${name}`, found[i]!]));
  } catch (cause) {
    if (!(cause instanceof GraphError) || cause.code !== "graph/no-path") throw cause;
    const unreached = names.filter((name) => !reaches(scalar, values[name]!));
    throw new CliError("the logits do not depend on some of these hook points", {
      code: "cli/grad-of",
      received: unreached.slice(0, 5).join(", ") + (unreached.length > 5 ? ", …" : ""),
      hint: "name others with --names",
      cause,
    });
  }
}

function reaches(scalar: Tensor, value: Tensor): boolean {
  try {
    gradients(scalar, [value]);
    return true;
  } catch {
    return false;
  }
}

async function realize(
  model: HookedModel,
  tensors: Readonly<Record<string, Tensor>>,
  signal: AbortSignal,
): Promise<Record<string, TensorData>> {
  const done = await model.runtime.realize({ ...tensors }, { weights: model.weightPolicy, signal });
  return Object.fromEntries(
    Object.entries(done).map(([name, { dtype, dims, data }]) => [name, { dtype, shape: dims, data }]),
  );
}
