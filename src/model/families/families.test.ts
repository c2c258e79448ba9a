import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { sharedPath } from "../../../test/support/goldens.ts";
import { parseModelConfig, type ModelConfig } from "../config.ts";
import { ModelError } from "../errors.ts";
import { rotaryTables } from "../transformer/rope.ts";
import { readFamilyConfig, type HfConfig } from "./family.ts";
import { families, familyByArchitecture, familyOf } from "./table.ts";

const read = (hf: HfConfig): ModelConfig =>
  parseModelConfig(readFamilyConfig(familyOf(hf, "config.json"), hf, "config.json"));

const llama = {
  model_type: "llama",
  vocab_size: 128256,
  hidden_size: 2048,
  intermediate_size: 8192,
  num_hidden_layers: 2,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  hidden_act: "silu",
  max_position_embeddings: 131072,
  rms_norm_eps: 1e-5,
  rope_theta: 500000,
  tie_word_embeddings: true,
};
const llama3Scaling = { factor: 32, high_freq_factor: 4, low_freq_factor: 1, original_max_position_embeddings: 8192 };
const mistral = { ...llama, model_type: "mistral", tie_word_embeddings: false };
const qwen2 = { ...llama, model_type: "qwen2", num_hidden_layers: 4, sliding_window: 32768, max_window_layers: 2 };
const gemma2 = {
  ...llama,
  model_type: "gemma2",
  hidden_size: 2304,
  num_hidden_layers: 3,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  hidden_act: "gelu",
  hidden_activation: "gelu_pytorch_tanh",
  query_pre_attn_scalar: 144,
  sliding_window: 4096,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
};
const pythia = {
  model_type: "gpt_neox",
  vocab_size: 50304,
  hidden_size: 512,
  intermediate_size: 2048,
  num_hidden_layers: 6,
  num_attention_heads: 8,
  max_position_embeddings: 2048,
  hidden_act: "gelu",
  layer_norm_eps: 1e-5,
  rotary_pct: 0.25,
  rotary_emb_base: 10000,
  use_parallel_residual: true,
};
const gpt2 = { model_type: "gpt2", vocab_size: 50257, n_positions: 1024, n_embd: 768, n_layer: 12, n_head: 12 };

describe("the table of families", () => {
  test("is keyed by model_type", () => {
    for (const [key, family] of Object.entries(families)) expect(family.modelType).toBe(key);
  });

  test("is searched by model_type, else by architectures", () => {
    expect(familyOf({ model_type: "gpt_neox", architectures: ["LlamaForCausalLM"] }, "f").modelType).toBe("gpt_neox");
    expect(familyOf({ architectures: ["GPT2LMHeadModel"] }, "f").modelType).toBe("gpt2");
    expect(familyByArchitecture("Qwen2ForCausalLM")).toBe(families.qwen2);
    expect(familyByArchitecture(undefined)).toBeUndefined();
  });

  test("an unknown family is an error that lists the known ones", () => {
    const attempt = (): unknown => familyOf({ model_type: "falcon" }, "models/x/config.json");
    expect(attempt).toThrow(ModelError);
    expect(attempt).toThrow(/models\/x\/config\.json.*gemma2, gpt2, gpt_neox, llama, mistral, qwen2.*"falcon"/);
    expect(() => familyOf({}, "f")).toThrow(/not supported/);
  });
});

describe("gpt2", () => {
  test("defaults are Hugging Face's", () => {
    expect(read(gpt2)).toMatchObject({
      d_head: 64,
      d_mlp: 3072,
      act_fn: "gelu_new",
      eps: 1e-5,
      normalization_type: "LN",
      positional_embedding_type: "standard",
      tie_word_embeddings: true,
      default_prepend_bos: true,
      scale_attn_by_inverse_layer_idx: false,
    });
  });

  test("n_inner, score scaling and ties are read", () => {
    const cfg = read({ ...gpt2, n_inner: 100, scale_attn_weights: false, tie_word_embeddings: false });
    expect(cfg).toMatchObject({ d_mlp: 100, use_attn_scale: false, tie_word_embeddings: false });
  });
});

