/** @file Every command of the command line, on the reference values of the Python originals. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoreExport } from "../src/analysis/index.ts";
import { cli, document } from "./support/cli.ts";
import { describeWithGoldens, goldenTensors, sharedPath } from "./support/goldens.ts";
import { shared } from "./support/shared.ts";

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "cli-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));
const file = (name: string): string => join(folder, name);

async function json(name: string, value: unknown): Promise<string> {
  await writeFile(file(name), JSON.stringify(value));
  return file(name);
}
const jsonLines = async (name: string, rows: readonly object[]): Promise<string> => {
  await writeFile(file(name), rows.map((row) => JSON.stringify(row)).join("\n"));
  return file(name);
};
const rectangle = (numbers: readonly number[], [rows, width]: readonly number[]): number[][] =>
  Array.from({ length: rows! }, (_, r) => numbers.slice(r * width!, (r + 1) * width!));

/** Values of [rows, width, …] where the mask is 1. */
const atReal = (values: readonly number[], mask: readonly number[]): number[] => {
  const each = values.length / mask.length;
  return values.filter((_, i) => mask[Math.floor(i / each)] === 1);
};

describe("help", () => {
  const commands = [
    "analyze",
    "export",
    "report",
    "ops",
    "activations",
    "sae-forward",
    "generate",
    "tokenize",
    "info",
    "push",
    "demo",
  ];

  it("lists every command", async () => {
    const { code, stdout } = await cli(["--help"]);
    expect(code).toBe(0);
    for (const command of commands) expect(stdout).toContain(`  ${command} `);
  });

  it.each(commands)("%s has an example and --json", async (command) => {
    const { code, stdout } = await cli([command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`EXAMPLE\n  interpretune ${command}`));
    expect(stdout).toContain("--json");
  });

  it("says its version", async () => {
    const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    expect(await cli(["--version"])).toMatchObject({ code: 0, stdout: `${version}\n` });
  });
});

