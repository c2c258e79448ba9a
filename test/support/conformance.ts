/** @file The suite that every backend passes: each operation, against the reference evaluation. */
import { describe, expect, test } from "vitest";
import { GraphError, operations, type DType, type OperationName, type Tensor } from "../../src/graph/index.ts";
import { reference, Runtime, toFloat64, type Backend } from "../../src/runtime/index.ts";
import { operationCases } from "./operationCases.ts";
import { fc, Sampler } from "./sampler.ts";

/** What a backend cannot do, and why: by operation (or `*`), then data type (or `*`). */
export type Skips = { readonly [O in OperationName | "*"]?: { readonly [D in DType | "*"]?: string } };

const tested = ["float32", "float64", "float16", "int64", "int32", "uint8", "bool"] as const satisfies readonly DType[];

/** Largest allowed difference relative to max(1, |expected|). */
const tolerances: { readonly [D in DType]?: number } = { float64: 1e-12, float32: 1e-5, float16: 5e-3 };

/** The coarser of the type computed in and the type of the result. */
const toleranceOf = (...types: readonly DType[]): number => Math.max(...types.map((t) => tolerances[t] ?? 0));

/** Whether an operation takes a data type at all: its shape rule says so. */
function draw(name: OperationName, sampler: Sampler): Tensor | undefined {
  try {
    return operationCases[name](sampler);
  } catch (error) {
    if (error instanceof GraphError && error.code === "graph/dtype") return undefined;
    throw error;
  }
}

/** Declares a test for each operation and data type; float32 draws the most expressions. */
export function conformance(backend: Backend, skips: Skips): void {
  const runtime = new Runtime({ backend, cacheBytes: 0 });
  const oracle = new Runtime({ backend: reference });

  const check = (name: OperationName, dtype: DType): Promise<void> =>
    fc.assert(
      fc.asyncProperty(fc.gen(), async (g) => {
        const y = draw(name, new Sampler(g, dtype));
        if (y === undefined) return;
        const [found, expected] = [await runtime.realize(y), await oracle.realize(y)];
        expect(found.dims).toEqual(expected.dims);
        const numbers = (x: Tensor): Float64Array => toFloat64(x.data, x.dtype);
        expect(numbers(found)).toBeAllClose(numbers(expected), toleranceOf(dtype, y.dtype));
      }),
      { seed: 11, numRuns: dtype === "float32" ? 6 : 2 },
    );

  for (const name of Object.keys(operations) as OperationName[])
    describe(name, () => {
      for (const dtype of tested) {
        const accepted = fc.sample(fc.gen(), { seed: 1, numRuns: 1 }).some((g) => draw(name, new Sampler(g, dtype)));
        if (!accepted) continue;
        const reason = skips[name]?.[dtype] ?? skips[name]?.["*"] ?? skips["*"]?.[dtype];
        if (reason === undefined) test(dtype, () => check(name, dtype));
        else test.skip(`${dtype} (${reason})`, () => check(name, dtype));
      }
    });
}
