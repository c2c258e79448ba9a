/** GGUF files of llama models against the Hugging Face folder they were made from. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadModelFiles, type LoadedModel } from "../src/model/files/load.ts";
import { saveModel } from "../src/model/files/save.ts";
import { GgufBytes } from "./support/ggufBytes.ts";
import { describeWithGoldens, sharedPath } from "./support/goldens.ts";
import { failure, familyPath, numbers, stored, useFolder, type Stored } from "./support/modelFiles.ts";

const folder = useFolder();

/** A GGUF file of llama.cpp's making: F32, rows of q and k permuted so that rotation pairs are neighbours. */
function llamaGguf(
  model: LoadedModel,
  file: Map<string, Stored>,
  extra: { metadata?: [string, string | number | boolean][]; tensors?: [string, Stored][] } = {},
): Uint8Array {
  const { cfg } = model;
  const names: [RegExp, string][] = [
    [/^model\.embed_tokens/, "token_embd"],
    [/^model\.norm/, "output_norm"],
    [/^lm_head/, "output"],
    [/^model\.layers\.(\d+)\.input_layernorm/, "blk.$1.attn_norm"],
    [/^model\.layers\.(\d+)\.post_attention_layernorm/, "blk.$1.ffn_norm"],
    [/^model\.layers\.(\d+)\.self_attn\.([qkv])_proj/, "blk.$1.attn_$2"],
    [/^model\.layers\.(\d+)\.self_attn\.o_proj/, "blk.$1.attn_output"],
    [/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj/, "blk.$1.ffn_$2"],
  ];
  const half = cfg.d_head / 2;
  /** llama.cpp's conversion: w.reshape(heads, 2, half, …).swapaxes(1, 2). */
  const permuted = ({ shape, data }: Stored): Stored => {
    const width = shape[1] ?? 1;
    const source = data as Float32Array;
    const out = new Float32Array(source.length);
    for (let row = 0; row < shape[0]!; row++) {
      const [head, within] = [Math.floor(row / cfg.d_head), row % cfg.d_head];
      const from = head * cfg.d_head + (within % 2) * half + Math.floor(within / 2);
      out.set(source.subarray(from * width, (from + 1) * width), row * width);
    }
    return { shape, data: out };
  };
  const tensors = [
    ...[...file].map(([name, tensor]): [string, Stored] => {
      const rule = names.find(([pattern]) => pattern.test(name))!;
      return [name.replace(...rule), /\.(q|k)_proj/.test(name) ? permuted(tensor) : tensor];
    }),
    ...(extra.tensors ?? []),
  ];
  const metadata: [string, string | number | boolean][] = [
    ["general.architecture", "llama"],
    ["general.name", "made by hand"],
    ["llama.block_count", cfg.n_layers],
    ["llama.context_length", cfg.n_ctx],
    ["llama.embedding_length", cfg.d_model],
    ["llama.feed_forward_length", cfg.d_mlp!],
    ["llama.attention.head_count", cfg.n_heads],
    ["llama.attention.head_count_kv", cfg.n_key_value_heads!],
    ["llama.attention.key_length", cfg.d_head],
    ["llama.attention.value_length", cfg.d_head],
    ["llama.rope.dimension_count", cfg.d_head],
    ["llama.attention.layer_norm_rms_epsilon", Math.fround(cfg.eps)],
    ["llama.rope.freq_base", cfg.rotary_base],
    ...(extra.metadata ?? []),
  ];
  const bytes = new GgufBytes().start(tensors.length, metadata.length);
  for (const [key, value] of metadata) {
    bytes.string(key);
    if (typeof value === "string") bytes.u32(8).string(value);
    else if (typeof value === "boolean") bytes.u32(7).u8(Number(value));
    else if (/epsilon|freq_base|factor/.test(key)) bytes.u32(6).u8(...new Uint8Array(Float32Array.of(value).buffer));
    else bytes.u32(4).u32(value);
  }
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    bytes.tensor(name, shape.toReversed(), 0, offset);
    offset += Math.ceil(data.byteLength / 32) * 32;
  }
  const parts: Uint8Array[] = [bytes.data(0).done()];
  for (const [, { data }] of tensors) {
    const padded = new Uint8Array(Math.ceil(data.byteLength / 32) * 32);
    padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    parts.push(padded);
  }
  return Buffer.concat(parts);
}

