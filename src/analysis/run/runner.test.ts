/** @file The runner: order, names, limits, epochs, targets, manual steps, lifecycle, reuse, faults. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { batches, datasetOf, type Batch, type Dataset } from "../../data/index.ts";
import type { HookedModel } from "../../model/index.ts";
import type { AnalysisSession } from "../../session/index.ts";
import { randomModel, randomSae, shapes } from "../../../test/support/random.ts";
import { analyzeDataset } from "./analyze.ts";
import { analysisCfg } from "../plan/cfg.ts";
import { AnalysisError } from "../errors.ts";
import { defineOp, ops, compose } from "../ops/index.ts";
import type { AnalyzeProgress } from "./progress.ts";
import { AnalysisRunner } from "./runner.ts";
import type { AnalysisRunnerOptions } from "./runnerOptions.ts";
import { AnalysisStore } from "../store/index.ts";
import { isAnalysisResult } from "../tables/index.ts";
import { failure } from "../../../test/support/failure.ts";

const model = randomModel(shapes["gpt2"]!, 1);
// Widths differ; both are narrow enough for some batches to have nothing active.
const saes = [
  randomSae(model, "blocks.1.attn.hook_z", "standard", 24, 1),
  randomSae(model, "blocks.2.hook_resid_pre", "standard", 10, 2),
];
const hookNames = saes.map((sae) => `${sae.hookName}.hook_sae_acts_post`);
afterAll(() => model.dispose());

/** Seven rows: with batches of two, the last one is smaller. */
const rows = [4, 2, 7, 1, 3, 5, 6].map((length, i) => ({
  value: { input_ids: Array.from({ length }, (_, p) => (3 * p + i) % 30), label: i % 2, answers: [4, 9] },
  where: `row ${i}`,
}));
const dataset = (count = rows.length): Promise<Dataset> => datasetOf(() => rows.slice(0, count), { name: "rows" });

interface Recorded extends AnalysisSession {
  readonly calls: string[];
}

async function session(options: { count?: number; module?: object; model?: HookedModel } = {}): Promise<Recorded> {
  const data = await dataset(options.count);
  const calls: string[] = [];
  const own = options.model ?? model;
  return {
    calls,
    module: { model: own, saes, answers: null, ...options.module },
    datamodule: {
      evalBatchSize: 2,
      batches: (split) => {
        if (!calls.includes(split)) calls.push(split);
        return batches(data, { batchSize: 2, maxLength: own.cfg.n_ctx });
      },
    },
    record: { experiment: "test" },
    init: () => Promise.resolve(void calls.push("init")),
    call: (hook) => Promise.resolve(void calls.push(hook)),
    end: () => Promise.resolve(void calls.push("end")),
  };
}

const run = async (options: AnalysisRunnerOptions = {}): Promise<AnalysisRunner> =>
  new AnalysisRunner(await session(), options);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "runner-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A batch's length, its longest row per batch, and something that is remembered from batch to batch. */
const counting = defineOp({
  name: "counting",
  description: "counts",
  input: {},
  output: {
    length: { per: "example", type: "int32", description: "tokens of the row" },
    seen: { per: "batch", type: "int32", description: "batches so far" },
  },
  state: { fields: { seen: () => 0 } },
  run: (_inputs, { batch, state }) => {
    state.seen++;
    const [b, p] = batch.dims;
    const mask = Array.from(batch.mask);
    const length = Array.from({ length: b }, (_, r) => mask.slice(r * p, (r + 1) * p).reduce((x, y) => x + y, 0));
    return { length, seen: state.seen };
  },
});

