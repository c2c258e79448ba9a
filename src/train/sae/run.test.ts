import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSafetensors, fileSource } from "../../formats/index.ts";
import { uniformAt } from "../../graph/index.ts";
import { HookedModel } from "../../model/index.ts";
import { Runtime } from "../../runtime/index.ts";
import { Sae, Transcoder } from "../../sae/index.ts";
import { cacheActivations } from "./source/cached.ts";
import { trainSae, type TrainSaeOptions } from "./run.ts";

const runtime = new Runtime({ threads: 1 });
const sizes = { n_layers: 2, d_model: 16, n_ctx: 16, d_head: 8, n_heads: 2, d_vocab: 30, d_vocab_out: 30, d_mlp: 32 };
const model = HookedModel.fromConfig({ ...sizes, act_fn: "relu" }, { seed: 3, runtime });
/** Documents of 3 to 20 tokens. */
const documents = Array.from({ length: 60 }, (_, d) =>
  Array.from({ length: 3 + ((7 * d) % 18) }, (_, p) => Math.floor(uniformAt(d, p) * 30)),
);
const hook = "blocks.1.hook_resid_pre";
const base: Omit<TrainSaeOptions, "sae"> = {
  model,
  runtime,
  data: documents,
  contextSize: 12,
  storeBatchSizePrompts: 4,
  trainBatchSizeTokens: 32,
  trainingTokens: 32 * 12,
  nBatchesInBuffer: 10,
  prependBos: false,
  sequenceSeparatorToken: null,
  lr: 3e-3,
  lrWarmUpSteps: 2,
  deadFeatureWindow: 2,
  logEveryNSteps: 3,
  nEvalBatches: 1,
};
const topk = { architecture: "topk", dSae: 48, k: 4, hookName: hook } as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "interpretune-sae-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function weights(path: string): Promise<Record<string, number[]>> {
  const file = await openSafetensors(await fileSource(join(path, "sae_weights.safetensors")));
  const data = await file.readManyFloat32().finally(() => file.close());
  return Object.fromEntries([...data].map(([name, values]) => [name, Array.from(values)]));
}

