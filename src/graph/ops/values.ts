/** @file Constants, casts, and the choice between two values. */
import { broadcastShapes, mapElements } from "../broadcast.ts";
import { bfloat16ToNumber, dtypes, float16ToNumber, numberToBfloat16, numberToFloat16, type DType } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import { notDifferentiable, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";
import { alongBroadcast, none, sameDTypes, type None } from "./rules.ts";

const whereOperation: Operation<None> = {
  name: "Where",
  infer: (inputs) => {
    const [condition, a, b] = inputs;
    if (condition!.dtype !== "bool")
      throw new GraphError(`Where: the condition must be bool, got ${condition!.label}`, { code: "graph/dtype" });
    return {
      shape: broadcastShapes(
        "Where",
        inputs.map((x) => x.shape),
        inputs,
      ),
      dtype: sameDTypes("Where", [a!, b!]),
    };
  },
  lower: ({ emit, inputs, node }) => {
    if (node.dtype !== "bool") return emit.node("Where", inputs);
    const [condition, a, b] = inputs as [string, string, string];
    const other = emit.node("And", [emit.node("Not", [condition]), b]);
    return emit.node("Or", [emit.node("And", [condition, a]), other]);
  },
  gradient: ({ inputs: [condition, a, b], gradient, needs }) => {
    const zero = lift(0, gradient);
    return [
      undefined,
      needs(1) ? sumTo(where(condition!, gradient, zero), a!.shape) : undefined,
      needs(2) ? sumTo(where(condition!, zero, gradient), b!.shape) : undefined,
    ];
  },
  evaluate: ({ inputs, dims }) => mapElements(inputs, dims, (c, a, b) => (c ? a : b)),
  along: alongBroadcast,
  broadcasts: true,
};

/** What a number becomes when stored as a dtype. */
function roundTo(dtype: DType, x: number): number {
  switch (dtype) {
    case "float64":
      return x;
    case "float32":
      return Math.fround(x);
    case "float16":
      return float16ToNumber(numberToFloat16(x));
    case "bfloat16":
      return bfloat16ToNumber(numberToBfloat16(x));
    case "bool":
      return Number(x !== 0);
    default:
      return Math.trunc(x);
  }
}

const castOperation: Operation<{ to: DType }> = {
  name: "Cast",
  infer: ([x], { to }) => ({ shape: x!.shape, dtype: to }),
  lower: ({ emit, inputs, attributes }) => emit.node("Cast", inputs, { to: dtypes[attributes.to].onnx }),
  gradient: ({ inputs: [x], gradient }) => [dtypes[x!.dtype].kind === "float" ? cast(gradient, x!.dtype) : undefined],
  // Between floats the reference keeps float64: it is the exact value the lower precision approximates.
  evaluate: ({ inputs, attributes }) => {
    const narrowing =
      attributes.to === "float16" || attributes.to === "bfloat16" || dtypes[attributes.to].kind !== "float";
    return narrowing ? inputs[0]!.data.map((x) => roundTo(attributes.to, x)) : inputs[0]!.data;
  },
  along: alongBroadcast,
  broadcasts: true,
};

const constantOperation: Operation<{ value: number; dtype: DType }> = {
  name: "Constant",
  infer: (_inputs, { dtype }) => ({ shape: [], dtype }),
  lower: ({ emit, attributes }) => emit.scalar(attributes.value, attributes.dtype),
  gradient: notDifferentiable("a constant has no inputs"),
  evaluate: ({ attributes }) => Float64Array.of(attributes.value),
  along: () => [],
};

export const valueOperations: {
  readonly Where: typeof whereOperation;
  readonly Cast: typeof castOperation;
  readonly Constant: typeof constantOperation;
} = { Where: whereOperation, Cast: castOperation, Constant: constantOperation };

export type Operand = Tensor | number;

/**
 * A scalar constant, part of the graph's structure. Numbers a user varies belong in leaves.
 * @example
 * (await realize(mul(constant(2), leaf(Float32Array.of(1, 2), [2])))).toArray(); // [2, 4]
 */
export function constant(value: number, dtype: DType = "float32"): Tensor {
  if (dtypes[dtype].kind !== "float" && !Number.isSafeInteger(value))
    throw new GraphError(`constant: ${value} is not a whole number, as ${dtype} needs`, {
      code: "graph/constant",
      hint: "cast the tensor it meets to float32",
    });
  return apply(constantOperation, [], { value, dtype });
}

/** A number as a constant of a tensor's dtype. */
export const lift = (value: number, like: Tensor): Tensor => constant(value, like.dtype);

/** The number that a constant is; undefined for everything else. */
export const constantOf = (x: Tensor): number | undefined =>
  x.op === constantOperation ? (x.attributes["value"] as number) : undefined;

/**
 * `condition ? x : y`, elementwise with broadcasting; the gradient reaches the chosen side only.
 * @example
 * const x = leaf(Float32Array.of(-1, 2), [2]);
 * (await realize(where(greater(x, 0), x, 0))).toArray(); // [0, 2]
 */
export function where(condition: Tensor, x: Operand, y: Operand): Tensor {
  const like = typeof x !== "number" ? x : typeof y !== "number" ? y : constant(0);
  return apply(
    whereOperation,
    [condition, typeof x === "number" ? lift(x, like) : x, typeof y === "number" ? lift(y, like) : y],
    none,
  );
}

/**
 * The same numbers in another data type; between floats it is differentiable.
 * @example
 * cast(leaf(BigInt64Array.of(3n), [1]), "float32").dtype; // "float32"
 */
export function cast(x: Tensor, to: DType): Tensor {
  return x.dtype === to ? x : apply(castOperation, [x], { to });
}
