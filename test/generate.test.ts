/** Generation against transformers and TransformerLens; the key/value cache against whole rows; hooks on each token. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { add, constant, leaf, lessEqual, mul, range, slice, where, type Tensor } from "../src/graph/index.ts";
import {
  HookedModel,
  loadTokenizer,
  ModelError,
  tokenizerFromJson,
  type AsyncHook,
  type HookSpec,
  type ModelConfigInput,
  type Tokenizer,
} from "../src/model/index.ts";
import { Sae } from "../src/sae/index.ts";
import { memory, Runtime } from "../src/runtime/index.ts";
import { describeWithGoldens, goldenTensors, sharedPath } from "./support/goldens.ts";
import { full } from "./support/full.ts";
import { shared } from "./support/shared.ts";
import { goldenBatch, numbersOf, rowsOf } from "./support/model.ts";

const families = [
  "gpt2",
  "gpt-neox-parallel",
  "gpt-neox-sequential",
  "llama-gqa",
  "llama-tied-rope-scaled",
  "gemma2",
  "qwen2",
  "mistral-window",
];
const familyPath = (family: string): string => `goldens/families/${family}`;
const hookedPath = (family: string, file: string): string => `goldens/hooked/${family}/${file}`;
const load = (family: string): Promise<HookedModel> => HookedModel.load(sharedPath(familyPath(family)));

describe.each(families)("%s", (family) => {
  const golden = hookedPath(family, "kv_cache.safetensors");

  describeWithGoldens("against TransformerLens", [familyPath(family), golden], () => {
    test("a run over a prefix, continued", async () => {
      const model = await load(family);
      const want = await goldenTensors(sharedPath(golden));
      const ids = rowsOf(want.numbers("input_ids"), want.dims("input_ids")[1]!);
      const split = want.numbers("prefix_length")[0]!;
      const first = await model.run(
        ids.map((row) => row.slice(0, split)),
        ({ logits, past }) => ({ logits, past }),
      );
      expect(numbersOf(first.logits)).toBeAllClose(want.numbers("prefix_logits"));
      const rest = ids.map((row) => row.slice(split));
      const second = await model.run(rest, ({ logits, past }) => ({ logits, past }), { past: first.past });
      expect(numbersOf(second.logits)).toBeAllClose(want.numbers("continuation_logits"));
      expect(numbersOf(second.past.keyValues[0]!.keys)).toBeAllClose(want.numbers("past_keys.0"));
      expect(numbersOf(second.past.keyValues[0]!.values)).toBeAllClose(want.numbers("past_values.0"));
      expect(second.past.mask).toEqual(ids.map((row) => row.map(() => 1)));
      model.dispose();
    });

    test("greedy tokens with and without cache; temperature 0 heeds no penalty", async () => {
      const model = await load(family);
      const want = await goldenTensors(sharedPath(golden));
      const prompt = rowsOf(want.numbers("generate.prompt_ids"), want.dims("generate.prompt_ids")[1]!);
      const maxNewTokens = want.dims("generate.with_cache")[1]! - prompt[0]!.length;
      const plain = { maxNewTokens, stopAtEos: false, greedy: true };
      const cached = await model.generate(prompt, plain);
      expect(cached.tokens.flat()).toEqual(want.numbers("generate.with_cache"));
      expect(cached.policy.cache).toBe(true);
      const whole = await model.generate(prompt, { ...plain, useCache: false });
      expect(whole.tokens.flat()).toEqual(want.numbers("generate.without_cache"));
      expect(whole.policy.cache).toBe(false);
      const cold = { maxNewTokens, stopAtEos: false, temperature: 0, frequencyPenalty: 1.5 };
      expect((await model.generate(prompt, cold)).tokens.flat()).toEqual(want.numbers("generate.freq_penalty"));
      model.dispose();
    });
  });

  describeWithGoldens("against transformers", [familyPath(family)], () => {
    test.each(["fed", "packed"] as const)(
      "a prompt alone and with padding in front: tokens, and logits of each step (weights %s)",
      async (weights) => {
        const model = await load(family);
        const want = await goldenTensors(sharedPath(`${familyPath(family)}/golden.safetensors`));
        for (const [prefix, mask] of [
          ["", undefined],
          ["padded_", "generate.padded_attention_mask"],
        ] as const) {
          const prompt = goldenBatch(want, `generate.${prefix}prompt_ids`, mask);
          const maxNewTokens = want.dims(`generate.${prefix}output_ids`)[1]! - prompt.length;
          const made = await model.generate(prompt, {
            maxNewTokens,
            greedy: true,
            stopAtEos: false,
            outputLogits: true,
            weights,
          });
          expect(made.tokens.flat()).toEqual(want.numbers(`generate.${prefix}output_ids`));
          expect(numbersOf(made.logits!)).toBeAllClose(want.numbers(`generate.${prefix}step_logits`));
          expect(made.policy.weights).toBe(weights);
        }
        model.dispose();
      },
    );
  });
});

describeWithGoldens(
  "strings of unequal length under tlLegacy",
  [familyPath("gpt2"), hookedPath("gpt2", "padding.safetensors"), hookedPath("gpt2", "tokenizer")],
  () => {
    test("are padded in front and continued as TransformerLens does", async () => {
      const { cfg, weights } = await load("gpt2");
      const tokenizer = await loadTokenizer(sharedPath(hookedPath("gpt2", "tokenizer")));
      const model = new HookedModel({ cfg, weights, tokenizer });
      const want = await goldenTensors(sharedPath(hookedPath("gpt2", "padding.safetensors")));
      const { texts } = JSON.parse(readFileSync(sharedPath(hookedPath("gpt2", "padding.json")), "utf8")) as {
        texts: string[];
      };
      const options = { maxNewTokens: 10, greedy: true, stopAtEos: false, positions: "tlLegacy" } as const;
      const ids = rowsOf(want.numbers("generate.left.prompt_ids"), want.dims("generate.left.prompt_ids")[1]!);
      const fromIds = await model.generate(ids, { ...options, paddingSide: "left" });
      expect(fromIds.tokens.flat()).toEqual(want.numbers("generate.left.output_ids"));
      const fromText = await model.generate(texts, options);
      expect(fromText.tokens.flat()).toEqual(want.numbers("generate.left.output_ids_from_text"));
      expect(fromText.text).toEqual(fromText.newTokens.map((row) => tokenizer.decode(row)));
      model.dispose();
    });
  },
);

const smol = "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
describeWithGoldens("SmolLM2", [smol], () => {
  test("greedy answers", { timeout: 300_000 }, async () => {
    const model = await HookedModel.load(shared(smol));
    const golden = JSON.parse(readFileSync(shared("models/smollm2-135m-instruct/golden.json"), "utf8")) as {
      greedy_generation: { prompt_ids: number[]; new_ids: number[]; text: string }[];
    };
    const answers = full ? golden.greedy_generation : golden.greedy_generation.slice(0, 1);
    for (const { prompt_ids, new_ids, text } of answers) {
      const made = await model.generate(prompt_ids, { maxNewTokens: new_ids.length, greedy: true });
      expect(made.newTokens).toEqual([new_ids]);
      expect(made.text).toEqual([text]);
    }
    model.dispose();
  });
});

const sizes = { n_layers: 2, d_model: 16, n_ctx: 96, d_head: 4, n_heads: 4, d_mlp: 32, d_vocab: 40, d_vocab_out: 40 };
const shapes: Record<string, ModelConfigInput> = {
  "learned positions": { ...sizes, act_fn: "gelu_new" },
  "rotary, grouped heads": {
    ...sizes,
    act_fn: "silu",
    gated_mlp: true,
    normalization_type: "RMS",
    n_key_value_heads: 2,
    positional_embedding_type: "rotary",
  },
  "adjacent rotary pairs, part of the head, parallel MLP": {
    ...sizes,
    act_fn: "gelu",
    positional_embedding_type: "rotary",
    rotary_adjacent_pairs: true,
    rotary_dim: 2,
    parallel_attn_mlp: true,
  },
  "local windows, soft caps": {
    ...sizes,
    act_fn: "relu",
    positional_embedding_type: "rotary",
    use_local_attn: true,
    window_size: 3,
    attn_types: ["local", "global"],
    attn_scores_soft_cap: 5,
    output_logits_soft_cap: 3,
  },
  "shortformer, attention only": { ...sizes, attn_only: true, positional_embedding_type: "shortformer" },
};
/** A peaked model: larger weights than a trained one starts with, so that tokens differ. */
const tiny = (config: ModelConfigInput = shapes["learned positions"]!, runtime?: Runtime): HookedModel =>
  HookedModel.fromConfig({ initializer_range: 0.5, ...config }, { seed: 3, runtime });