describe("a run", () => {
  it("gives what analyzeDataset gives, in the order asked for, under the session's hooks", async () => {
    const own = await session();
    const runner = new AnalysisRunner(own);
    const results = await runner.run([ops.logitDiffsAttrAblation, "logit-diffs-latent", ops.logitDiffsBase]);
    expect(Object.keys(results)).toEqual(["logit_diffs_attr_ablation", "logit_diffs_sae", "logit_diffs_base"]);
    const { results: direct } = await analyzeDataset({
      ...{ model, saes, data: await dataset(), batchSize: 2 },
      analyses: ["logit_diffs_base", "logit_diffs_sae", "logit_diffs_attr_ablation"],
    });
    const { logit_diffs_base: base, logit_diffs_sae: sae, logit_diffs_attr_ablation: ablation } = results;
    const numbers = ({ examples }: typeof base): number[] => examples.flatMap((row) => [row.loss, row.logit_diffs]);
    expect(numbers(base)).toBeAllClose(numbers(direct.logit_diffs_base!));
    expect(numbers(sae)).toBeAllClose(numbers(direct.logit_diffs_sae!));
    expect([...ablation.latents.latent]).toEqual([...direct.logit_diffs_attr_ablation!.latents.latent]);
    expect([...ablation.latents.ablated_logit_diff!]).toBeAllClose([
      ...direct.logit_diffs_attr_ablation!.latents.ablated_logit_diff!,
    ]);
    expect(base.examples.map((row) => row.batch)).toEqual([0, 0, 1, 1, 2, 2, 3]);
    expect(own.calls).toEqual([
      ...["init", "onAnalysisStart", "test", "onAnalysisEpochStart"],
      ...[0, 1, 2, 3].flatMap(() => ["onAnalysisBatchStart", "onAnalysisBatchEnd"]),
      ...["onAnalysisEpochEnd", "onAnalysisEnd", "end"],
    ]);
    expect(runner.facts).toMatchObject({ timings: { examples: 7 }, reused: {}, out: undefined });
    expect(runner.facts!.hooks.map(({ width }) => width)).toEqual([24, 10]);
  });

  it("takes compositions, lists, cfgs and names, each once", async () => {
    const runner = await run({ limitAnalysisBatches: 1 });
    const confidence = defineOp({
      name: "confidence",
      description: "",
      input: { logit_diffs: { per: "example", type: "float32", description: "" } },
      output: { confidence: { per: "example", type: "float32", description: "" } },
      run: ({ logit_diffs }) => ({ confidence: logit_diffs.mul(2) }),
    });
    const results = await runner.run([
      "labels_to_ids.model_fwd.logit_diffs",
      analysisCfg({ targetOp: [ops.logitDiffsBase, confidence], name: "mine", savePrompts: false, saveTokens: false }),
      analysisCfg({ targetOp: ops.logitDiffsSae, name: "spliced" }),
      compose(ops.logitDiffsBase, confidence),
    ]);
    const { mine, spliced } = results;
    expect(isAnalysisResult(spliced)).toBe(true);
    expect(spliced).toMatchObject({ analysis: "logit_diffs_sae", name: "spliced" });
    expect(Object.keys(mine.examples[0]!)).not.toContain("tokens");
    const doubled = mine.examples.map((row) => 2 * Number((row as { logit_diffs?: unknown }).logit_diffs));
    expect(mine.examples.map((row) => (row as { confidence?: unknown }).confidence)).toEqual(doubled);
    expect(results["labels_to_ids.model_fwd.logit_diffs"].examples[0]).toMatchObject({ tokens: [0, 3, 6, 9] });
    expect((await failure(AnalysisError, runner.run([ops.logitDiffsSae, "logit_diffs_latent"]))).code).toBe(
      "analysis/name-twice",
    );
    expect((await failure(AnalysisError, runner.run([]))).code).toBe("analysis/none");
    expect((await failure(AnalysisError, runner.run("logit_diff_base"))).code).toBe("analysis/unknown-op");
    expect(
      (await failure(AnalysisError, runner.run(analysisCfg({ targetOp: ops.logitDiffsBase, name: "a/b" })))).code,
    ).toBe("store/name");
    expect((await failure(AnalysisError, runner.run("labels_to_ids.logit_diffs"))).code).toBe("analysis/missing-input");
  });

  it("keeps to its limits and splits", async () => {
    const sizes = async (options: AnalysisRunnerOptions): Promise<[string, number]> => {
      const own = await session();
      const { logit_diffs_base } = await new AnalysisRunner(own, options).run(ops.logitDiffsBase);
      return [
        own.calls.find((call) => /^(test|train|validation|predict)$/.test(call))!,
        logit_diffs_base.examples.length,
      ];
    };
    expect(await sizes({})).toEqual(["test", 7]);
    expect(await sizes({ limitAnalysisBatches: 3 })).toEqual(["test", 6]);
    expect(await sizes({ limitTestBatches: 1, limitAnalysisBatches: 3 })).toEqual(["test", 2]);
    expect(await sizes({ split: "validation", limitTestBatches: 1, limitValBatches: 2 })).toEqual(["validation", 4]);
    expect(await sizes({ split: "train", limitTrainBatches: 1 })).toEqual(["train", 2]);
    expect(await sizes({ maxSteps: 2 })).toEqual(["test", 4]);
    for (const options of [{ maxEpochs: 0 }, { maxEpochs: -1 }, { limitAnalysisBatches: 0 }, { limitTestBatches: 1.5 }])
      expect((await failure(AnalysisError, () => run(options))).code).toBe("analysis/options");
    expect((await failure(AnalysisError, () => run({ split: "all" as "test" }))).message).toContain("split");
    const misspelled: object = { limitAnalysisBatch: 1 };
    expect(await failure(AnalysisError, () => run(misspelled))).toMatchObject({
      code: "analysis/options",
      received: "limitAnalysisBatch",
      hint: "did you mean limitAnalysisBatches?",
    });
  });

  it("goes through the data as often as asked, and ops remember", async () => {
    const own = await session();
    const { counting: result } = await new AnalysisRunner(own, { maxEpochs: 2 }).run(counting);
    expect(result.batches.map((row) => row["seen"])).toEqual([5, 6, 7, 8]);
    expect(result.examples.map((row) => row["length"])).toEqual([4, 2, 7, 1, 3, 5, 6]);
    expect(own.calls.filter((call) => call === "onAnalysisEpochStart")).toHaveLength(2);
    const steps = await new AnalysisRunner(await session(), { maxEpochs: 3, maxSteps: 9 }).run(counting);
    expect(steps.counting.batches.map((row) => row["seen"])).toEqual([5, 6, 7, 8]);
  });

  it("tells how far it is, how fast and with how much memory", async () => {
    const seen: AnalyzeProgress[] = [];
    await (await run({ onProgress: (progress) => seen.push(progress) })).run(ops.logitDiffsAttrAblation);
    expect(seen[0]).toMatchObject({ done: 0, total: 7, batch: 0, batches: 4, rate: null, secondsLeft: null });
    const last = seen.at(-1)!;
    expect(last).toMatchObject({ done: 7, batch: 4, secondsLeft: 0 });
    expect(last.rate).toBeGreaterThan(0);
    expect(last.memory.rss).toBeGreaterThan(1e6);
    expect(last.memory.ledger).toBeGreaterThan(1000);
    expect(seen.some(({ pairs }) => pairs !== undefined && pairs.done === pairs.total)).toBe(true);
  });

  it("ends the session also when it fails, and only where it may", async () => {
    const own = await session();
    const bad = defineOp({
      name: "bad",
      description: "",
      input: {},
      output: {},
      run: () => {
        throw new AnalysisError("no luck", { code: "test/bad" });
      },
    });
    expect((await failure(AnalysisError, new AnalysisRunner(own).run(bad))).code).toBe("test/bad");
    expect(own.calls.slice(-2)).toEqual(["onAnalysisEnd", "end"]);
    const going = await session({ count: 1 });
    await new AnalysisRunner(going, { endSession: false }).run(ops.logitDiffsBase);
    expect(going.calls).not.toContain("end");
    const { module, datamodule } = going;
    expect(Object.keys(await new AnalysisRunner({ module, datamodule }).run("logit_diffs_base"))).toHaveLength(1);
  });
});

