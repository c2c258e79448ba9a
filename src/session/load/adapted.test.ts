/** @file Low-rank adapters from a session's configuration: training, resuming, saving, loading, faults. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hubFixture } from "../../../test/support/hubFixture.ts";
import { randomModel, randomSae, shapes } from "../../../test/support/random.ts";
import { tokenData } from "../../../test/support/tokenRows.ts";
import { AnalysisRunner } from "../../analysis/index.ts";
import type { Batch, Dataset } from "../../data/index.ts";
import { mean } from "../../graph/index.ts";
import { HookedModel, saveModel } from "../../model/index.ts";
import { loadCheckpoint, loadLora, type Checkpoint, type TrainerCallback } from "../../train/index.ts";
import type { Adapter } from "../adapters.ts";
import type { SessionOverrides } from "../compose/overrides.ts";
import type { ConfigInput } from "../config/types.ts";
import { runTraining } from "../loop/training.ts";
import { Session } from "../session.ts";
import { defineModule, type ModuleDefinition } from "../sides/module.ts";
import { saveTrained } from "./adapted.ts";

const prompt = [[5, 6, 7, 8]];
const model = randomModel({ ...shapes["gpt2"]!, n_layers: 2, original_architecture: "GPT2LMHeadModel" }, 1);
let folder: string;
let data: Dataset;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-adapted-"));
  await saveModel(join(folder, "model"), model);
  data = await tokenData();
});
afterAll(() => rmSync(folder, { recursive: true }));

type Lora = ConfigInput<"LoraConfig">;
const common = (): SessionOverrides => ({
  data,
  trainBatchSize: 2,
  evalBatchSize: 4,
  seedEverything: 5,
  runCfg: { maxEpochs: 2 },
  logStream: null,
});
const make = (
  adapterCtx: readonly Adapter[],
  loraCfg: Lora,
  { moduleCfg, ...options }: SessionOverrides & { readonly moduleCls?: ModuleDefinition } = {},
): Promise<Session<Adapter>> =>
  Session.create<readonly Adapter[], object>({
    model,
    ...common(),
    adapterCtx,
    ...options,
    moduleCfg: {
      coreLogDir: folder,
      entailmentMapping: [2, 3],
      optimizerInit: { classPath: "AdamW", initArgs: { lr: 0.01, weight_decay: 0.01 } },
      hfFromPretrainedCfg: { loraCfg },
      ...moduleCfg,
    },
  });
type Made = Awaited<ReturnType<typeof make>>;

const small = { r: 2, loraAlpha: 6, targetModules: ["c_attn", "blocks.*.mlp.W_in"] } as const;
const factors = ({ lora }: Made): Record<string, number[]> =>
  Object.fromEntries([...lora!.parameters].map(([name, x]) => [name, Array.from(x.data, Number)]));
const stateOf = ({ learner: { tensors, ...rest } }: Checkpoint): object => ({
  ...rest,
  tensors: Object.fromEntries(Object.entries(tensors).map(([name, x]) => [name, x.data])),
});
const logits = async (of: HookedModel): Promise<number[]> => (await of.run(prompt)).toArray();
const resumedAdapters = ({ experimentFolder }: Made): { last: string } => ({
  last: join(experimentFolder, "adapter", "last"),
});
const lastOf = ({ experimentFolder }: Made): string => join(experimentFolder, "checkpoints", "last.safetensors");

describe.each([[["core"]], [["lightning"]]] as const)("adapters under %j", (adapters) => {
  it("are all that is trained, and are saved in PEFT's layout", async () => {
    const [before, weights] = [await logits(model), [...model.weights.values()].map((x) => [...x.data])];
    const session = await make(adapters, { ...small, saveMerged: true });
    expect(await logits(session.module.model)).toEqual(before);
    const result = await runTraining(session);
    const { learner } = await loadCheckpoint(lastOf(session));
    expect(Object.keys(learner.steps).sort()).toEqual(
      [0, 1]
        .flatMap((layer) => [
          `transformer.h.${layer}.attn.c_attn.lora_A`,
          ...["W_Q", "W_K", "W_V"].map((name) => `blocks.${layer}.attn.${name}.lora_B`),
          `blocks.${layer}.mlp.W_in.lora_A`,
          `blocks.${layer}.mlp.W_in.lora_B`,
        ])
        .sort(),
    );
    const learnt = await logits(session.module.model);
    expect(learnt).not.toEqual(before);
    expect(await logits(model)).toEqual(before);
    expect([...model.weights.values()].map((x) => [...x.data])).toEqual(weights);

    const { last } = result.adapters!;
    expect(last).toBe(join(session.experimentFolder, "adapter", "last"));
    expect(readdirSync(last).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors", "merged"]);
    expect(JSON.parse(readFileSync(join(last, "adapter_config.json"), "utf8"))).toMatchObject({
      peft_type: "LORA",
      r: 2,
      lora_alpha: 6,
      rank_pattern: {},
      target_modules: ["attn.c_attn", "mlp.c_fc"].flatMap((name) => [0, 1].map((i) => `transformer.h.${i}.${name}`)),
    });
    const again = await loadLora(await HookedModel.load(join(folder, "model")), last);
    expect(await logits(again.model)).toBeAllClose(learnt);
    expect(await logits(await HookedModel.load(join(last, "merged")))).toBeAllClose(learnt);
    // Loaded by a session, they are what was saved, and go on learning.
    const next = await make(adapters, { path: last }, { model: join(folder, "model") });
    expect(factors(next)).toEqual(factors(session));
    expect(await logits(next.module.model)).toBeAllClose(learnt);
    await runTraining(next);
    expect(await logits(next.module.model)).not.toEqual(learnt);
  });

  it("go on from a checkpoint bit for bit", async () => {
    const whole = await make(adapters, small);
    const { metrics } = await runTraining(whole);
    const stopped = await make(adapters, small);
    const abort = new AbortController();
    const onProgress = ({ globalStep }: { globalStep: number }): void => (globalStep === 4 ? abort.abort() : undefined);
    expect(await runTraining(stopped, { signal: abort.signal, onProgress })).toMatchObject({ globalStep: 4 });
    const resumed = await make(adapters, small);
    expect(await runTraining(resumed, { resume: lastOf(stopped) })).toMatchObject({ globalStep: 6, metrics });
    expect(factors(resumed)).toEqual(factors(whole));
    const [a, b] = [await loadCheckpoint(lastOf(resumed)), await loadCheckpoint(lastOf(whole))];
    expect({ ...a.record, callbacks: null }).toEqual({ ...b.record, callbacks: null });
    expect(stateOf(a)).toEqual(stateOf(b));
    const other = await make(adapters, { ...small, r: 3 });
    await expect(runTraining(other, { resume: lastOf(stopped) })).rejects.toThrow(
      "another training; in " + lastOf(stopped) + "; expected module_cfg.hf_from_pretrained_cfg.lora_cfg.r: 3; got",
    );
    // Saving more of it is no other training.
    const merging = await make(adapters, { ...small, saveMerged: true });
    expect(await runTraining(merging, { resume: lastOf(stopped) })).toMatchObject({ globalStep: 6, metrics });
  });

  it("do not see all of their input in training where lora_dropout says so, and go on bit for bit", async () => {
    const half = { ...small, loraDropout: 0.5 };
    const [whole, plain] = [await make(adapters, half), await make(adapters, small)];
    const { metrics } = await runTraining(whole);
    await runTraining(plain);
    expect(factors(whole)).not.toEqual(factors(plain));
    const stopped = await make(adapters, half);
    const abort = new AbortController();
    const onProgress = ({ globalStep }: { globalStep: number }): void => (globalStep === 4 ? abort.abort() : undefined);
    await runTraining(stopped, { signal: abort.signal, onProgress });
    const resumed = await make(adapters, half);
    expect(await runTraining(resumed, { resume: lastOf(stopped) })).toMatchObject({ globalStep: 6, metrics });
    expect(factors(resumed)).toEqual(factors(whole));
    // Nothing is left out where nobody trains; what goes on with them leaves as much out.
    expect(await logits(whole.module.model)).toEqual(await logits(whole.module.model));
    const { last } = resumedAdapters(resumed);
    const saved = JSON.parse(readFileSync(join(last, "adapter_config.json"), "utf8")) as { lora_dropout: number };
    expect(saved.lora_dropout).toBe(0.5);
    expect((await make(adapters, { path: last })).lora!.dropout).toBe(0.5);
    await expect(runTraining(await make(adapters, small), { resume: lastOf(stopped) })).rejects.toThrow("lora_dropout");
  });

  it("leave things out in a view of the model: whoever else holds it sees none of that in a step", async () => {
    const inSteps: { readonly own: number[]; readonly held: number[] }[] = [];
    const moduleCls = defineModule("Watching", (module) => ({
      trainingStep: async (batch: Batch) => {
        inSteps.push({ own: await logits(module.model), held: await logits(held) });
        return mean(module.trace(batch).logits);
      },
    }));
    const lora = { ...small, loraDropout: 0.5, initLoraWeights: false };
    const session = await make(adapters, lora, { moduleCls, runCfg: { maxSteps: 1 } });
    const held = (await session.trainable()).model;
    const before = await logits(held);
    await runTraining(session);
    expect(inSteps).toHaveLength(1);
    expect(inSteps[0]!.held).toEqual(before);
    expect(inSteps[0]!.own).not.toEqual(before);
    expect(session.module.model).toBe(held);
  });

  it("are seen by the analyses", async () => {
    const saes = [randomSae(model, "blocks.1.attn.hook_z", "topk", 32, 1)];
    const session = await make([...adapters, "sae_lens"], small, { saes });
    const diffs = async (): Promise<number[]> => {
      const results = await new AnalysisRunner(session, {}).run(["logit_diffs_sae"]);
      return results.logit_diffs_sae.examples.flatMap((row) => row.logit_diffs);
    };
    const before = await diffs();
    await runTraining(session);
    expect(await diffs()).not.toEqual(before);
  });

  it("are on the weights of the files, however these are processed", async () => {
    const tlCfg = { preset: "from_pretrained" } as const;
    const options = { model: join(folder, "model"), moduleCfg: { tlCfg, hfFromPretrainedCfg: { loraCfg: small } } };
    const session = await make([...adapters, "transformer_lens"], small, options);
    const { adapters: saved } = await runTraining(session);
    const probabilities = async (of: HookedModel): Promise<number[]> =>
      (await of.run(prompt, (traced) => traced.logits.softmax(-1))).toArray();
    const plain = await HookedModel.load(join(folder, "model"));
    const again = (await loadLora(plain, saved!.last)).model;
    expect(await probabilities(session.module.model)).toBeAllClose(await probabilities(again));
    expect(await probabilities(session.module.model)).not.toEqual(await probabilities(plain));
  });
});

it("both loops give the same adapters, bit for bit", async () => {
  const made = await Promise.all([["core"], ["lightning"]].map((ctx) => make(ctx as readonly Adapter[], small)));
  for (const session of made) await runTraining(session);
  expect(factors(made[0]!)).toEqual(factors(made[1]!));
});

describe("with the trainer", () => {
  it("the best checkpoint's adapters are saved as well", async () => {
    const callbacks = [{ classPath: "ModelCheckpoint", initArgs: { monitor: "val_loss", mode: "max" } }];
    const first: TrainerCallback = {
      name: "first",
      afterStep: ({ globalStep }) => void (globalStep === 3 && (then = factors(session))),
    };
    let then: Record<string, number[]> = {};
    // The rate is small, and the worst is asked for: after the first epoch.
    const session = await make(["lightning"], small, { trainer: { callbacks } });
    const { adapters } = await runTraining(session, { callbacks: [first] });
    const best = await make(["core"], { path: adapters!.best! });
    const at = (of: Record<string, number[]>): number[] => of["blocks.0.mlp.W_in.lora_B"]!;
    expect(at(factors(best))).toEqual(at(then));
    expect(at(factors(session))).not.toEqual(at(then));
  });

  it("nothing of an earlier run in the same folder is left among a later one's", async () => {
    const trainer = { defaultRootDir: join(folder, "again") };
    const callbacks = [{ classPath: "ModelCheckpoint", initArgs: { monitor: "val_loss" } }];
    const first = await make(["lightning"], { ...small, saveMerged: true }, { trainer: { ...trainer, callbacks } });
    const { adapters: before } = await runTraining(first);
    expect(existsSync(join(before!.best!, "merged"))).toBe(true);
    const { adapters: after } = await runTraining(await make(["lightning"], small, { trainer }));
    expect(after).toEqual({ last: before!.last });
    expect([existsSync(before!.best!), existsSync(join(before!.last, "merged"))]).toEqual([false, false]);
    // A model in the folder of adapters is not taken for these, and what is not theirs stays.
    const out = join(folder, "reused");
    await saveTrained(out, first);
    writeFileSync(join(out, "notes.txt"), "mine");
    await saveTrained(out, await make(["core"], {}));
    expect(readdirSync(out).filter((name) => /adapter|merged|notes/.test(name))).toEqual(["notes.txt"]);
  });

  it("phases thaw them by their names here and in PEFT", async () => {
    const phases = {
      "0": { params: ["base_model.model.transformer.h.1.*"], max_transition_epoch: 1 },
      "1": { params: ["blocks.0.attn.W_Q.lora_?"] },
    };
    const good = { ...phases, "1": { params: ["blocks.0.attn.W_Q.lora_*"] } };
    const trained: (readonly string[])[] = [];
    const watch: TrainerCallback = { name: "watch", onEpochStart: ({ learner }) => void trained.push(learner.trained) };
    const run = async (ft_schedule: object): Promise<void> => {
      const callbacks = [{ classPath: "FinetuningScheduler", initArgs: { ft_schedule: ft_schedule as typeof phases } }];
      await runTraining(await make(["lightning"], small, { trainer: { callbacks } }), { callbacks: [watch] });
    };
    await run(good);
    expect(trained[0]!.length).toBe(6);
    expect(trained[0]!.every((name) => name.includes(".1."))).toBe(true);
    expect(trained[1]!.filter((name) => !trained[0]!.includes(name))).toEqual([
      "transformer.h.0.attn.c_attn.lora_A",
      "blocks.0.attn.W_Q.lora_B",
    ]);
    await expect(run(phases)).rejects.toThrow("no parameter has a name like this");
  });

  it("nothing is saved where no checkpoints are", async () => {
    for (const trainer of [{ fastDevRun: true }, { enableCheckpointing: false }]) {
      const session = await make(["lightning"], small, { trainer });
      expect((await runTraining(session)).adapters).toBeUndefined();
      expect(existsSync(join(session.experimentFolder, "adapter"))).toBe(false);
    }
  });
});

describe("saving a session's model", () => {
  it("is the whole model where there are no adapters, and where PEFT has no names for them", async () => {
    const plain = await make(["core"], {});
    expect(plain.lora).toBeUndefined();
    await runTraining(plain);
    expect(await saveTrained(join(folder, "whole"), plain)).toEqual({ kind: "model", folder: join(folder, "whole") });
    expect(await logits(await HookedModel.load(join(folder, "whole")))).toBeAllClose(await logits(plain.module.model));
    const own = randomModel({ ...shapes["gpt2"]!, n_layers: 1 }, 2);
    const session = await make(["core"], { r: 1 }, { model: own });
    const { adapters } = await runTraining(session);
    expect(await logits(await HookedModel.load(adapters!.last))).toBeAllClose(await logits(session.module.model));
  });
});

describe("in YAML", () => {
  const yaml = (lora: string): string => {
    const path = join(folder, "lora.yaml");
    writeFileSync(
      path,
      `shared_config: {model_name_or_path: ${join(folder, "model")}}
registered_cfg:
  module_cfg:
    core_log_dir: ${folder}
    entailment_mapping: [2, 3]
    optimizer_init: {class_path: torch.optim.AdamW, init_args: {lr: 0.01, weight_decay: 0.01}}
    hf_from_pretrained_cfg:
      class_path: interpretune.config.HFFromPretrainedConfig
      init_args:
        lora_cfg: ${lora}
`,
    );
    return path;
  };
  const load = (lora: string): Promise<Session> => Session.fromConfig(yaml(lora), { ...common(), env: {} });

  it("they are those of TypeScript", async () => {
    const [typed, read] = [
      await make(["core"], small, { model: join(folder, "model") }),
      await load(
        `{r: 2, lora_alpha: 6, target_modules: [c_attn, "blocks.*.mlp.W_in"], lora_dropout: 0.0, bias: none, ` +
          "task_type: CAUSAL_LM, init_lora_weights: true, modules_to_save: null, use_dora: false}",
      ),
    ];
    for (const session of [typed, read]) await runTraining(session);
    expect(factors(read)).toEqual(factors(typed));
    const node = await load("{class_path: peft.LoraConfig, init_args: {r: 2}}");
    expect([...node.lora!.adapters.keys()].filter((name) => name.startsWith("blocks.0."))).toEqual(
      ["W_Q", "W_K", "W_V"].map((name) => `blocks.0.attn.${name}`),
    );
    // As published, an empty mapping asks for none.
    expect((await load("{}")).lora).toBeUndefined();
  });

  it.each([
    ["{r: 0}", "lora_cfg.r is not what it should be", "10:23"],
    ["{lora_alpha: -1}", "lora_cfg.lora_alpha is not", "10:32"],
    ["{lora_dropout: 1}", /lora_dropout is not.*1; got 1/, "10:34"],
    ["{use_dora: true}", /use_dora is not .* got true/, "10:30"],
    ["{r: 2, bias: all}", /bias is not .* one of none; got "all"/, "10:32"],
    ["{task_type: SEQ_CLS}", "one of CAUSAL_LM", "10:31"],
    ["{modules_to_save: [lm_head]}", "modules_to_save is not what it should be", "10:37"],
    ["{init_lora_weights: pissa}", /expected true, false or gaussian: .*; got "pissa"/, "10:39"],
    ["{rank: 2}", "there is no option registered_cfg.module_cfg.hf_from_pretrained_cfg.lora_cfg.rank", "10:20"],
    ["{target_modules: []}", "got \\[\\]", "10:36"],
    ["{use_dora: true, lora_dropout: 2}", /and 1 more: .*(use_dora|lora_dropout)/, "10:"],
  ])("%s is one error with its place", async (lora, message, place) => {
    const error = await load(lora).catch((caught: unknown) => caught as Error);
    expect(error).toHaveProperty("message", expect.stringMatching(message));
    expect(error).toHaveProperty("where", expect.stringContaining(`lora.yaml:${place}`));
  });

  it.each([
    [
      "{target_modules: q_proj}",
      /no projection is called this; expected modules \(c_attn, c_proj, c_fc\) or.*got q_proj/,
    ],
    ["{layers_to_transform: [7]}", "layers 7"],
    ["{path: nowhere}", "nowhere"],
    ["{path: here, r: 2, use_rslora: true}", "path and r, use_rslora"],
    ["{path: here, lora_dropout: 0.5, init_lora_weights: false}", "path and init_lora_weights, lora_dropout"],
  ])("%s does not fit the model", async (lora, message) => {
    await expect(load(lora)).rejects.toThrow(message);
  });

  it("path is an id on the hub, too", async () => {
    const { hub, options } = await hubFixture();
    const session = await make(["core"], small);
    const made = join(folder, "uploaded");
    await saveTrained(made, session);
    const files = Object.fromEntries(readdirSync(made).map((name) => [name, readFileSync(join(made, name))]));
    hub.add({ type: "model", id: "owner/adapter", files: { ...files, "optimizer.pt": Buffer.from("large") } });
    const read = await make(["core"], { path: "owner/adapter" }, { hub: options });
    expect(factors(read)).toEqual(factors(session));
    expect(hub.recent().join()).not.toContain("optimizer.pt");
    await expect(make(["core"], { path: "owner/none" }, { hub: options })).rejects.toThrow("owner/none");
  });

  it("factored attention and adapters are told apart", async () => {
    const moduleCfg = { tlCfg: { refactorFactoredAttnMatrices: true } };
    const adapterCtx = ["core", "transformer_lens"] as const;
    const made = Session.fromConfig(yaml("{r: 2}"), { ...common(), env: {}, adapterCtx, moduleCfg });
    await expect(made).rejects.toThrow("refactor_factored_attn_matrices");
  });
});