describe("activations", () => {
  const families = ["gpt2", "llama-gqa", "gpt-neox-parallel", "gemma2", "qwen2", "mistral-window"];

  describe.each(families)("%s", (family) => {
    describeWithGoldens("goldens", [`goldens/families/${family}/golden.safetensors`], () => {
      const model = sharedPath(`goldens/families/${family}`);

      it("logits under full, left and right padding in one batch", async () => {
        const golden = await goldenTensors(join(model, "golden.safetensors"));
        const mask = golden.numbers("attention_mask");
        const dims = golden.dims("input_ids");
        const tokens = await json(`${family}.json`, {
          input_ids: rectangle(golden.numbers("input_ids"), dims),
          attention_mask: rectangle(mask, dims),
        });
        const out = file(`${family}.safetensors`);
        const args = ["activations", "--model", model, "--tokens", tokens, "--out", out];
        const last = (await document([...args, "--names", "logits", "--names", "*hook_resid_pre"])) as {
          tensors: { name: string }[];
        };
        const ours = await goldenTensors(out);
        expect(last.tensors.map(({ name }) => name).sort()).toEqual([...ours.names].sort());
        expect(ours.dims("logits")).toEqual(golden.dims("logits"));
        expect(atReal(ours.numbers("logits"), mask)).toBeAllClose(atReal(golden.numbers("logits"), mask));
        for (let layer = 0; ours.has(`blocks.${layer}.hook_resid_pre`); layer++)
          expect(atReal(ours.numbers(`blocks.${layer}.hook_resid_pre`), mask)).toBeAllClose(
            atReal(golden.numbers(`hidden_states.${layer}`), mask),
          );
      });

      it.skipIf(!existsSync(sharedPath(`goldens/hooked/${family}/gradients.safetensors`)))(
        "every hook point, and gradients",
        async () => {
          const at = (name: string): string => sharedPath(`goldens/hooked/${family}/${name}`);
          const golden = await goldenTensors(at("raw.activations.safetensors"));
          const grads = await goldenTensors(at("gradients.safetensors"));
          const input_ids = rectangle(golden.numbers("input_ids"), golden.dims("input_ids"));
          const tokens = await json(`${family}.hooked.json`, { input_ids });
          const gradOf = await json(`${family}.targets.json`, {
            right: grads.numbers("right_ids"),
            wrong: grads.numbers("wrong_ids"),
          });
          const out = file(`${family}.hooked.safetensors`);
          await document(["activations", "--model", model, "--tokens", tokens, "--grad-of", gradOf, "--out", out]);
          const ours = await goldenTensors(out);
          const expected = golden.names.filter((name) => !["loss", "input_ids"].includes(name));
          expect(ours.names.filter((name) => !name.startsWith("grad.")).sort()).toEqual([...expected].sort());
          for (const name of expected) {
            expect(ours.dims(name), name).toEqual(golden.dims(name));
            expect(ours.numbers(name), name).toBeAllClose(golden.numbers(name));
          }
          const gradients = grads.names.filter((name) => name.startsWith("grad."));
          expect(gradients.length).toBeGreaterThan(10);
          for (const name of gradients) {
            const want = grads.numbers(name);
            const largest = Math.max(...want.map(Math.abs));
            const scaled = (x: readonly number[]): number[] => x.map((value) => value / largest);
            expect(scaled(ours.numbers(name)), name).toBeAllClose(scaled(want));
          }
        },
      );
    });
  });

  describeWithGoldens("names", ["goldens/families/gpt2/golden.safetensors"], () => {
    const model = sharedPath("goldens/families/gpt2");
    const names = async (...globs: string[]): Promise<string[]> => {
      const tokens = await json("names.json", { input_ids: [[5, 6, 7]] });
      const out = file("names.safetensors");
      const args = ["activations", "--model", model, "--tokens", tokens, "--out", out];
      const made = (await document([...args, ...globs.flatMap((glob) => ["--names", glob])])) as {
        tensors: { name: string }[];
      };
      return made.tensors.map(({ name }) => name);
    };

    it("by default all that fire without flags, and logits", async () => {
      const all = await names();
      expect(all).toContain("blocks.2.attn.hook_attn_scores");
      expect(all).toContain("logits");
      expect(all.filter((name) => /hook_(result|q_input|attn_in|mlp_in)$/.test(name))).toEqual([]);
      expect(await names("*")).toEqual(all);
    });

    it("flagged ones by explicit pattern; patterns add up; * crosses dots; names are whole", async () => {
      expect(await names("blocks.1.attn.hook_result", "logits")).toEqual(["blocks.1.attn.hook_result", "logits"]);
      expect(await names("*.2.*hook_z")).toEqual(["blocks.2.attn.hook_z"]);
      expect(await names("hook_e*", "blocks.0.hook_mlp_in")).toEqual(["hook_embed", "blocks.0.hook_mlp_in"]);
    });

    it("a pattern that matches nothing is an error that names the nearest, beside others that match", async () => {
      const tokens = await json("names.json", { input_ids: [[5, 6, 7]] });
      const args = ["activations", "--model", model, "--tokens", tokens, "--out", file("none.safetensors")];
      const { code, stderr } = await cli([...args, "--names", "logits", "--names", "blocks.0.hook_resid_prae"]);
      expect(code).toBe(1);
      expect(stderr).toContain("blocks.0.hook_resid_pre");
      expect(existsSync(file("none.safetensors"))).toBe(false);
    });

    it("logit:ID-logit:ID is the same for all rows", async () => {
      const tokens = await json("rows.json", {
        input_ids: [
          [5, 6, 7],
          [8, 9, 10],
        ],
      });
      const targets = await json("targets.json", { right: [3, 3], wrong: [4, 4] });
      const grads = async (of: string): Promise<number[]> => {
        const out = file("grad.safetensors");
        const args = ["activations", "--model", model, "--tokens", tokens, "--grad-of", of, "--out", out];
        await document([...args, "--names", "hook_embed"]);
        return (await goldenTensors(out)).numbers("grad.hook_embed");
      };
      expect(await grads("logit:3-logit:4")).toEqual(await grads(targets));
    });
  });

  describeWithGoldens("under SAEs", ["goldens/families/gpt2/golden.safetensors"], () => {
    const golden = shared("goldens/analysis/resid-jumprelu-and-hook-z");

    it.skipIf(!existsSync(golden)).each([false, true])(
      "their points and gradients (error term %s; needs ../shared/goldens/analysis)",
      async (errorTerm) => {
        const tensors = await goldenTensors(join(golden, "golden.safetensors"));
        const at = (name: string): number[] => tensors.numbers(`batch0.${name}`);
        const mask = at("mask_from_ids");
        const dims = tensors.dims("batch0.input");
        const tokens = await json("sae-tokens.json", {
          input_ids: rectangle(at("input"), dims),
          attention_mask: rectangle(mask, dims),
        });
        const labels = at("labels");
        const gradOf = await json("sae-targets.json", {
          right: at("label_ids"),
          wrong: labels.map((label) => [3, 2][label]),
        });
        const out = file("saes.safetensors");
        await document([
          ...["activations", "--model", sharedPath("goldens/families/gpt2"), "--tokens", tokens, "--out", out],
          ...["--saes", join(golden, "saes/0"), "--saes", join(golden, "saes/1"), "--grad-of", gradOf],
          ...["--names", "*.hook_sae_*", "--names", "logits", ...(errorTerm ? ["--error-term"] : [])],
        ]);
        const ours = await goldenTensors(out);
        const kind = errorTerm ? "sae_error" : "sae";
        expect(atReal(ours.numbers("logits"), mask)).toBeAllClose(atReal(at(`${kind}.logits`), mask));
        const inner = tensors.names.filter((name) => name.startsWith(`batch0.${kind}.blocks.`));
        expect(inner.length).toBeGreaterThan(2);
        for (const name of inner) {
          const own = name.slice(`batch0.${kind}.`.length);
          expect(atReal(ours.numbers(own), mask), own).toBeAllClose(atReal(tensors.numbers(name), mask));
        }
        const grads = tensors.names.filter((name) =>
          name.startsWith(`batch0.${errorTerm ? "grad_error" : "grad"}.gradient.`),
        );
        expect(grads.length).toBe(2);
        for (const name of grads) {
          const own = `grad.${name.slice(name.indexOf("gradient.") + 9)}`;
          expect(atReal(ours.numbers(own), mask), own).toBeAllClose(atReal(tensors.numbers(name), mask));
        }
      },
    );
  });
});