const rows = [
  [5, 9, 11, 2, 30, 7, 1],
  [0, 0, 0, 0, 8, 14, 3],
  [6, 13, 0, 0, 0, 0, 0],
  [21, 0, 4, 0, 0, 19, 0],
];
const attentionMask = [
  [1, 1, 1, 1, 1, 1, 1],
  [0, 0, 0, 0, 1, 1, 1],
  [1, 1, 0, 0, 0, 0, 0],
  [1, 0, 1, 0, 0, 1, 0],
];
const greedy = { greedy: true, maxNewTokens: 8, outputLogits: true } as const;

describe.each(Object.entries(shapes))("%s", (_, config) => {
  test("kept keys and values give what whole rows give, with padding in front, behind and between", async () => {
    const model = tiny(config);
    const cached = await model.generate(rows, { ...greedy, attentionMask });
    const whole = await model.generate(rows, { ...greedy, attentionMask, useCache: false });
    expect(cached.newTokens).toEqual(whole.newTokens);
    expect(numbersOf(cached.logits!)).toBeAllClose(numbersOf(whole.logits!), 1e-5);
    expect(new Set(cached.newTokens.flat()).size).toBeGreaterThan(4);
    expect(cached.tokens[2]).toEqual([...rows[2]!, ...cached.newTokens[2]!]);
  });

  test("a row in a padded batch is continued as it is alone", async () => {
    const model = tiny(config);
    const together = await model.generate(rows, { ...greedy, attentionMask });
    for (const [b, row] of rows.entries()) {
      const real = row.filter((_, p) => attentionMask[b]![p] === 1);
      const alone = await model.generate(real, greedy);
      expect(alone.newTokens[0]).toEqual(together.newTokens[b]);
      const width = 8 * model.cfg.d_vocab_out;
      const own = numbersOf(together.logits!).slice(b * width, (b + 1) * width);
      expect(numbersOf(alone.logits!)).toBeAllClose(own, 1e-5);
    }
  });

  test("the first logits are those of a run, and each later one those of a run over the longer row", async () => {
    const model = tiny(config);
    const made = await model.generate(rows[0]!, greedy);
    const logits = await model.run(made.tokens[0]!.slice(0, -1));
    expect(numbersOf(made.logits!)).toBeAllClose(numbersOf(logits).slice(6 * model.cfg.d_vocab_out), 1e-5);
  });
});

