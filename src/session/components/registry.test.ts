import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Registry } from "./registry.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-registry-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const entry = (model: string, extra = ""): string =>
  `reg_info:\n  model_src_key: ${model}\n  model_cfg_key: mine\n  adapter_combinations: [[core]]\n${extra}shared_config:\n  task_name: rte\n`;

describe("the bundled registry", () => {
  it("has the tutorials' entries, under old and new keys and by their parts", async () => {
    const registry = await Registry.bundled();
    expect(registry.list().map(({ key }) => key)).toEqual([
      "rte_demo.gpt2.core",
      "rte_demo.gpt2.sae_lens",
      "rte_demo.gpt2.transformer_lens",
    ]);
    expect(registry.get("gpt2.rte_demo.sae_lens").key).toBe("rte_demo.gpt2.sae_lens");
    expect(registry.get(["gpt2", "rte_demo", "test", ["sae_lens", "core"]]).key).toBe("rte_demo.gpt2.sae_lens");
    expect(registry.get(["gpt2", "rte_demo", null, ["lightning", "sae_lens"]]).key).toBe("rte_demo.gpt2.sae_lens");
    expect(registry.get(["gpt2", "rte_demo", null, []]).key).toBe("rte_demo.gpt2.core");
  });

  it("describes an entry with the tutorial's settings and every default", async () => {
    const { config } = await (await Registry.bundled()).describe("rte_demo.gpt2.sae_lens");
    expect(config.registeredCfg.moduleCfg).toMatchObject({
      taskName: "rte",
      tokenizerIdOverrides: { pad_token_id: 50256 },
      tlCfg: { preset: "no_processing", defaultPaddingSide: "left", foldLn: null },
      generativeStepCfg: { enabled: true, lmGenerationCfg: { maxNewTokens: 1, doSample: true, topK: 50 } },
      saeCfgs: [{ saeId: "blocks.9.hook_z" }, { saeId: "blocks.10.hook_z" }],
      optimizerInit: { classPath: "torch.optim.AdamW", initArgs: { lr: 3e-5, weight_decay: 1e-6, eps: 1e-7 } },
      experimentTag: "default",
    });
    expect(config.registeredCfg.datamoduleCfg).toMatchObject({
      evalBatchSize: 2,
      promptCfg: { style: "package" },
      tokenizerKwargs: { paddingSide: "left", addBosToken: true },
      padTo: "batch",
    });
    expect(config.runCfg.maxEpochs).toBe(1);
  });

  it("names near keys for one that is not there", async () => {
    const registry = await Registry.bundled();
    expect(() => registry.get("rte_demo.gpt2.saelens")).toThrow("near ones: rte_demo.gpt2.sae_lens");
    expect(() => registry.get(["gpt2", "rte", null, ["sae_lens"]])).toThrow("rte_demo.gpt2.sae_lens");
  });
});

describe("registries of one's own", () => {
  it("are folders of files named by their keys, or one file", async () => {
    const own = join(folder, "own");
    mkdirSync(own);
    writeFileSync(join(own, "mine.small.core.yaml"), entry("small"));
    writeFileSync(join(own, "mine.small.core.short.yaml"), entry("small", "  descriptor: short\n"));
    const registry = await Registry.open(own);
    expect(registry.list().map(({ key }) => key)).toEqual(["mine.small.core", "mine.small.core.short"]);
    const file = join(folder, "all.yaml");
    writeFileSync(file, `mine.big.core:\n${entry("big").replaceAll(/^/gm, "  ")}`);
    const all = (await Registry.bundled()).and(await Registry.open(file));
    expect(all.get("mine.big.core").where).toBe(`${file}:2:3`);
    expect(all.has("rte_demo.gpt2.core")).toBe(true);
  });

  it("do not take a key that disagrees with its entry", async () => {
    const wrong = join(folder, "wrong");
    mkdirSync(wrong);
    writeFileSync(join(wrong, "mine.other.core.yaml"), entry("small"));
    await expect(Registry.open(wrong)).rejects.toThrow("mine.other.core.yaml:2:3; expected mine.small.core");
    const bundled = await Registry.bundled();
    expect(() =>
      bundled.register("a.b.core", { regInfo: { modelSrcKey: "c", adapterCombinations: [["core"]] } }),
    ).toThrow("the key does not agree with reg_info");
  });

  it("are never changed", async () => {
    const bundled = await Registry.bundled();
    const more = bundled.register("t.m.core", {
      regInfo: { modelSrcKey: "m", taskName: "t", adapterCombinations: [["core"]] },
    });
    expect([bundled.has("t.m.core"), more.has("t.m.core")]).toEqual([false, true]);
    expect((await Registry.bundled()).has("t.m.core")).toBe(false);
  });
});
