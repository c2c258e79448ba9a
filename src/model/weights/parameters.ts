/** @file Which parameters a configuration has, and their TransformerLens shapes. */
import type { SizeNames } from "../../graph/index.ts";
import { kvHeads, type ModelConfig } from "../config.ts";

/**
 * What a parameter is: random at the start (`weight`), one (`norm`), zero (`bias`), or a bias of gated MLPs that
 * TransformerLens does not know (`extra`).
 */
export type ParameterKind = "weight" | "norm" | "bias" | "extra";

export interface Parameter {
  readonly kind: ParameterKind;
  readonly shape: readonly number[];
  /** What its sizes are called: those of its axes, and of heads with what is in them as one axis. */
  readonly sizes: SizeNames;
}

/**
 * Every parameter a model of this configuration can have, under its TransformerLens name, in the order of the forward
 * pass. Biases may be absent from a model: they are then zero.
 * @example
 * parametersOf(model.cfg).get("blocks.0.attn.W_Q")!.shape; // [head, d_model, d_head]
 */
export function parametersOf(cfg: ModelConfig): ReadonlyMap<string, Parameter> {
  const { normalization_type: norm } = cfg;
  const size = {
    d_vocab: cfg.d_vocab,
    d_vocab_out: cfg.d_vocab_out,
    n_ctx: cfg.n_ctx,
    d_model: cfg.d_model,
    d_mlp: cfg.d_mlp ?? 0,
    head: cfg.n_heads,
    kv_head: kvHeads(cfg),
    d_head: cfg.d_head,
  };
  type Axis = keyof typeof size;
  const made = new Map<string, Parameter>();
  const put = (name: string, kind: ParameterKind, ...axes: Axis[]): void => {
    const sizes: { [name: string]: number } = Object.fromEntries(axes.map((axis) => [axis, size[axis]]));
    const heads = axes.find((axis) => axis === "head" || axis === "kv_head");
    if (heads !== undefined) sizes[`${heads}·d_head`] = size[heads] * size.d_head;
    made.set(name, { kind, shape: axes.map((axis) => size[axis]), sizes });
  };
  const putNorm = (name: string, type: ModelConfig["normalization_type"]): void => {
    if (type === "LN" || type === "RMS") put(`${name}.w`, "norm", "d_model");
    if (type === "LN") put(`${name}.b`, "bias", "d_model");
  };
  const kvHead = cfg.n_key_value_heads === null ? "head" : "kv_head";
  const postNorm = cfg.use_normalization_before_and_after ? (norm === "RMSPre" ? "RMS" : norm) : null;

  put("embed.W_E", "weight", "d_vocab", "d_model");
  if (["standard", "shortformer"].includes(cfg.positional_embedding_type))
    put("pos_embed.W_pos", "weight", "n_ctx", "d_model");
  for (let layer = 0; layer < cfg.n_layers; layer++) {
    const block = `blocks.${layer}`;
    putNorm(`${block}.ln1`, norm);
    for (const [part, heads] of [
      ["Q", "head"],
      ["K", kvHead],
      ["V", kvHead],
    ] as const) {
      put(`${block}.attn.W_${part}`, "weight", heads, "d_model", "d_head");
      put(`${block}.attn.b_${part}`, "bias", heads, "d_head");
    }
    put(`${block}.attn.W_O`, "weight", "head", "d_head", "d_model");
    put(`${block}.attn.b_O`, "bias", "d_model");
    putNorm(`${block}.ln1_post`, postNorm);
    if (cfg.attn_only) continue;
    putNorm(`${block}.ln2`, norm);
    put(`${block}.mlp.W_in`, "weight", "d_model", "d_mlp");
    put(`${block}.mlp.b_in`, "bias", "d_mlp");
    if (cfg.gated_mlp) {
      put(`${block}.mlp.W_gate`, "weight", "d_model", "d_mlp");
      put(`${block}.mlp.b_gate`, "extra", "d_mlp");
      put(`${block}.mlp.b_up`, "extra", "d_mlp");
    }
    put(`${block}.mlp.W_out`, "weight", "d_mlp", "d_model");
    put(`${block}.mlp.b_out`, "bias", "d_model");
    putNorm(`${block}.ln2_post`, postNorm);
  }
  putNorm("ln_final", norm === "LN" && cfg.final_rms ? "RMS" : norm);
  put("unembed.W_U", "weight", "d_model", "d_vocab_out");
  put("unembed.b_U", "bias", "d_vocab_out");
  return made;
}