describe("llama", () => {
  test("grouped queries, ties and Llama 3's rope scaling", () => {
    expect(read({ ...llama, rope_scaling: { ...llama3Scaling, rope_type: "llama3" } })).toMatchObject({
      n_key_value_heads: 8,
      d_head: 64,
      normalization_type: "RMS",
      final_rms: true,
      gated_mlp: true,
      act_fn: "silu",
      rotary_dim: 64,
      rotary_base: 500000,
      rope_scaling: { ...llama3Scaling, rope_type: "llama3" },
      tie_word_embeddings: true,
    });
  });

  test("both layouts of rope keys say the same", () => {
    const { rope_theta, ...rest } = llama;
    const scaling = { ...llama3Scaling, rope_type: "llama3" };
    expect(read({ ...rest, rope_parameters: { rope_theta, ...scaling } })).toEqual(
      read({ ...llama, rope_scaling: scaling }),
    );
    expect(read({ ...rest, rope_parameters: { rope_theta, rope_type: "default" } })).toEqual(
      read({ ...llama, rope_scaling: null }),
    );
  });

  test("without head_dim, key/value heads and rope keys", () => {
    const { head_dim: _, num_key_value_heads: __, rope_theta: ___, tie_word_embeddings: ____, ...old } = llama;
    const cfg = read(old);
    expect(cfg).toMatchObject({ d_head: 64, n_key_value_heads: null, rotary_base: 10000, tie_word_embeddings: false });
  });

  test("linear scaling under its old key, and YaRN's attention factor", () => {
    expect(read({ ...llama, rope_scaling: { type: "linear", factor: 4 } }).rope_scaling).toEqual({
      rope_type: "linear",
      factor: 4,
    });
    const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32768 };
    expect(read({ ...llama, rope_scaling: yarn }).rope_scaling).toEqual({
      ...yarn,
      beta_fast: 32,
      beta_slow: 1,
      attention_factor: 0.1 * Math.log(4) + 1,
    });
    expect(read({ ...llama, rope_scaling: { ...yarn, attention_factor: 1.5 } }).rope_scaling).toMatchObject({
      attention_factor: 1.5,
    });
    const { original_max_position_embeddings: _, ...open } = yarn;
    expect(read({ ...llama, rope_scaling: open }).rope_scaling).toMatchObject({
      original_max_position_embeddings: 131072,
    });
  });

  test.each([
    { rope_type: "longrope", short_factor: [1], long_factor: [2], factor: 4 },
    { type: "su" },
    { rope_type: "dynamic" },
  ])("rope scaling %o is refused by its name", (rope_scaling) => {
    expect(() => read({ ...llama, rope_scaling })).toThrow(
      expect.objectContaining({
        message: expect.stringContaining("rope scaling is not supported") as string,
        expected: expect.stringContaining("dynamic, linear, llama3, proportional or yarn") as string,
        received: rope_scaling.rope_type ?? rope_scaling.type,
      }),
    );
  });

  test("dynamic rope scaling changes nothing within the context", () => {
    const rope_scaling = { rope_type: "dynamic", factor: 2 };
    expect(read({ ...llama, rope_scaling })).toEqual(read({ ...llama, rope_scaling: null }));
  });

  test("incomplete rope scaling, malformed sizes and unknown activations are named", () => {
    expect(() => read({ ...llama, rope_scaling: { rope_type: "llama3", factor: 8 } })).toThrow(/low_freq_factor/);
    expect(() => read({ ...llama, hidden_size: null, num_hidden_layers: "2" })).toThrow(
      /config\.json.*hidden_size.*num_hidden_layers|num_hidden_layers.*hidden_size/s,
    );
    expect(() => read({ ...llama, hidden_act: "xielu" })).toThrow(/activation.*gelu_new.*xielu/);
  });
});

describe("what config.json leaves out is what transformers assumes", () => {
  const golden = JSON.parse(readFileSync(sharedPath("goldens/families/defaults.json"), "utf8")) as Record<
    string,
    { given: HfConfig; omitted: Record<string, HfConfig>; nothing: HfConfig }
  >;

  test("for every family", () => {
    expect(Object.keys(golden).toSorted()).toEqual(Object.keys(families).toSorted());
  });

  describe.each(Object.entries(golden))("%s", (model_type, { given, omitted, nothing }) => {
    test.each(Object.entries(omitted))("%s", (key, assumed) => {
      const { [key]: _, ...rest } = given;
      expect(read({ model_type, ...rest })).toEqual(read({ model_type, ...given, ...assumed }));
    });

    test("all", () => {
      expect(read({ model_type })).toEqual(read({ model_type, ...nothing }));
    });
  });
});

describe("rotary tables are transformers'", () => {
  const golden = JSON.parse(readFileSync(sharedPath("goldens/families/rope.json"), "utf8")) as {
    positions: number[];
    cases: Record<string, { config: HfConfig; cos: number[][]; sin: number[][] }>;
  };

  test.each(Object.entries(golden.cases))("%s", (_, { config, cos, sin }) => {
    const tables = rotaryTables(read(config), 14);
    for (const [table, expected] of [[tables.cos, cos] as const, [tables.sin, sin] as const]) {
      const width = expected[0]!.length;
      const rows = golden.positions.map((p) => Array.from(table.data.slice(p * width, (p + 1) * width), Number));
      expect(table.dims[1]).toBe(width);
      rows.flat().forEach((x, i) => expect(x).toBeCloseTo(expected.flat()[i]!, 5));
    }
  });

  test("an odd width and settings for one kind of layer are refused", () => {
    expect(() => read({ ...pythia, hidden_size: 96 })).toThrow(/rotary_dim 3 is odd/);
    const one = { rope_type: "default", rope_theta: 100 };
    const rope_parameters = { full_attention: one, sliding_attention: one };
    expect(() => read({ ...gemma2, rope_parameters })).toThrow(/the same for all layers; got .*full_attention/);
  });
});

