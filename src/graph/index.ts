/** @file Lazy tensors: expressions, operations, gradients, rewrites. */
export {
  addDims,
  axis,
  Axis,
  divideDims,
  evaluateDim,
  mulDims,
  productOf,
  sameDim,
  shapeText,
  subDims,
  type Dim,
} from "./axis.ts";
export * from "./dtype.ts";
export * from "./errors.ts";
export { einsum } from "./einsum.ts";
export { branch, gradientHook, gradients, severed } from "./gradients.ts";
export {
  abs,
  add,
  and,
  cast,
  ceil,
  constant,
  cos,
  detach,
  div,
  equal,
  erf,
  exp,
  floor,
  gelu,
  greater,
  greaterEqual,
  isNaN,
  less,
  lessEqual,
  log,
  maximum,
  minimum,
  mul,
  neg,
  not,
  or,
  pow,
  reciprocal,
  relu,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  sub,
  tanh,
  where,
  xor,
} from "./ops/elementwise.ts";
export {
  argMax,
  cumsum,
  logSoftmax,
  logSumExp,
  max,
  mean,
  min,
  softmax,
  sum,
  topK,
  type ReduceOptions,
} from "./ops/reduce.ts";
export {
  broadcastTo,
  concat,
  full,
  mergeAxes,
  pad,
  range,
  reshape,
  select,
  sizeOf,
  slice,
  splitAxis,
  squeeze,
  stack,
  transpose,
  unsqueeze,
} from "./ops/shape.ts";
export { addRows, gather, gatherND, putRows, scatterAdd, scatterNDAdd, takeAlong, takeRows } from "./ops/indexing.ts";
export { matmul } from "./ops/matmul.ts";
export { randomUniform, uniformAt } from "./ops/random.ts";
export { operations, type OperationName } from "./ops/table.ts";
export { namedShape } from "./namedShape.ts";
export { printGraph } from "./print.ts";
export {
  declaredWeight,
  leaf,
  placeholder,
  Tensor,
  type LeafOptions,
  type NestedNumbers,
  type SizeNames,
  type Storage,
} from "./tensor.ts";
