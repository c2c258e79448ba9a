/** @file For every entry of the operation table, a way to draw an expression whose last operation it is. */
import {
  abs,
  add,
  addDims,
  addRows,
  and,
  argMax,
  broadcastTo,
  cast,
  ceil,
  concat,
  constant,
  cos,
  cumsum,
  detach,
  div,
  equal,
  erf,
  exp,
  floor,
  gather,
  gatherND,
  gelu,
  greater,
  greaterEqual,
  isNaN,
  leaf,
  less,
  lessEqual,
  log,
  logSoftmax,
  logSumExp,
  matmul,
  max,
  maximum,
  mean,
  min,
  minimum,
  mul,
  mulDims,
  neg,
  not,
  or,
  pad,
  pow,
  productOf,
  putRows,
  randomUniform,
  range,
  reciprocal,
  relu,
  reshape,
  scatterAdd,
  scatterNDAdd,
  sigmoid,
  sign,
  sin,
  sizeOf,
  slice,
  softmax,
  softplus,
  sqrt,
  sub,
  subDims,
  sum,
  takeAlong,
  takeRows,
  tanh,
  topK,
  transpose,
  where,
  xor,
  type Dim,
  type OperationName,
  type ReduceOptions,
  type Tensor,
} from "../../src/graph/index.ts";
import { causalAttention } from "../../src/graph/ops/attention.ts";
import { layerNormalization, rmsNormalization } from "../../src/graph/ops/norm.ts";
import { sizeOfDim, type Domain, type Sampler } from "./sampler.ts";

/** Draws leaves and returns an expression over them. */
export type Case = (s: Sampler) => Tensor;

const unary =
  (f: (x: Tensor) => Tensor, domain: Domain = "any"): Case =>
  (s) =>
    f(s.number(s.shape(), domain));

/** Two operands, either of them stretched. */
const binary =
  (f: (a: Tensor, b: Tensor) => Tensor, left: Domain = "any", right: Domain = "any"): Case =>
  (s) => {
    const shape = s.shape();
    const other = s.broadcastable(shape);
    return s.flip()
      ? f(s.number(shape, left), s.number(other, right))
      : f(s.number(other, left), s.number(shape, right));
  };

const logic =
  (f: (a: Tensor, b: Tensor) => Tensor): Case =>
  (s) => {
    const shape = s.shape();
    return f(s.bool(shape), s.bool(s.broadcastable(shape)));
  };

const reduction =
  (f: (x: Tensor, axes: readonly number[], options: ReduceOptions) => Tensor): Case =>
  (s) => {
    const shape = s.shape(1);
    return f(s.number(shape), s.axes(shape.length), { keepDims: s.flip() });
  };

const rowwise =
  (f: (x: Tensor, axis: number, s: Sampler) => Tensor): Case =>
  (s) => {
    const shape = s.shape(1);
    return f(s.number(shape), s.int(-shape.length, shape.length - 1), s);
  };

/** `shape` with the entry at `axis` replaced. */
const withDim = (shape: readonly Dim[], axis: number, dim: Dim): Dim[] => shape.map((d, i) => (i === axis ? dim : d));

/** Batch rows of lists of positions, with the two axes anywhere. */
function rows(s: Sampler): { shape: Dim[]; axis: number; batchAxis: number; list: (size: Dim) => Tensor; count: Dim } {
  const rank = s.int(2, 3);
  const shape = Array.from({ length: rank }, () => s.dim());
  const [axis, batchAxis] = s.permutation(rank) as [number, number];
  const count = s.dim();
  return { shape, axis, batchAxis, count, list: (size) => s.index([shape[batchAxis]!, count], size) };
}

/** Index tuples into the leading axes of a shape. */
function tuples(s: Sampler, shape: readonly Dim[], lead: readonly Dim[], depth: number, batchDims: number): Tensor {
  const columns = Array.from({ length: depth }, (_, i) => s.index([...lead, 1], shape[batchDims + i]!));
  return concat(
    columns.map((x) => cast(x, "int64")),
    -1,
  );
}

