/** @file Elementwise operations of one operand: signs, roots, exponentials, activations. */
import { GraphError } from "../errors.ts";
import { notDifferentiable, type NotDifferentiable, type OnnxAttribute, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";
import { add, div, greater, mul, sub } from "./binary.ts";
import { alongBroadcast, none, requireKind, type None } from "./rules.ts";
import { cast } from "./values.ts";

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

const u = unaryOperations;

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
