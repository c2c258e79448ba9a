/** @file Models of a session's configuration: vocabularies that grow, SAEs of a configuration alone. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeModel } from "../../../test/support/exampleScope.ts";
import { datasetOf } from "../../data/index.ts";
import { HookedModel, saveModel } from "../../model/index.ts";
import type { SessionOverrides } from "../compose/overrides.ts";
import { readSessionFile } from "../config/read.ts";
import { Session } from "../session.ts";

let root: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "interpretune-source-"));
  await writeModel(join(root, "model"));
});
afterAll(() => rmSync(root, { recursive: true }));

const vocabulary = 50257;

async function given(): Promise<SessionOverrides> {
  const rows = [{ value: { input_ids: [1, 2], label: 0 }, where: "row" }];
  return {
    model: join(root, "model"),
    data: await datasetOf(() => rows, { name: "row" }),
    logStream: null,
    moduleCfg: { coreLogDir: join(root, "logs"), classificationMapping: [2, 3] },
  };
}

describe("a vocabulary", () => {
  it("grows for special tokens outside it: new embeddings are the mean of the others", async () => {
    const session = await Session.create({
      ...(await given()),
      sharedCfg: {
        tokenizerIdOverrides: { pad_token_id: vocabulary + 2 },
        specialTokensDict: { mask_token: "<mask>", bos_token: "<|endoftext|>" },
      },
    });
    const { model, tokenizer } = session.module;
    expect(tokenizer!.special.ids).toMatchObject({ pad: vocabulary + 2, bos: tokenizer!.idOf("<|endoftext|>")! });
    const mask = tokenizer!.idOf("<mask>")!;
    expect(tokenizer!.special.ids.mask).toBe(mask);
    expect(tokenizer!.encode("The<mask>").ids.at(-1)).toBe(mask);
    expect(tokenizer!.decode([mask])).toBe("<mask>");
    expect(tokenizer!.decode([mask], { skipSpecialTokens: true })).toBe("");
    expect([model.cfg.d_vocab, model.cfg.d_vocab_out]).toEqual([vocabulary + 3, vocabulary + 3]);

    const plain = await HookedModel.load(join(root, "model"));
    const ids = [[40, 7, 2051]];
    const was = await plain.run(ids, ({ logits }) => logits);
    const now = await model.run(ids, ({ logits }) => logits);
    expect(now.dims).toEqual([1, 3, vocabulary + 3]);
    const row = (x: typeof was, p: number): number[] => x.toArray().slice(p * x.dims[2]!, (p + 1) * x.dims[2]!);
    for (const p of [0, 1, 2]) {
      const before = row(was, p);
      const mean = before.reduce((sum, x) => sum + x, 0) / before.length;
      expect(row(now, p)).toBeAllClose([...before, mean, mean, mean]);
    }
    const embedded = await model.run([[vocabulary + 1]], ({ hooks }) => hooks["hook_embed"]!);
    const { data } = await plain.runtime.realize(plain.weights.get("embed.W_E")!);
    const width = plain.cfg.d_model;
    const means = Array.from({ length: width }, (_, j) => {
      let sum = 0;
      for (let i = 0; i < vocabulary; i++) sum += Number(data[i * width + j]);
      return sum / vocabulary;
    });
    expect(embedded.toArray()).toBeAllClose(means);
  });

  it("is saved with its tokens, and loads again with the same ids and logits", async () => {
    const session = await Session.create({
      ...(await given()),
      sharedCfg: {
        specialTokensDict: { pad_token: "<pad>", mask_token: "<mask>" },
        tokenizerKwargs: { paddingSide: "left" },
      },
    });
    const { model } = session.module;
    await saveModel(join(root, "grown"), model, { tokenizer: model.tokenizer });
    const again = await HookedModel.load(join(root, "grown"));
    expect(again.tokenizer.special.ids).toEqual(model.tokenizer.special.ids);
    expect([again.cfg.d_vocab, again.cfg.tie_word_embeddings]).toEqual([vocabulary + 2, true]);
    const texts = ["The <mask> is", "Rome<pad>"];
    const { ids, mask, dims } = model.tokenizer.toTokens(texts);
    const same = again.tokenizer.toTokens(texts);
    expect([same.ids, same.mask, same.dims]).toEqual([ids, mask, dims]);
    expect([...ids]).toEqual(expect.arrayContaining([vocabulary, vocabulary + 1]));
    const rows = [Array.from(ids.slice(0, dims[1]), Number)];
    const logits = await model.run(rows, ({ logits }) => logits);
    expect((await again.run(rows, ({ logits }) => logits)).toArray()).toEqual(logits.toArray());
  });

  it("does not grow to an id far outside it", async () => {
    const sharedCfg = { tokenizerIdOverrides: { pad_token_id: 2_000_000_000 } };
    await expect(Session.create({ ...(await given()), sharedCfg })).rejects.toThrow(
      /far outside the vocabulary.*tokenizer_id_overrides.*id below 50257.*got 2000000000/,
    );
  });

  it("stays as it is where every token is in it", async () => {
    const session = await Session.create({
      ...(await given()),
      sharedCfg: { tokenizerIdOverrides: { pad_token_id: 7 } },
    });
    expect(session.module.model.cfg.d_vocab).toBe(vocabulary);
  });
});

describe("an SAE of a configuration alone", () => {
  const yaml = `adapter_ctx: [core, sae_lens]
registered_cfg:
  module_cfg:
    class_path: interpretune.config.SAELensConfig
    init_args:
      sae_cfgs:
        - class_path: interpretune.config.SAELensCustomConfig
          init_args:
            cfg:
              class_path: sae_lens.StandardSAEConfig
              init_args: { d_in: 32, d_sae: 48, reshape_activations: hook_z, metadata: { hook_name: blocks.9.attn.hook_z } }
        - { cfg: { architecture: standard, d_in: 32, d_sae: 16 }, hook_name: blocks.10.hook_resid_pre }
`;

  it("is a standard one with initial weights, drawn from the seed", async () => {
    const path = join(root, "custom.yaml");
    writeFileSync(path, yaml);
    const made = async (seedEverything: number): Promise<Float32Array[]> => {
      const session = await Session.fromConfig<readonly ["core", "sae_lens"]>(path, {
        ...(await given()),
        seedEverything,
        adapterCtx: ["core", "sae_lens"],
      });
      const { saes } = session.module;
      expect(saes.map(({ hookName, dSae }) => [hookName, dSae])).toEqual([
        ["blocks.9.attn.hook_z", 48],
        ["blocks.10.hook_resid_pre", 16],
      ]);
      await session.module.model.run([[1, 2]], ({ logits }) => logits, { splices: new Map() });
      const [encoder, decoder] = [saes[0]!.params.W_enc, saes[0]!.params.W_dec];
      expect([encoder.dims, decoder.dims]).toEqual([
        [32, 48],
        [48, 32],
      ]);
      const at = (j: number, i: number): boolean => encoder.data[i * 48 + j] === decoder.data[j * 32 + i];
      expect([at(0, 0), at(47, 31), at(3, 17)]).toEqual([true, true, true]);
      // kaiming_uniform_: uniform on ±√(6 / fan_in), fan_in = 32
      const values = Array.from(decoder.data, Number);
      const bound = Math.sqrt(6 / 32);
      expect(Math.max(...values.map(Math.abs))).toBeLessThan(bound);
      expect(values.reduce((sum, x) => sum + x * x, 0) / values.length).toBeCloseTo(bound ** 2 / 3, 1);
      expect([...saes[0]!.params.b_enc!.data, ...saes[0]!.params.b_dec.data].every((x) => x === 0)).toBe(true);
      return saes.map((sae) => sae.params.W_dec.data as Float32Array);
    };
    const [first, again, other] = [await made(1), await made(1), await made(2)];
    expect(again).toEqual(first);
    expect(other[0]).not.toEqual(first[0]);
    expect(first[0]!.slice(0, 16)).not.toEqual(first[1]!.slice(0, 16));
  });

  it.each([
    [{ d_in: 32, d_sae: 8, architecture: "topk", k: 2 }, "an SAE without weights is a standard one"],
    [{ d_in: 32, d_sae: -8 }, "d_sae"],
    [{ d_in: 32, d_sae: 8 }, "does not say where it hooks in"],
  ])("%j is refused", async (cfg, message) => {
    const options = { ...(await given()), adapterCtx: ["core", "sae_lens"] as const };
    const made = Session.create({ ...options, moduleCfg: { ...options.moduleCfg, saeCfgs: [{ cfg }] } });
    await expect(made.then(({ module }) => module.saes.map((sae) => sae.hookName))).rejects.toThrow(message);
  });

  it("is an error with a misspelt class", async () => {
    const path = join(root, "wrong.yaml");
    writeFileSync(path, yaml.replace("SAELensCustomConfig", "SAELensCustmConfig"));
    await expect(readSessionFile([path])).rejects.toThrow(/wrong.yaml:7:23.*near ones: .*SAELensCustomConfig/);
  });
});