export const operationCases: { readonly [O in OperationName]: Case } = {
  Neg: unary(neg),
  Abs: unary(abs),
  Sign: unary(sign),
  Floor: unary(floor),
  Ceil: unary(ceil),
  Exp: unary(exp),
  Log: unary(log, "positive"),
  Sqrt: unary(sqrt, "positive"),
  Reciprocal: unary(reciprocal, "away"),
  Erf: unary(erf),
  Sin: unary(sin),
  Cos: unary(cos),
  Tanh: unary(tanh),
  Sigmoid: unary(sigmoid),
  Relu: unary(relu),
  Softplus: unary(softplus),
  Gelu: unary((x) => gelu(x)),
  GeluTanh: unary((x) => gelu(x, { approximate: "tanh" })),
  IsNaN: unary((x) => isNaN(x.dtype.startsWith("float") ? where(greater(x, 0), x, NaN) : x)),
  Not: (s) => not(s.bool(s.shape())),
  Detach: unary(detach),

  Add: binary(add),
  Sub: binary(sub),
  Mul: binary(mul),
  Div: binary(div, "any", "away"),
  Pow: binary(pow, "positive"),
  Max: binary(maximum),
  Min: binary(minimum),
  Equal: binary((a, b) => equal(a, s0(a, b))),
  Less: binary(less),
  LessOrEqual: binary(lessEqual),
  Greater: binary(greater),
  GreaterOrEqual: binary(greaterEqual),
  And: logic(and),
  Or: logic(or),
  Xor: logic(xor),
  Where: (s) => {
    const shape = s.shape();
    const [x, y] = [s.number(shape), s.number(s.broadcastable(shape))];
    const condition = s.bool(s.broadcastable(shape));
    return s.flip() ? where(condition, x, y) : where(condition, y, x);
  },
  Cast: unary((x) => cast(x, x.dtype === "float64" ? "float32" : "float64")),
  Constant: (s) => constant(s.pick(s.dtype.startsWith("float") ? [0, -1, 2.5, 7] : [0, 1]), s.dtype),

  ReduceSum: reduction(sum),
  ReduceMean: reduction(mean),
  ReduceMax: reduction(max),
  ReduceMin: reduction(min),
  ReduceLogSumExp: reduction(logSumExp),
  ArgMax: rowwise(argMax),
  Softmax: rowwise(softmax),
  LogSoftmax: rowwise(logSoftmax),
  CumSum: rowwise((x, axis, s) => cumsum(x, axis, { reverse: s.flip(), exclusive: s.flip() })),
  TopK: rowwise(
    (x, axis, s) => topK(x, s.int(1, sizeOfDim(x.shape.at(axis)!)), axis)[s.pick(["values", "indices"] as const)],
  ),

  Reshape: (s) => {
    const shape = s.shape(0, 3);
    const at = s.int(0, shape.length);
    const merged = s.flip() ? [...shape.slice(0, at), productOf(shape.slice(at))] : [-1, ...shape.slice(at)];
    return reshape(s.number(shape), s.flip() ? merged : [...shape.slice(0, at), 1, ...shape.slice(at)]);
  },
  Transpose: (s) => {
    const shape = s.shape(1);
    return transpose(s.number(shape), s.permutation(shape.length));
  },
  Expand: (s) => {
    const shape = s.shape();
    return broadcastTo(s.number(s.broadcastable(shape)), shape);
  },
  Slice: (s) => {
    const shape = s.shape(1);
    const at = s.int(0, shape.length - 1);
    const size = shape[at]!;
    const start = s.int(0, sizeOfDim(size) - 1);
    return s.flip()
      ? slice(s.number(shape), at, start)
      : slice(s.number(shape), at - shape.length, subDims(size, sizeOfDim(size) - start));
  },
  Pad: (s) => {
    const shape = s.shape(1);
    return pad(s.number(shape), s.int(0, shape.length - 1), s.dim(0), s.dim(0));
  },
  Concat: (s) => {
    const shape = s.shape(1);
    const at = s.int(0, shape.length - 1);
    return concat(
      Array.from({ length: s.int(2, 3) }, () => s.number(withDim(shape, at, s.dim()))),
      at - shape.length,
    );
  },
  Range: (s) => range(s.dim(0)),
  Size: (s) => sizeOf(addDims(mulDims(s.dim(), s.dim()), s.dim()), s.dtype),

  Gather: (s) => {
    const shape = s.shape(1);
    const at = s.int(0, shape.length - 1);
    return gather(s.number(shape), s.index(s.shape(0, 2), shape[at]!), at);
  },
  AddRows: (s) => {
    const shape = s.shape(1);
    const at = s.int(0, shape.length - 1);
    const indexShape = s.shape(0, 2);
    const updates = s.number([...shape.slice(0, at), ...indexShape, ...shape.slice(at + 1)]);
    return addRows(updates, s.index(indexShape, shape[at]!), at, shape[at]!);
  },
  GatherElements: (s) => {
    const shape = s.shape(1);
    const at = s.int(0, shape.length - 1);
    return takeAlong(s.number(shape), s.index(withDim(shape, at, s.dim()), shape[at]!), at);
  },
  ScatterElements: (s) => {
    const shape = s.shape(1);
    const at = s.int(0, shape.length - 1);
    const from = withDim(shape, at, s.dim());
    return scatterAdd(s.number(from), s.index(from, shape[at]!), at, shape[at]!);
  },
  GatherND: (s) => {
    const shape = s.shape(2);
    const batchDims = s.int(0, 1);
    const depth = s.int(1, shape.length - batchDims);
    const indices = tuples(s, shape, [...shape.slice(0, batchDims), ...s.shape(1, 2)], depth, batchDims);
    return gatherND(s.number(shape), indices, { batchDims });
  },
  ScatterND: (s) => {
    const shape = s.shape(1);
    const depth = s.int(1, shape.length);
    const lead = s.shape(1, 2);
    return scatterNDAdd(s.number([...lead, ...shape.slice(depth)]), tuples(s, shape, lead, depth, 0), shape);
  },
  TakeRows: (s) => {
    const { shape, axis, batchAxis, list } = rows(s);
    const shared = s.flip() ? withDim(shape, batchAxis, 1) : shape;
    return takeRows(s.number(shared), list(shape[axis]!), { axis, batchAxis });
  },
  PutRows: (s) => {
    const { shape, axis, batchAxis, list, count } = rows(s);
    return putRows(s.number(withDim(shape, axis, count)), list(shape[axis]!), shape[axis]!, { axis, batchAxis });
  },

  MatMul: (s) => {
    const [rowCount, inner, columns] = [s.dim(), s.dim(), s.dim()];
    const batch = s.shape(0, 2);
    const [transposeA, transposeB] = [s.flip(), s.flip()];
    const left = transposeA ? [inner, rowCount] : [rowCount, inner];
    const right = transposeB ? [columns, inner] : [inner, columns];
    const other = s.broadcastable(batch);
    const [a, b] = s.flip() ? [batch, other] : [other, batch];
    return matmul(s.number([...a, ...left]), s.number([...b, ...right]), { transposeA, transposeB });
  },
  CausalAttention: (s) => {
    const [batch, pos, kvHeads, size] = [s.dim(), s.dim(), s.int(1, 2), 8];
    const heads = kvHeads * s.int(1, 2);
    const draw = (shape: readonly Dim[]): Tensor => s.leaf(shape, s.dtype, () => 4 * s.small());
    const keys = [batch, pos, kvHeads * size];
    const bias = s.flip() ? draw([s.flip() ? 1 : batch, s.flip() ? 1 : heads, pos, pos]) : undefined;
    return causalAttention([draw([batch, pos, heads * size]), draw(keys), draw(keys)], bias, {
      heads,
      kvHeads,
      scale: s.pick([1, 0.25, 0.3]),
      softCap: s.pick([0, 2]),
      window: s.pick([0, 1, 2]),
    });
  },
  LayerNormalization: (s) => {
    const width = s.dim();
    const bias = s.flip() ? s.number([width]) : undefined;
    return layerNormalization(s.number([...s.shape(1, 2), width]), s.number([width]), bias, s.pick([1e-5, 0.1]));
  },
  RMSNormalization: (s) => {
    const width = s.dim();
    return rmsNormalization(s.number([...s.shape(1, 2), width]), s.number([width]), s.pick([1e-6, 0.1]));
  },
  RandomUniform: (s) => randomUniform(leaf(BigInt64Array.of(BigInt(s.int(0, 1000))), []), s.shape()),
};

/** Something that equals `a` in places: comparing unrelated numbers would only ever be false. */
function s0(a: Tensor, b: Tensor): Tensor {
  return where(b.dtype === "bool" ? b : greater(b, 0), a, b);
}
