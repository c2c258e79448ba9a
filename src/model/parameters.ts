/** @file Which parameters a configuration has, and their TransformerLens shapes. */
import { kvHeads, type ModelConfig } from "./config.ts";

/**
 * What a parameter is: random at the start (`weight`), one (`norm`), zero (`bias`), or a bias of gated MLPs that
 * TransformerLens does not know (`extra`).
 */
export type ParameterKind = "weight" | "norm" | "bias" | "extra";

export interface Parameter {
  readonly kind: ParameterKind;
  readonly shape: readonly number[];
}

/**
 * Every parameter a model of this configuration can have, under its TransformerLens name, in the order of the forward
 * pass. Biases may be absent from a model: they are then zero.
 * @example
 * parametersOf(model.cfg).get("blocks.0.attn.W_Q")!.shape; // [head, d_model, d_head]
 */
export function parametersOf(cfg: ModelConfig): ReadonlyMap<string, Parameter> {
  const { d_model: d, d_head, n_heads, normalization_type: norm } = cfg;
  const made = new Map<string, Parameter>();
  const put = (name: string, kind: ParameterKind, ...shape: number[]): void => void made.set(name, { kind, shape });
  const putNorm = (name: string, type: ModelConfig["normalization_type"]): void => {
    if (type === "LN" || type === "RMS") put(`${name}.w`, "norm", d);
    if (type === "LN") put(`${name}.b`, "bias", d);
  };
  const postNorm = cfg.use_normalization_before_and_after ? (norm === "RMSPre" ? "RMS" : norm) : null;

  put("embed.W_E", "weight", cfg.d_vocab, d);
  if (["standard", "shortformer"].includes(cfg.positional_embedding_type))
    put("pos_embed.W_pos", "weight", cfg.n_ctx, d);
  for (let layer = 0; layer < cfg.n_layers; layer++) {
    const block = `blocks.${layer}`;
    putNorm(`${block}.ln1`, norm);
    for (const [part, heads] of [
      ["Q", n_heads],
      ["K", kvHeads(cfg)],
      ["V", kvHeads(cfg)],
    ] as const) {
      put(`${block}.attn.W_${part}`, "weight", heads, d, d_head);
      put(`${block}.attn.b_${part}`, "bias", heads, d_head);
    }
    put(`${block}.attn.W_O`, "weight", n_heads, d_head, d);
    put(`${block}.attn.b_O`, "bias", d);
    putNorm(`${block}.ln1_post`, postNorm);
    if (cfg.attn_only) continue;
    const f = cfg.d_mlp!;
    putNorm(`${block}.ln2`, norm);
    put(`${block}.mlp.W_in`, "weight", d, f);
    put(`${block}.mlp.b_in`, "bias", f);
    if (cfg.gated_mlp) {
      put(`${block}.mlp.W_gate`, "weight", d, f);
      put(`${block}.mlp.b_gate`, "extra", f);
      put(`${block}.mlp.b_up`, "extra", f);
    }
    put(`${block}.mlp.W_out`, "weight", f, d);
    put(`${block}.mlp.b_out`, "bias", d);
    putNorm(`${block}.ln2_post`, postNorm);
  }
  putNorm("ln_final", norm === "LN" && cfg.final_rms ? "RMS" : norm);
  put("unembed.W_U", "weight", d, cfg.d_vocab_out);
  put("unembed.b_U", "bias", cfg.d_vocab_out);
  return made;
}