describe("targets", () => {
  it("narrow what is reported, for all analyses or for one", async () => {
    const runner = await run({ targets: { layers: [2] }, out: folder });
    const { logit_diffs_sae: narrow, all } = await runner.run([
      ops.logitDiffsSae,
      analysisCfg({ targetOp: "logit_diffs_sae", name: "all", targets: {} }),
    ]);
    expect(narrow.hooks.map(({ name }) => name)).toEqual([hookNames[1]]);
    expect(all.hooks.map(({ name }) => name)).toEqual(hookNames);
    const atTwo = all.latents.latent.filter((_, i) => all.latents.hook[i] === 1);
    expect([...narrow.latents.latent]).toEqual([...atTwo]);
    expect(all.latents.length).toBeGreaterThan(narrow.latents.length);
    expect(narrow.examples.map((row) => row.logit_diffs)).toBeAllClose(all.examples.map((row) => row.logit_diffs));
    expect((await AnalysisStore.open(folder)).entry("all").hooks).toHaveLength(2);
  });

  it("that match nothing end the session", async () => {
    const own = await session();
    const runner = new AnalysisRunner(own, { targets: { layers: [0] } });
    expect((await failure(AnalysisError, runner.run(ops.logitDiffsSae))).code).toBe("analysis/targets");
    expect(own.calls.at(-1)).toBe("end");
  });
});

