/** @file Elementwise operations of two operands: arithmetic, comparisons, logic. */
import { sameDim } from "../axis.ts";
import { broadcastShapes, mapElements } from "../broadcast.ts";
import { dtypes, type DType } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import { notDifferentiable, type NotDifferentiable, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";
import { alongBroadcast, none, sameDTypes, type None } from "./rules.ts";
import { log, neg } from "./unary.ts";
import { cast, constantOf, lift, where, type Operand } from "./values.ts";

const times = (a: Tensor, b: Tensor | number): Tensor => mul(a, b);

interface BinaryRule {
  f: (a: number, b: number) => number;
  d:
    | ((a: Tensor, b: Tensor, y: Tensor, g: Tensor, needs: (i: number) => boolean) => readonly (Tensor | undefined)[])
    | NotDifferentiable;
  result?: DType;
  /** What it takes; default: numbers. */
  operands?: "bool" | "any";
  /** Of integers, where it differs. */
  integers?: (a: number, b: number) => number;
}

function binary(name: string, rule: BinaryRule): Operation<None> {
  const { f, d } = rule;
  return {
    name,
    infer: (inputs) => {
      const dtype = sameDTypes(name, inputs);
      if (rule.operands !== "any" && (dtype === "bool") !== (rule.operands === "bool"))
        throw new GraphError(`${name}: needs ${rule.operands ?? "number"} tensors, got ${dtype}`, {
          code: "graph/dtype",
          hint: dtype === "bool" ? "cast it to float32" : "compare it with something",
        });
      const [a, b] = inputs;
      const shape =
        a!.shape.length === b!.shape.length && a!.shape.every((x, i) => sameDim(x, b!.shape[i]!))
          ? a!.shape
          : broadcastShapes(
              name,
              inputs.map((x) => x.shape),
              inputs,
            );
      return { shape, dtype: rule.result ?? dtype };
    },
    lower: ({ emit, inputs }) => emit.node(name, inputs),
    gradient:
      typeof d === "function"
        ? ({ inputs: [a, b], output, gradient, needs }) =>
            d(a!, b!, output, gradient, needs).map((g, i) => g && sumTo(g, (i === 0 ? a! : b!).shape))
        : d,
    evaluate: ({ inputs, dims, dtype }) =>
      mapElements(inputs, dims, dtypes[dtype].kind === "int" ? (rule.integers ?? f) : f),
    along: alongBroadcast,
    broadcasts: true,
  };
}

const compares = (f: (a: number, b: number) => boolean): BinaryRule => ({
  f: (a, b) => Number(f(a, b)),
  d: notDifferentiable("a comparison has no derivative"),
  result: "bool",
});
const logic = (f: (a: number, b: number) => boolean): BinaryRule => ({ ...compares(f), operands: "bool" });

/** Ties share the gradient equally, as in PyTorch's maximum and minimum. */
const pick =
  (wins: (a: Tensor, b: Tensor) => Tensor) =>
  (a: Tensor, b: Tensor, _y: Tensor, g: Tensor): readonly Tensor[] => {
    const half = times(cast(equal(a, b), g.dtype), 0.5);
    return [times(g, add(cast(wins(a, b), g.dtype), half)), times(g, add(cast(wins(b, a), g.dtype), half))];
  };

/** `g · b · aᵇ⁻¹`, and 0 where b is 0 (also at a = 0, where the power is infinite). */
function powerRule(a: Tensor, b: Tensor, g: Tensor): Tensor {
  const exponent = constantOf(b);
  const slope = times(times(g, b), exponent === 2 ? a : pow(a, sub(b, 1)));
  const neverZero = exponent !== undefined && exponent !== 0;
  return neverZero ? slope : where(equal(b, 0), 0, slope);
}

type BinaryName =
  | "Add"
  | "Sub"
  | "Mul"
  | "Div"
  | "Pow"
  | "Max"
  | "Min"
  | "Equal"
  | "Less"
  | "LessOrEqual"
  | "Greater"
  | "GreaterOrEqual"
  | "And"
  | "Or"
  | "Xor";

export const binaryOperations: { readonly [N in BinaryName]: Operation<None> } = {
  Add: binary("Add", { f: (a, b) => a + b, d: (_a, _b, _y, g) => [g, g] }),
  Sub: binary("Sub", { f: (a, b) => a - b, d: (_a, _b, _y, g, needs) => [g, needs(1) ? neg(g) : undefined] }),
  Mul: binary("Mul", {
    f: (a, b) => a * b,
    d: (a, b, _y, g, needs) => [needs(0) ? times(g, b) : undefined, needs(1) ? times(g, a) : undefined],
  }),
  Div: binary("Div", {
    f: (a, b) => a / b,
    integers: (a, b) => Math.trunc(a / b),
    d: (_a, b, y, g, needs) => [needs(0) ? div(g, b) : undefined, needs(1) ? neg(div(times(g, y), b)) : undefined],
  }),
  Pow: binary("Pow", {
    f: (a, b) => a ** b,
    integers: (a, b) => Math.trunc(a ** b),
    d: (a, b, y, g, needs) => [
      needs(0) ? powerRule(a, b, g) : undefined,
      needs(1) ? times(times(g, y), log(where(equal(a, 0), 1, a))) : undefined,
    ],
  }),
  Max: binary("Max", { f: (a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.max(a, b)), d: pick(greater) }),
  Min: binary("Min", { f: (a, b) => (Number.isNaN(a) ? a : Number.isNaN(b) ? b : Math.min(a, b)), d: pick(less) }),
  Equal: binary("Equal", { ...compares((a, b) => a === b), operands: "any" }),
  Less: binary(
    "Less",
    compares((a, b) => a < b),
  ),
  LessOrEqual: binary(
    "LessOrEqual",
    compares((a, b) => a <= b),
  ),
  Greater: binary(
    "Greater",
    compares((a, b) => a > b),
  ),
  GreaterOrEqual: binary(
    "GreaterOrEqual",
    compares((a, b) => a >= b),
  ),
  And: binary(
    "And",
    logic((a, b) => Boolean(a) && Boolean(b)),
  ),
  Or: binary(
    "Or",
    logic((a, b) => Boolean(a) || Boolean(b)),
  ),
  Xor: binary(
    "Xor",
    logic((a, b) => Boolean(a) !== Boolean(b)),
  ),
};

const b = binaryOperations;

function pair(op: Operation<None>, x: Operand, y: Operand): Tensor {
  if (typeof x === "number") {
    if (typeof y === "number")
      throw new GraphError(`${op.name}: both operands are numbers`, {
        code: "graph/operands",
        hint: "use constant(x)",
      });
    return apply(op, [lift(x, y), y], none);
  }
  return apply(op, [x, typeof y === "number" ? lift(y, x) : y], none);
}

/**
 * Elementwise sum. Shapes broadcast as in NumPy, dtypes must be the same, a number takes the other's dtype.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3, 4), [2, 2]);
 * const y = leaf(Float32Array.of(10, 20), [2]);
 * (await realize(add(x, y))).toArray(); // [11, 22, 13, 24]
 */
export const add = (x: Operand, y: Operand): Tensor => pair(b.Add, x, y);
/** Elementwise difference, as {@link add}. */
export const sub = (x: Operand, y: Operand): Tensor => pair(b.Sub, x, y);
/** Elementwise product, as {@link add}. */
export const mul = (x: Operand, y: Operand): Tensor => pair(b.Mul, x, y);
/** Elementwise quotient, as {@link add}; of integers, rounded towards 0. */
export const div = (x: Operand, y: Operand): Tensor => pair(b.Div, x, y);
/** Elementwise power `xʸ`, as {@link add}. */
export const pow = (x: Operand, y: Operand): Tensor => pair(b.Pow, x, y);
/** Elementwise larger one; a tie shares its gradient. */
export const maximum = (x: Operand, y: Operand): Tensor => pair(b.Max, x, y);
/** Elementwise smaller one; a tie shares its gradient. */
export const minimum = (x: Operand, y: Operand): Tensor => pair(b.Min, x, y);
/**
 * Where two tensors are equal: bool, shapes broadcast.
 * @example
 * const x = leaf(BigInt64Array.of(5n, 7n), [2]);
 * (await realize(equal(x, 7))).toArray(); // [0, 1]
 */
export function equal(x: Operand, y: Operand): Tensor {
  return pair(b.Equal, x, y);
}
/**
 * Where `x < y`, bool.
 * @example
 * const x = leaf(Float32Array.of(1, 2), [2]);
 * (await realize(less(x, 2))).toArray(); // [1, 0]
 */
export function less(x: Operand, y: Operand): Tensor {
  return pair(b.Less, x, y);
}
/** Where `x ≤ y`, bool. */
export const lessEqual = (x: Operand, y: Operand): Tensor => pair(b.LessOrEqual, x, y);
/**
 * Where `x > y`, bool.
 * @example
 * const x = leaf(Float32Array.of(1, 2), [2]);
 * (await realize(greater(x, 1))).toArray(); // [0, 1]
 */
export function greater(x: Operand, y: Operand): Tensor {
  return pair(b.Greater, x, y);
}
/** Where `x ≥ y`, bool. */
export const greaterEqual = (x: Operand, y: Operand): Tensor => pair(b.GreaterOrEqual, x, y);
/**
 * Logical and of bool tensors.
 * @example
 * const x = leaf(Float32Array.of(1, 2, 3), [3]);
 * (await realize(and(greater(x, 1), less(x, 3)))).toArray(); // [0, 1, 0]
 */
export const and = (x: Tensor, y: Tensor): Tensor => apply(b.And, [x, y], none);
/** Logical or of bool tensors. */
export const or = (x: Tensor, y: Tensor): Tensor => apply(b.Or, [x, y], none);
/** Logical exclusive or of bool tensors. */
export const xor = (x: Tensor, y: Tensor): Tensor => apply(b.Xor, [x, y], none);
