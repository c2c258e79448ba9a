/** @file Attention heads with other queries, keys and values for the same scores and outputs: TransformerLens' refactoring. */
import { leaf, type Tensor } from "../../graph/tensor.ts";
import { holdWeights } from "../../runtime/heldWeights.ts";
import { defaultRuntime, type Runtime } from "../../runtime/runtime.ts";
import { kvHeads } from "../config.ts";
import { ModelError } from "../errors.ts";
import { parametersOf } from "./parameters.ts";
import { processWeights, type ModelParameters } from "./processing.ts";
import { singularValuesOfProduct, type Columns } from "./singularValues.ts";

export interface FactoringOptions {
  readonly runtime?: Runtime;
  readonly signal?: AbortSignal;
  /** Called after each layer. */
  readonly onProgress?: (progress: { readonly layers: number; readonly totalLayers: number }) => void;
}

/** Parameters of which some have been computed anew. */
export interface FactoredParameters extends ModelParameters {
  /** Frees what was computed. */
  dispose(): void;
}

/**
 * TransformerLens' `refactor_factored_attn_matrices`: only W_Q·W_Kᵀ and W_V·W_O determine what a head does, and of all their
 * factors this takes those of the singular value decomposition U·S·Vᵀ. Queries and keys become U·√S and V·√S, of [W; b] · [W; b]ᵀ
 * with the biases as one more row, so that the nth query and key directions are orthogonal to the others and of equal norm;
 * W_V becomes U·S and W_O the orthonormal rows Vᵀ; value biases go into b_O. Singular values descend; logits stay. It comes
 * after the steps of `processWeights`, and is computed, where those are views: a minute and a half for GPT-2 small.
 *
 * @throws ModelError for rotary positions, between queries and keys, and for heads that share keys; as `processWeights` for
 *   value biases that cannot be folded
 * @example
 * const factored = await factorAttention(processWeights(model));
 * const refactored = new HookedModel({ ...factored, release: () => factored.dispose() });
 */
export async function factorAttention(
  { cfg, weights }: ModelParameters,
  { runtime = defaultRuntime(), signal, onProgress }: FactoringOptions = {},
): Promise<FactoredParameters> {
  const refuse = (why: string): never => {
    throw new ModelError(`queries and keys cannot be refactored: ${why}`, {
      code: "model/processing",
      where: cfg.model_name,
      hint: "leave refactor_factored_attn_matrices off",
    });
  };
  if (cfg.positional_embedding_type === "rotary") refuse("rotary positions come between them");
  if (kvHeads(cfg) !== cfg.n_heads) refuse("several heads share their keys");
  const views = { foldLn: false, centerWritingWeights: false, centerUnembed: false };
  const draft = new Map(processWeights({ cfg, weights }, views).weights);
  const parameters = parametersOf(cfg);
  const made = new Map<string, Tensor>();
  const put = (name: string, data: Float32Array): void => {
    const { shape, sizes } = parameters.get(name)!;
    made.set(name, leaf(data, shape, { role: "weight", name, sizes }));
  };
  for (let layer = 0; layer < cfg.n_layers; layer++) {
    signal?.throwIfAborted();
    const names = ["W_Q", "b_Q", "W_K", "b_K", "W_V", "W_O"].map((part) => `blocks.${layer}.attn.${part}`);
    const there = names.flatMap((name) => (draft.has(name) ? [[name, draft.get(name)!] as const] : []));
    const found = await runtime.realize(Object.fromEntries(there));
    const [WQ, bQ, WK, bK, WV, WO] = names.map((name) => found[name]?.data as Float32Array | undefined);
    const { d_model: rows, d_head: columns, n_heads: heads } = cfg;
    const size = rows * columns;
    const fresh = Array.from({ length: 4 }, () => new Float32Array(heads * size));
    const biases = [bQ, bK].map((bias) => bias && new Float32Array(heads * columns));
    for (let head = 0; head < heads; head++) {
      /** A head's [rows, columns], and its bias, if there is one, as the last row. */
      const matrix = (weight: Float32Array, bias?: Float32Array): Columns =>
        Array.from({ length: columns }, (_, c) =>
          Float64Array.from({ length: rows + 1 }, (_, r) =>
            r < rows ? weight[head * size + r * columns + c]! : (bias?.[head * columns + c] ?? 0),
          ),
        );
      const store = (at: number, from: Columns, scale: (c: number) => number): void => {
        for (const [c, column] of from.entries()) {
          for (let r = 0; r < rows; r++) fresh[at]![head * size + r * columns + c] = column[r]! * scale(c);
          const bias = biases[at];
          if (bias) bias[head * columns + c] = column[rows]! * scale(c);
        }
      };
      const scores = singularValuesOfProduct(matrix(WQ!, bQ), matrix(WK!, bK));
      const root = (c: number): number => Math.sqrt(scores.values[c]!);
      store(0, scores.left, root);
      store(1, scores.right, root);

      const outputs = Array.from({ length: columns }, (_, c) =>
        Float64Array.from(WO!.subarray(head * size + c * rows, head * size + (c + 1) * rows)),
      );
      const moved = singularValuesOfProduct(matrix(WV!), outputs);
      store(2, moved.left, (c) => moved.values[c]!);
      for (const [c, column] of moved.right.entries()) fresh[3]!.set(column, head * size + c * rows);
    }
    for (const [i, part] of ["W_Q", "W_K", "W_V", "W_O"].entries()) put(`blocks.${layer}.attn.${part}`, fresh[i]!);
    for (const [i, part] of ["b_Q", "b_K"].entries()) if (biases[i]) put(`blocks.${layer}.attn.${part}`, biases[i]);
    onProgress?.({ layers: layer + 1, totalLayers: cfg.n_layers });
  }
  for (const [name, weight] of made) draft.set(name, weight);
  return { cfg, weights: draft, dispose: holdWeights({ owner: cfg.model_name, kind: "HookedModel" }, made) };
}