describe("trainSae", () => {
  test.each(["standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka_batchtopk"] as const)(
    "%s learns to reconstruct and is saved as it runs",
    async (architecture) => {
      const out = join(folder, architecture);
      const sae = {
        architecture,
        dSae: 48,
        hookName: hook,
        k: 6,
        matryoshkaWidths: [16],
        l1Coefficient: 0.01,
        l0Coefficient: 0.01,
      };
      const [trained] = await trainSae({ ...base, sae, out, trainingTokens: 32 * 100, lr: 1e-2 });
      const points = trained!.history.points;
      const losses = points.flatMap(({ metrics }) => metrics["losses/mse_loss"] ?? []);
      expect(losses.at(-1)!).toBeLessThan(0.5 * losses[0]!);
      expect(trained!.evaluation!.explainedVariance).toBeGreaterThan(0.5);
      expect(trained!.evaluation!.density.length).toBe(48);
      const loaded = await Sae.load(trained!.folder!);
      const x = await model.run([documents[3]!.slice(0, 8)], ({ hooks }) => hooks[hook]!);
      const both = await runtime.realize([loaded.forward(x), trained!.sae!.forward(x)]);
      expect(both[0]!.toArray()).toEqual(both[1]!.toArray());
      expect(loaded.hookName).toBe(hook);
      expect(loaded.cfg.metadata["training_architecture"]).toBe(architecture);
      expect(await readFile(join(out, "curves.html"), "utf8")).toContain("Explained variance");
    },
  );

  test("an interrupted training ends with the same bits", async () => {
    const saes = [
      topk,
      { architecture: "jumprelu", dSae: 32, hookName: "blocks.0.hook_mlp_out", name: "mlp" } as const,
    ];
    const whole = join(folder, "whole");
    const parts = join(folder, "parts");
    await trainSae({ ...base, sae: saes, out: whole });
    for (const stopAt of [2, 7]) {
      const controller = new AbortController();
      const onProgress = ({ step }: { step: number }): void => {
        if (step === stopAt) controller.abort(new Error("stopped"));
      };
      const run = trainSae({ ...base, sae: saes, out: parts, resume: true, signal: controller.signal, onProgress });
      await expect(run).rejects.toThrow("stopped");
    }
    await trainSae({ ...base, sae: saes, out: parts, resume: true });
    for (const name of [hook, "mlp"])
      expect(await weights(join(parts, name))).toEqual(await weights(join(whole, name)));
    for (const name of ["metrics.jsonl", "checkpoint.safetensors"])
      expect(await readFile(join(parts, name)), name).toEqual(await readFile(join(whole, name)));
    await expect(trainSae({ ...base, sae: saes, out: parts, resume: true, lr: 1 })).rejects.toThrow(
      /another training.*options\.lr/s,
    );
  });

  test("several SAEs from one forward pass are those trained alone", async () => {
    const other = { ...topk, k: 8, name: "k8" };
    const [, second] = await trainSae({ ...base, sae: [topk, other] });
    const [first] = await trainSae({ ...base, sae: topk });
    const [both] = await trainSae({ ...base, sae: [topk, other] });
    expect(both!.history.points.map((p) => p.metrics["losses/mse_loss"])).toEqual(
      first!.history.points.map((p) => p.metrics["losses/mse_loss"]),
    );
    expect(second!.name).toBe("k8");
  });

  test("cached activations train as the model itself does, and go on where they stopped", async () => {
    const out = join(folder, "activations");
    const options = { model, data: documents, hookNames: [hook], out, shardBytes: 4 * 16 * 50 };
    const settings = { ...base, trainingTokens: 32 * 20, sae: topk };
    const shared = {
      contextSize: 12,
      storeBatchSizePrompts: 4,
      trainBatchSizeTokens: 32,
      trainingTokens: 32 * 20,
      prependBos: false,
      sequenceSeparatorToken: null,
    };
    const controller = new AbortController();
    const stop = cacheActivations({
      ...shared,
      ...options,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(stop).rejects.toThrow();
    await cacheActivations({ ...shared, ...options });
    const names = await readdir(out);
    expect(names.filter((name) => name.startsWith("shard_")).length).toBeGreaterThan(3);
    expect(names.filter((name) => name.endsWith(".tmp"))).toEqual([]);
    const direct = await trainSae(settings);
    const cached = await trainSae({ ...settings, activations: out });
    // Shards arrive in other pieces than forward passes, so only the mixture differs.
    expect(cached[0]!.evaluation!.explainedVariance).toBeGreaterThan(direct[0]!.evaluation!.explainedVariance - 0.1);
    await expect(cacheActivations({ ...shared, ...options, contextSize: 6 })).rejects.toThrow("other options");
    await expect(trainSae({ ...settings, activations: join(folder, "nothing") })).rejects.toThrow("no cached");
  });

  test("expected_average_only_in is folded into the saved weights", async () => {
    const sae = { ...topk, architecture: "batchtopk", normalizeActivations: "expected_average_only_in" } as const;
    const scaled = { ...base, nBatchesForNormEstimate: 3, trainingTokens: 32 * 60, lr: 1e-2 };
    const [trained] = await trainSae({ ...scaled, sae });
    expect(trained!.sae!.cfg.normalize_activations).toBe("none");
    expect(trained!.evaluation!.explainedVariance).toBeGreaterThan(0.5);
  });

  test.each([
    ["skip_transcoder", ["W_dec", "W_enc", "W_skip", "b_dec", "b_enc"]],
    ["jumprelu_skip_transcoder", ["W_dec", "W_enc", "W_skip", "b_dec", "b_enc", "threshold"]],
  ] as const)("a %s is saved as SAELens has it", async (architecture, names) => {
    const sae = {
      architecture,
      l0Coefficient: 0.01,
      dSae: 32,
      hookName: "blocks.0.ln2.hook_normalized",
      hookNameOut: "blocks.0.hook_mlp_out",
    } as const;
    const out = join(folder, architecture);
    const [trained] = await trainSae({ ...base, sae, out, trainingTokens: 32 * 100, lr: 1e-2 });
    expect(Object.keys(await weights(trained!.folder!)).sort()).toEqual(names);
    const cfg = JSON.parse(await readFile(join(trained!.folder!, "cfg.json"), "utf8")) as Record<string, unknown>;
    expect(cfg).toMatchObject({
      architecture,
      d_out: 16,
      metadata: { hook_name_out: "blocks.0.hook_mlp_out" },
    });
    expect(trained!.evaluation!.explainedVariance).toBeGreaterThan(0.5);
    // What was saved runs in the model's place as what was trained.
    const loaded = await Transcoder.load(trained!.folder!);
    const rows = documents.slice(0, 2).map((ids) => ids.slice(0, 3));
    const [a, b] = await Promise.all(
      [loaded, trained!.transcoder!].map(async (each) => (await model.splice([each]).run(rows)).toArray()),
    );
    expect(a).toEqual(b);
  });

  test("a warm-up of one step, and a decay over all of them", async () => {
    const rates = async (options: Partial<TrainSaeOptions>): Promise<number[]> => {
      const [trained] = await trainSae({
        ...base,
        sae: topk,
        trainingTokens: 32 * 4,
        lr: 1,
        logEveryNSteps: 1,
        nEvalBatches: 0,
        ...options,
      });
      return trained!.history.points.map(({ metrics }) => metrics["details/current_learning_rate"]!);
    };
    expect(await rates({ lrWarmUpSteps: 1 })).toEqual([1, 1, 1, 1]);
    expect(await rates({ lrWarmUpSteps: 0, lrDecaySteps: 4 })).toEqual([1, 1, 0.75, 0.5]);
  });

  test("faults say what to do, and lose nothing", async () => {
    await expect(trainSae({ ...base, sae: topk, data: documents.slice(0, 2) })).rejects.toThrow(
      /fewer activations than one batch.*expected 32/s,
    );
    await expect(trainSae({ ...base, sae: { ...topk, k: 100 } })).rejects.toThrow(/at most d_sae = 48/);
    await expect(trainSae({ ...base, sae: { ...topk, dSae: 1e12 } })).rejects.toThrow(
      /d_sae; expected at most 67108864/,
    );
    await expect(trainSae({ ...base, sae: { ...topk, architecture: "batchtopk", k: 0.01 } })).rejects.toThrow(
      /no latent would ever be active; in k; expected at least 1 \/ 32/,
    );
    await expect(trainSae({ ...base, sae: { ...topk, hookName: "blocks.7.hook_resid_pre" } })).rejects.toThrow(
      "blocks.7",
    );
    await expect(trainSae({ ...base, sae: topk, data: [] })).rejects.toThrow("no documents");
    await expect(trainSae({ ...base, sae: topk, data: ["text"] })).rejects.toThrow("tokenizer");
    await expect(trainSae({ ...base, sae: topk, seqposSlice: [5, 5] })).rejects.toThrow("no position");
    const out = join(folder, "nan");
    const broken = HookedModel.fromConfig({ ...sizes, act_fn: "relu" }, { seed: 3, runtime });
    let passes = 0;
    broken.addHook(hook, (value) => (passes++ < 3 ? value : value.mul(NaN)));
    for (const architecture of ["standard", "topk"] as const) {
      passes = 0;
      const run = trainSae({ ...base, model: broken, sae: { ...topk, architecture }, out, checkpointEveryNSteps: 1 });
      await expect(run).rejects.toThrow(/not finite.*not-finite-step/s);
    }
    expect((await readdir(out)).some((name) => name.startsWith("not-finite-step"))).toBe(true);
  });
});
