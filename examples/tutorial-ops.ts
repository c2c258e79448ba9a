// %% [markdown]
// # Interpretune SAELens tutorial, with ops
//
// The newer of the two published notebooks, cell by cell, in TypeScript. A session is declared, four analyses are run as
// ops, and their results are reviewed: which latents of two sparse autoencoders carry GPT-2's answer to "does the premise
// imply the hypothesis?".
//
// As a program: `npx jiti examples/tutorial-ops.ts --model gpt2-folder --saes sae-folder --saes sae-folder --data rte.jsonl`.
// As a notebook: `examples/tutorial-ops.ipynb`, made from this file, for Deno's Jupyter kernel.

// %% [markdown]
// ## A note on memory usage
//
// Every buffer that lives longer than a run has an owner and is in a ledger. `memory.report()` says what there is without
// searching anybody's variables; `dispose()` gives it back at once.

// %%
import {
  accuracyTable,
  AnalysisRunner,
  analysisCfg,
  baseVsSaeLogitDiffs,
  calcActivationSummary,
  computeCorrect,
  createAttributionTables,
  calculateLatentMetrics,
  displayLatentDashboards,
  LatentAnalysisTargets,
  latentMetricsScatter,
  memoryTable,
  ops,
  plotLatentEffects,
  Session,
  show,
} from "interpretune";
import { exampleArguments } from "./arguments.ts";

const { model, saes, data, limit } = exampleArguments();

// %% [markdown]
// ## Configure our session
//
// 1. The experiment: a module and a data module for the RTE task, with a prompt, a tokenizer and a model.
// 2. The adapters: `core` and `sae_lens`. The type of the session knows them: without `sae_lens` there is no
//    `session.module.saes`.

// %%
const targets = new LatentAnalysisTargets(
  saes.length > 0 ? {} : { saeRelease: "gpt2-small-hook-z-kk", targetLayers: [9, 10] },
);
const session = await Session.fromRegistry("rte_demo.gpt2.sae_lens", {
  evalBatchSize: 2,
  model,
  data,
  saes: saes.length > 0 ? saes : undefined,
  moduleCfg: { saeCfgs: targets.saeFqns.map(({ release, saeId }) => ({ release, saeId })) },
});

// %% [markdown]
// ## Run the analyses
//
// ### Define the run
//
// What to analyse (the targets), how (ops; any composition of ops, or a step of one's own), and a runner.

// %%
const runner = new AnalysisRunner(session, { targets, maxEpochs: 1, limitAnalysisBatches: limit, ignoreManual: true });
const baseCfg = analysisCfg({ targetOp: ops.logitDiffsBase, savePrompts: false, saveTokens: false });
const saeCfg = analysisCfg({ targetOp: ops.logitDiffsSae, savePrompts: true, saveTokens: true });
const gradCfg = analysisCfg({ targetOp: ops.logitDiffsAttrGrad, savePrompts: true, saveTokens: true });
const ablationCfg = analysisCfg({ targetOp: ops.logitDiffsAttrAblation, savePrompts: false, saveTokens: false });

// %% [markdown]
// ### Run it
//
// Analyses that are asked for together share what they have in common: one spliced forward pass serves three of these four.

// %%
const results = await runner.run([baseCfg, saeCfg, gradCfg, ablationCfg]);

// %% [markdown]
// ### Names for what follows

// %%
const {
  logit_diffs_base: base,
  logit_diffs_sae: sae,
  logit_diffs_attr_grad: grad,
  logit_diffs_attr_ablation: ablation,
} = results;
const { artifactCfg } = runner;
console.log(`Analysis completed for ${Object.keys(results).length} operations:`);
for (const name of Object.keys(results)) console.log(`- ${name}`);

// %% [markdown]
// ## Review the results
//
// ### Clean against SAE, sample by sample

// %%
await show(
  baseVsSaeLogitDiffs(sae, base, { topK: artifactCfg.topKCleanLogitDiffs, tokenizer: session.module.tokenizer }),
);

// %% [markdown]
// ### How often each analysis is right

// %%
const correct = Object.fromEntries(Object.entries(results).map(([name, result]) => [name, computeCorrect(result)]));
console.log(
  Object.entries(correct)
    .map(([name, { total_correct }]) => `${name}: ${total_correct}`)
    .join(", "),
);
await show(accuracyTable(Object.values(results)));

// %% [markdown]
// ### Effects of ablations, latent by latent

// %%
if (artifactCfg.latentEffectsGraphs)
  await show(plotLatentEffects(ablation, { perBatch: artifactCfg.latentEffectsGraphsPerBatch }));

// %% [markdown]
// ### Ablation, per SAE
//
// The ablation's own activations say what was ablated; the published tables take them from the SAE run.

// %%
const ablationMetrics = calculateLatentMetrics(ablation, { activations: calcActivationSummary(sae) });
const tables = { topK: artifactCfg.topKLatentsTable, filter: "both", perSae: artifactCfg.tablePerLatentModel } as const;
await show(createAttributionTables(ablationMetrics, tables));
await show(
  displayLatentDashboards(ablationMetrics, {
    title: "Ablation-Mediated Latent Analysis",
    saes: session.module.saes,
    topK: artifactCfg.topKLatentDashboards,
  }),
);

// %% [markdown]
// ### Attribution patching, per SAE
//
// The gradient run has activations of its own, so no other run is needed.

// %%
const gradMetrics = calculateLatentMetrics(grad);
await show(createAttributionTables(gradMetrics, tables));
await show(
  displayLatentDashboards(gradMetrics, {
    title: "Attribution Patching-Mediated Latent Analysis",
    saes: session.module.saes,
    topK: artifactCfg.topKLatentDashboards,
  }),
);

// %% [markdown]
// ### Do the two agree?

// %%
await show(latentMetricsScatter(ablationMetrics, gradMetrics, { label1: "Ablation", label2: "Attribution Patching" }));

// %% [markdown]
// ### What it took
//
// What this notebook holds, largest first, and the end of the session.

// %%
await show(memoryTable());
await session.end();
session.module.model.dispose();
