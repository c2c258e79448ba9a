/**
 * @file The whole newer tutorial in one cold process, the four analyses together and alone, and a full split: GPT-2
 * small's shape, two SAEs of 24576, the real RTE prompts.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  accuracyTable,
  analysisCfg,
  analysisNames,
  AnalysisRunner,
  AnalysisStore,
  baseVsSaeLogitDiffs,
  calcActivationSummary,
  calculateLatentMetrics,
  createAttributionTables,
  displayLatentDashboards,
  latentMetricsScatter,
  ops,
  plotLatentEffects,
  type AnalysisResult,
} from "../src/analysis/index.ts";
import { HookedModel as Model } from "../src/model/index.ts";
import { saveModel } from "../src/model/files/save.ts";
import { Session } from "../src/session/index.ts";
import { gpt2Small, HookedModel, hookZSaes, ms, peers, peerValue, report } from "./lib.ts";

const shared = join(import.meta.dirname, "../../../../shared");
const [folder, task, padTo = "batch", limit = "3"] = process.argv.slice(2);

interface Told {
  readonly seconds: number;
  /** Latents alive in a batch, the mean over batches: the peer runs a forward pass for each. */
  readonly alive: number;
  readonly pairs: number;
  readonly peak: number;
}

/** One process: session, runner, tables, figures as text. */
async function run(home: string, out: string | undefined): Promise<Told> {
  const session = await Session.fromRegistry("rte_demo.gpt2.sae_lens", {
    model: join(home, "model"),
    saes: [9, 10].map((layer) => join(home, `sae-${layer}`)),
    data: join(shared, "data/rte/validation.jsonl"),
    evalBatchSize: 2,
    datamoduleCfg: { padTo: padTo === "split" ? "split" : "batch" },
    moduleCfg: { coreLogDir: home },
    logStream: null,
  });
  const runner = new AnalysisRunner(session, { limitAnalysisBatches: Number(limit), out, ignoreManual: true });
  const {
    logit_diffs_base: base,
    logit_diffs_sae: sae,
    logit_diffs_attr_grad: grad,
    logit_diffs_attr_ablation: ablation,
  } = await runner.run([
    analysisCfg({ targetOp: ops.logitDiffsBase, savePrompts: false, saveTokens: false }),
    analysisCfg({ targetOp: ops.logitDiffsSae }),
    analysisCfg({ targetOp: ops.logitDiffsAttrGrad }),
    analysisCfg({ targetOp: ops.logitDiffsAttrAblation, savePrompts: false, saveTokens: false }),
  ]);
  const ablated = calculateLatentMetrics(ablation, { activations: calcActivationSummary(sae) });
  const attributed = calculateLatentMetrics(grad);
  const saes = session.module.saes;
  for (const shown of [
    baseVsSaeLogitDiffs(sae, base, { topK: 10 }),
    accuracyTable([base, sae, grad, ablation]),
    createAttributionTables(ablated, { topK: 2, perSae: true }),
    displayLatentDashboards(ablated, { title: "Ablation-Mediated Latent Analysis", saes }),
    createAttributionTables(attributed, { topK: 2, perSae: true }),
    displayLatentDashboards(attributed, { title: "Attribution Patching-Mediated Latent Analysis", saes }),
  ])
    process.stderr.write(`${String(shown)}\n`);
  for (const figure of [plotLatentEffects(ablation), latentMetricsScatter(ablated, attributed)]) await figure.toSVG();
  return {
    seconds: process.uptime(),
    alive: aliveLatents(ablation) / new Set(ablation.examples.map(({ batch }) => batch)).size,
    pairs: ablation.latents.length,
    peak: Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024,
  };
}

/** Latents alive in any row of a batch, summed over batches. */
function aliveLatents({ examples, latents }: AnalysisResult): number {
  const batchOf = new Map(examples.map(({ example, batch }) => [example, batch]));
  return new Set(Array.from(latents.latent, (l, i) => `${batchOf.get(latents.example[i]!)}.${latents.hook[i]}.${l}`))
    .size;
}

/** Bytes the peer's store takes for the same: dense float32 rows of every hook. */
function denseBytes(results: readonly AnalysisResult[]): number {
  const rows = (result: AnalysisResult): number => {
    const correct = result.examples.filter(({ logit_diffs }) => logit_diffs > 0).length;
    if (result.analysis === "logit_diffs_sae") return correct;
    if (result.analysis === "logit_diffs_attr_grad") return correct + result.examples.length;
    return result.analysis === "logit_diffs_attr_ablation" ? result.examples.length : 0;
  };
  return results.reduce((sum, r) => sum + rows(r) * r.hooks.reduce((n, { width }) => n + width * 4, 0), 0);
}

const folderBytes = (path: string): number =>
  readdirSync(path, { recursive: true, encoding: "utf8" })
    .map((file) => statSync(join(path, file)))
    .reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);