test("a bidirectional model, and one with masks of its own, run whole rows", async () => {
  const table = Array.from({ length: 16 }, (_, q) =>
    Array.from({ length: 16 }, (_, k) => (k <= q && k !== 1 ? 0 : null)),
  );
  const own = { ...sizes, n_ctx: 16, act_fn: "relu" as const, attention_bias: [table, table] };
  for (const config of [{ ...sizes, act_fn: "relu" as const, attention_dir: "bidirectional" as const }, own]) {
    const model = tiny(config);
    const made = await model.generate(rows[0]!, { ...greedy, maxNewTokens: 4 });
    expect(made.policy.cache).toBe(false);
    const logits = await model.run(made.tokens[0]!.slice(0, -1));
    expect(numbersOf(made.logits!).slice(-40)).toBeAllClose(numbersOf(logits).slice(-40), 1e-5);
  }
});

describe("hooks and splices", () => {
  const model = tiny(shapes["rotary, grouped heads"]);
  const run = async (hooks: HookSpec[], useCache = true): Promise<{ tokens: number[]; logits: number[] }> => {
    const made = await model.generate(rows[0]!, { ...greedy, hooks, useCache });
    return { tokens: [...made.newTokens[0]!], logits: numbersOf(made.logits!) };
  };
  /** Every step from the first must differ from the plain run's, or the hook did nothing there. */
  const expectEveryStepChanged = (logits: readonly number[], plain: readonly number[]): void => {
    for (let step = 0; step < greedy.maxNewTokens; step++) {
      const [a, b] = [logits, plain].map((x) => x.slice(step * 40, (step + 1) * 40));
      expect(a).not.toBeAllClose(b!, 1e-3);
    }
  };
  /** Adds a multiple of the value's first entry, so that the change depends on every position's own value. */
  const bend = (value: Tensor): Tensor => add(value, mul(slice(value, -1, 0, 1), 0.5));

  test.each([
    "hook_embed",
    "blocks.0.hook_resid_pre",
    "blocks.0.ln1.hook_normalized",
    "blocks.0.attn.hook_k",
    "blocks.1.attn.hook_v",
    "blocks.1.attn.hook_q",
    "blocks.0.attn.hook_rot_k",
    "blocks.1.attn.hook_z",
    "blocks.0.attn.hook_result",
    "blocks.1.hook_q_input",
    "blocks.1.mlp.hook_post",
    "unembed.hook_in",
  ])("at %s acts on the prompt and on each new token", async (name) => {
    const hooks: HookSpec[] = [[name, bend]];
    const cached = await run(hooks);
    const whole = await run(hooks, false);
    expect(cached.logits).toBeAllClose(whole.logits, 1e-5);
    expect(cached.tokens).toEqual(whole.tokens);
    expectEveryStepChanged(cached.logits, (await run([])).logits);
  });

  test.each(["blocks.0.attn.hook_attn_scores", "blocks.0.attn.hook_pattern"])(
    "at %s see exactly the keys so far",
    async (name) => {
      const shapesSeen: string[] = [];
      const hooks: HookSpec[] = [
        [
          name,
          (value) => {
            shapesSeen.push(value.shape.map(String).join(", "));
            const keys = value.shape[3]!;
            return where(lessEqual(range(keys), constant(2, "int64")), mul(value, 0.5), value);
          },
        ],
      ];
      const cached = await run(hooks);
      expect(shapesSeen).toEqual(["batch, 4, pos, pos", "batch, 4, 1, past + 1"]);
      const whole = await run(hooks, false);
      expect(cached.logits).toBeAllClose(whole.logits, 1e-5);
      expectEveryStepChanged(cached.logits, (await run([])).logits);
    },
  );

  test("an async hook acts on each token too, and nothing is compiled per token", async () => {
    const own = tiny(shapes["rotary, grouped heads"], new Runtime({ threads: 1 }));
    const widths: number[] = [];

    const hook = async (value: Tensor): Promise<Tensor> => {
      widths.push(value.dims[1]!);
      return bend(value);
    };
    const options = { ...greedy, hooks: [["blocks.1.hook_resid_pre", hook]] as HookSpec[] };
    const compilations: number[] = [];
    const onProgress = (): number => compilations.push(own.runtime.compilations);
    const made = await own.generate(rows[0]!, { ...options, onProgress });
    expect(widths).toEqual([7, 1, 1, 1, 1, 1, 1, 1]);
    const sync = await own.generate(rows[0]!, { ...greedy, hooks: [["blocks.1.hook_resid_pre", bend]] });
    expect(numbersOf(made.logits!)).toBeAllClose(numbersOf(sync.logits!), 1e-5);
    expect(new Set(compilations.slice(1)).size).toBe(1);
    await own.runtime.dispose();
  });

  test("a splice acts on each token; so do permanent hooks, until they are removed", async () => {
    const name = "blocks.1.hook_resid_pre";
    const hooked = await run([[name, bend]]);
    const spliced = await model.withSplices(new Map([[name, bend]])).generate(rows[0]!, greedy);
    expect(numbersOf(spliced.logits!)).toBeAllClose(hooked.logits, 1e-6);
    const remove = model.addHook(name, bend);
    expect((await run([])).logits).toBeAllClose(hooked.logits, 1e-6);
    remove();
    expect((await run([])).logits).not.toBeAllClose(hooked.logits, 1e-3);
  });

  test("spliced SAEs act on each token", async () => {
    const width = 24;
    const { n_heads: heads, d_head: dHead, d_model: dModel } = model.cfg;
    const weight = (rows: number, columns: number, seed: number): Float32Array =>
      Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 12.9898 + seed) * 0.5);
    const sae = (hook: string, dIn: number, reshape: "hook_z" | "none"): Sae =>
      Sae.fromParams(
        {
          architecture: "standard",
          d_in: dIn,
          d_sae: width,
          reshape_activations: reshape,
          metadata: { hook_name: hook },
        },
        {
          W_enc: { data: weight(dIn, width, 1), dims: [dIn, width] },
          W_dec: { data: weight(width, dIn, 2), dims: [width, dIn] },
          b_enc: { data: weight(1, width, 3), dims: [width] },
          b_dec: { data: weight(1, dIn, 4), dims: [dIn] },
        },
      );
    const saes = [sae("blocks.0.hook_resid_pre", dModel, "none"), sae("blocks.1.attn.hook_z", heads * dHead, "hook_z")];
    for (const useErrorTerm of [false, true]) {
      // With the error term the SAEs change nothing by themselves: a hook on their latents shows that they run.
      const hooks: HookSpec[] = [["*.hook_sae_acts_post", (acts) => mul(acts, 1.5)]];
      const spliced = model.splice(saes, { useErrorTerm });
      const cached = await spliced.generate(rows[0]!, { ...greedy, hooks });
      const whole = await spliced.generate(rows[0]!, { ...greedy, hooks, useCache: false });
      expect(numbersOf(cached.logits!)).toBeAllClose(numbersOf(whole.logits!), 1e-5);
      expectEveryStepChanged(numbersOf(cached.logits!), (await run([])).logits);
    }
  });

  test("a hook at a name that never fires is an error with the nearest names", async () => {
    await expect(run([["blocks.0.hook_resid_prr", bend]])).rejects.toThrow(/nearest names: blocks.0.hook_resid_pre/);
  });
});

