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
  ceil,
  cos,
  detach,
  erf,
  exp,
  floor,
  gelu,
  isNaN,
  log,
  neg,
  not,
  reciprocal,
  relu,
  rsqrt,
  sigmoid,
  sign,
  silu,
  sin,
  softplus,
  sqrt,
  tanh,
} from "./ops/unary.ts";
export {
  add,
  and,
  div,
  equal,
  greater,
  greaterEqual,
  less,
  lessEqual,
  maximum,
  minimum,
  mul,
  or,
  pow,
  sub,
  xor,
} from "./ops/binary.ts";
export { cast, constant, where } from "./ops/values.ts";
export { argMax, logSumExp, max, mean, min, sum, type ReduceOptions } from "./ops/reduce.ts";
export { cumsum, logSoftmax, softmax, topK } from "./ops/rowwise.ts";
export { broadcastTo, mergeAxes, reshape, splitAxis, squeeze, transpose, unsqueeze } from "./ops/shape.ts";
export { concat, pad, select, slice, stack } from "./ops/parts.ts";
export { full, range, sizeOf } from "./ops/sizes.ts";
export { addRows, gather, scatterAdd, takeAlong } from "./ops/gather.ts";
export { gatherND, scatterNDAdd } from "./ops/gatherND.ts";
export { putRows, takeRows } from "./ops/takeRows.ts";
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
