/** @file What there is to see of a model: its hook points, and the model as text. */
import { axis } from "../../graph/axis.ts";
import { dtypes } from "../../graph/dtype.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { topological } from "../../graph/traverse.ts";
import { formatBytes } from "../../runtime/ledger.ts";
import { filterText } from "../hooks/filter.ts";
import type { HookEntry, Splice } from "../hooks/hookPoint.ts";
import { Trace } from "../hooks/trace.ts";
import type { ModelWeights } from "../weights/weights.ts";
import { tokenBatch } from "./batch.ts";
import { traceForward, type TraceableModel } from "./tracing.ts";

type DescribedModel = Pick<TraceableModel, "cfg" | "weights" | "parts">;

/** The values of every hook point, flagged ones too, of a pass with these splices and without hooks. */
export function hookPoints(
  model: DescribedModel,
  splices: ReadonlyMap<string, Splice>,
): Readonly<Record<string, Tensor>> {
  const batch = { ...tokenBatch([[0]]), batch: axis("batch"), pos: axis("pos") };
  const trace = new Trace({ splices, capture: () => true });
  return traceForward(model, batch, {}, trace, model.weights).hooks;
}

/** Name, sizes, points, memory; what is spliced and hooked. */
export function modelText(
  model: DescribedModel,
  { hooks, splices }: { readonly hooks: readonly HookEntry[]; readonly splices: ReadonlyMap<string, Splice> },
): string {
  const { cfg, weights } = model;
  const sizes = `${cfg.n_layers} layers, d_model ${cfg.d_model}, ${cfg.n_heads} heads, d_vocab ${cfg.d_vocab}`;
  const points = Object.keys(hookPoints(model, new Map())).length;
  const lines = [`HookedModel ${cfg.model_name}: ${sizes}`, `${points} hook points, ${sizeText(weights)}`];
  if (splices.size > 0) lines.push(`spliced at ${[...splices.keys()].join(", ")}`);
  if (hooks.length > 0) lines.push(`hooks at ${hooks.map(({ filter }) => filterText(filter)).join(", ")}`);
  return lines.join("\n  ");
}

/** The arrays behind the weights, each counted once. */
function sizeText(weights: ModelWeights): string {
  let [count, bytes] = [0, 0];
  for (const { storage, dtype } of topological([...weights.values()]))
    if (storage !== undefined) {
      const size = storage.dims.reduce((a, b) => a * b, 1);
      count += size;
      bytes += size * dtypes[dtype].bytes;
    }
  return `${count.toLocaleString("en")} parameters, ${formatBytes(bytes)}`;
}
