/** @file What running a plan will take, before it runs. */
import { dtypes } from "../graph/dtype.ts";
import { operations as ops } from "../graph/ops/table.ts";
import type { Tensor } from "../graph/tensor.ts";
import { topological } from "../graph/traverse.ts";
import type { Plan } from "./backend.ts";
import { axisSizes, concreteDims } from "./plan.ts";
import { weightViews } from "./views.ts";

/** Bytes of one run. */
export interface Forecast {
  /** Weights that the plan reads: they are there already, one copy for all plans. */
  readonly weights: number;
  /** The copies of them that are built into the compiled graph. */
  readonly packed: number;
  /** Views of weights that move or change data: computed once, and kept as long as the weights. */
  readonly views: number;
  /** Data that is fed. */
  readonly inputs: number;
  /** The most that values in between take at one time, results included. */
  readonly intermediates: number;
  /** The results, as they are handed out. */
  readonly outputs: number;
  /** All of it. ONNX Runtime keeps what it once allocated, in steps: up to about twice `intermediates`. */
  readonly total: number;
}

const sum = (sizes: Iterable<number>): number => [...sizes].reduce((a, b) => a + b, 0);

/** The tensor whose buffer this one reads under another shape. */
function buffer(x: Tensor): Tensor {
  return x.op === ops.Reshape || x.op.transparent === true ? buffer(x.inputs[0]!) : x;
}

/**
 * Walks a plan as it will run: a value is there from its own operation to its last user's, and an elementwise operation
 * writes over an operand that nobody needs any more.
 */
export function forecastPlan(plan: Plan): Forecast {
  const sizes = axisSizes(plan, (x) => x.storage?.dims);
  const bytesOf = (x: Tensor): number => concreteDims(x, sizes).reduce((n, dim) => n * dim, dtypes[x.dtype].bytes);
  const isWeight = (x: Tensor): boolean => x.storage?.role === "weight";
  const fed = plan.feeds.filter(isWeight);
  const outputs = plan.outputs.map(bytesOf);
  const parts = {
    weights: sum([...fed, ...plan.packed].map(bytesOf)),
    packed: sum([...plan.packed].map(bytesOf)),
    views: sum([...weightViews(plan.outputs)].map(bytesOf)),
    inputs: sum(plan.feeds.filter((x) => !isWeight(x)).map(bytesOf)),
    intermediates: peakOf(plan, bytesOf, (dim) => concreteDims(dim, sizes)),
    outputs: sum(outputs),
  };
  return { ...parts, total: sum(Object.values(parts)) };
}

function peakOf(plan: Plan, bytesOf: (x: Tensor) => number, dimsOf: (x: Tensor) => number[]): number {
  const given = new Set(plan.feeds);
  const computed = topological(plan.outputs).filter(
    (x) => !given.has(x) && !x.fixed && x.storage === undefined && buffer(x) === x && x.op !== ops.Constant,
  );
  const operands = (x: Tensor): Set<Tensor> => new Set(x.inputs.map(buffer));
  const users = new Map<Tensor, number>(plan.outputs.map((x) => [buffer(x), Infinity]));
  for (const node of computed) for (const x of operands(node)) users.set(x, (users.get(x) ?? 0) + 1);
  const held = new Map<Tensor, number>();
  let now = 0;
  let peak = 0;
  for (const node of computed) {
    const size = bytesOf(node);
    const done = [...operands(node)].filter((x) => {
      const left = users.get(x)! - 1;
      users.set(x, left);
      return left === 0 && held.has(x);
    });
    const overwritten = node.op.broadcasts === true ? done.find((x) => held.get(x) === size) : undefined;
    const scratch = 4 * (node.op.scratch?.(node, dimsOf) ?? 0);
    if (overwritten === undefined) now += size;
    else held.delete(overwritten);
    held.set(node, size);
    peak = Math.max(peak, now + scratch);
    for (const x of done) {
      now -= held.get(x) ?? 0;
      held.delete(x);
    }
  }
  return peak;
}