describe("steps of one's own", () => {
  const lengths = { length: { per: "example", type: "int32", description: "" } } as const;
  const step = (batch: Batch): object => ({ length: Array.from(batch.answerIndices, (i) => i + 1) });

  it("stand in for an op: functions, or methods of the module", async () => {
    const own = await session({
      module: {
        offset: 10,
        analysisStep(this: { offset: number }, batch: Batch, index: number) {
          return { length: Array.from(batch.labels, () => this.offset + index) };
        },
      },
    });
    const results = await new AnalysisRunner(own).run([
      analysisCfg({ stepFn: step, name: "steps", outputSchema: lengths }),
      analysisCfg({ outputSchema: lengths }),
    ]);
    expect(results.steps.examples.map((row) => (row as { length?: unknown }).length)).toEqual(
      [7, 7, 7, 7, 5, 5, 6].map((_, i) => [4, 4, 7, 7, 5, 5, 6][i]),
    );
    expect(results.analysis_step.examples.map((row) => (row as { length?: unknown }).length)).toEqual([
      10, 10, 11, 11, 12, 12, 13,
    ]);
  });

  it("may use the model, and say as an op what they give", async () => {
    const warnings: string[] = [];
    const runner = await run({ warn: (message) => warnings.push(message), limitAnalysisBatches: 1 });
    const zeros = {
      logit_diffs: [0, 0],
      loss: [1, 1],
      preds: [0, 1],
      answer_logits: [
        [0, 0],
        [0, 0],
      ],
    };
    const beside = { label_ids: [4, 9], orig_labels: [0, 1], answer_indices: [3, 3] };
    const manual = analysisCfg({
      targetOp: ops.logitDiffsBase,
      name: "manual",
      stepFn: () => ({ ...zeros, ...beside }),
    });
    const { manual: result } = await runner.run(manual);
    expect(result.examples[1]).toMatchObject({ loss: 1, label_ids: 9, example: 1 });
    expect(warnings).toEqual([expect.stringContaining("manual") as string]);
    const ignoring = new AnalysisRunner(await session(), { ignoreManual: true, limitAnalysisBatches: 1 });
    const { manual: op } = await ignoring.run(manual);
    expect(op.analysis).toBe("logit_diffs_base");
  });

  it("have one clear error for each way to be wrong", async () => {
    const runner = await run({ ignoreManual: true });
    expect(
      (await failure(AnalysisError, runner.run(analysisCfg({ stepFn: step, outputSchema: lengths })))).message,
    ).toContain("no op");
    const free = await run();
    const of = (cfg: Parameters<typeof analysisCfg>[0]): Promise<AnalysisError> =>
      failure(AnalysisError, free.run(analysisCfg(cfg)));
    expect((await of({ outputSchema: lengths })).message).toContain("no analysisStep");
    expect((await of({ stepFn: "nothing", outputSchema: lengths })).message).toContain("no nothing");
    expect((await of({ stepFn: step })).message).toContain("what columns");
    expect((await of({ stepFn: () => 3, outputSchema: lengths })).message).toContain("no columns");
    expect((await of({ stepFn: () => ({ length: [1] }), outputSchema: lengths })).code).toBe("analysis/column");
    expect((await of({ stepFn: () => ({ width: [1, 2] }), outputSchema: lengths })).code).toMatch(/output/);
    expect((await of({ stepFn: step, outputSchema: lengths, name: "logit_diffs_base" })).code).toBe("analysis/manual");
  });
});

