/** @file The four analyses of one batch, computed together: the bundled ops, with results as the review functions take them. */
import type { HookedModel } from "../../model/index.ts";
import type { LatentModel } from "../../sae/index.ts";
import { findOp, runOps, type AnalysisBatch, type OpOptions } from "../ops/index.ts";
import type { SavedInputs } from "../plan/planned.ts";
import { analysisEntry, analysisNames, type AnalysisName, type AnalysisResult } from "../tables/index.ts";
import { batchTables, resultOf } from "./batchTables.ts";

/** Prompts and tokens stand with the examples where the ops left them. */
const everything: SavedInputs = { prompts: true, tokens: true, answers: false };

export interface AnalysisOptions extends OpOptions {
  /** Which analyses; default all four. */
  analyses?: readonly AnalysisName[];
  signal?: AbortSignal;
  /** Pairs of (example, latent) ablated so far in this batch. */
  onAblation?: (done: number, total: number) => void;
}

/**
 * Runs the asked analyses of one batch. Everything but the ablation is one graph: the base and the spliced run share
 * the blocks below the first SAE, the gradient shares the spliced run, and the ablation reuses its keys and values.
 * @returns per analysis both tables, effects unmasked
 * @throws AnalysisError without SAEs for an analysis that needs them
 * @example
 * const data = await openDataset("rte/validation.jsonl", { limit: 8 });
 * for await (const batch of batches(data, { tokenizer: model.tokenizer, batchSize: 2 })) {
 *   const { logit_diffs_sae } = await analyzeBatch(model, saes, batch);
 *   console.log(logit_diffs_sae!.examples.map((row) => row.logit_diffs));
 * }
 */
export async function analyzeBatch(
  model: HookedModel,
  saes: readonly LatentModel[],
  batch: AnalysisBatch,
  options: AnalysisOptions = {},
): Promise<{ [A in AnalysisName]?: AnalysisResult }> {
  const { analyses = analysisNames, signal, onAblation, ...rest } = options;
  const requests = analysisNames.filter((name) => analyses.includes(name)).map(findOp);
  const results = await runOps({ model, saes, options: rest, signal, onAblation }, requests, batch);
  return Object.fromEntries(
    analysisNames.flatMap((name) => {
      const result = results.get(name);
      if (result === undefined) return [];
      const entry = analysisEntry(name);
      return [[name, resultOf(entry, result.hooks, batchTables(entry, everything, batch, result))] as const];
    }),
  );
}
