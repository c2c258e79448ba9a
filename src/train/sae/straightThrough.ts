/**
 * @file Steps with a straight-through derivative: the rectangle kernel of Rajamanoharan et al. 2024 (arXiv 2407.14435)
 * stands in for the derivative that a jump does not have.
 */
import { mapElements } from "../../graph/broadcast.ts";
import { abs, add, cast, div, dtypes, greater, less, mul, neg, sub, where, type Tensor } from "../../graph/index.ts";
import type { Operation } from "../../graph/operation.ts";
import { alongBroadcast } from "../../graph/ops/rules.ts";
import { sumTo } from "../../graph/ops/reduce.ts";
import { apply } from "../../graph/tensor.ts";

interface StepAttributes {
  /** Width of the kernel. */
  readonly bandwidth: number;
  /** Whether the kernel's derivative also reaches the pre-activation, and so the encoder. */
  readonly toInput: boolean;
  readonly [name: string]: number | boolean;
}

/** `slope` where the pre-activation is within half a bandwidth of the threshold, 0 elsewhere. */
const nearThreshold = (x: Tensor, threshold: Tensor, bandwidth: number, slope: Tensor): Tensor =>
  where(less(abs(sub(x, threshold)), bandwidth / 2), slope, 0);

const step: Operation<StepAttributes> = {
  name: "StraightThroughStep",
  infer: ([x]) => ({ shape: x!.shape, dtype: x!.dtype }),
  lower: ({ emit, inputs, node }) => emit.node("Cast", [emit.node("Greater", inputs)], { to: dtypes[node.dtype].onnx }),
  gradient: ({ inputs: [x, threshold], gradient, attributes: { bandwidth, toInput } }) => {
    const estimate = nearThreshold(x!, threshold!, bandwidth, div(gradient, bandwidth));
    return [toInput ? estimate : undefined, neg(sumTo(estimate, threshold!.shape))];
  },
  evaluate: ({ inputs, dims }) => mapElements(inputs, dims, (x, threshold) => Number(x > threshold)),
  along: alongBroadcast,
  broadcasts: true,
};

const jumpRelu: Operation<StepAttributes> = {
  name: "StraightThroughJumpRelu",
  infer: ([x]) => ({ shape: x!.shape, dtype: x!.dtype }),
  lower: ({ emit, inputs, node }) =>
    emit.node("Where", [emit.node("Greater", inputs), inputs[0]!, emit.scalar(0, node.dtype)]),
  gradient: ({ inputs: [x, threshold], gradient, attributes: { bandwidth, toInput } }) => {
    const estimate = nearThreshold(x!, threshold!, bandwidth, mul(gradient, div(threshold!, bandwidth)));
    const passed = mul(gradient, cast(greater(x!, threshold!), gradient.dtype));
    return [toInput ? add(passed, estimate) : passed, neg(sumTo(estimate, threshold!.shape))];
  },
  evaluate: ({ inputs, dims }) => mapElements(inputs, dims, (x, threshold) => (x > threshold ? x : 0)),
  along: alongBroadcast,
  broadcasts: true,
};

/** 1[x > threshold], [..., d_sae] and [d_sae]. */
export function straightThroughStep(x: Tensor, threshold: Tensor, attributes: StepAttributes): Tensor {
  return apply(step, [x, threshold], attributes);
}

/** x · 1[x > threshold], [..., d_sae] and [d_sae]. */
export function straightThroughJumpRelu(x: Tensor, threshold: Tensor, attributes: StepAttributes): Tensor {
  return apply(jumpRelu, [x, threshold], attributes);
}
