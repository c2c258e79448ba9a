import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest";
import { randomModel, randomSae, shapes } from "../../test/support/random.ts";
import { tokenRows } from "../../test/support/tokenRows.ts";
import { datasetOf, type Batch, type Dataset } from "../data/index.ts";
import type { HookedModel } from "../model/index.ts";
import type { LatentModel, Sae } from "../sae/index.ts";
import type { Adapter } from "./adapters.ts";
import type { SessionOptions } from "./compose/overrides.ts";
import { runSteps } from "./loop/steps.ts";
import type { AnalysisSession } from "./protocol.ts";
import { Session } from "./session.ts";
import { defineDataModule } from "./sides/dataModule.ts";
import { defineModule } from "./sides/module.ts";

let folder: string;
let model: HookedModel;
let saes: Sae[];
let data: Dataset;
let reads = 0;
const rows = tokenRows.slice(0, 5);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "interpretune-session-"));
  model = randomModel(shapes["gpt2"]!, 1);
  saes = [1, 2].map((layer) => randomSae(model, `blocks.${layer}.attn.hook_z`, "topk", 32, layer));
  data = await datasetOf(
    function* () {
      reads++;
      for (const [i, input_ids] of rows.entries()) yield { value: { input_ids, label: i % 2 }, where: `row ${i}` };
    },
    { name: "ids", length: rows.length },
  );
});
afterAll(() => rmSync(folder, { recursive: true }));

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const moduleCfg = { classificationMapping: [2, 3], positions: "explicit" } as const;

/** A session whose files go into the test's folder; log lines into `lines`. */
async function make<
  const A extends readonly Adapter[] = readonly ["core"],
  M extends object = object,
  D extends object = object,
>(options: Partial<SessionOptions<A, M, D>> = {}, lines: string[] = []): Promise<Session<A[number], M, D>> {
  return Session.create<A, M, D>({
    model,
    data,
    logStream: { write: (line) => lines.push(line.replace(/^\S+ /, "").trimEnd()) },
    ...options,
    moduleCfg: { ...moduleCfg, coreLogDir: folder, ...options.moduleCfg },
  });
}