describe("stores of runs", () => {
  async function bytes(path: string): Promise<Record<string, string>> {
    const names = (await readdir(path, { recursive: true })).filter((name) => name.endsWith(".parquet")).sort();
    const read = names.map(async (name) => [name, (await readFile(join(path, name))).toString("base64")] as const);
    return Object.fromEntries(await Promise.all(read));
  }

  it("are stopped by a signal between batches, and resumed", async () => {
    const [whole, stopped] = [join(folder, "whole"), join(folder, "stopped")];
    const chain = [ops.logitDiffsBase, ops.logitDiffsAttrAblation, counting] as const;
    // 18 rows: shards of eight batches, and of one.
    const many = Array.from({ length: 18 }, (_, i) => rows[i % 7]!);
    const data = await datasetOf(() => many, { name: "many" });
    const wide = async (): Promise<AnalysisSession> => ({
      ...(await session()),
      datamodule: { evalBatchSize: 2, batches: () => batches(data, { batchSize: 2 }) },
    });
    await new AnalysisRunner(await wide(), { out: whole }).run(chain);
    const stop = new AbortController();
    const reason = new Error("enough");
    const runner = new AnalysisRunner(await wide(), {
      out: stopped,
      signal: stop.signal,
      onProgress: ({ batch }) => batch === 8 && stop.abort(reason),
    });
    await expect(runner.run(chain)).rejects.toBe(reason);
    const half = Object.keys(await bytes(stopped));
    expect(half.filter((name) => name.includes("examples"))).toHaveLength(chain.length);
    expect((await failure(AnalysisError, new AnalysisRunner(await wide(), { out: stopped }).run(chain))).code).toBe(
      "store/exists",
    );
    const again = new AnalysisRunner(await wide(), { out: stopped, resume: true });
    const results = await again.run(chain);
    expect(await bytes(stopped)).toEqual(await bytes(whole));
    // An op that remembers sees every batch again; the others only those that are missing.
    expect(results.counting.batches.map((row) => row["seen"])).toEqual(Array.from({ length: 9 }, (_, i) => i + 1));
  });

  it("hold analyses that are found by their content instead of computed", async () => {
    const [one, two] = [join(folder, "one"), join(folder, "two")];
    const first = await (await run({ out: one })).run([ops.logitDiffsSae, counting]);
    const runner = await run({ out: two, reuse: [one] });
    const { spliced, logit_diffs_base: base } = await runner.run([
      analysisCfg({ targetOp: ops.logitDiffsSae, name: "spliced" }),
      ops.logitDiffsBase,
    ]);
    expect(runner.facts!.reused).toEqual({
      spliced: expect.objectContaining({ store: one, analysis: "logit_diffs_sae" }) as object,
    });
    expect(spliced.latents).toEqual(first.logit_diffs_sae.latents);
    expect(spliced.examples).toEqual(first.logit_diffs_sae.examples);
    expect(base.examples).toHaveLength(7);
    const store = await AnalysisStore.open(two);
    expect(store.manifest.runs[0]).toMatchObject({ reused: { spliced: { store: one } } });
    // Another config has another address; so does an op whose text is another.
    const limited = await run({ reuse: [one], limitAnalysisBatches: 2 });
    await limited.run(ops.logitDiffsSae);
    expect(limited.facts!.reused).toEqual({});
    const same = await run({ reuse: [one] });
    await same.run([counting]);
    expect(Object.keys(same.facts!.reused)).toEqual(["counting"]);
    const changed = defineOp({
      ...{ name: "counting", description: "counts", input: {} },
      output: {
        length: { per: "example", type: "int32", description: "" },
        seen: { per: "batch", type: "int32", description: "" },
      },
      run: (_inputs, { batch }) => ({ length: Array.from(batch.labels), seen: 0 }),
    });
    const other = await run({ reuse: [one] });
    await other.run([changed]);
    expect(other.facts!.reused).toEqual({});
  });

  it("stand in a cache by their content", async () => {
    const computed = async (options: AnalysisRunnerOptions): Promise<number> => {
      const runner = await run({ cacheDir: folder, ...options });
      await runner.run([ops.logitDiffsBase]);
      return runner.facts!.timings.examples;
    };
    expect(await computed({})).toBe(7);
    expect(await computed({})).toBe(0);
    expect(await computed({ diff: "best-other" })).toBe(7);
    expect(await readdir(folder)).toHaveLength(2);
  });

  it("lend an op its inputs, and say so", async () => {
    const [spliced, ablated] = [join(folder, "sae"), join(folder, "ablation")];
    const { logit_diffs_sae: sae } = await (await run({ out: spliced })).run(ops.logitDiffsSae);
    const { logit_diffs_attr_ablation: own } = await (await run()).run(ops.logitDiffsAttrAblation);
    const lent = analysisCfg({ targetOp: ops.logitDiffsAttrAblation, inputStore: spliced });
    const { logit_diffs_attr_ablation: ablation } = await (await run({ out: ablated })).run(lent);
    expect([...ablation.latents.latent]).toEqual([...own.latents.latent]);
    expect([...ablation.latents.ablated_logit_diff!]).toBeAllClose([...own.latents.ablated_logit_diff!]);
    const { config } = (await AnalysisStore.open(ablated)).entry("logit_diffs_attr_ablation");
    const { hash } = config!["input_store"] as { hash: string };
    expect(hash).toBe((await AnalysisStore.open(spliced)).hashOf("logit_diffs_sae"));
    // What is lent decides: only these latents are ablated.
    const few = {
      ...sae,
      latents: {
        ...sae.latents,
        ...Object.fromEntries(
          ["example", "hook", "latent", "activation"].map((n) => [n, sae.latents[n as "latent"].slice(0, 2)]),
        ),
        length: 2,
      },
    };
    const { logit_diffs_attr_ablation: two } = await (
      await run()
    ).run(analysisCfg({ targetOp: ops.logitDiffsAttrAblation, inputStore: few }));
    expect(two.latents.length).toBe(2);
    const short = new AnalysisRunner(await session({ count: 3 }), { out: join(folder, "short") });
    await short.run(ops.logitDiffsSae);
    const lacking = analysisCfg({ targetOp: ops.logitDiffsAttrAblation, inputStore: join(folder, "short") });
    expect((await failure(AnalysisError, (await run()).run(lacking))).code).toBe("analysis/input-store");
  });

  it("never mix: two analyses never write to one place", async () => {
    await (await run({ out: folder })).run(analysisCfg({ targetOp: ops.logitDiffsBase, name: "mine" }));
    const other = await run({ out: folder, resume: true });
    const taken = await failure(AnalysisError, other.run(analysisCfg({ targetOp: ops.logitDiffsSae, name: "mine" })));
    expect(taken.code).toBe("store/other-analysis");
    const otherData = new AnalysisRunner(await session({ count: 3 }), { out: folder, resume: true });
    expect((await failure(AnalysisError, otherData.run(ops.logitDiffsBase))).code).toBe("store/other-config");
    const reserved = await run();
    expect(
      (await failure(AnalysisError, reserved.run(analysisCfg({ targetOp: counting, name: "logit_diffs_sae" })))).code,
    ).toBe("store/name");
  });
});