describe("ending", () => {
  const model = tiny();
  test("rows that reach an end token are filled with the first of the list, and all of them end the run", async () => {
    const plain = await model.generate(rows, { ...greedy, attentionMask });
    const [first, second] = [plain.newTokens[0]![2]!, plain.newTokens[1]![4]!];
    const ends = [first, second];
    const made = await model.generate(rows, { ...greedy, attentionMask, eosTokenId: ends });
    const lengths = plain.newTokens.map((row) => {
      const at = row.findIndex((id) => ends.includes(id));
      return at < 0 ? 8 : at + 1;
    });
    expect(made.newTokens[0]!.length).toBe(Math.max(...lengths));
    made.newTokens.forEach((row, b) => {
      const end = lengths[b]!;
      expect(row.slice(0, end)).toEqual(plain.newTokens[b]!.slice(0, end));
      expect(row.slice(end)).toEqual(row.slice(end).map(() => first));
      expect(made.finished[b]).toBe(ends.includes(plain.newTokens[b]![end - 1]!));
    });
    expect(Math.min(...lengths)).toBeLessThan(Math.max(...lengths));
  });

  test("where there is no tokenizer, at what the model's files name: generation_config.json before config.json", async () => {
    const folder = mkdtempSync(join(tmpdir(), "end-ids-"));
    const path = sharedPath(familyPath("llama-gqa"));
    const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8")) as object;
    cpSync(join(path, "model.safetensors"), join(folder, "model.safetensors"));
    const generated = async (own: object, generation?: object): Promise<readonly number[]> => {
      writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, eos_token_id: null, ...own }));
      if (generation) writeFileSync(join(folder, "generation_config.json"), JSON.stringify(generation));
      const loaded = await HookedModel.load(folder);
      const { newTokens } = await loaded.withHooks([]).generate([[5, 6, 7]], greedy);
      loaded.dispose();
      return newTokens[0]!;
    };
    const plain = await generated({});
    const upTo = (id: number): readonly number[] => plain.slice(0, plain.indexOf(id) + 1);
    expect(plain.length).toBe(8);
    expect(await generated({ eos_token_id: plain[3]! })).toEqual(upTo(plain[3]!));
    expect(await generated({ eos_token_id: plain[3]! }, { eos_token_id: [plain[1]!, 999] })).toEqual(upTo(plain[1]!));
    rmSync(folder, { recursive: true });
  });

  test("not at all with stopAtEos: false", async () => {
    const plain = await model.generate(rows[0]!, greedy);
    const end = plain.newTokens[0]![1]!;
    expect((await model.generate(rows[0]!, { ...greedy, eosTokenId: end })).newTokens[0]!.length).toBeLessThan(8);
    const on = await model.generate(rows[0]!, { ...greedy, eosTokenId: end, stopAtEos: false });
    expect(on.newTokens).toEqual(plain.newTokens);
    expect(on.finished).toEqual([false]);
  });

  test("an abort leaves no memory behind", async () => {
    const abort = new AbortController();
    const before = memory.entries().filter((e) => e.owner === "key/value cache").length;
    const seen: number[] = [];
    const run = model.generate(rows[0]!, {
      maxNewTokens: 50,
      signal: abort.signal,
      onProgress: ({ done }) => {
        seen.push(done);
        if (done === 3) abort.abort();
      },
    });
    await expect(run).rejects.toThrow(/abort/i);
    expect(seen).toEqual([1, 2, 3]);
    expect(memory.entries().filter((e) => e.owner === "key/value cache").length).toBe(before);
  });
});