describe("composition", () => {
  it("takes a seed from the environment where nobody gives one", async () => {
    const env = { IT_GLOBAL_SEED: "7" };
    expect((await make({ env })).cfg.seed).toBe(7);
    expect((await make({ env, seedEverything: 3 })).cfg.seed).toBe(3);
    expect((await make({ env: {} })).cfg.seed).toBeNull();
  });

  it("takes adapters in any order and adds what they add", async () => {
    const session = await Session.create({
      model,
      saes,
      data,
      logStream: null,
      adapterCtx: ["sae_lens", "core", "core"],
      moduleCfg: { ...moduleCfg, coreLogDir: folder },
    });
    expect(session.cfg.adapterCtx).toEqual(["core", "sae_lens"]);
    expect(session.module.saes).toEqual(saes);
    expect(session.module.constructNamesFilter({ targetLayers: [2] })).toEqual([
      "blocks.2.attn.hook_z.hook_sae_acts_post",
    ]);
    expect(() => session.module.constructNamesFilter({ targetLayers: [0] })).toThrow("blocks.1.attn.hook_z, blocks.2");
    expect(Object.keys(session.components)).toEqual(["datamodule", "module"]);
    expect(session.module.datamodule).toBe(session.datamodule);
    await session.init();
    expect(session.datamodule.module).toBe(session.module);
  });

  it("names the components as Lightning does, where it leads", async () => {
    const session = await make({ adapterCtx: ["transformer_lens", "lightning"] });
    expect(session.cfg.adapterCtx).toEqual(["lightning", "transformer_lens"]);
    expect(Object.keys(session.components)).toEqual(["datamodule", "model"]);
    expect(session.components.model.hparams).toEqual(session.record["config"]);
    expect("saes" in session.module).toBe(false);
  });

  it.each([
    [["sae_lens"], "got sae_lens"],
    [["core", "lightning"], "got core+lightning"],
    [[], "got none"],
    [["core", "nnsight" as "core"], "got core+nnsight"],
  ] as const)("lists the valid combinations for %j", async (adapterCtx, received) => {
    await expect(make({ adapterCtx })).rejects.toThrow(received);
    await expect(make({ adapterCtx })).rejects.toThrow(
      "core, core+transformer_lens, core+sae_lens, core+transformer_lens+sae_lens, lightning",
    );
  });

  it("refuses what an adapter is missing for", async () => {
    await expect(make({ saes })).rejects.toThrow("an SAE needs the adapter sae_lens");
    await expect(make({ moduleCfg: { tlCfg: {} } })).rejects.toThrow("tl_cfg needs the adapter transformer_lens");
  });

  it("adds what definitions return, hooks and replacements included", async () => {
    const Counting = defineModule("Counting", (module) => ({
      seen: 0,
      async testStep(batch: Batch): Promise<number> {
        this.seen += batch.dims[0];
        const loss = await module.forward(batch, (traced) => traced.loss);
        module.log("loss", loss.item(), batch.dims[0]);
        return batch.index;
      },
    }));
    const Doubled = defineDataModule("Doubled", (base) => ({
      async *batches(): AsyncGenerator<Batch> {
        for (let again = 0; again < 2; again++) {
          const inner = await datasetOf(() => [{ value: { input_ids: [1, 2], label: 0 }, where: "hand" }], {
            name: "hand",
          });
          for await (const { where } of inner) expect(where).toBe("hand");
          yield { ...(await firstBatch()), index: again };
        }
        expect(base.name).toBe("Doubled");
      },
    }));
    const plain = await make();
    const firstBatch = async (): Promise<Batch> => {
      for await (const batch of plain.datamodule.batches("test")) return batch;
      throw new Error("no batch");
    };
    const session = await make({ moduleCls: Counting, datamoduleCls: Doubled });
    const result = await runSteps(session, "test");
    expect(result.outputs).toEqual([0, 1]);
    expect(session.module.seen).toBe(10);
    expect(Object.keys(result.metrics)).toEqual(["loss"]);
  });

  it("takes sides that are composed already, and refuses what is none", async () => {
    const whole = await make();
    const again = await make({ module: whole.module, datamodule: whole.datamodule });
    expect(again.module).toBe(whole.module);
    const none = { ...whole.module } as Record<string, unknown>;
    delete none["model"];
    await expect(make({ module: none as object as typeof whole.module })).rejects.toThrow("nothing called model");
  });

  it("takes the tokenizer's settings from the model's side with a warning, and warns where they differ", async () => {
    const lines: string[] = [];
    const given = { modelNameOrPath: "x", tokenizerKwargs: { paddingSide: "left" } } as const;
    await make({ datamoduleCfg: { modelNameOrPath: "x" }, moduleCfg: given }, lines);
    expect(lines.filter((line) => line.startsWith("WARNING"))).toEqual([
      "WARNING the two sides differ in tokenizerKwargs; the data's side is tokenised with its own",
    ]);
    await expect(
      make({ model: undefined, moduleCfg: { modelNameOrPath: "no-such-org/model" } }, lines),
    ).rejects.toThrow("a folder with tokenizer.json, or a .gguf file, or an id");
    expect(lines.at(-1)).toBe("WARNING the data's side names no tokenizer; it takes the model's");
  });
});

describe("the type of a session", () => {
  it("has what its adapters add, and nothing else", () => {
    type Plain = Session<"core">;
    type WithSaes = Session<"core" | "sae_lens">;
    type Lightning = Session<"lightning">;
    expectTypeOf<WithSaes["module"]["saes"]>().toExtend<readonly LatentModel[]>();
    expectTypeOf<Lightning["components"]>().toHaveProperty("model");
    expectTypeOf<Plain["components"]>().toHaveProperty("module");
    expectTypeOf<Plain>().toExtend<AnalysisSession>();
    expectTypeOf<WithSaes>().toExtend<AnalysisSession>();
    // @ts-expect-error there are no SAEs without sae_lens
    type NoNamesFilter = Plain["module"]["constructNamesFilter"];
    // @ts-expect-error the other side is called model
    type NoModule = Lightning["components"]["module"];
    expectTypeOf<[NoNamesFilter, NoModule]>().not.toBeNever();
    const wrong = (): Promise<unknown>[] => [
      // @ts-expect-error an option that does not exist
      Session.create({ moduleCfg: { learningRate: 1 } }),
      // @ts-expect-error a word that is not one of the option's
      Session.create({ datamoduleCfg: { padTo: "longest" } }),
      // @ts-expect-error an adapter that does not exist
      Session.create({ adapterCtx: ["nnsight"] }),
    ];
    expectTypeOf(wrong).returns.toExtend<Promise<unknown>[]>();
  });

  it("follows the key of the registry", () => {
    type Made<S> = S extends Promise<infer T> ? T : never;
    const _bySaes = () => Session.fromRegistry("rte_demo.gpt2.sae_lens");
    const _plain = () => Session.fromRegistry("rte_demo.gpt2.core");
    const _byParts = () => Session.fromRegistry(["gpt2", "rte_demo", null, ["sae_lens"]]);
    expectTypeOf<Made<ReturnType<typeof _bySaes>>["module"]["saes"]>().toExtend<readonly LatentModel[]>();
    expectTypeOf<Made<ReturnType<typeof _byParts>>["module"]["saes"]>().toExtend<readonly LatentModel[]>();
    // @ts-expect-error there are no SAEs without sae_lens
    type None = Made<ReturnType<typeof _plain>>["module"]["spliced"];
    expectTypeOf<None>().not.toBeNever();
  });
});

