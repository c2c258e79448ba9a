/** @file The activation functions of MLPs, by the names that Hugging Face gives them. */
import {
  add,
  div,
  erf,
  gelu,
  maximum,
  minimum,
  mul,
  relu,
  sigmoid,
  silu,
  softplus,
  sqrt,
  sub,
  tanh,
  type Tensor,
} from "../graph/index.ts";

export const activationNames = [
  "relu",
  "gelu",
  "gelu_new",
  "gelu_fast",
  "gelu_pytorch_tanh",
  "silu",
  "quick_gelu",
  "gelu_10",
  "relu2",
  "relu6",
  "leaky_relu",
  "hardswish",
  "mish",
  "tanh",
  "sigmoid",
  "laplace",
  "sqrtsoftplus",
  "linear",
] as const;
export type ActivationName = (typeof activationNames)[number];

const clipped = (x: Tensor, low: number, high: number): Tensor => minimum(maximum(x, low), high);
const tanhGelu = (x: Tensor): Tensor => gelu(x, { approximate: "tanh" });

export const activations: { readonly [Name in ActivationName]: (x: Tensor) => Tensor } = {
  relu,
  gelu: (x) => gelu(x),
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  gelu_pytorch_tanh: tanhGelu,
  silu,
  quick_gelu: (x) => mul(x, sigmoid(mul(x, 1.702))),
  gelu_10: (x) => clipped(gelu(x), -10, 10),
  relu2: (x) => mul(relu(x), relu(x)),
  relu6: (x) => clipped(x, 0, 6),
  leaky_relu: (x) => maximum(x, mul(x, 0.01)),
  hardswish: (x) => mul(x, div(clipped(add(x, 3), 0, 6), 6)),
  mish: (x) => mul(x, tanh(softplus(x))),
  tanh,
  sigmoid,
  laplace: (x) => mul(add(erf(div(sub(x, 0.707107), 0.282095 * Math.SQRT2)), 1), 0.5),
  sqrtsoftplus: (x) => sqrt(softplus(x)),
  linear: (x) => x,
};

/** Other names of the same functions. `gelu` is the exact one. */
export const activationAliases: Readonly<Record<string, ActivationName>> = {
  gelu_python: "gelu",
  gelu_python_tanh: "gelu_pytorch_tanh",
  gelu_accurate: "gelu_pytorch_tanh",
  swish: "silu",
};
