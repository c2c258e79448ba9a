/** @file Elementwise operations: arithmetic, comparisons, logic, where, casts, activations. */
import { sameDim } from "../axis.ts";
import { broadcastShapes, mapElements } from "../broadcast.ts";
import { bfloat16ToNumber, dtypes, float16ToNumber, numberToBfloat16, numberToFloat16, type DType } from "../dtype.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import {
  notDifferentiable,
  type Along,
  type NotDifferentiable,
  type OnnxAttribute,
  type Operation,
} from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";

type None = Record<never, never>;
const none: None = {};

/** Output axis → operand axis under right-aligned broadcasting. */
export function alongBroadcast(node: Tensor, axis: number): Along {
  return node.inputs.map((x) => {
    const at = axis - (node.rank - x.rank);
    return at < 0 || x.shape[at] === 1 ? null : at;
  });
}

function sameDTypes(name: string, inputs: readonly Tensor[]): DType {
  const [first] = inputs;
  for (const x of inputs)
    if (x.dtype !== first!.dtype)
      throw new GraphError(`${name}: dtypes differ: ${inputs.map((t) => `${t.dtype}${namedShape(t)}`).join(" and ")}`, {
        code: "graph/dtype",
        hint: "cast one of them",
      });
  return first!.dtype;
}

/** Throws unless a tensor holds floating-point numbers, or numbers of any kind. */
export function requireKind(name: string, x: Tensor, kind: "float" | "number"): void {
  const own = dtypes[x.dtype].kind;
  if (own === "bool" || (kind === "float" && own === "int"))
    throw new GraphError(`${name}: needs a ${kind === "float" ? "floating-point" : "number"} tensor, got ${x.label}`, {
      code: "graph/dtype",
      hint: "cast it to float32",
    });
}

interface UnaryRule {
  f: (x: number) => number;
  /** ∂y/∂x times g. */
  d: ((x: Tensor, y: Tensor, g: Tensor) => Tensor) | NotDifferentiable;
  attributes?: { [name: string]: OnnxAttribute };
  onnx?: string;
  /** What it takes; default: floating-point numbers. */
  takes?: "number" | "any";
  transparent?: boolean;
}

function unary(name: string, rule: UnaryRule): Operation<None> {
  const { f, d } = rule;
  return {
    name,
    infer: ([x]) => {
      if (rule.takes !== "any") requireKind(name, x!, rule.takes ?? "float");
      return { shape: x!.shape, dtype: x!.dtype };
    },
    lower: ({ emit, inputs }) => emit.node(rule.onnx ?? name, inputs, rule.attributes),
    gradient: typeof d === "function" ? ({ inputs, output, gradient }) => [d(inputs[0]!, output, gradient)] : d,
    evaluate: ({ inputs }) => inputs[0]!.data.map(f),
    along: alongBroadcast,
    broadcasts: true,
    transparent: rule.transparent,
  };
}

