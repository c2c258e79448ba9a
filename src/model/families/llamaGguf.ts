/** @file Llama models in GGUF files: llama.cpp's tensor names and metadata, rotation pairs back in Hugging Face's order. */
import type { GgufValue, TensorFile } from "../../formats/index.ts";
import type { ModelConfigInput, RopeScaling } from "../config.ts";
import { ModelError } from "../errors.ts";
import { holds, type TensorTable } from "./family.ts";
import { fromHeads, interleavedMerged, interleavedToHeads, merged, same, toHeads, transposed } from "./layouts.ts";

type Gguf = TensorFile<GgufValue>;

/** Tensors of a GGUF file of architecture `llama`. */
export const llamaGgufTensors: TensorTable = {
  "token_embd.weight": holds(same, "embed.W_E"),
  "blk.*.attn_norm.weight": holds(same, "blocks.*.ln1.w"),
  "blk.*.attn_q.weight": holds(interleavedToHeads, "blocks.*.attn.W_Q"),
  "blk.*.attn_q.bias": holds(interleavedMerged, "blocks.*.attn.b_Q", "optional"),
  "blk.*.attn_k.weight": holds(interleavedToHeads, "blocks.*.attn.W_K"),
  "blk.*.attn_k.bias": holds(interleavedMerged, "blocks.*.attn.b_K", "optional"),
  "blk.*.attn_v.weight": holds(toHeads, "blocks.*.attn.W_V"),
  "blk.*.attn_v.bias": holds(merged, "blocks.*.attn.b_V", "optional"),
  "blk.*.attn_output.weight": holds(fromHeads, "blocks.*.attn.W_O"),
  "blk.*.attn_output.bias": holds(same, "blocks.*.attn.b_O", "optional"),
  "blk.*.ffn_norm.weight": holds(same, "blocks.*.ln2.w"),
  "blk.*.ffn_gate.weight": holds(transposed, "blocks.*.mlp.W_gate"),
  "blk.*.ffn_gate.bias": holds(same, "blocks.*.mlp.b_gate", "optional"),
  "blk.*.ffn_up.weight": holds(transposed, "blocks.*.mlp.W_in"),
  "blk.*.ffn_up.bias": holds(same, "blocks.*.mlp.b_up", "optional"),
  "blk.*.ffn_down.weight": holds(transposed, "blocks.*.mlp.W_out"),
  "blk.*.ffn_down.bias": holds(same, "blocks.*.mlp.b_out", "optional"),
  "output_norm.weight": holds(same, "ln_final.w"),
  "output.weight": holds(transposed, "unembed.W_U"),
};

/** Read as configuration, not as weights. */
export const llamaGgufIgnored: RegExp = /^rope_freqs\.weight$/;

/**
 * The configuration of a llama model in a GGUF file.
 * @throws ModelError for another architecture, a missing key, experts, or rotary factors that are not understood
 */
