import { describe, expect, test } from "vitest";
import {
  add,
  addRows,
  argMax,
  axis,
  broadcastTo,
  concat,
  gather,
  gatherND,
  leaf,
  matmul,
  mean,
  mergeAxes,
  putRows,
  reshape,
  scatterAdd,
  scatterNDAdd,
  slice,
  sizeOf,
  softmax,
  splitAxis,
  squeeze,
  sum,
  takeAlong,
  takeRows,
  topK,
  transpose,
  where,
  type Dim,
  type DType,
  type Tensor,
} from "../index.ts";

const [batch, pos] = [axis("batch"), axis("pos")];
const tensor = (name: string, shape: readonly Dim[], dtype: DType = "float32"): Tensor => {
  const dims = shape.map((d) => (typeof d === "number" ? d : 2));
  const size = dims.reduce((a, b) => a * b, 1);
  const data =
    dtype === "int64" ? new BigInt64Array(size) : dtype === "bool" ? new Uint8Array(size) : new Float32Array(size);
  return leaf(data, dims, { shape, name, dtype });
};
const resid = tensor("resid", [batch, pos, 8]);
const w = tensor("W", [32, 8]);
const ids = tensor("ids", [batch, 3], "int64");

const named = leaf(new Float32Array(32 * 8), [32, 8], { name: "W_out", sizes: { d_mlp: 32, d_model: 8 } });
const bias = leaf(new Float32Array(8), [8], { name: "b", sizes: { d_model: 8 } });

/** What people get wrong, and the whole message they see. */
const messages: { readonly [message: string]: () => unknown } = {
  "matmul: inner dimensions differ: [batch, pos, 8] × [32, 8] (did you mean transposeB?)": () => matmul(resid, w),
  "matmul: inner dimensions differ: [batch, pos, 8] × [8, 32] (did you mean no transposeB?)": () =>
    matmul(resid, transpose(w), { transposeB: true }),
  "matmul: inner dimensions differ: [batch, pos, 8] × [5, 7]": () => matmul(resid, tensor("v", [5, 7])),
  "matmul: inner dimensions differ: [batch, pos, d_model=8] × [d_mlp=32, d_model=8] (did you mean transposeB?)": () =>
    matmul(add(resid, bias), named),
  "Add: shapes do not broadcast: [batch, pos, d_model=8] and [d_mlp=32]; in axis -1 (8 against 32; only a literal 1 stretches)":
    () => add(add(resid, bias), sum(named, 1)),
  "Softmax: axis 2 is not an axis of [d_mlp=32, d_model=8]": () => softmax(named, 2),
  "matmul: needs matrices, got [batch, pos, 8] × [8] (unsqueeze a vector, or use einsum)": () =>
    matmul(resid, tensor("v", [8])),
  "matmul: dtypes differ: resid[batch, pos, 8]:float32 × ids[batch, 3]:int64": () => matmul(resid, ids),
  "matmul: shapes do not broadcast: [batch] and [3]; in axis -1 (batch against 3; only a literal 1 stretches)": () =>
    matmul(resid, tensor("v", [3, 8, 2])),
  "Reshape: [batch, pos, 8] does not hold as many elements as [batch, 8]": () => reshape(resid, [batch, 8]),
  "Reshape: [batch, pos, 8] does not divide into [batch, 3, -1]": () => reshape(resid, [batch, 3, -1]),
  "Reshape: axis 8 of [batch, pos, 8] does not split into [3, 2]": () => splitAxis(resid, -1, [3, 2]),
  "Reshape: axis 3 is not an axis of [batch, pos, 8]": () => mergeAxes(resid, 1, 3),
  "Squeeze: axis 0 of [batch, pos, 8] is not of size 1": () => squeeze(resid, 0),
  "Transpose: [0, 0, 1] is not a permutation of the axes of [batch, pos, 8]": () => transpose(resid, [0, 0, 1]),
  "Expand: [batch, pos, 8] does not stretch to [pos, 8]": () => broadcastTo(resid, [pos, 8]),
  "Slice: [2, 12) is outside axis 2 of [batch, pos, 8]": () => slice(resid, 2, 2, 12),
  "Slice: axis 5 is not an axis of [batch, pos, 8]": () => slice(resid, 5, 0, 1),
  "Slice: [3, 2) is outside axis 2 of [batch, pos, 8]": () => slice(resid, 2, 3, 2),
  "Concat: parts differ beside axis 1: resid[batch, pos, 8]:float32 and W[32, 8]:float32": () => concat([resid, w], 1),
  "Concat: no parts": () => concat([], 0),
  "ReduceSum: axis 3 is not an axis of [batch, pos, 8]": () => sum(resid, 3),
  "ReduceSum: an axis is listed twice: [2, -1] of [batch, pos, 8]": () => sum(resid, [2, -1]),
  "ReduceMean: needs a floating-point tensor, got ids[batch, 3]:int64 (cast it to float32)": () => mean(ids),
  "ArgMax: needs a number tensor, got mask[4]:bool (cast it to float32)": () => argMax(tensor("mask", [4], "bool")),
  "TopK: k = 9 does not fit axis of size 8": () => topK(resid, 9),
  "Where: the condition must be bool, got resid[batch, pos, 8]:float32": () => where(resid, 1, resid),
  "Gather: indices must be integers, got resid[batch, pos, 8]:float32": () => gather(w, resid),
  "GatherElements: shapes differ beside axis 1: [32, 8] and [batch, 3]": () => takeAlong(w, ids, 1),
  "ScatterElements: shapes differ: [32, 8] and [batch, 3]": () => scatterAdd(w, ids, 0, 9),
  "AddRows: axes 0 … of [32, 8] are not those of the indices [batch, 3]": () => addRows(w, ids, 0, 9),
  "GatherND: index tuples [batch, 3] do not address [32, 8]": () => gatherND(w, ids),
  "ScatterND: index tuples [batch, 3] do not place [32, 8] in [4, 5, 6, 7]": () => scatterNDAdd(w, ids, [4, 5, 6, 7]),
  "TakeRows: index [batch, 3] does not list rows of [32, 8]; expected [batch, count]": () => takeRows(w, ids),
  "PutRows: index [batch, 3] does not place rows of [batch, pos, 8]; expected [batch, count]": () =>
    putRows(resid, ids, 9),
  "sizeOf: a size is a number, not a bool": () => sizeOf(pos, "bool"),
};

describe("messages", () => {
  for (const [message, build] of Object.entries(messages))
    test(message, () => {
      let found = "";
      try {
        build();
      } catch (error) {
        found = (error as Error).message;
      }
      expect(found).toBe(message);
    });
});