/**
 * A series of positive terms (Abramowitz & Stegun 7.1.6) near 0, the continued fraction of erfc (7.1.14) far from it:
 * exact to a few units in the last place.
 */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; term > 1e-17 * sum; n++) {
      term *= (2 * a * a) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = k / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

const sqrt2OverPi = Math.sqrt(2 / Math.PI);
const sigmoidOf = (x: number): number => 1 / (1 + Math.exp(-x));
const steps = notDifferentiable("it is piecewise constant");

const lift = (value: number, like: Tensor): Tensor => constant(value, like.dtype);
const times = (a: Tensor, b: Tensor | number): Tensor => mul(a, b);

type UnaryName =
  | "Neg"
  | "Abs"
  | "Sign"
  | "Floor"
  | "Ceil"
  | "Exp"
  | "Log"
  | "Sqrt"
  | "Reciprocal"
  | "Erf"
  | "Sin"
  | "Cos"
  | "Tanh"
  | "Sigmoid"
  | "Relu"
  | "Softplus"
  | "Gelu"
  | "GeluTanh"
  | "IsNaN"
  | "Not"
  | "Detach";

export const unaryOperations: { readonly [N in UnaryName]: Operation<None> } = {
  Neg: unary("Neg", { f: (x) => -x, d: (_x, _y, g) => neg(g), takes: "number" }),
  Abs: unary("Abs", { f: Math.abs, d: (x, _y, g) => times(g, sign(x)), takes: "number" }),
  Sign: unary("Sign", { f: Math.sign, d: steps, takes: "number" }),
  Floor: unary("Floor", { f: Math.floor, d: steps }),
  Ceil: unary("Ceil", { f: Math.ceil, d: steps }),
  Exp: unary("Exp", { f: Math.exp, d: (_x, y, g) => times(g, y) }),
  Log: unary("Log", { f: Math.log, d: (x, _y, g) => div(g, x) }),
  Sqrt: unary("Sqrt", { f: Math.sqrt, d: (_x, y, g) => div(g, times(y, 2)) }),
  Reciprocal: unary("Reciprocal", { f: (x) => 1 / x, d: (_x, y, g) => neg(times(g, times(y, y))) }),
  Erf: unary("Erf", { f: erf, d: (x, _y, g) => times(g, times(exp(neg(times(x, x))), 2 / Math.sqrt(Math.PI))) }),
  Sin: unary("Sin", { f: Math.sin, d: (x, _y, g) => times(g, cos(x)) }),
  Cos: unary("Cos", { f: Math.cos, d: (x, _y, g) => neg(times(g, sin(x))) }),
  Tanh: unary("Tanh", { f: Math.tanh, d: (_x, y, g) => times(g, sub(1, times(y, y))) }),
  Sigmoid: unary("Sigmoid", { f: sigmoidOf, d: (_x, y, g) => times(g, times(y, sub(1, y))) }),
  Relu: unary("Relu", { f: (x) => Math.max(x, 0), d: (_x, y, g) => times(g, cast(greater(y, 0), g.dtype)) }),
  Softplus: unary("Softplus", {
    f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    d: (x, _y, g) => times(g, sigmoid(x)),
  }),
  Gelu: unary("Gelu", {
    f: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
    d: (x, _y, g) => {
      const cdf = times(add(erfOf(times(x, Math.SQRT1_2)), 1), 0.5);
      const pdf = times(exp(times(times(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return times(g, add(cdf, times(x, pdf)));
    },
  }),
  GeluTanh: unary("GeluTanh", {
    onnx: "Gelu",
    attributes: { approximate: "tanh" },
    f: (x) => 0.5 * x * (1 + Math.tanh(sqrt2OverPi * (x + 0.044715 * x ** 3))),
    // y = x · σ(v(x)), so y′ = σ + y · (1 − σ) · v′
    d: (x, y, g) => {
      const square = times(x, x);
      const polynomial = (cubic: number): Tensor => add(times(square, 2 * sqrt2OverPi * cubic), 2 * sqrt2OverPi);
      const s = sigmoid(times(x, polynomial(0.044715)));
      return times(g, add(s, times(times(y, sub(1, s)), polynomial(3 * 0.044715))));
    },
  }),
  IsNaN: {
    ...unary("IsNaN", { f: (x) => Number(Number.isNaN(x)), d: steps }),
    infer: ([x]) => {
      requireKind("IsNaN", x!, "float");
      return { shape: x!.shape, dtype: "bool" };
    },
  },
  Not: {
    ...unary("Not", { f: (x) => Number(!x), d: steps, takes: "any" }),
    infer: ([x]) => {
      if (x!.dtype !== "bool")
        throw new GraphError(`Not: needs a bool tensor, got ${x!.label}`, { code: "graph/dtype" });
      return { shape: x!.shape, dtype: "bool" };
    },
  },
  Detach: unary("Detach", {
    onnx: "Identity",
    f: (x) => x,
    d: notDifferentiable("detach stops gradients"),
    takes: "any",
    transparent: true,
  }),
};

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
  const exponent = b.op === constantOperation ? b.attributes["value"] : undefined;
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
  lower: ({ emit, inputs, attributes }) => emit.node("Cast", inputs, { to: onnxDTypes[attributes.to] }),
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

/** ONNX TensorProto.DataType. */
export const onnxDTypes: { readonly [D in DType]: number } = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

const constantOperation: Operation<{ value: number; dtype: DType }> = {
  name: "Constant",
  infer: (_inputs, { dtype }) => ({ shape: [], dtype }),
  lower: ({ emit, attributes }) => emit.scalar(attributes.value, attributes.dtype),
  gradient: notDifferentiable("a constant has no inputs"),
  evaluate: ({ attributes }) => Float64Array.of(attributes.value),
  along: () => [],
};

export const otherElementwise: {
  readonly Where: typeof whereOperation;
  readonly Cast: typeof castOperation;
  readonly Constant: typeof constantOperation;
} = { Where: whereOperation, Cast: castOperation, Constant: constantOperation };

const u = unaryOperations;
const b = binaryOperations;
type Operand = Tensor | number;

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
 * Elementwise `−x`, for numbers of any type.
 * @example
 * const x = leaf(Float32Array.of(1, -2), [2]);
 * (await realize(neg(x))).toArray(); // [-1, 2]
 */
export const neg = (x: Tensor): Tensor => apply(u.Neg, [x], none);
/** Elementwise `|x|`. */
export const abs = (x: Tensor): Tensor => apply(u.Abs, [x], none);
/** Elementwise −1, 0 or 1. */
export const sign = (x: Tensor): Tensor => apply(u.Sign, [x], none);
/** The largest whole number not above each entry; no gradient flows. */
export const floor = (x: Tensor): Tensor => apply(u.Floor, [x], none);
/** The smallest whole number not below each entry; no gradient flows. */
export const ceil = (x: Tensor): Tensor => apply(u.Ceil, [x], none);
/**
 * Elementwise `eˣ`, for floating-point numbers.
 * @example
 * (await realize(exp(leaf(Float32Array.of(0), [1])))).toArray(); // [1]
 */
export const exp = (x: Tensor): Tensor => apply(u.Exp, [x], none);
/** Natural logarithm. */
export const log = (x: Tensor): Tensor => apply(u.Log, [x], none);
/** Elementwise `√x`. */
export const sqrt = (x: Tensor): Tensor => apply(u.Sqrt, [x], none);
/** Elementwise `1 / x`. */
export const reciprocal = (x: Tensor): Tensor => apply(u.Reciprocal, [x], none);
/** `1 / √x`. */
export const rsqrt = (x: Tensor): Tensor => reciprocal(sqrt(x));
/** The error function, `2/√π ∫₀ˣ exp(−t²) dt`. */
const erfOf = (x: Tensor): Tensor => apply(u.Erf, [x], none);
export { erfOf as erf };
/** Sine of an angle in radians. */
export const sin = (x: Tensor): Tensor => apply(u.Sin, [x], none);
/** Cosine of an angle in radians. */
export const cos = (x: Tensor): Tensor => apply(u.Cos, [x], none);
/** Hyperbolic tangent. */
export const tanh = (x: Tensor): Tensor => apply(u.Tanh, [x], none);
/** `1 / (1 + exp(−x))`. */
export const sigmoid = (x: Tensor): Tensor => apply(u.Sigmoid, [x], none);
/**
 * `max(x, 0)`; its derivative at 0 is 0.
 * @example
 * (await realize(relu(leaf(Float32Array.of(-1, 2), [2])))).toArray(); // [0, 2]
 */
export const relu = (x: Tensor): Tensor => apply(u.Relu, [x], none);
/** `log(1 + exp(x))`, without overflow. */
export const softplus = (x: Tensor): Tensor => apply(u.Softplus, [x], none);
/**
 * Gaussian error linear unit (Hendrycks & Gimpel, arXiv:1606.08415): exact (`erf`) or the tanh form that GPT-2 calls
 * `gelu_new`.
 * @example
 * (await realize(gelu(leaf(Float32Array.of(0), [1]), { approximate: "tanh" }))).toArray(); // [0]
 */
export const gelu = (x: Tensor, options: { approximate?: "none" | "tanh" } = {}): Tensor =>
  apply(options.approximate === "tanh" ? u.GeluTanh : u.Gelu, [x], none);
/** `x · sigmoid(x)`. */
export const silu = (x: Tensor): Tensor => mul(x, sigmoid(x));
/** Where a tensor is not a number, bool. */
export const isNaN = (x: Tensor): Tensor => apply(u.IsNaN, [x], none);
/** Logical negation of a bool tensor. */
export const not = (x: Tensor): Tensor => apply(u.Not, [x], none);
/**
 * The same value, through which no gradient flows.
 * @example
 * const x = leaf(Float32Array.of(3), [1]);
 * const [dx] = gradients(sum(mul(x, detach(x))), [x]);
 * (await realize(dx!)).toArray(); // [3]: of the first factor alone
 */
export const detach = (x: Tensor): Tensor => apply(u.Detach, [x], none);

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
