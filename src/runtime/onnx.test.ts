import { fromBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import {
  add,
  addDims,
  axis,
  leaf,
  matmul,
  mul,
  mulDims,
  pad,
  relu,
  reshape,
  softmax,
  sum,
  transpose,
  type Dim,
} from "../graph/index.ts";
import { lowerPlan } from "./onnx.ts";
import { ModelProtoSchema, type ValueInfoProto } from "../../test/support/onnx_pb.js";
import { makePlan } from "./plan.ts";
import { Runtime } from "./runtime.ts";

const graphOf = (outputs: Parameters<typeof makePlan>[0], packed = false) =>
  fromBinary(ModelProtoSchema, lowerPlan(makePlan(outputs, () => packed)).bytes).graph!;

/** `[batch, 4]` of a declaration, axes by the names ONNX Runtime sees. */
function declared(info: ValueInfoProto): (string | number)[] {
  const { type } = info;
  if (type?.value.case !== "tensorType") throw new Error(`${info.name} has no tensor type`);
  return type.value.value.shape!.dim.map((d) => (d.value.case === "dimParam" ? d.value.value : Number(d.value.value)));
}

test("every value between operations is declared with its shape", () => {
  const n = axis("n", 2);
  const x = leaf(new Float32Array(8), [2, 4], { shape: [n, 4] });
  const graph = graphOf([softmax(add(relu(x), sum(x, 1, { keepDims: true })))]);
  const made = graph.node.flatMap((node) => node.output).filter((name) => graph.output.every((o) => o.name !== name));
  expect(new Set(graph.valueInfo.map((info) => info.name))).toEqual(new Set(made));
  expect(graph.valueInfo.map((info) => declared(info).at(-1))).toEqual([4, 1, 4]);
});

test("sizes share a name exactly when they are equal", () => {
  const [a, b, c] = [axis("a", 2), axis("b", 3), axis("c", 5)];
  const dims: Dim[] = [
    a,
    b,
    c,
    mulDims(a, b),
    mulDims(mulDims(a, b), c),
    addDims(a, b),
    addDims(mulDims(a, b), c),
    addDims(a, mulDims(b, c)),
    mulDims(2, a),
    addDims(a, 2),
    addDims(a, -2),
  ];
  const sizeOf = (dim: Dim): number =>
    typeof dim === "number"
      ? dim
      : dim.terms.reduce((n, t) => n + t.atoms.reduce((p, x) => p * x.size!, t.coefficient), 0);
  const leaves = [...dims, addDims(b, a)].map((dim) =>
    leaf(new Float32Array(sizeOf(dim)), [sizeOf(dim)], { shape: [dim] }),
  );
  const names = graphOf(leaves.map((x) => relu(x))).input.map((info) => declared(info)[0]);
  expect(new Set(names).size).toBe(dims.length);
  expect(names.at(-1)).toBe(names[5]);
});

test("packed weights are in the graph, fed ones among its inputs", () => {
  const w = leaf(Float32Array.of(1, 2, 3, 4), [2, 2], { role: "weight" });
  const y = matmul(leaf(new Float32Array(2), [1, 2]), w);
  const [fed, packed] = [graphOf([y]), graphOf([y], true)];
  expect([fed.input.length, packed.input.length]).toEqual([2, 1]);
  expect(packed.initializer.map((t) => [...new Float32Array(t.rawData.slice().buffer)])).toContainEqual([1, 2, 3, 4]);
});

test("large packed weights stay where they are, beside the model", () => {
  const data = new Float32Array(40_000).fill(2).subarray(10_000); // not at the start of its buffer
  const w = leaf(data, [100, 300], { role: "weight" });
  const { bytes, external, packedBytes } = lowerPlan(
    makePlan([matmul(leaf(new Float32Array(100), [1, 100]), w)], () => true),
  );
  expect(bytes.length).toBeLessThan(1000);
  expect(external.map(({ data: bytesOf }) => [bytesOf.buffer, bytesOf.byteOffset, bytesOf.length])).toEqual([
    [data.buffer, 40_000, 120_000],
  ]);
  expect(packedBytes).toBe(120_000);
});

test("a reshape that copies and merges axes needs no sizes fed", () => {
  const [batch, pos] = [axis("batch", 2), axis("pos", 3)];
  const x = leaf(new Float32Array(24), [2, 3, 4], { shape: [batch, pos, 4] });
  expect(graphOf([reshape(x, [batch, pos, 2, 2])]).input).toHaveLength(1);
  expect(graphOf([reshape(x, [-1, 4])]).input).toHaveLength(1);
});

test("a pad between transposes pads its axis, whatever ONNX Runtime moves past it", async () => {
  const x = leaf(Float32Array.of(1, 2, 3, 4), [1, 2, 1, 2], { shape: [axis("batch"), axis("pos"), 1, 2] });
  const swap = [0, 2, 1, 3];
  const padded = transpose(mul(pad(transpose(x, swap), 3, 0, 1), 2), swap);
  expect((await new Runtime().realize(padded)).toArray()).toEqual([2, 4, 0, 6, 8, 0]);
});
