import { describe, expect, test } from "vitest";
import { evaluate } from "../../../test/support/evaluate.ts";
import { add, axis, div, leaf, mean, mul, pow, sqrt, sub, type Tensor } from "../index.ts";
import { topological } from "../traverse.ts";
import { fuseNorms } from "./fuseNorms.ts";
import { simplify } from "./simplify.ts";

const pos = axis("pos", 5);
const numbers = (seed: number, ...dims: number[]): Tensor =>
  leaf(
    Float32Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => Math.sin(seed + 1.7 * i)),
    dims,
    { shape: dims.length === 1 ? dims : [pos, ...dims.slice(1)] },
  );
const [x, w, b] = [numbers(1, 5, 8), numbers(2, 8), numbers(3, 8)];
const kept = { keepDims: true } as const;

interface Parts {
  centre?: (x: Tensor) => Tensor;
  square?: (x: Tensor) => Tensor;
  axis?: number;
}

/** A norm as it is written down, with parts exchanged: what it divides by, and the quotient. */
function parts({ centre = (v) => sub(v, mean(v, -1, kept)), square = (v) => pow(v, 2), axis = -1 }: Parts = {}): {
  scale: Tensor;
  normalized: Tensor;
} {
  const centred = centre(x);
  const scale = sqrt(add(mean(square(centred), axis, kept), 1e-5));
  return { scale, normalized: div(centred, scale) };
}
const same = (v: Tensor): Tensor => v;
const written = (changes: Parts = {}): Tensor => mul(parts(changes).normalized, w);
const names = (outputs: readonly Tensor[]): string[] => topological(outputs).map((node) => node.op.name);

describe("becomes one operation of the same value", () => {
  const recognised: { readonly [name: string]: [Tensor, string, number] } = {
    "LayerNorm with a bias": [add(written(), b), "LayerNormalization", 3],
    "the bias first": [add(b, mul(w, parts().normalized)), "LayerNormalization", 3],
    "LayerNorm without": [written(), "LayerNormalization", 2],
    RMSNorm: [written({ centre: same }), "RMSNormalization", 2],
    "RMSNorm and something like a bias": [add(written({ centre: same }), b), "RMSNormalization", 2],
    "a sum of its own": [add(mul(written(), 2), b), "LayerNormalization", 2],
  };
  test.each(Object.keys(recognised))("%s", (name) => {
    const [norm, operation, operands] = recognised[name]!;
    const made = fuseNorms(simplify([norm]));
    const nodes = topological(made).filter((node) => node.op.name === operation);
    expect(nodes).toHaveLength(1);
    expect(nodes[0]!.inputs).toHaveLength(operands);
    expect(names(made)).not.toContain("Sqrt");
    const [found, expected] = evaluate(made[0]!, norm);
    expect(found).toBeAllClose(expected!, 1e-12);
  });

  test("also where its value is used twice, and then the bias stays outside", () => {
    const scaled = written();
    const outputs = [scaled, add(scaled, b)];
    const made = fuseNorms(simplify(outputs));
    expect(names(made).filter((name) => name === "LayerNormalization")).toHaveLength(1);
    const expected = evaluate(...outputs);
    evaluate(...made).forEach((values, i) => expect(values).toBeAllClose(expected[i]!, 1e-12));
  });

  test("one after another", () => {
    const first = add(written(), b);
    const centred = sub(first, mean(first, -1, kept));
    const second = mul(div(centred, sqrt(add(mean(pow(centred, 2), -1, kept), 0.1))), w);
    const made = fuseNorms(simplify([second]));
    expect(names(made).filter((name) => name === "LayerNormalization")).toHaveLength(2);
    expect(evaluate(...made)[0]).toBeAllClose(evaluate(second)[0]!, 1e-12);
  });
});

const { scale, normalized } = parts();
const stays: { readonly [name: string]: readonly Tensor[] } = {
  "a scale that is asked for": [mul(normalized, w), scale],
  "a normalised value that is asked for": [mul(normalized, w), normalized],
  "no weight": [normalized],
  "a weight of other shape": [mul(normalized, numbers(4, 5, 8))],
  "another power": [written({ square: (v) => pow(v, 4) })],
  "a mean over positions": [written({ axis: 0 })],
  "nothing of the kind": [sqrt(pow(x, 2))],
};
test.each(Object.keys(stays))("stays as it is: %s", (name) => {
  const outputs = simplify(stays[name]!);
  expect(fuseNorms(outputs)).toEqual(outputs);
});