describe("sae-forward", () => {
  const cases = ["standard", "gated", "jumprelu", "topk", "topk-rescaled", "standard-hook-z", "standard-layer-norm"];

  it.each(cases)("%s", async (name) => {
    const golden = sharedPath(`goldens/saes/native/${name}`);
    const expected = await goldenTensors(join(golden, "golden.safetensors"));
    const out = file("sae.safetensors");
    const args = ["sae-forward", "--sae", golden, "--input", join(golden, "golden.safetensors"), "--out", out];
    for (const prefix of ["hook.", "hook_with_error."]) {
      await document(prefix === "hook." ? args : [...args, "--error-term"]);
      const ours = await goldenTensors(out);
      const names = expected.names.filter((each) => each.startsWith(prefix));
      expect(names.length).toBeGreaterThan(1);
      for (const each of names) {
        const own = each.slice(prefix.length);
        expect(ours.dims(own), each).toEqual(expected.dims(each));
        expect(ours.numbers(own), each).toBeAllClose(expected.numbers(each));
      }
      expect(ours.has("hook_sae_error")).toBe(prefix !== "hook.");
    }
  });
});

interface Golden {
  case: { name: string; side: "left" | "right"; mask: "from_ids" | "explicit"; bos: boolean };
  choice_ids: number[];
  hooks: string[];
}