describe("the stream", () => {
  test("gives what generate collects; leaving it frees the keys and values", async () => {
    const model = tiny();
    const options = { maxNewTokens: 6, temperature: 0.8, topK: 10, seed: 5 };
    const made = await model.generate(rows, { ...options, attentionMask });
    const streamed: number[][] = [];
    for await (const { tokens } of model.generateStream(rows, { ...options, attentionMask }))
      streamed.push([...tokens]);
    expect(streamed[0]!.map((_, b) => streamed.map((step) => step[b]))).toEqual(made.newTokens);
    const held = (): number => memory.entries().filter((e) => e.owner === "key/value cache").length;
    const before = held();
    for await (const { step } of model.generateStream(rows[0]!, options)) {
      if (step === 0) expect(held()).toBe(before + 1);
      if (step === 2) break;
    }
    expect(held()).toBe(before);
  });

  /** What is streamed when a model is made to write a text from its second word on; the first is the prompt. */
  async function expectStreamed(tokenizer: Tokenizer, whole: string): Promise<void> {
    const size = tokenizer.vocabSize;
    const all = [...tokenizer.encode(whole, { addSpecialTokens: false }).ids];
    const second = tokenizer.tokenStrings(all).findIndex((token, i) => i > 0 && token.startsWith(" "));
    const [start, ids] = [all.slice(0, second), all.slice(second)];
    const model = HookedModel.fromConfig(
      { ...sizes, act_fn: "relu", d_vocab: size, d_vocab_out: size, n_layers: 1 },
      { tokenizer },
    );
    let at = 0;
    const dictate: AsyncHook = async ({ dims, shape }) => {
      const logits = new Float32Array(dims.reduce((a, b) => a * b, 1));
      logits[logits.length - size + ids[at++]!] = 1;
      return Promise.resolve(leaf(logits, dims, { shape }));
    };
    const options = { greedy: true, maxNewTokens: ids.length, hooks: [["unembed.hook_out", dictate]] as HookSpec[] };
    const parts: string[] = [];
    for await (const { text } of model.generateStream([start], { ...options, stopAtEos: false })) parts.push(text[0]!);
    expect(parts[0]).toMatch(/^ /);
    expect(tokenizer.decode(start) + parts.join("")).toBe(whole);
    expect(parts.some((part) => part.includes("\uFFFD"))).toBe(false);
    expect(parts).toContain("");
  }

  test("characters of several tokens come when they are complete; a first word keeps its space", async () => {
    const json = readFileSync(sharedPath("goldens/text/bpe-byte-fallback.tokenizer.json"), "utf8");
    await expectStreamed(tokenizerFromJson(JSON.parse(json)), "a 東京 é");
  });

  describeWithGoldens("of GPT-2", ["tokenizers/gpt2"], () => {
    test("too", async () => {
      await expectStreamed(await loadTokenizer(shared("tokenizers/gpt2")), "a b 東京 é 🦊!");
    });
  });
});