export async function llamaGgufConfig(file: Gguf): Promise<ModelConfigInput> {
  const { metadata, source } = file;
  const architecture = metadata.get("general.architecture");
  if (architecture !== "llama")
    throw new ModelError("the architecture of the GGUF file is not supported", {
      code: "model/family",
      where: source,
      expected: "llama",
      received: String(architecture),
    });
  const number = (key: string, fallback?: number): number => {
    const value = metadata.get(`llama.${key}`) ?? fallback;
    if (typeof value === "number") return value;
    throw new ModelError("the metadata of the GGUF file are not those of a llama model", {
      code: "model/config",
      where: source,
      expected: `a number llama.${key}`,
      received: value === undefined ? "no such key" : typeof value,
    });
  };
  const refuse = (what: string, received: string): never => {
    throw new ModelError(`GGUF models with ${what} are not supported`, {
      code: "model/config",
      where: source,
      received,
    });
  };

  const n_heads = number("attention.head_count");
  const grouped = number("attention.head_count_kv", n_heads);
  const d_model = number("embedding_length");
  const d_head = number("attention.key_length", d_model / n_heads);
  const valueLength = number("attention.value_length", d_head);
  if (valueLength !== d_head) refuse("keys and values of different width", `${d_head} and ${valueLength}`);
  if (number("expert_count", 0) > 0) refuse("experts", `llama.expert_count ${number("expert_count")}`);
  const rotary_dim = number("rope.dimension_count", d_head);
  const base = number("rope.freq_base", 10000);
  const d_vocab = file.has("token_embd.weight") ? file.info("token_embd.weight").shape[0]! : number("vocab_size");
  const prependBos = metadata.get("tokenizer.ggml.add_bos_token");
  return {
    original_architecture: "LlamaForCausalLM",
    n_layers: number("block_count"),
    d_model,
    n_ctx: number("context_length"),
    d_head,
    n_heads,
    n_key_value_heads: grouped === n_heads ? null : grouped,
    d_mlp: number("feed_forward_length"),
    d_vocab,
    d_vocab_out: d_vocab,
    normalization_type: "RMS",
    // Single precision in the file: 1e-5 and not 9.99999974737875e-6.
    eps: Number(number("attention.layer_norm_rms_epsilon").toPrecision(7)),
    final_rms: true,
    positional_embedding_type: "rotary",
    rotary_dim,
    rotary_base: base,
    rope_scaling: file.has("rope_freqs.weight")
      ? factorsAsScaling(await file.readFloat32("rope_freqs.weight"), { base, rotary_dim, source })
      : statedScaling(metadata, number, refuse),
    act_fn: "silu",
    gated_mlp: true,
    tie_word_embeddings: !file.has("output.weight"),
    ...(typeof prependBos === "boolean" ? { default_prepend_bos: prependBos } : {}),
  };
}

function statedScaling(
  metadata: Gguf["metadata"],
  number: (key: string, fallback?: number) => number,
  refuse: (what: string, received: string) => never,
): RopeScaling | null {
  const type = metadata.get("llama.rope.scaling.type") ?? (metadata.has("llama.rope.scale_linear") ? "linear" : "none");
  if (type === "none") return null;
  const factor = number("rope.scaling.factor", number("rope.scale_linear", 1));
  if (type === "linear") return factor === 1 ? null : { rope_type: "linear", factor };
  if (type !== "yarn") return refuse("this rope scaling", String(type));
  return {
    rope_type: "yarn",
    factor,
    attention_factor: number("rope.scaling.attn_factor", 1) * (factor > 1 ? 0.1 * Math.log(factor) + 1 : 1),
    beta_fast: number("rope.scaling.yarn_beta_fast", 32),
    beta_slow: number("rope.scaling.yarn_beta_slow", 1),
    original_max_position_embeddings: number("rope.scaling.original_context_length", number("context_length")),
  };
}

/** llama.cpp stores Llama 3's scaling as what each frequency is divided by; its parameters are found again, and checked. */
function factorsAsScaling(
  factors: Float32Array,
  { base, rotary_dim, source }: { base: number; rotary_dim: number; source: string },
): RopeScaling | null {
  if (factors.every((f) => f === 1)) return null;
  const scaling = {
    rope_type: "llama3",
    factor: Math.max(...factors),
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  } as const;
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: context } = scaling;
  const fits =
    factors.length === rotary_dim / 2 &&
    factors.every((f, i) => {
      const wavelength = 2 * Math.PI * base ** ((2 * i) / rotary_dim);
      const smooth = Math.min(1, Math.max(0, (context / wavelength - low) / (high - low)));
      return Math.abs(f * ((1 - smooth) / factor + smooth) - 1) < 1e-4;
    });
  if (fits) return scaling;
  throw new ModelError("the rotary factors of the GGUF file are not understood", {
    code: "model/rope",
    where: `${source}, tensor "rope_freqs.weight"`,
    expected: "the factors of Llama 3.1 or 3.2 (low 1, high 4, original context 8192)",
    received: `${factors.length} factors from ${Math.min(...factors)} to ${Math.max(...factors)}`,
  });
}
