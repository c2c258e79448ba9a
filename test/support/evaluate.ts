/** @file Values of expressions by the reference evaluation: float64 throughout, no rewrites. */
import type { Tensor } from "../../src/graph/index.ts";
import type { NDArray } from "../../src/graph/operation.ts";
import { evaluatePlan, toFloat64 } from "../../src/runtime/index.ts";
import { axisSizes, makePlan } from "../../src/runtime/plan.ts";

/** A function from leaves' numbers to the outputs' numbers. Leaves that are not given keep their own. */
export function evaluator(outputs: readonly Tensor[]): (given?: ReadonlyMap<Tensor, Float64Array>) => NDArray[] {
  const plan = makePlan(outputs, () => false);
  const sizes = axisSizes(plan, (x) => x.storage?.dims);
  const leaves = plan.feeds.filter((x) => x.storage !== undefined);
  const own = new Map(leaves.map((x) => [x, toFloat64(x.data, x.dtype)]));
  const feeds = (given: ReadonlyMap<Tensor, Float64Array>): NDArray[] =>
    leaves.map((x) => ({ dims: x.dims, data: given.get(x) ?? own.get(x)! }));
  return (given = new Map()) => evaluatePlan({ ...plan, feeds: leaves }, feeds(given), sizes);
}

/** The numbers of each output. */
export function evaluate(...outputs: readonly Tensor[]): Float64Array[] {
  return evaluator(outputs)().map((x) => x.data);
}