describe("batches", () => {
  it("are tokenised once and kept, whoever reads them", async () => {
    const session = await make({ evalBatchSize: 2 });
    const before = reads;
    const all = async (split: "test" | "validation"): Promise<Batch[]> => collected(session.datamodule.batches(split));
    const [first, second] = await Promise.all([all("test"), all("validation")]);
    expect(reads).toBe(before + 1);
    expect(first.map(({ dims }) => dims)).toEqual([
      [2, 3],
      [2, 4],
      [1, 5],
    ]);
    first.forEach((batch, i) => expect(second[i]).toBe(batch));
  });

  it("are padded to the split where that is asked for, on either side", async () => {
    for (const paddingSide of ["left", "right"] as const) {
      const session = await make({
        evalBatchSize: 2,
        datamoduleCfg: { padTo: "split", tokenizerKwargs: { paddingSide } },
      });
      const all = await collected(session.datamodule.batches("test"));
      expect(all.map(({ dims }) => dims)).toEqual([
        [2, 5],
        [2, 5],
        [1, 5],
      ]);
      expect([...all[0]!.answerIndices]).toEqual(paddingSide === "left" ? [4, 4] : [2, 1]);
    }
  });

  it("say where a fault is each time they are read", async () => {
    const bad = await datasetOf(
      () => [
        { value: { input_ids: [1], label: 0 }, where: "row 0" },
        { value: { input_ids: [99], label: 0 }, where: "row 1" },
      ],
      { name: "bad" },
    );
    const session = await make({ data: bad });
    for (let again = 0; again < 2; again++)
      await expect(collected(session.datamodule.batches("test"))).rejects.toThrow("row 1");
  });

  it("do not name a data set that is not there", async () => {
    const session = await make({ data: undefined, sharedCfg: { taskName: "rte" } });
    await expect(collected(session.datamodule.batches("test"))).rejects.toThrow("a JSONL or Parquet file");
    writeFileSync(join(folder, "only.jsonl"), '{"input_ids": [1, 2], "label": 0}\n');
    const one = await make({ data: join(folder, "only.jsonl") });
    await expect(collected(one.datamodule.batches("train"))).rejects.toThrow("there is no file for the split train");
  });
});

describe("the lifecycle", () => {
  it("goes in the documented order and is logged, hook by hook", async () => {
    const calls: string[] = [];
    const say = (who: string) => (): void => void calls.push(who);
    const Data = defineDataModule("Data", () => ({
      prepareData: (target: HookedModel) => void calls.push(`data prepareData ${target === model}`),
      setup: say("data setup"),
      onTestStart: say("data start"),
    }));
    const Module = defineModule("Module", () => ({
      setup: say("module setup"),
      loadMetric: say("metric"),
      testStep: say("step"),
      onTestBatchStart: say("batch start"),
      onTestBatchEnd: say("batch end"),
      onTestEnd: say("end"),
      onSessionEnd: say("module session end"),
    }));
    const extension = { name: "Watch", hooks: { onTestStart: say("watch"), onSessionEnd: say("watch session end") } };
    const lines: string[] = [];
    const optimizerInit = { classPath: "torch.optim.AdamW", initArgs: { lr: 1e-3 } };
    const options = { moduleCls: Module, datamoduleCls: Data, extensions: [extension], evalBatchSize: 5 };
    const session = await make({ ...options, moduleCfg: { loggingLevel: "DEBUG", optimizerInit } }, lines);
    await runSteps(session, "test");
    await session.init();
    await Promise.all([session.end(), session.end()]);
    await session.end();
    expect(calls).toEqual([
      "metric",
      "data prepareData true",
      "data setup",
      "module setup",
      "data start",
      "watch",
      "batch start",
      "step",
      "batch end",
      "end",
      "module session end",
      "watch session end",
    ]);
    expect(lines.slice(0, 6)).toEqual([
      "DEBUG Preparing data: Data",
      "DEBUG Setting up: Data",
      "DEBUG Setting up: Module",
      "DEBUG Configuring optimizers: Module",
      "DEBUG Running onTestStart: Data",
      "DEBUG Running onTestStart: Watch",
    ]);
    expect(session.module.optimizers).toEqual([{ optimizer: optimizerInit }]);
    const log = readFileSync(join(session.experimentFolder, "session.log"), "utf8");
    expect(
      log
        .split("\n")
        .filter(Boolean)
        .map((line) => line.replace(/^\S+ /, "")),
    ).toEqual(lines);
  });

  it("misses a hook that is not optional", async () => {
    const whole = await make();
    const module = {
      ...whole.module,
      get model() {
        return model;
      },
    } as Record<string, unknown>;
    delete module["setup"];
    const session = await make({ module: module as object as typeof whole.module });
    await expect(session.init()).rejects.toThrow("the module has no setup");
  });

  it("defers the model where that is asked for", async () => {
    const datamoduleCfg = { signatureColumns: ["input", "labels"] };
    await expect(make({ sharedCfg: { deferModelInit: true } })).rejects.toThrow("needs signature_columns");
    const session = await make({ sharedCfg: { deferModelInit: true }, datamoduleCfg });
    expect(() => session.module.model).toThrow("not loaded yet");
    await session.init();
    expect(session.module.model).toBe(model);
  });
});

