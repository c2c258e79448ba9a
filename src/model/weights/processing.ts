/** @file Weight processing: other parameters for the same function, as views. */
import { add, matmul, mean, mul, reshape, squeeze, sub, sum, unsqueeze } from "../../graph/index.ts";
import type { Tensor } from "../../graph/tensor.ts";
import { kvHeads, type ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import type { ModelWeights } from "./weights.ts";

/** Which steps to take, in this order; default: all. */
export interface ProcessingOptions {
  /** Norm weights and biases go into the weights that read the normalised residual. */
  foldLn?: boolean;
  /** Weights that write to the residual write vectors of mean zero (LayerNorm models). */
  centerWritingWeights?: boolean;
  /** Logits have mean zero over the vocabulary (not under a soft cap). */
  centerUnembed?: boolean;
  /** Value biases go into the output bias, as attention patterns sum to one. */
  foldValueBiases?: boolean;
}

/** A configuration and the parameters it describes. */
export interface ModelParameters {
  readonly cfg: ModelConfig;
  readonly weights: ModelWeights;
}

/** Parameters that are being replaced, and those of one place in the model. */
type Draft = Map<string, Tensor>;

/**
 * TransformerLens' weight processing. The model computes the same log-probabilities; logits move by a constant per
 * position if the unembedding is centred. Nothing is computed here: the new parameters are views of the old ones. Steps that
 * do not apply to a model are left out, as TransformerLens leaves them out: centring for RMS norms, centring the
 * unembedding under a soft cap.
 *
 * @throws ModelError when value biases are to be folded in a model whose attention masks leave rows empty
 * @example
 * const processed = processWeights(model, { centerUnembed: false });
 */
export function processWeights({ cfg, weights }: ModelParameters, options: ProcessingOptions = {}): ModelParameters {
  const { foldLn = true, centerWritingWeights = true, centerUnembed = true, foldValueBiases = true } = options;
  const draft: Draft = new Map(weights);
  const isLayerNorm = cfg.normalization_type === "LN" || cfg.normalization_type === "LNPre";
  if (foldLn) foldNorms(draft, cfg);
  if (centerWritingWeights && isLayerNorm) centreWriters(draft, cfg);
  if (centerUnembed && cfg.output_logits_soft_cap <= 0) centreUnembedding(draft);
  if (foldValueBiases) foldValues(draft, cfg);
  const tied =
    draft.get("unembed.W_U") === weights.get("unembed.W_U") && draft.get("embed.W_E") === weights.get("embed.W_E");
  const normalization_type = foldLn ? withoutWeights[cfg.normalization_type ?? "none"] : cfg.normalization_type;
  return { cfg: { ...cfg, normalization_type, tie_word_embeddings: cfg.tie_word_embeddings && tied }, weights: draft };
}

const withoutWeights = { LN: "LNPre", LNPre: "LNPre", RMS: "RMSPre", RMSPre: "RMSPre", none: null } as const;

const blocks = (cfg: ModelConfig): string[] => Array.from({ length: cfg.n_layers }, (_, layer) => `blocks.${layer}`);
const column = (x: Tensor): Tensor => unsqueeze(x, -1);
const centred = (x: Tensor, axis: number): Tensor => sub(x, mean(x, axis, { keepDims: true }));

/** Replaces a parameter that is there. */
function update(draft: Draft, name: string, change: (x: Tensor) => Tensor): void {
  const x = draft.get(name);
  if (x !== undefined) draft.set(name, change(x));
}

/** Adds to a bias that may be absent, which is zero. */
function addTo(draft: Draft, name: string, term: Tensor): void {
  const bias = draft.get(name);
  draft.set(name, bias === undefined ? term : add(bias, term));
}

/** A weight that reads a normalised residual (d_model on its last axis but one), its bias, and whether it is centred. */
interface Reader {
  readonly weight: string;
  readonly bias: string;
  readonly centred: boolean;
}

function foldNorms(draft: Draft, cfg: ModelConfig): void {
  const isLayerNorm = cfg.normalization_type === "LN";
  const fold = (norm: string, readers: readonly Reader[]): void => {
    const [w, b] = [draft.get(`${norm}.w`), draft.get(`${norm}.b`)];
    for (const { weight, bias, centred: centre } of readers) {
      const x = draft.get(weight)!;
      if (b !== undefined) addTo(draft, bias, squeeze(matmul(unsqueeze(b, 0), x), -2));
      const scaled = w === undefined ? x : mul(x, column(w));
      draft.set(weight, isLayerNorm && centre ? centred(scaled, -2) : scaled);
    }
    draft.delete(`${norm}.w`);
    draft.delete(`${norm}.b`);
  };
  const reader = (weight: string, bias: string, isCentred = true): Reader => ({ weight, bias, centred: isCentred });
  if (cfg.normalization_type !== "LN" && cfg.normalization_type !== "RMS") return;
  for (const block of blocks(cfg)) {
    fold(
      `${block}.ln1`,
      ["Q", "K", "V"].map((part) => reader(`${block}.attn.W_${part}`, `${block}.attn.b_${part}`)),
    );
    if (cfg.attn_only) continue;
    const inner = reader(`${block}.mlp.W_in`, `${block}.mlp.${cfg.gated_mlp ? "b_up" : "b_in"}`);
    const gate = reader(`${block}.mlp.W_gate`, `${block}.mlp.b_gate`, false);
    fold(`${block}.ln2`, cfg.gated_mlp ? [inner, gate] : [inner]);
  }
  fold("ln_final", [reader("unembed.W_U", "unembed.b_U", !cfg.final_rms)]);
}

function centreWriters(draft: Draft, cfg: ModelConfig): void {
  const writers = ["embed.W_E", "pos_embed.W_pos"];
  for (const block of blocks(cfg))
    writers.push(`${block}.attn.W_O`, `${block}.attn.b_O`, `${block}.mlp.W_out`, `${block}.mlp.b_out`);
  for (const name of writers) update(draft, name, (x) => centred(x, -1));
}

function centreUnembedding(draft: Draft): void {
  for (const name of ["unembed.W_U", "unembed.b_U"]) update(draft, name, (x) => centred(x, -1));
}

function foldValues(draft: Draft, cfg: ModelConfig): void {
  if (cfg.attention_bias !== null && blocks(cfg).some((block) => draft.has(`${block}.attn.b_V`)))
    throw new ModelError("value biases cannot be folded in a model with attention masks of its own", {
      code: "model/processing",
      where: cfg.model_name,
      hint: "set foldValueBiases to false: rows of the pattern that attend nothing do not sum to one",
    });
  const [groups, width] = [kvHeads(cfg), cfg.d_head];
  const perGroup = cfg.n_heads / groups;
  for (const block of blocks(cfg)) {
    const values = draft.get(`${block}.attn.b_V`); // [kv_head, d_head]
    if (values === undefined) continue;
    const out = reshape(draft.get(`${block}.attn.W_O`)!, [groups, perGroup, width, cfg.d_model]);
    addTo(draft, `${block}.attn.b_O`, sum(mul(out, reshape(values, [groups, 1, width, 1])), [0, 1, 2])); // [d_model]
    draft.delete(`${block}.attn.b_V`);
  }
}
