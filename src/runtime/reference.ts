/** @file The reference backend: every operation evaluated in float64, in plain TypeScript. The oracle of the tests. */
import { evaluateDim } from "../graph/axis.ts";
import {
  bfloat16ToNumber,
  dtypes,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
  type DataArray,
  type DType,
} from "../graph/dtype.ts";
import type { NDArray } from "../graph/operation.ts";
import type { Tensor } from "../graph/tensor.ts";
import { topological } from "../graph/traverse.ts";
import type { Backend, Plan } from "./backend.ts";

/**
 * Any stored array as float64.
 * @example
 * toFloat64(BigInt64Array.of(3n), "int64"); // Float64Array [3]
 */
export function toFloat64(data: DataArray, dtype: DType): Float64Array {
  if (dtype === "bfloat16") return Float64Array.from(data as Uint16Array, bfloat16ToNumber);
  if (dtype === "float16") return Float64Array.from(data as Uint16Array, float16ToNumber);
  if (data instanceof BigInt64Array) return Float64Array.from(data, Number);
  return Float64Array.from(data);
}

/** float64 as the array of a dtype, rounded. */
export function fromFloat64(data: Float64Array, dtype: DType): DataArray {
  if (dtype === "int64") return BigInt64Array.from(data, (x) => BigInt(Math.trunc(x)));
  if (dtype === "bfloat16") return Uint16Array.from(data, numberToBfloat16);
  if (dtype === "float16") return Uint16Array.from(data, numberToFloat16);
  const out = new dtypes[dtype].array(data.length) as Exclude<DataArray, BigInt64Array>;
  out.set(data);
  return out;
}

/** Evaluates a plan's outputs in float64 (exact inputs, no rounding in between). @internal */
export function evaluatePlan(plan: Plan, feeds: readonly NDArray[], sizes: ReadonlyMap<number, number>): NDArray[] {
  const values = new Map<Tensor, NDArray>();
  plan.feeds.forEach((x, i) => values.set(x, feeds[i]!));
  const sizeOf = (dim: Parameters<typeof evaluateDim>[0]): number => evaluateDim(dim, sizes);
  for (const node of topological(plan.outputs)) {
    if (values.has(node)) continue;
    if (node.storage !== undefined) {
      values.set(node, { dims: node.dims, data: toFloat64(node.data, node.dtype) });
      continue;
    }
    const dims = node.shape.map(sizeOf);
    const inputs = node.inputs.map((x) => values.get(x)!);
    const data = node.op.evaluate({ inputs, dims, dtype: node.dtype, attributes: node.attributes, node, sizeOf });
    values.set(node, { dims, data });
  }
  return plan.outputs.map((x) => values.get(x)!);
}

/**
 * The oracle: slow, exact, in the calling thread.
 * @example
 * const exact = new Runtime({ backend: reference });
 * const y = await exact.realize(exp(leaf(Float64Array.of(0), [1])));
 */
export const reference: Backend = {
  name: "reference",
  device: "cpu",
  caches: false,
  compile: async (plan) => ({
    bytes: 0,
    run: async (feeds, sizes, into) => {
      const arrays = feeds.map((f, i) => ({ dims: f.dims, data: toFloat64(f.data, plan.feeds[i]!.dtype) }));
      const known = plan.atoms.flatMap(({ id }, i): [number, number][] =>
        sizes[i] === undefined ? [] : [[id, sizes[i]]],
      );
      return evaluatePlan(plan, arrays, new Map(known)).map(({ dims, data: exact }, i) => {
        const data = fromFloat64(exact, plan.outputs[i]!.dtype);
        const given = into?.get(i);
        given?.data.set(data as never);
        return given ?? { dims, data };
      });
    },
    dispose: async () => {},
  }),
};