describe("analyze", () => {
  const root = shared("goldens/analysis");
  // The right-padded goldens use the library's one-too-small answer index, which rows of ids cannot say.
  const names = [
    "two-hook-z",
    "resid-jumprelu-and-hook-z",
    "unequal-widths",
    "three-choices",
    "four-choices",
    "two-hook-z-explicit-mask",
    "two-hook-z-no-bos",
  ];

  describeWithGoldens(
    "goldens",
    ["goldens/families/gpt2/model.safetensors", ...names.map((name) => `goldens/analysis/${name}/saes`)],
    () => {
      /** The golden's model with its tokenizer beside it. */
      async function modelOf(name: string): Promise<string> {
        const target = await mkdtemp(join(folder, "model-"));
        for (const part of ["config.json", "model.safetensors"])
          await symlink(sharedPath(`goldens/families/gpt2/${part}`), join(target, part));
        for (const part of ["tokenizer.json", "tokenizer_config.json"])
          await symlink(join(root, name, "tokenizer", part), join(target, part));
        return target;
      }

      it.each(names)("%s", async (name) => {
        const golden = JSON.parse(await readFile(join(root, name, "golden.json"), "utf8")) as Golden;
        const tensors = await goldenTensors(join(root, name, "golden.safetensors"));
        const rows: { input_ids: number[]; label: number; batch: number }[] = [];
        let size = 0;
        for (let i = 0; tensors.has(`batch${i}.input`); i++) {
          const [b, p] = tensors.dims(`batch${i}.input`) as [number, number];
          size = b;
          const mask = tensors.numbers(`batch${i}.true_mask`);
          rectangle(tensors.numbers(`batch${i}.input`), [b, p]).forEach((ids, r) =>
            rows.push({
              input_ids: ids.filter((_, at) => mask[r * p + at] === 1),
              label: tensors.numbers(`batch${i}.labels`)[r]!,
              batch: i,
            }),
          );
        }
        const out = file(`store-${name}`);
        const { code, stdout, stderr } = await cli([
          ...["analyze", "--model", await modelOf(name), "--data", await jsonLines(`${name}.jsonl`, rows)],
          ...["--saes", join(root, name, "saes/1"), "--saes", join(root, name, "saes/0")],
          ...[
            "--answers",
            golden.choice_ids.join(","),
            "--batch-size",
            String(size),
            "--padding-side",
            golden.case.side,
          ],
          ...["--positions", golden.case.mask === "from_ids" ? "tlLegacy" : "explicit", "--out", out],
        ]);
        expect(code, stderr).toBe(0);
        for (const title of ["Accuracy per analysis", "Latents by ablation", "Latents by gradient", "Timings"])
          expect(stdout).toContain(title);

        const store = (await document(["export", out])) as Required<StoreExport>;
        expect(Object.keys(store)).toEqual([
          "logit_diffs_base",
          "logit_diffs_sae",
          "logit_diffs_attr_grad",
          "logit_diffs_attr_ablation",
        ]);
        expect(store.logit_diffs_base.latents).toEqual([]);
        for (let i = 0; tensors.has(`batch${i}.input`); i++) {
          const at = (key: string): number[] => tensors.numbers(`batch${i}.${key}`);
          for (const kind of ["base", "sae"] as const) {
            const examples = store[`logit_diffs_${kind}`].examples.filter((row) => row.batch === i);
            expect(examples.map((row) => row.logit_diffs)).toBeAllClose(at(`${kind}.logit_diffs`));
            expect(examples.map((row) => row.preds)).toEqual(at(`${kind}.preds`));
            expect(examples.flatMap((row) => [...row.answer_logits])).toBeAllClose(at(`${kind}.answer_logits`));
            const loss = examples.reduce((sum, row) => sum + row.loss, 0) / examples.length;
            expect([loss]).toBeAllClose(at(`${kind}.loss`));
          }
          for (const hook of golden.hooks) {
            const own = <R extends { hook: string; example: number }>(table: readonly R[]): R[] =>
              table.filter((row) => row.hook === hook && Math.floor(row.example / size) === i);
            const alive = at(`alive.${hook}`);
            const found = new Set(own(store.logit_diffs_sae.latents).map((row) => row.latent));
            expect([...found].sort((a, b) => a - b)).toEqual(alive);
            const width = at(`grad.attribution_at_answer.${hook}`).length / size;
            for (const row of own(store.logit_diffs_attr_grad.latents))
              expect([row.attribution_values!]).toBeAllClose([
                at(`grad.attribution_at_answer.${hook}`)[(row.example % size) * width + row.latent]!,
              ]);
            for (const row of own(store.logit_diffs_attr_ablation.latents)) {
              const place = alive.indexOf(row.latent) * size + (row.example % size);
              expect([row.ablated_logit_diff!]).toBeAllClose([at(`ablation.diffs_at_answer.${hook}`)[place]!]);
              expect([row.attribution_values!]).toBeAllClose([at(`ablation.effect_at_answer.${hook}`)[place]!]);
            }
          }
        }
      });
    },
  );
});

