/** @file Norms as one operation each: what `rewrite/fuseNorms.ts` makes of means, squares and quotients. */
import { sameDim, type Dim } from "../axis.ts";
import { GraphError } from "../errors.ts";
import { namedShape } from "../namedShape.ts";
import { notDifferentiable, type Operation } from "../operation.ts";
import { apply, type Tensor } from "../tensor.ts";

interface NormAttributes {
  /** Added to the mean square. */
  readonly epsilon: number;
  readonly [name: string]: number;
}

/** A norm over the last axis of x [..., d], scaled by a weight [d], shifted by a bias [d] where there is one. */
function norm(name: string, { onnx, centred }: { onnx: string; centred: boolean }): Operation<NormAttributes> {
  return {
    name,
    infer: ([x, ...vectors]) => {
      const width = x!.shape.at(-1) as Dim;
      const operands = [x!, ...vectors];
      if (operands.some((v) => v.dtype !== "float32"))
        throw new GraphError(`${name}: needs float32, got ${operands.join(", ")}`, { code: "graph/dtype" });
      if (!vectors.every((v) => v.rank === 1 && sameDim(v.shape[0]!, width)))
        throw new GraphError(`${name}: weight and bias are vectors along the last axis`, {
          code: "graph/norm",
          expected: "[..., d], [d]",
          received: operands.map((v) => namedShape(v)).join(", "),
        });
      return { shape: x!.shape, dtype: "float32" };
    },
    lower: ({ emit, inputs, attributes: { epsilon } }) =>
      emit.node(onnx, inputs, { axis: -1, epsilon: { float: epsilon } }),
    gradient: notDifferentiable("norms are fused after differentiation"),
    evaluate: ({ inputs: [x, weight, bias], attributes: { epsilon } }) => {
      const width = x!.dims.at(-1)!;
      const out = new Float64Array(x!.data.length);
      for (let at = 0; at < out.length; at += width) {
        const row = Array.from({ length: width }, (_, i) => x!.data[at + i]!);
        const middle = centred ? row.reduce((a, b) => a + b, 0) / width : 0;
        const square = row.reduce((sum, value) => sum + (value - middle) ** 2, 0) / width;
        const scale = Math.sqrt(square + epsilon);
        for (let i = 0; i < width; i++)
          out[at + i] = ((row[i]! - middle) / scale) * weight!.data[i]! + (bias?.data[i] ?? 0);
      }
      return out;
    },
    along: () => undefined,
  };
}

export const normOperations: {
  readonly LayerNormalization: Operation<NormAttributes>;
  readonly RMSNormalization: Operation<NormAttributes>;
} = {
  LayerNormalization: norm("LayerNormalization", { onnx: "LayerNormalization", centred: true }),
  // ONNX has it from operator set 23 on, ONNX Runtime under the name of its own.
  RMSNormalization: norm("RMSNormalization", { onnx: "SimplifiedLayerNormalization", centred: false }),
};

/**
 * `(x − mean) / √(variance + ε) · weight + bias` over the last axis.
 * @param x [..., d]
 * @param weight [d]
 * @param bias [d]
 */
export const layerNormalization = (x: Tensor, weight: Tensor, bias: Tensor | undefined, epsilon: number): Tensor =>
  apply(normOperations.LayerNormalization, bias === undefined ? [x, weight] : [x, weight, bias], { epsilon });

/**
 * `x / √(mean square + ε) · weight` over the last axis.
 * @param x [..., d]
 * @param weight [d]
 */
export const rmsNormalization = (x: Tensor, weight: Tensor, epsilon: number): Tensor =>
  apply(normOperations.RMSNormalization, [x, weight], { epsilon });
