import { expect, test } from "vitest";
import { add, axis, gelu, leaf, matmul, namedShape, reshape, transpose, type SizeNames, type Tensor } from "./index.ts";

const weight = (dims: readonly number[], sizes?: SizeNames): Tensor =>
  leaf(new Float32Array(dims.reduce((a, b) => a * b, 1)), dims, { role: "weight", sizes });
const pos = axis("pos", 3);
const x = leaf(new Float32Array(3 * 8), [3, 8], { shape: [pos, 8] });
const wIn = weight([8, 32], { d_model: 8, d_mlp: 32 });
const wQ = weight([4, 8, 2], { head: 4, d_model: 8, d_head: 2, "head·d_head": 8 });
const hidden = gelu(matmul(x, wIn)); // [pos, d_mlp]

const cases: { readonly [shape: string]: Tensor } = {
  "[d_model=8, d_mlp=32]": wIn,
  "[d_mlp=32, d_model=8]": transpose(wIn),
  "[pos, d_mlp=32]": hidden,
  "[pos, 8]": x,
  "[1, pos, 4, d_model=8]": reshape(add(hidden, weight([32], { d_mlp: 32 })), [1, pos, 4, 8]),
  // Two names of one leaf, or of two equally near leaves, leave it open.
  "[head=4, 8, d_head=2]": wQ,
  "[32]": add(weight([32], { d_mlp: 32 }), weight([32], { d_sae: 32 })),
  // The nearer one counts.
  "[pos, d_sae=32]": add(hidden, weight([32], { d_sae: 32 })),
  "[]": leaf(Float32Array.of(1), []),
};
test.each(Object.keys(cases))("%s", (shape) => {
  expect(namedShape(cases[shape]!)).toBe(shape);
});

test("of another shape over the same sizes", () => {
  expect(namedShape(wIn, [32, pos])).toBe("[d_mlp=32, pos]");
});
