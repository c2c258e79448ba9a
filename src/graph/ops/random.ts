/** @file Random numbers from a counter and a seed, computed by the engine and fed to the graph. */
import type { Dim } from "../axis.ts";
import { sizeOfDims } from "../broadcast.ts";
import { GraphError } from "../errors.ts";
import { notDifferentiable, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";

/** A 32-bit mixing step (the finaliser of MurmurHash3 with the constants of "lowbias32"). */
function mix(x: number): number {
  let h = x >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

/**
 * Number `counter` of the stream `seed`: uniform in [0, 1), a multiple of 2⁻²⁴ so that float32 holds it exactly.
 * @example
 * uniformAt(0, 5) === uniformAt(0, 5); // true
 */
export function uniformAt(seed: number, counter: number): number {
  const low = mix(counter ^ mix(seed));
  const high = mix(Math.floor(counter / 2 ** 32) ^ mix(Math.floor(seed / 2 ** 32) ^ 0x9e3779b9));
  return (mix(low ^ high) >>> 8) * 2 ** -24;
}

const randomOperation: Operation<{ shape: readonly Dim[] }> = {
  name: "RandomUniform",
  host: true,
  infer: ([seed], { shape }) => {
    if (seed!.storage === undefined || seed!.dtype !== "int64" || seed!.rank !== 0)
      throw new GraphError("RandomUniform: the seed is an int64 scalar leaf", {
        code: "graph/random",
        received: seed!.label,
      });
    return { shape, dtype: "float32" };
  },
  lower: () => {
    throw new GraphError("RandomUniform is computed before the run", { code: "graph/internal" });
  },
  gradient: notDifferentiable("random numbers do not depend on anything"),
  evaluate: ({ inputs: [seed], dims }) =>
    Float64Array.from({ length: sizeOfDims(dims) }, (_, i) => uniformAt(seed!.data[0]!, i)),
  along: () => undefined,
};

export const randomOperations: { readonly RandomUniform: typeof randomOperation } = {
  RandomUniform: randomOperation,
};

/**
 * Uniform float32 numbers in [0, 1), a function of the seed and the position only.
 * @param seed int64 scalar leaf
 * @example
 * const seed = leaf(BigInt64Array.of(7n), []);
 * randomUniform(seed, [2, 3]); // [2, 3]
 */
export function randomUniform(seed: Tensor, shape: readonly Dim[]): Tensor {
  return apply(randomOperation, [seed], { shape });
}