describe("sampling", () => {
  const model = tiny();
  const options = { maxNewTokens: 12, temperature: 1.5, seed: 11 };
  test("is the same for a seed, another for another, and a row's tokens do not depend on its neighbours", async () => {
    const first = await model.generate(rows, { ...options, attentionMask });
    expect((await model.generate(rows, { ...options, attentionMask })).newTokens).toEqual(first.newTokens);
    expect((await model.generate(rows, { ...options, attentionMask, seed: 12 })).newTokens).not.toEqual(
      first.newTokens,
    );
    expect((await model.generate(rows[0]!, options)).newTokens[0]).toEqual(first.newTokens[0]);
    expect((await model.generate(rows, { ...options, attentionMask, useCache: false })).newTokens).toEqual(
      first.newTokens,
    );
  });

  test("a large frequency penalty never repeats a token of the row, prompt included", async () => {
    const { tokens } = await model.generate(rows[0]!, { ...options, maxNewTokens: 30, frequencyPenalty: 1e4 });
    expect(new Set(tokens[0]).size).toBe(37);
  });
});

describe("cost", () => {
  test("one graph for the prompt and one for a token, whatever the lengths; later generations compile nothing", async () => {
    const runtime = new Runtime({ threads: 1 });
    const model = tiny(shapes["rotary, grouped heads"], runtime);
    const counts: number[] = [];
    const options = { greedy: true, maxNewTokens: 70, onProgress: () => void counts.push(runtime.compilations) };
    await model.generate(rows[0]!, options);
    expect(counts.length).toBe(70);
    expect(counts[1]! - counts[0]!).toBe(1);
    expect(new Set(counts.slice(1)).size).toBe(1);
    const after = runtime.compilations;
    await model.generate([3, 1, 4], options);
    await model.generate([...rows, ...rows], { ...options, maxNewTokens: 40 });
    expect(runtime.compilations).toBe(after);
    await runtime.dispose();
  });

  test("memory is level after twenty generations", async () => {
    const runtime = new Runtime({ threads: 1 });
    const model = tiny(shapes["learned positions"], runtime);
    const held = (): { owner: string; bytes: number }[] =>
      memory.entries().filter((e) => e.owner === "key/value cache" || e.owner === "compiled graphs");
    const bytes = (): number => held().reduce((sum, e) => sum + e.bytes, 0);
    const sizesSeen: number[] = [];
    for (let i = 0; i < 20; i++) {
      const prompt = Array.from({ length: 3 + i }, (_, p) => (p * 7 + i) % 40);
      await model.generate([prompt, prompt], { maxNewTokens: 40 + i, seed: i });
      sizesSeen.push(bytes());
    }
    expect(sizesSeen[0]).toBeGreaterThan(0);
    expect(new Set(sizesSeen).size).toBe(1);
    expect(held().some((e) => e.owner === "key/value cache")).toBe(false);
    const before = bytes();
    await runtime.dispose();
    expect(bytes()).toBeLessThan(before);
  });
});