describe("faults", () => {
  it("NaN in the weights: one error that says where", async () => {
    const broken = randomModel(shapes["gpt2"]!, 1);
    broken.weight("blocks.2.mlp.W_out").data[3] = NaN;
    const runner = new AnalysisRunner(await session({ model: broken }), { out: folder });
    const error = await failure(AnalysisError, runner.run([ops.logitDiffsBase, ops.logitDiffsSae]));
    expect(error).toMatchObject({ code: "analysis/not-finite", where: "batch 0, example 0", received: "NaN" });
    expect(error.message).toMatch(/^logit_diffs_base has a number in loss/);
    expect(Object.keys(await readdir(join(folder, "logit_diffs_base")))).toEqual([]);
    broken.dispose();
  });

  it("no data, and labels without answers", async () => {
    const own = await session();
    const none = { ...own, datamodule: { evalBatchSize: 2, batches: async function* () {} } };
    expect((await failure(AnalysisError, new AnalysisRunner(none).run(ops.logitDiffsBase))).code).toBe(
      "analysis/empty",
    );
    const wrong = (change: (batch: Batch) => Batch): AnalysisSession => ({
      ...own,
      datamodule: {
        evalBatchSize: 2,
        async *batches(split) {
          for await (const batch of own.datamodule.batches(split)) yield change(batch);
        },
      },
    });
    const label = wrong((batch) => ({ ...batch, labels: batch.labels.map(() => 2) }));
    expect(await failure(AnalysisError, new AnalysisRunner(label).run(ops.logitDiffsBase))).toMatchObject({
      code: "analysis/label",
      where: "batch 0, example 0",
      expected: "0 to 1",
      received: "2",
    });
    const order = wrong((batch) => ({ ...batch, examples: batch.examples.map(() => 0) }));
    expect((await failure(AnalysisError, new AnalysisRunner(order).run(ops.logitDiffsBase))).code).toBe(
      "analysis/batch",
    );
  });
});