describe("GGUF", () => {
  const source = familyPath("llama-gqa");
  const write = async (extra: Parameters<typeof llamaGguf>[2] = {}): Promise<string> => {
    const model = await loadModelFiles(source);
    const path = join(folder(), "model.gguf");
    writeFileSync(path, llamaGguf(model, await stored(join(source, "model.safetensors")), extra));
    return path;
  };

  test("a llama is the model it was made from, rows of q and k in their old order", async () => {
    const [made, original] = [await loadModelFiles(await write()), await loadModelFiles(source)];
    expect(made.cfg).toEqual({ ...original.cfg, model_name: "made by hand" });
    expect(await numbers(made.weights)).toEqual(await numbers(original.weights));
    expect(made).toMatchObject({ kind: "gguf", unused: [], hfConfig: {} });
    expect(made.tokenizerSource.gguf!.get("general.name")).toBe("made by hand");
  });

  test("saves as a Hugging Face folder, keeping what a config.json cannot say", async () => {
    const made = await loadModelFiles(await write({ metadata: [["tokenizer.ggml.add_bos_token", false]] }));
    expect(made.cfg.default_prepend_bos).toBe(false);
    expect((await saveModel(join(folder(), "hf"), made)).layout).toBe("huggingface");
    const again = await loadModelFiles(join(folder(), "hf"));
    expect(again.cfg).toEqual({ ...made.cfg, model_name: "hf" });
    expect(await numbers(again.weights)).toEqual(await numbers(made.weights));
  });

  test("rope scaling: stated, or as Llama 3's factors", async () => {
    const linear = await write({
      metadata: [
        ["llama.rope.scaling.type", "linear"],
        ["llama.rope.scaling.factor", 4],
      ],
    });
    expect((await loadModelFiles(linear)).cfg.rope_scaling).toEqual({ rope_type: "linear", factor: 4 });
    const factors = (values: number[]): { tensors: [string, Stored][] } => ({
      tensors: [["rope_freqs.weight", { shape: [4], data: Float32Array.from(values) }]],
    });
    const unknown = await failure(loadModelFiles(await write(factors([1, 1, 2, 8]))));
    expect(unknown.message).toMatch(/rotary factors.*rope_freqs\.weight.*Llama 3\.1/);
    const none = await loadModelFiles(await write(factors([1, 1, 1, 1])));
    expect(none.cfg.rope_scaling).toBeNull();
    expect(none.unused).toEqual([]);
  });

  test("Llama 3.2's factors are recognised", async () => {
    const inverse = (i: number): number => 500000 ** ((-2 * i) / 8);
    const factors = [0, 1, 2, 3].map((i) => {
      const wavelength = (2 * Math.PI) / inverse(i);
      if (wavelength < 2048) return 1;
      if (wavelength > 8192) return 32;
      const smooth = (8192 / wavelength - 1) / 3;
      return 1 / ((1 - smooth) / 32 + smooth);
    });
    const model = await loadModelFiles(source);
    const cfg = { ...model.cfg, rotary_base: 500000 };
    const path = join(folder(), "model.gguf");
    const rope: [string, Stored] = ["rope_freqs.weight", { shape: [4], data: Float32Array.from(factors) }];
    writeFileSync(
      path,
      llamaGguf({ ...model, cfg }, await stored(join(source, "model.safetensors")), { tensors: [rope] }),
    );
    expect((await loadModelFiles(path)).cfg.rope_scaling).toEqual({
      rope_type: "llama3",
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    });
  });

  test("other architectures, experts and missing keys are refused", async () => {
    const refused = async (metadata: [string, string | number][]): Promise<string> =>
      (await failure(loadModelFiles(await write({ metadata })))).message;
    expect(await refused([["llama.expert_count", 8]])).toMatch(/experts are not supported/);
    expect(await refused([["llama.rope.scaling.type", "longrope"]])).toMatch(/rope scaling.*longrope/);
    const bytes = new GgufBytes().start(0, 1).string("general.architecture").u32(8).string("qwen2").data(0).done();
    writeFileSync(join(folder(), "q.gguf"), bytes);
    expect((await failure(loadModelFiles(join(folder(), "q.gguf")))).message).toMatch(
      /architecture.*expected llama; got qwen2/,
    );
    const bare = new GgufBytes().start(0, 1).string("general.architecture").u32(8).string("llama").data(0).done();
    writeFileSync(join(folder(), "b.gguf"), bare);
    expect((await failure(loadModelFiles(join(folder(), "b.gguf")))).message).toMatch(
      /a number llama\.attention\.head_count/,
    );
  });

  const smollm = "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
  describeWithGoldens("SmolLM2", [smollm], () => {
    test("has the configuration its config.json says", async () => {
      const config = JSON.parse(readFileSync(sharedPath("models/smollm2-135m-instruct/config.json"), "utf8")) as object;
      cpSync(familyPath("llama-gqa"), folder(), { recursive: true });
      writeFileSync(join(folder(), "config.json"), JSON.stringify(config));
      // The weights in that folder are another model's: the configuration is read, then the shapes are refused.
      expect((await failure(loadModelFiles(folder()))).message).toMatch(
        /expected \[49152, 576\]; got \[112, 32\]|lacks/,
      );
      const model = await loadModelFiles(sharedPath(smollm));
      expect(model.cfg).toMatchObject({
        n_layers: 30,
        d_model: 576,
        n_heads: 9,
        n_key_value_heads: 3,
        d_head: 64,
        d_mlp: 1536,
      });
      expect(model.cfg).toMatchObject({
        d_vocab: 49152,
        n_ctx: 8192,
        eps: 1e-5,
        rotary_base: 100000,
        tie_word_embeddings: true,
      });
      expect(model.cfg.default_prepend_bos).toBe(false);
      expect(model.unused).toEqual([]);
      model.dispose();
    });
  });
});