describe("errors come before any work", () => {
  const runtime = new Runtime({ threads: 1 });
  const model = tiny({ ...sizes, act_fn: "relu", n_ctx: 12 }, runtime);
  const long = Array.from({ length: 13 }, (_, i) => i);
  test.each([
    ["a prompt longer than the context", long, {}, /context/],
    ["a prompt that grows beyond the context", rows[0]!, { maxNewTokens: 7 }, /at most 6 new tokens/],
    [
      "a row of padding only",
      [
        [1, 2],
        [3, 4],
      ],
      {
        attentionMask: [
          [1, 1],
          [0, 0],
        ],
      },
      /row 1/,
    ],
    ["no new tokens", rows[0]!, { maxNewTokens: 0 }, /maxNewTokens/],
    ["topK with topP", rows[0]!, { topK: 3, topP: 0.4 }, /exclude/],
    ["an end token outside the vocabulary", rows[0]!, { eosTokenId: 40 }, /eosTokenId/],
    ["an empty list of end tokens", rows[0]!, { eosTokenId: [] }, /eosTokenId/],
    ["text without a tokenizer", "hello", {}, /tokenizer/],
  ])("%s", async (_, input, options, message) => {
    const error: unknown = await model.generate(input, options).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ModelError);
    expect((error as Error).message).toMatch(message);
    expect(runtime.compilations).toBe(0);
  });

  test("the context is used to its last position", async () => {
    expect((await model.generate(rows[0]!, { maxNewTokens: 6 })).tokens[0]!.length).toBe(13);
  });
});