describe("the experiment folder", () => {
  it("is named after time and tag, and holds the environment, the configuration and the log", async () => {
    const [a, b] = await Promise.all([
      make({ moduleCfg: { experimentTag: "try" } }),
      make({ moduleCfg: { experimentTag: "try", loggingLevel: "ERROR" } }),
    ]);
    expect(a.experimentFolder.slice(folder.length + 1)).toMatch(/^\d{8}_\d{6}_try(_2)?$/);
    expect(a.experimentFolder).not.toBe(b.experimentFolder);
    expect(readdirSync(a.experimentFolder)).toEqual(["config.yaml", "environment.json"]);
    const environment = JSON.parse(readFileSync(join(a.experimentFolder, "environment.json"), "utf8")) as Record<
      string,
      unknown
    >;
    expect(environment).toMatchObject({ node: process.versions.node, provider: expect.any(String) as string });
    expect(environment["config_hash"]).toBe(a.record["config_hash"]);
    // Where it logs does not make it another session; what it computes does.
    expect(b.record["config_hash"]).toBe(a.record["config_hash"]);
    const c = await make({ evalBatchSize: 3 });
    expect(c.record["config_hash"]).not.toBe(a.record["config_hash"]);
  });

  it("is an error with its place where it cannot be made", async () => {
    const file = join(folder, "a-file");
    writeFileSync(file, "");
    const none = existsSync("/proc/self") ? ["/proc/interpretune", "/proc/interpretune/logs"] : [];
    for (const coreLogDir of [file, join(file, "no"), ...none])
      await expect(make({ moduleCfg: { coreLogDir } })).rejects.toMatchObject({
        code: "session/folder",
        message: expect.stringContaining(coreLogDir) as string,
      });
  });
});

it("has a memory profiler where its settings say so, and is no other session for it", async () => {
  const memprofilerCfg = { enabled: true, schedule: { max_step: 1 } };
  const Module = defineModule("Module", () => ({ testStep: () => undefined }));
  const session = await make({ moduleCls: Module, evalBatchSize: 2, moduleCfg: { memprofilerCfg } });
  await runSteps(session, "test", { limit: 2 });
  const path = join(session.experimentFolder, "memprofiler", "memory_stats.json");
  const { stats } = JSON.parse(readFileSync(path, "utf8")) as { stats: object };
  expect(Object.keys(stats)).toEqual(["0.test.0.0.start", "0.test.0.0.end"]);
  await session.end();
  const plain = await make({ moduleCls: Module, evalBatchSize: 2 });
  expect(session.record["config_hash"]).toBe(plain.record["config_hash"]);
  await plain.end();
  await expect(make({ moduleCfg: { memprofilerCfg: { enabled: true, speed: 1 } } })).rejects.toThrow("memprofiler_cfg");
});

it("prints its adapters, its sides and its folder", async () => {
  const Module = defineModule("Module", () => ({ testStep: () => undefined }));
  const session = await make({ moduleCls: Module, moduleCfg: { modelNameOrPath: "models/tiny" } });
  const [first, module, datamodule, files] = inspect(session).split("\n  ");
  expect([first, module]).toEqual(["Session: core", "module Module (models/tiny)"]);
  expect(datamodule).toMatch(/^datamodule \w+/);
  expect(files).toBe(`files in ${session.experimentFolder}`);
  expect(String(session)).toBe(inspect(session));
  await session.end();
});

it("takes no option that it does not know, however it is made", async () => {
  const misspelled: object = { evalBatchsize: 2 };
  const unknown = { code: "session/options", received: "evalBatchsize", hint: "did you mean evalBatchSize?" };
  await expect(Session.create(misspelled)).rejects.toMatchObject(unknown);
  await expect(Session.fromRegistry("rte_demo.gpt2.core", misspelled)).rejects.toMatchObject(unknown);
  await expect(Session.fromConfig("none.yaml", misspelled)).rejects.toMatchObject(unknown);
});