describeWithGoldens("a model without tokenizer", ["goldens/families/gpt2/golden.safetensors"], () => {
  const model = sharedPath("goldens/families/gpt2");

  it("generates greedily from ids, as the original does, whatever stands at padding", async () => {
    const golden = await goldenTensors(join(model, "golden.safetensors"));
    const prompt = golden.numbers("generate.prompt_ids");
    const mask = golden.numbers("generate.padded_attention_mask");
    const padded = golden.numbers("generate.padded_prompt_ids").map((id, i) => (mask[i] === 1 ? id : -100));
    const expected = golden.numbers("generate.output_ids").slice(prompt.length);
    const run = async (input: object): Promise<number[]> => {
      const tokens = await json("prompt.json", input);
      const args = ["generate", "--model", model, "--tokens", tokens, "--greedy"];
      const { rows } = (await document([...args, "--max-new-tokens", String(expected.length)])) as {
        rows: { ids: number[]; text: null }[];
      };
      expect(rows[0]!.text).toBeNull();
      return rows[0]!.ids;
    };
    expect(await run({ input_ids: [prompt] })).toEqual(expected);
    expect(await run({ input_ids: [padded], attention_mask: [mask] })).toEqual(expected);
  });

  it("is described", async () => {
    const described = (await document(["info", model])) as {
      n_layers: number;
      hooks: { name: string }[];
      forecast: { weights_bytes: number; kv_bytes_per_token: number };
    };
    expect(described.n_layers).toBe(3);
    expect(described.hooks.map(({ name }) => name)).toContain("blocks.2.attn.hook_z");
    // 3 layers × keys and values × 4 heads × 8 × 4 bytes
    expect(described.forecast.kv_bytes_per_token).toBe(3 * 2 * 4 * 8 * 4);
  });
});

describeWithGoldens(
  "a model with tokenizer",
  ["goldens/families/gpt2/model.safetensors", "goldens/hooked/gpt2/padding.json"],
  () => {
    const prompt = "w80 w34 w49 w13 w100 w79 w72";
    let model: string;
    let ids: number[];
    beforeAll(async () => {
      model = await mkdtemp(join(folder, "model-"));
      for (const part of ["config.json", "model.safetensors"])
        await symlink(sharedPath(`goldens/families/gpt2/${part}`), join(model, part));
      for (const part of ["tokenizer.json", "tokenizer_config.json"])
        await symlink(sharedPath(`goldens/hooked/gpt2/tokenizer/${part}`), join(model, part));
      const golden = JSON.parse(await readFile(sharedPath("goldens/hooked/gpt2/padding.json"), "utf8")) as {
        texts: string[];
        cases: { "left.bos": { ids: number[][] } };
      };
      expect(golden.texts[0]).toBe(prompt);
      ids = golden.cases["left.bos"].ids[0]!;
    });

    it("takes text where ids do, with BOS as the model has it", async () => {
      expect(await document(["tokenize", "--model", model, "--text", prompt])).toMatchObject({ ids });
      const tokens = await json("text.json", { input_ids: [ids] });
      const logits = async (...input: string[]): Promise<number[]> => {
        const out = file("text.safetensors");
        await document(["activations", "--model", model, ...input, "--names", "logits", "--out", out]);
        return (await goldenTensors(out)).numbers("logits");
      };
      expect(await logits("--text", prompt)).toEqual(await logits("--tokens", tokens));
      const rows = async (...input: string[]): Promise<unknown> => {
        const args = ["generate", "--model", model, ...input, "--greedy", "--max-new-tokens", "4"];
        return ((await document(args)) as { rows: unknown }).rows;
      };
      expect(await rows("--prompt", prompt)).toEqual(await rows("--tokens", tokens));
    });

    it("streams text to stdout, and nothing else", async () => {
      const args = ["generate", "--model", model, "--prompt", prompt, "--greedy", "--max-new-tokens", "4"];
      const { rows } = (await document(args)) as { rows: { text: string }[] };
      const { stdout, stderr } = await cli(args);
      expect(rows[0]!.text).toMatch(/w\d+/);
      expect(stdout).toBe(`${rows[0]!.text}\n`);
      expect(stderr).toMatch(/4 tokens/);
    });
  },
);

describeWithGoldens("tokenize", ["tokenizers/gpt2/tokenizer.json"], () => {
  it("shows ids, vocabulary strings and text", async () => {
    const shown = await document(["tokenize", "--model", sharedPath("tokenizers/gpt2"), "--text", "Hello world"]);
    expect(shown).toMatchObject({
      ids: [50256, 15496, 995],
      tokens: ["<|endoftext|>", "Hello", "Ġworld"],
      strings: ["<|endoftext|>", "Hello", " world"],
    });
  });
});