describe("a past", () => {
  const model = tiny(shapes["local windows, soft caps"]);
  const pick = ({ logits, past }: { logits: Tensor; past: unknown }): { logits: Tensor; past: unknown } => ({
    logits,
    past,
  });

  test("with padding anywhere is continued as the whole row is, by several continuations, in any pieces", async () => {
    const whole = await model.run(rows, {
      attentionMask: attentionMask.map((row) => row.map((m, p) => (p === 6 ? 1 : m))),
    });
    const part = (from: number, to?: number): number[][] => rows.map((row) => row.slice(from, to));
    const masks = attentionMask.map((row) => row.map((m, p) => (p === 6 ? 1 : m)));
    const mask = (from: number, to?: number): number[][] => masks.map((row) => row.slice(from, to));
    const first = await model.run(part(0, 3), (t) => t.past, { attentionMask: mask(0, 3) });
    const second = await model.run(part(3, 5), (t) => t.past, { past: first, attentionMask: mask(3, 5) });
    const third = await model.run(part(5), (t) => pick(t), { past: second, attentionMask: mask(5) });
    const jump = await model.run(part(3), (t) => pick(t), { past: first, attentionMask: mask(3) });
    const last = (x: Tensor): number[] => rowsOf(numbersOf(x), x.dims[1]! * 40).flatMap((row) => row.slice(-40));
    expect(last(third.logits)).toBeAllClose(last(whole), 1e-5);
    expect(last(jump.logits)).toBeAllClose(last(whole), 1e-5);
  });

  test("that does not fit is an error", async () => {
    const past = await model.run(rows, (t) => t.past);
    await expect(model.run([1, 2], { past })).rejects.toThrow(/past does not fit/);
    await expect(tiny(shapes["learned positions"]).run([1, 2], { past })).rejects.toThrow(ModelError);
    const partial = await model.run(rows[0]!, (t) => t.past, { stopAtLayer: 1 });
    await expect(model.run([1], { past: partial })).rejects.toThrow(/no keys and values of block 1/);
    const long = await model.run([Array.from({ length: 96 }, () => 1)], (t) => t.past);
    await expect(model.run([1], { past: long })).rejects.toThrow(/context/);
  });
});

test("padding behind a row that is longer than a local window reaches no real position", async () => {
  const model = tiny(shapes["local windows, soft caps"]);
  const logits = await model.run([[4, 5, 0, 0, 0, 0, 0, 0]], { attentionMask: [[1, 1, 0, 0, 0, 0, 0, 0]] });
  const alone = await model.run([4, 5]);
  expect(numbersOf(logits).slice(0, 80)).toBeAllClose(numbersOf(alone), 1e-6);
  expect(numbersOf(logits).every(Number.isFinite)).toBe(true);
});