/** The analyses of a few batches, alone or together: seconds of a second run, everything compiled. */
async function together(home: string): Promise<{ alone: number; all: number }> {
  const session = await Session.fromRegistry("rte_demo.gpt2.sae_lens", {
    model: await Model.load(join(home, "model")),
    saes: [9, 10].map((layer) => join(home, `sae-${layer}`)),
    data: join(shared, "data/rte/validation.jsonl"),
    evalBatchSize: 2,
    moduleCfg: { coreLogDir: home },
    logStream: null,
  });
  const seconds = async (names: readonly (typeof analysisNames)[number][]): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < 3; i++) {
      const runner = new AnalysisRunner(session, { limitAnalysisBatches: 3, endSession: false, ignoreManual: true });
      const start = performance.now();
      await runner.run([...names]);
      if (i > 0) times.push(performance.now() - start);
    }
    return Math.min(...times);
  };
  let alone = 0;
  for (const name of analysisNames) alone += await seconds([name]);
  return { alone, all: await seconds(analysisNames) };
}

if (folder !== undefined) {
  const told =
    task === "together"
      ? await together(folder)
      : await run(folder, task === "store" ? join(folder, "store") : undefined);
  console.log(JSON.stringify(told));
} else if (!existsSync(join(shared, "data/rte/validation.jsonl"))) {
  process.stderr.write("tutorial: ../shared is not here\n");
} else {
  const home = mkdtempSync(join(tmpdir(), "bench-tutorial-"));
  try {
    const shape = { ...gpt2Small, original_architecture: "GPT2LMHeadModel", tie_word_embeddings: true };
    const model = HookedModel.fromConfig(shape, { seed: 1 });
    await saveModel(join(home, "model"), model, { layout: "huggingface" });
    for (const file of readdirSync(join(shared, "tokenizers/gpt2")))
      copyFileSync(join(shared, "tokenizers/gpt2", file), join(home, "model", file));
    for (const [i, sae] of (await hookZSaes(model)).entries()) await sae.save(join(home, `sae-${9 + i}`));
    const child = <T>(...args: string[]): T => {
      const { stdout, stderr, status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), home, ...args], {
        encoding: "utf8",
        maxBuffer: 1e8,
      });
      if (status !== 0) throw new Error(stderr);
      return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
    };
    const cold = (pad: string): Told =>
      Array.from({ length: 3 }, () => child<Told>("tables", pad)).sort((a, b) => a.seconds - b.seconds)[1]!;
    const [dynamic, split] = [cold("batch"), cold("split")];
    // Interpretune, recorded: 9 s to the first batch, 1.1 + 1.6 + 4.5 s a batch and 1.37 s for each latent alive in it,
    // where a plain forward pass of [2, 262] took 903.85 ms; scaled by that pass of this run.
    const forwards = peers("forward", "--models", "hooked", "--shapes", "2x262", "--repeat", "3", "--no-grad-test");
    const plain = peerValue(forwards, "forward.hooked.logits", "time", { batch: 2, length: 262 });
    for (const [told, what, bar] of [
      [dynamic, "each batch padded to its own longest", 300],
      [split, "at 2 × 262", 200],
    ] as const) {
      const recorded = 9 + 3 * (1.1 + 1.6 + 4.5 + 1.37 * told.alive);
      const peer = plain === undefined ? undefined : (recorded * plain) / 903.85;
      const ratio = peer === undefined ? null : peer / told.seconds;
      report({
        row: 4,
        what: `the newer tutorial in one cold process, ${what}, ${told.alive.toFixed(0)} latents alive a batch`,
        ours: `${told.seconds.toFixed(2)} s`,
        theirs: peer === undefined ? "not set up" : `${peer.toFixed(0)} s (Interpretune, recorded and scaled)`,
        ratio,
        bar: `≥ ${bar}×`,
        holds: ratio === null ? null : ratio >= bar,
      });
    }
    const { alone, all } = child<{ alone: number; all: number }>("together");
    report({
      row: 5,
      what: "four analyses together / sum of the four alone",
      ours: ms(all),
      theirs: `${ms(alone)} (alone)`,
      ratio: all / alone,
      bar: "≤ 0.6",
      holds: all / alone <= 0.6,
    });
    const full = child<Told>("store", "batch", "-1");
    report({
      row: 6,
      what: `peak RSS, full split of 277 examples, ${full.pairs} pairs, ${full.seconds.toFixed(0)} s`,
      ours: `${(full.peak / 1e9).toFixed(2)} GB`,
      theirs: "",
      ratio: null,
      bar: "≤ 2 GB",
      holds: full.peak <= 2e9,
    });
    const store = await AnalysisStore.open(join(home, "store"));
    const results: AnalysisResult[] = [];
    for (const name of analysisNames) results.push(await store.load(name));
    const [bytes, dense] = [folderBytes(join(home, "store")), denseBytes(results)];
    report({
      row: 6,
      what: "store of the full split / the peer's dense layout",
      ours: `${(bytes / 1e6).toFixed(2)} MB`,
      theirs: `${(dense / 1e6).toFixed(0)} MB (dense float32)`,
      ratio: bytes / dense,
      bar: "≤ 0.03",
      holds: bytes / dense <= 0.03,
    });
  } finally {
    rmSync(home, { recursive: true });
  }
}
