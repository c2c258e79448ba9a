/** Every family's parameters against the numbers in its file, index by index. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModelFiles } from "../src/model/files/load.ts";
import { parametersOf } from "../src/model/weights/parameters.ts";
import { describeWithGoldens } from "./support/goldens.ts";
import { families, familyPath, realized, stored } from "./support/modelFiles.ts";

/** A parameter's entry from the file: name of the tensor, index along its axes, and what is added to it. */
type Source = (
  at: readonly number[],
  sizes: { heads: number; width: number },
) => readonly [string, readonly number[], number?];

const perHead =
  (name: string): Source =>
  ([h, d, e], { width }) => [name, [h! * width + e!, d!]];
const headBias =
  (name: string): Source =>
  ([h, e], { width }) => [name, [h! * width + e!]];
const fromHeads =
  (name: string): Source =>
  ([h, e, d], { width }) => [name, [d!, h! * width + e!]];
const turned =
  (name: string): Source =>
  ([i, o]) => [name, [o!, i!]];
const as =
  (name: string, plus = 0): Source =>
  (at) => [name, at, plus];

const decoder = (norm: number, second: string): Record<string, Source> => ({
  "embed.W_E": as("model.embed_tokens.weight"),
  "blocks.1.ln1.w": as("model.layers.1.input_layernorm.weight", norm),
  "blocks.1.ln2.w": as(`model.layers.1.${second}.weight`, norm),
  "blocks.1.attn.W_Q": perHead("model.layers.1.self_attn.q_proj.weight"),
  "blocks.1.attn.W_K": perHead("model.layers.1.self_attn.k_proj.weight"),
  "blocks.1.attn.W_V": perHead("model.layers.1.self_attn.v_proj.weight"),
  "blocks.1.attn.W_O": fromHeads("model.layers.1.self_attn.o_proj.weight"),
  "blocks.1.mlp.W_gate": turned("model.layers.1.mlp.gate_proj.weight"),
  "blocks.1.mlp.W_in": turned("model.layers.1.mlp.up_proj.weight"),
  "blocks.1.mlp.W_out": turned("model.layers.1.mlp.down_proj.weight"),
  "ln_final.w": as("model.norm.weight", norm),
});
const tied = { "unembed.W_U": turned("model.embed_tokens.weight") };
const untied = { "unembed.W_U": turned("lm_head.weight") };
const qkvBias = {
  "blocks.1.attn.b_Q": headBias("model.layers.1.self_attn.q_proj.bias"),
  "blocks.1.attn.b_K": headBias("model.layers.1.self_attn.k_proj.bias"),
  "blocks.1.attn.b_V": headBias("model.layers.1.self_attn.v_proj.bias"),
};
const conv =
  (part: number): Source =>
  ([h, d, e], { heads, width }) => ["transformer.h.1.attn.c_attn.weight", [d!, (part * heads + h!) * width + e!]];
const convBias =
  (part: number): Source =>
  ([h, e], { heads, width }) => ["transformer.h.1.attn.c_attn.bias", [(part * heads + h!) * width + e!]];
const neox = "gpt_neox.layers.1";
const fused =
  (part: number): Source =>
  ([h, d, e], { width }) => [`${neox}.attention.query_key_value.weight`, [(h! * 3 + part) * width + e!, d!]];
const fusedBias =
  (part: number): Source =>
  ([h, e], { width }) => [`${neox}.attention.query_key_value.bias`, [(h! * 3 + part) * width + e!]];

