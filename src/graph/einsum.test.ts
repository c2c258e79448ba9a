import { describe, expect, test } from "vitest";
import { evaluate } from "../../test/support/evaluate.ts";
import { fc, Sampler, sizeOfDim } from "../../test/support/sampler.ts";
import { axis, einsum, leaf, printGraph, type Dim, type Tensor } from "./index.ts";

/** The definition: loops over every name, sums of products. */
function direct(terms: readonly string[], result: string, operands: readonly Tensor[]): number[] {
  const names = [...new Set(terms.join(""))];
  const size = (name: string): number => {
    const t = terms.findIndex((term) => term.includes(name));
    return sizeOfDim(operands[t]!.shape[terms[t]!.indexOf(name)]!);
  };
  const offset = (term: string, at: ReadonlyMap<string, number>): number =>
    [...term].reduce((o, name) => o * size(name) + at.get(name)!, 0);
  const out = new Array<number>([...result].reduce((n, name) => n * size(name), 1)).fill(0);
  const total = names.reduce((n, name) => n * size(name), 1);
  for (let i = 0; i < total; i++) {
    const at = new Map<string, number>();
    let rest = i;
    for (const name of names) {
      at.set(name, rest % size(name));
      rest = Math.floor(rest / size(name));
    }
    out[offset(result, at)]! += operands.reduce((p, x, t) => p * Number(x.data[offset(terms[t]!, at)]), 1);
  }
  return out;
}

describe("values", () => {
  test("agree with the definition", () =>
    fc.assert(
      fc.property(fc.gen(), (g) => {
        const s = new Sampler(g, "float64");
        const letters = [..."abcdef"];
        const sizes = new Map(letters.map((name): [string, Dim] => [name, s.dim()]));
        const term = (): string =>
          s
            .permutation(letters.length)
            .slice(0, s.int(0, 3))
            .map((i) => letters[i]!)
            .join("");
        const terms = Array.from({ length: s.int(1, 3) }, term);
        const used = [...new Set(terms.join(""))];
        const result = s
          .permutation(used.length)
          .slice(0, s.int(0, used.length))
          .map((i) => used[i]!)
          .join("");
        const operands = terms.map((t) =>
          s.leaf(
            [...t].map((name) => sizes.get(name)!),
            "float64",
            () => s.small(),
          ),
        );
        const y = einsum(`${terms.join(",")}->${result}`, ...operands);
        expect(y.shape.map(String)).toEqual([...result].map((name) => String(sizes.get(name)!)));
        expect(evaluate(y)[0]).toBeAllClose(direct(terms, result, operands), 1e-12);
      }),
      { seed: 8, numRuns: 300 },
    ));

  test("words and letters say the same", () => {
    const [batch, pos] = [axis("batch", 2), axis("pos", 3)];
    const x = leaf(
      Float64Array.from({ length: 24 }, (_, i) => i),
      [2, 3, 4],
      { shape: [batch, pos, 4] },
    );
    const w = leaf(
      Float64Array.from({ length: 40 }, (_, i) => Math.sin(i)),
      [2, 4, 5],
    );
    const letters = einsum("bpm,hme->bphe", x, w);
    expect(einsum("batch pos m, head m e -> batch pos head e", x, w)).toBe(letters);
    expect(letters.shape).toEqual([batch, pos, 2, 5]);
    const row = leaf(new Float64Array(4), [4], {});
    expect(einsum("batch pos m, m -> batch pos", x, row)).toBe(einsum("bpm,m->bp", x, row));
  });

  test("is one product per pair of operands", () => {
    const [x, w] = [leaf(new Float64Array(24), [2, 3, 4]), leaf(new Float64Array(40), [2, 4, 5])];
    expect(printGraph(einsum("bpm,hme->bphe", x, w)).match(/MatMul/g)).toHaveLength(1);
  });
});

describe("errors name the specification and the shapes", () => {
  const [a, b] = [leaf(new Float32Array(6), [2, 3]), leaf(new Float32Array(8), [4, 2])];
  const cases: { readonly [message: string]: () => Tensor } = {
    'einsum "ij,jk->ik": j is 3 and 4; got [2, 3] and [4, 2]': () => einsum("ij,jk->ik", a, b),
    'einsum "ij,kl->im": m is only in the result': () => einsum("ij,kl->im", a, b),
    'einsum "ii->i": a name is repeated in "i i"': () => einsum("ii->i", a),
    'einsum "ijk->i": term "i j k" has 3 names for rank 2': () => einsum("ijk->i", a),
    'einsum "ij,jk->ik": 2 terms for 1 operands': () => einsum("ij,jk->ik", a),
    'einsum "ij": the result is not named (… -> …)': () => einsum("ij", a),
    'einsum "ij->ii": a name is repeated in "i i"': () => einsum("ij->ii", a),
  };
  for (const [message, build] of Object.entries(cases)) test(message, () => expect(build).toThrow(message));
});