describe("activations mean what Hugging Face means", () => {
  test.each([
    ["gelu", "gelu"],
    ["gelu_new", "gelu_new"],
    ["gelu_python", "gelu"],
    ["swish", "silu"],
    ["relu", "relu"],
  ])("%s is %s", (name, act_fn) => {
    expect(read({ ...gpt2, activation_function: name }).act_fn).toBe(act_fn);
  });

  test("Gemma's hidden_act does not count", () => {
    expect(read(gemma2).act_fn).toBe("gelu_pytorch_tanh");
    const { hidden_activation: _, ...old } = gemma2;
    expect(read(old).act_fn).toBe("gelu_pytorch_tanh");
  });
});

describe("gpt_neox", () => {
  test("partial rotation and parallel residual", () => {
    expect(read(pythia)).toMatchObject({
      rotary_dim: 16,
      rotary_base: 10000,
      parallel_attn_mlp: true,
      act_fn: "gelu",
      tie_word_embeddings: false,
      default_prepend_bos: false,
    });
    const { rotary_pct: _, rotary_emb_base: __, ...rest } = pythia;
    const rope_parameters = { rope_type: "default", partial_rotary_factor: 0.5, rope_theta: 2500 };
    expect(read({ ...rest, rope_parameters })).toMatchObject({ rotary_dim: 32, rotary_base: 2500 });
    expect(read(rest)).toMatchObject({ rotary_dim: 16, rotary_base: 10000 });
  });
});

describe("windows", () => {
  test("gemma2: even layers, or as layer_types says", () => {
    expect(read(gemma2)).toMatchObject({ attn_types: ["local", "global", "local"], window_size: 4096 });
    const layer_types = ["full_attention", "full_attention", "sliding_attention"];
    expect(read({ ...gemma2, layer_types }).attn_types).toEqual(["global", "global", "local"]);
    expect(() => read({ ...gemma2, layer_types: layer_types.slice(1) })).toThrow(/expected 3 layers; got 2/);
  });

  test("mistral: all layers, 4096 where nothing is said, none where null", () => {
    expect(read(mistral)).toMatchObject({ use_local_attn: true, attn_types: ["local", "local"], window_size: 4096 });
    expect(read({ ...mistral, sliding_window: null })).toMatchObject({
      use_local_attn: false,
      attn_types: null,
      window_size: null,
    });
  });

  test("qwen2: only if asked for, from max_window_layers on", () => {
    expect(read(qwen2)).toMatchObject({ use_local_attn: false, default_prepend_bos: false });
    expect(read({ ...qwen2, use_sliding_window: true })).toMatchObject({
      attn_types: ["global", "global", "local", "local"],
      window_size: 32768,
    });
  });
});

describe("gemma2", () => {
  test("scales, caps and norms", () => {
    expect(read(gemma2)).toMatchObject({
      attn_scale: 12,
      attn_scores_soft_cap: 50,
      output_logits_soft_cap: 30,
      use_normalization_before_and_after: true,
      embedding_scale: 48,
      tie_word_embeddings: true,
    });
    expect(read({ ...gemma2, attn_logit_softcapping: null, final_logit_softcapping: null })).toMatchObject({
      attn_scores_soft_cap: -1,
      output_logits_soft_cap: -1,
    });
  });
});

describe("config.json written again", () => {
  const scaled = { ...llama, rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32768 } };
  test.each([
    ["gpt2", { ...gpt2, n_inner: 100, scale_attn_by_inverse_layer_idx: true }],
    ["llama", scaled],
    ["gpt_neox", pythia],
    ["gemma2", gemma2],
    ["gemma2, scalar without an exact root", { ...gemma2, query_pre_attn_scalar: 224 }],
    ["qwen2", { ...qwen2, use_sliding_window: true }],
    [
      "llama, the first pairs rotated",
      { ...llama, rope_scaling: { rope_type: "proportional", partial_rotary_factor: 0.5 } },
    ],
    ["mistral", mistral],
    ["mistral without window", { ...mistral, sliding_window: null }],
  ])("%s means the same", (_, hf) => {
    const cfg = read(hf);
    const family = familyOf(hf, "config.json");
    expect(read({ ...family.toHf(cfg, () => false), model_type: family.modelType })).toEqual(cfg);
  });
});
