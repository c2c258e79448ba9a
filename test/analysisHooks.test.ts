/** What an analysis may have of its own: hooks, a names filter, an ablation, how its texts are decoded; from YAML as far as it is data. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  analysisCfg,
  AnalysisRunner,
  AnalysisStore,
  analyzeDataset,
  compose,
  defineOp,
  HookedModel,
  isAnalysisResult,
  mul,
  openDataset,
  ops,
  Session,
  where,
  type AnalysisResult,
  type Batch,
  type Dataset,
  type OpHook,
  type OpResult,
  type RunnerSession,
  type Sae,
} from "../src/index.ts";
import { batches } from "../src/data/index.ts";
import { loadResults, reportData, reportMetrics } from "../src/report/collect.ts";
import { cli } from "./support/cli.ts";
import { writeModel } from "./support/exampleScope.ts";
import { randomSae } from "./support/random.ts";

let root: string;
let model: HookedModel;
let saes: Sae[];
let data: Dataset;
let session: RunnerSession;
const names = ["blocks.10.hook_resid_pre", "blocks.11.attn.hook_z"].map((hook) => `${hook}.hook_sae_acts_post`);
const rows = [
  { premise: "The cat sat on the mat.", hypothesis: "Nobody slept.", label: 1 },
  { premise: "It rained all day.", hypothesis: "The ground is wet.", label: 0 },
  { premise: "The cat sat on the mat.", hypothesis: "The cat is an animal.", label: 0 },
];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "interpretune-hooks-"));
  await writeModel(join(root, "model"));
  writeFileSync(join(root, "rows.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  model = await HookedModel.load(join(root, "model"));
  saes = names.map((name, i) => randomSae(model, name.replace(".hook_sae_acts_post", ""), "topk", 40, i + 1));
  data = await openDataset(join(root, "rows.jsonl"));
  const read = (): AsyncIterable<Batch> => batches(data, { tokenizer: model.tokenizer, batchSize: 2 });
  session = { module: { model, saes, answers: null }, datamodule: { evalBatchSize: 2, batches: read } };
});
afterAll(() => {
  rmSync(root, { recursive: true });
  model.dispose();
});

const table = (result: unknown): AnalysisResult["latents"] => {
  if (typeof result === "object" && result !== null && "latents" in result) return (result as AnalysisResult).latents;
  throw new Error("no latents");
};
const effects = (result: unknown): number[] => [...table(result).attribution_values!];

const pointsOf = (result: object): unknown =>
  "batches" in result ? (result as OpResult).batches[0]!["points"] : undefined;

it("hooks belong to their analysis alone, side by side with others", async () => {
  const scaled: readonly OpHook[] = [["blocks.9.hook_mlp_out", (x) => mul(x, 3)]];
  const doubled: readonly OpHook[] = [["blocks.11.hook_resid_post", (gradient) => mul(gradient, 2)]];
  const { plain, hooked, backward } = await new AnalysisRunner(session).run([
    analysisCfg({ targetOp: ops.logitDiffsAttrGrad, name: "plain" }),
    analysisCfg({ targetOp: ops.logitDiffsAttrGrad, name: "hooked", fwdHooks: scaled }),
    analysisCfg({ targetOp: ops.logitDiffsAttrGrad, name: "backward", bwdHooks: doubled }),
  ]);
  expect(effects(backward)).toBeAllClose(effects(plain).map((x) => 2 * x));
  expect(backward.examples.map((row) => row.loss)).toBeAllClose(plain.examples.map((row) => row.loss));
  const alone = await new AnalysisRunner(session, { fwdHooks: scaled }).run(ops.logitDiffsAttrGrad);
  expect(effects(hooked)).toBeAllClose(effects(alone.logit_diffs_attr_grad));
  expect(hooked.examples.map((row) => row.loss)).not.toEqual(plain.examples.map((row) => row.loss));
});

it("an ablation of its own enters the config of its analysis", async () => {
  const out = join(root, "store");
  const runner = new AnalysisRunner(session, { out });
  const {
    logit_diffs_attr_ablation: zeroed,
    kept,
    halved,
  } = await runner.run([
    ops.logitDiffsAttrAblation,
    analysisCfg({ targetOp: "logit_diffs_ablation", name: "kept", ablateLatentFn: (acts) => acts }),
    analysisCfg({
      targetOp: "logit_diffs_ablation",
      name: "halved",
      ablateLatentFn: (acts, { mask }) => where(mask, mul(acts, 0.5), acts),
    }),
  ]);
  expect(effects(kept)).toBeAllClose(effects(zeroed).map(() => 0));
  expect(Math.max(...effects(zeroed).map(Math.abs))).toBeGreaterThan(1e-3);
  expect(effects(halved)).not.toBeAllClose(effects(zeroed));
  const store = await AnalysisStore.open(out);
  const hashes = ["logit_diffs_attr_ablation", "kept", "halved"].map((name) => store.hashOf(name));
  expect(new Set(hashes).size).toBe(3);
  expect(store.entry("halved").config).toMatchObject({ ablate_latent_fn: expect.stringContaining(".5)") as string });
  const again = await new AnalysisRunner(session, { reuse: [out] }).run(
    analysisCfg({ targetOp: "logit_diffs_ablation", name: "other", ablateLatentFn: (acts) => acts }),
  );
  expect(effects(again.other)).toEqual(effects(kept));
});

it("a names filter says what caches hold and whose latents are reported", async () => {
  const points = defineOp({
    name: "points",
    description: "names in the cache",
    input: { cache: { holds: "hooks", description: "from a caching pass" } },
    output: { points: { per: "batch", type: "string", list: true, description: "names" } },
    run: ({ cache }) => ({ points: Object.keys(cache) }),
  });
  const plain = compose(ops.modelFwdWCache, points);
  const spliced = compose(ops.modelFwdWCacheLatentModels, points);
  const { one, flagged, some, gradients } = await new AnalysisRunner(session).run([
    analysisCfg({ targetOp: plain, name: "one", namesFilter: "blocks.*.hook_resid_post" }),
    analysisCfg({ targetOp: plain, name: "flagged", namesFilter: ["hook_embed", /^blocks\.0\.attn\.hook_result$/] }),
    analysisCfg({ targetOp: spliced, name: "some", namesFilter: names[1]! }),
    analysisCfg({ targetOp: "logit_diffs_attr_grad", name: "gradients", namesFilter: (name) => name === names[0] }),
  ]);
  expect(pointsOf(one)).toEqual(Array.from({ length: 12 }, (_, l) => `blocks.${l}.hook_resid_post`));
  expect(pointsOf(flagged)).toEqual(["hook_embed", "blocks.0.attn.hook_result"]);
  expect(pointsOf(some)).toEqual([names[1]]);
  expect(some.hooks.map(({ name }) => name)).toEqual([names[1]]);
  expect(gradients.hooks.map(({ name }) => name)).toEqual([names[0]]);
  const { logit_diffs_attr_grad: all } = await new AnalysisRunner(session).run("logit_diffs_attr_grad");
  const first = effects(all).filter((_, i) => all.latents.hook[i] === 0);
  expect(effects(gradients)).toBeAllClose(first);
  const none = new AnalysisRunner(session).run(analysisCfg({ targetOp: "logit_diffs_sae", namesFilter: "blocks.3.*" }));
  await expect(none).rejects.toThrow(/no latents of logit_diffs_sae match its names filter; expected blocks.10/);
  const unmet = analysisCfg({ targetOp: plain, name: "unmet", namesFilter: "blocks.3.hook_resid_pst" });
  await expect(new AnalysisRunner(session).run(unmet)).rejects.toThrow(/no hook point of this pass.*hook_resid_post/);
});

it("a session's YAML has what of this is data", async () => {
  const yaml = join(root, "session.yaml");
  writeFileSync(
    yaml,
    `adapter_ctx: [core, sae_lens]
run_cfg:
  analysis_cfgs:
    - { target_op: logit_diffs_sae, name: narrow, names_filter: "*.attn.hook_z.hook_sae_acts_post" }
    - { target_op: [labels_to_ids, model_fwd, logit_diffs], name: listed, save_tokens: false, decode_kwargs: {} }
    - { target_op: logit_diffs_base, name: raw, decode_kwargs: { skip_special_tokens: false } }
    - { target_op: logit_diffs_sae, name: layer, target_layers: [10], save_prompts: false }
    - target_op: logit_diffs_sae
      name: named
      latent_analysis_targets:
        class_path: interpretune.LatentAnalysisTargets
        init_args: { sae_release: any, target_sae_ids: [blocks.11.hook_z] }
    - { target_op: logit_diffs_sae, name: pairs, latent_analysis_targets: { sae_fqns: [[any, blocks.11.hook_z]] } }
`,
  );
  const made = await Session.fromConfig(yaml, {
    ...{ model, saes, data, evalBatchSize: 2, logStream: null },
    moduleCfg: { coreLogDir: join(root, "logs") },
    datamoduleCfg: { tokenizerKwargs: { addBosToken: true } },
  });
  const results = await new AnalysisRunner(made).run();
  const { narrow, listed, raw, layer, named, pairs } = results;
  expect(Object.keys(results)).toEqual(["narrow", "listed", "raw", "layer", "named", "pairs"]);
  const hooksOf = (result: typeof raw): string[] => result!.hooks.map(({ name }) => name);
  expect([narrow, layer, named, pairs].map(hooksOf)).toEqual([[names[1]], [names[0]], [names[1]], [names[1]]]);
  expect(isAnalysisResult(narrow!)).toBe(true);
  const prompts = (result: typeof raw): unknown[] =>
    result!.examples.map((row) => (row as { prompts?: unknown }).prompts);
  expect(prompts(raw)).toEqual(prompts(listed).map((text) => `<|endoftext|>${String(text)}`));
  expect(String(prompts(listed)[0])).toContain("The cat sat on the mat.");
  expect(Object.keys(listed!.examples[0]!)).not.toContain("tokens");
  expect(prompts(layer)).toEqual([undefined, undefined, undefined]);
  writeFileSync(yaml, "run_cfg: { analysis_cfgs: [{ target_op: logit_diffs_base, names_filter: 3 }] }\n");
  await expect(Session.fromConfig(yaml, { model, data, logStream: null })).rejects.toThrow(
    /session.yaml:1:73; expected a name or a list of names/,
  );
});

it("the command line runs a file's analyses and says what each left", async () => {
  const yaml = join(root, "run.yaml");
  writeFileSync(
    yaml,
    `adapter_ctx: [core]
registered_cfg: { module_cfg: { core_log_dir: ${join(root, "logs")} } }
run_cfg:
  analysis_cfgs:
    - { target_op: logit_diffs_base, name: mine, save_tokens: false }
    - { target_op: labels_to_ids.model_fwd.logit_diffs, name: chain, limit: 3 }
`,
  );
  const flags = ["--model", join(root, "model"), "--data", join(root, "rows.jsonl"), "--run-command", "analyze"];
  const wrong = await cli(["run", "--config", yaml, ...flags]);
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).toMatch(/no option run_cfg.analysis_cfgs.1.limit; in .*run.yaml:6:70/);
  writeFileSync(yaml, readFileSync(yaml, "utf8").replace(", limit: 3", ""));
  const { code, stdout, stderr } = await cli(["run", "--config", yaml, ...flags]);
  expect([code, stderr.includes("Error")]).toEqual([0, false]);
  expect(stdout).toMatch(/mine +\| +3 \| +0 \| label_ids, .*preds, answer_logits, prompts, answers +\|/);
  expect(stdout).toMatch(/chain +\| +3 \| +0 \| label_ids, .*tokens, answers +\|/);
});

it("answers of examples' own are kept with them, and the report names each by its example", async () => {
  const own = [
    { prompt: "The cat sat on the", answers: [" mat", " ground"], label: 0 },
    { prompt: "It rained all", answers: [" ground", " day"], label: 1 },
    { prompt: "The ground is", answers: [" cat", " day"], label: 0 },
  ];
  const file = join(root, "own.jsonl");
  writeFileSync(file, own.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const out = join(root, "own-store");
  const { results } = await analyzeDataset({ model, saes, data: await openDataset(file), batchSize: 2, out });
  const answersOf = own.map(({ answers }) => answers);
  expect(results.logit_diffs_sae!.examples.map((row) => row.answers)).toEqual(answersOf);
  const runner = new AnalysisRunner({
    ...session,
    datamodule: {
      evalBatchSize: 2,
      batches: async function* () {
        yield* batches(await openDataset(file), { tokenizer: model.tokenizer, batchSize: 2 });
      },
    },
  });
  const { listed, without } = await runner.run([
    analysisCfg({ targetOp: compose(ops.labelsToIds, ops.modelFwd, ops.logitDiffs), name: "listed" }),
    analysisCfg({ targetOp: "logit_diffs_base", name: "without", savePrompts: false }),
  ]);
  expect(listed.examples.map((row) => (row as { answers?: unknown }).answers)).toEqual(answersOf);
  expect(without.examples.map((row) => Object.hasOwn(row, "answers"))).toEqual([false, false, false]);

  const source = { results: await loadResults(await AnalysisStore.open(out)) };
  const { examples } = reportData(source, reportMetrics(source.results));
  const base = results.logit_diffs_base!.examples;
  expect(examples.map(({ answer }) => answer)).toEqual([" mat", " day", " cat"]);
  expect(examples.map((example) => example.base!.answer)).toEqual(base.map((row, i) => answersOf[i]![row.preds]));
  const { results: shared } = await analyzeDataset({ model, data, batchSize: 2, analyses: ["logit_diffs_base"] });
  expect(shared.logit_diffs_base!.examples.map((row) => row.answers)).toEqual([undefined, undefined, undefined]);
});