/** Parameters of the second block and of both ends, by hand. */
const byHand: Record<string, Record<string, Source>> = {
  gpt2: {
    "embed.W_E": as("transformer.wte.weight"),
    "pos_embed.W_pos": as("transformer.wpe.weight"),
    "blocks.1.ln1.w": as("transformer.h.1.ln_1.weight"),
    "blocks.1.ln1.b": as("transformer.h.1.ln_1.bias"),
    "blocks.1.attn.W_Q": conv(0),
    "blocks.1.attn.W_K": conv(1),
    "blocks.1.attn.W_V": conv(2),
    "blocks.1.attn.b_Q": convBias(0),
    "blocks.1.attn.b_K": convBias(1),
    "blocks.1.attn.b_V": convBias(2),
    "blocks.1.attn.W_O": ([h, e, d], { width }) => ["transformer.h.1.attn.c_proj.weight", [h! * width + e!, d!]],
    "blocks.1.attn.b_O": as("transformer.h.1.attn.c_proj.bias"),
    "blocks.1.ln2.w": as("transformer.h.1.ln_2.weight"),
    "blocks.1.ln2.b": as("transformer.h.1.ln_2.bias"),
    "blocks.1.mlp.W_in": as("transformer.h.1.mlp.c_fc.weight"),
    "blocks.1.mlp.b_in": as("transformer.h.1.mlp.c_fc.bias"),
    "blocks.1.mlp.W_out": as("transformer.h.1.mlp.c_proj.weight"),
    "blocks.1.mlp.b_out": as("transformer.h.1.mlp.c_proj.bias"),
    "ln_final.w": as("transformer.ln_f.weight"),
    "ln_final.b": as("transformer.ln_f.bias"),
    "unembed.W_U": turned("transformer.wte.weight"),
  },
  "gpt-neox-parallel": {
    "embed.W_E": as("gpt_neox.embed_in.weight"),
    "blocks.1.ln1.w": as(`${neox}.input_layernorm.weight`),
    "blocks.1.ln1.b": as(`${neox}.input_layernorm.bias`),
    "blocks.1.attn.W_Q": fused(0),
    "blocks.1.attn.W_K": fused(1),
    "blocks.1.attn.W_V": fused(2),
    "blocks.1.attn.b_Q": fusedBias(0),
    "blocks.1.attn.b_K": fusedBias(1),
    "blocks.1.attn.b_V": fusedBias(2),
    "blocks.1.attn.W_O": fromHeads(`${neox}.attention.dense.weight`),
    "blocks.1.attn.b_O": as(`${neox}.attention.dense.bias`),
    "blocks.1.ln2.w": as(`${neox}.post_attention_layernorm.weight`),
    "blocks.1.ln2.b": as(`${neox}.post_attention_layernorm.bias`),
    "blocks.1.mlp.W_in": turned(`${neox}.mlp.dense_h_to_4h.weight`),
    "blocks.1.mlp.b_in": as(`${neox}.mlp.dense_h_to_4h.bias`),
    "blocks.1.mlp.W_out": turned(`${neox}.mlp.dense_4h_to_h.weight`),
    "blocks.1.mlp.b_out": as(`${neox}.mlp.dense_4h_to_h.bias`),
    "ln_final.w": as("gpt_neox.final_layer_norm.weight"),
    "ln_final.b": as("gpt_neox.final_layer_norm.bias"),
    "unembed.W_U": turned("embed_out.weight"),
  },
  "llama-gqa": { ...decoder(0, "post_attention_layernorm"), ...untied },
  "mistral-window": { ...decoder(0, "post_attention_layernorm"), ...untied },
  qwen2: { ...decoder(0, "post_attention_layernorm"), ...qkvBias, ...tied },
  gemma2: {
    ...decoder(1, "pre_feedforward_layernorm"),
    "blocks.1.ln1_post.w": as("model.layers.1.post_attention_layernorm.weight", 1),
    "blocks.1.ln2_post.w": as("model.layers.1.post_feedforward_layernorm.weight", 1),
    ...tied,
  },
};

/** All indices of a shape, the last axis fastest. */
function indices(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (all, size) => all.flatMap((at) => Array.from({ length: size }, (_, i) => [...at, i])),
    [[]],
  );
}

describe.each(families)("parameters of %s", (family) => {
  describeWithGoldens("views", [`goldens/families/${family}`], () => {
    test("are the file's numbers at the right places", async () => {
      const model = await loadModelFiles(familyPath(family));
      const file = await stored(join(familyPath(family), "model.safetensors"));
      const { cfg } = model;
      const values = await realized(model.weights);
      const table = byHand[family]!;
      for (const [param, source] of Object.entries(table)) {
        const { dims, data } = values[param]!;
        expect(dims, param).toEqual(parametersOf(cfg).get(param)!.shape);
        const expected = indices(dims).map((at) => {
          const [name, place, plus = 0] = source(at, { heads: cfg.n_heads, width: cfg.d_head });
          const { shape, data: numbers } = file.get(name)!;
          return Math.fround(Number(numbers[place.reduce((sum, i, axis) => sum * shape[axis]! + i, 0)]) + plus);
        });
        expect([...(data as Float32Array)], param).toEqual(expected);
      }
      const inTable = Object.keys(table).map((name) => name.replace("blocks.1.", ""));
      const inModel = [...model.weights.keys()].map((name) => name.replace(/^blocks\.\d+\./, ""));
      expect(new Set(inModel)).toEqual(new Set(inTable));
      expect(model.unused).toEqual([]);
      model.dispose();
    });
  });
});
