// %% [markdown]
// # Interpretune SAELens tutorial, step by step
//
// The older of the two published notebooks, cell by cell: the experiment is written out here, its data module, its module
// and the loop over the test split, instead of taken from a registry and given to a runner. The review is the same.
//
// As a program: `npx jiti examples/tutorial-explicit.ts --model gpt2-folder --saes sae-folder --saes sae-folder --data rte.jsonl`.
// As a notebook: `examples/tutorial-explicit.ipynb`, made from this file, for Deno's Jupyter kernel.

// %% [markdown]
// ## A note on memory usage
//
// `memory.report()` lists what is held, largest first, without searching anybody's variables; `dispose()` gives it back.

// %%
import {
  accuracyTable,
  analyzeBatch,
  type AnalysisName,
  type AnalysisResult,
  baseVsSaeLogitDiffs,
  type Batch,
  calcActivationSummary,
  calculateLatentMetrics,
  computeCorrect,
  joinResults,
  createAttributionTables,
  defineDataModule,
  defineModule,
  displayLatentDashboards,
  latentMetricsScatter,
  openDataset,
  plotLatentEffects,
  Session,
  show,
} from "interpretune";
import { exampleArguments } from "./arguments.ts";

const { model, saes, data, limit } = exampleArguments(["saes", "data"]);

// %% [markdown]
// ## Tutorial configuration
//
// All four analyses by default; `analysisDemos: ["logit_diffs_attr_grad"]` would run one of them.

// %%
const tutorial = {
  analysisDemos: [
    "logit_diffs_base",
    "logit_diffs_sae",
    "logit_diffs_attr_grad",
    "logit_diffs_attr_ablation",
  ] as AnalysisName[],
  limitTestBatches: limit,
  latentEffectsGraphs: true,
  latentEffectsGraphsPerBatch: false, // can be overwhelming with many batches
  tablePerSae: true,
  topKLatentsTable: 2,
  topKLatentDashboards: 1, // dashboards: this many, times the number of hooks, times two
  topKCleanLogitDiffs: 10,
};

// %% [markdown]
// ## Define our data module
//
// Rows of RTE as prompts. The published wording, its joins included, is `inline`; what a data module has already (batches
// padded to their own longest row, splits, tokenisation) need not be written again.

// %%
const RteData = defineDataModule("RTEBoolqDataModule", () => ({
  dataset: () => openDataset(data!, { limit: 2 * tutorial.limitTestBatches }),
}));

// %% [markdown]
// ## Define our module
//
// Its steps take a batch. Here is the one this tutorial needs: one analysis of one batch.

// %%
const RteModule = defineModule("RTEBoolqModule", (module) => ({
  async analysisTestStep(batch: Batch, analysis: AnalysisName): Promise<AnalysisResult> {
    const { [analysis]: result } = await analyzeBatch(module.model, session.module.saes, batch, {
      analyses: [analysis],
    });
    return result!;
  },
}));

// %% [markdown]
// ## Configure our session
//
// The model and its tokenizer, the prompt, the answers, the SAEs, and the adapters they are composed for.

// %%
const session = await Session.create({
  adapterCtx: ["core", "sae_lens"],
  moduleCls: RteModule,
  datamoduleCls: RteData,
  model,
  saes,
  sharedCfg: { taskName: "rte", tokenizerKwargs: { paddingSide: "left", addBosToken: true } },
  datamoduleCfg: { evalBatchSize: 2, promptCfg: { style: "inline" } },
  moduleCfg: { entailmentMapping: ["Yes", "No"] },
});
await session.init();

// %% [markdown]
// ## Run the analyses
//
// A loop of one's own over the test split. As each runs alone here, each repeats the spliced forward pass; a runner, or one
// call of `analyzeBatch` for all of them, shares it.

// %%
async function runTestSplit(analysis: AnalysisName): Promise<AnalysisResult> {
  const parts: AnalysisResult[] = [];
  for await (const batch of session.datamodule.testDataloader()) {
    if (parts.length >= tutorial.limitTestBatches) break;
    parts.push(await session.module.analysisTestStep(batch, analysis));
  }
  return joinResults(parts);
}

const analyses = new Set(tutorial.analysisDemos);
// The ablation's tables take activations from the SAE run.
if (analyses.has("logit_diffs_attr_ablation")) analyses.add("logit_diffs_sae");
const summaries: { [A in AnalysisName]?: AnalysisResult } = {};
for (const analysis of analyses) summaries[analysis] = await runTestSplit(analysis);
const {
  logit_diffs_base: base,
  logit_diffs_sae: sae,
  logit_diffs_attr_grad: grad,
  logit_diffs_attr_ablation: ablation,
} = summaries;

// %% [markdown]
// ## Review the results
//
// ### Clean against SAE, sample by sample

// %%
if (base && sae)
  await show(
    baseVsSaeLogitDiffs(sae, base, { topK: tutorial.topKCleanLogitDiffs, tokenizer: session.module.tokenizer }),
  );

// %% [markdown]
// ### How often each analysis is right

// %%
const predictions = Object.values(summaries).map((summary) => computeCorrect(summary));
console.log(
  predictions.map(({ analysis, total_correct, total }) => `${analysis}: ${total_correct} of ${total}`).join("\n"),
);
await show(accuracyTable(Object.values(summaries)));

// %% [markdown]
// ### Effects of ablations

// %%
if (tutorial.latentEffectsGraphs && ablation)
  await show(plotLatentEffects(ablation, { perBatch: tutorial.latentEffectsGraphsPerBatch }));

// %% [markdown]
// ### Ablation, per SAE

// %%
const tables = { topK: tutorial.topKLatentsTable, filter: "both", perSae: tutorial.tablePerSae } as const;
const dashboards = { saes: session.module.saes, topK: tutorial.topKLatentDashboards };
const ablationMetrics =
  ablation && sae && calculateLatentMetrics(ablation, { activations: calcActivationSummary(sae) });
if (ablationMetrics) {
  await show(createAttributionTables(ablationMetrics, tables));
  await show(displayLatentDashboards(ablationMetrics, { title: "Ablation-Mediated Latent Analysis", ...dashboards }));
}

// %% [markdown]
// ### Attribution patching, per SAE

// %%
const gradMetrics = grad && calculateLatentMetrics(grad);
if (gradMetrics) {
  await show(createAttributionTables(gradMetrics, tables));
  await show(
    displayLatentDashboards(gradMetrics, { title: "Attribution Patching-Mediated Latent Analysis", ...dashboards }),
  );
}

// %% [markdown]
// ### Do the two agree?

// %%
if (ablationMetrics && gradMetrics)
  await show(
    latentMetricsScatter(ablationMetrics, gradMetrics, { label1: "Ablation", label2: "Attribution Patching" }),
  );
await session.end();
session.module.model.dispose();
