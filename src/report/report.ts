/** @file The report page of a run. */
import { AnalysisStore, latentDashboards, type Dashboards, type ResultsByName } from "../analysis/index.ts";
import type { HookedModel } from "../model/index.ts";
import type { LatentModel } from "../sae/index.ts";
import { loadResults, reportData, reportMetrics, strongestLatents, type ReportSource } from "./collect.ts";
import { pageHtml } from "./page.ts";

export interface ReportOptions {
  /** Default `Interpretune report`. */
  readonly title?: string;
  /** With model and SAEs the strongest latents get dashboards, and prompts their tokens. */
  readonly model?: HookedModel;
  readonly saes?: readonly LatentModel[];
  /** Dashboards that are made already. */
  readonly dashboards?: Dashboards;
  /** What dashboards are computed from: texts or rows of token ids. Default: the examples of the run. */
  readonly data?: readonly string[] | readonly (readonly number[])[];
  /** Latents of each sign at each hook that get a dashboard. Default 5. */
  readonly topK?: number;
  /** Names of the answers, one per class. Default: of the store's config. */
  readonly answers?: readonly string[];
  readonly onProgress?: (progress: { done: number; total: number }) => void;
  readonly signal?: AbortSignal;
}

/**
 * One HTML file that shows a run: accuracy and what the SAEs change, effects of latents with their uncertainty and both
 * ways of counting them, agreement of ablation and gradient, latent cards, every example with its active latents, timings
 * and provenance. It loads nothing, runs only its own script (a content security policy sees to that), and may be sent
 * or kept as it is.
 *
 * @param source a store, or results of a run in memory
 * @returns the file's text
 * @throws ReportError without results; AnalysisError for a store that cannot be read
 * @example
 * const html = await reportPage(await AnalysisStore.open("runs/rte"), { model, saes, topK: 1 });
 * html.startsWith("<!doctype html>"); // true
 */
export async function reportPage(source: AnalysisStore | ResultsByName, options: ReportOptions = {}): Promise<string> {
  const { model, saes = [], topK = 5, data, signal, onProgress, dashboards: given, title, answers } = options;
  const store = source instanceof AnalysisStore ? source : undefined;
  const results = source instanceof AnalysisStore ? await loadResults(source) : source;
  const metrics = reportMetrics(results);
  const known = new Set(saes.map(({ hookNameOut }) => hookNameOut));
  const latents = strongestLatents(metrics, topK).filter(({ hook }) => known.has(hook));
  const kept =
    data !== undefined || Object.values(results).some(({ examples }) => examples.some(({ tokens }) => tokens));
  const dashboards =
    given ??
    (model && latents.length > 0 && kept
      ? await latentDashboards({ model, saes, latents, data, results, signal, onProgress })
      : undefined);
  const parts: ReportSource = {
    results,
    manifest: store?.manifest,
    model,
    saes,
    dashboards,
    dashboardSource: data === undefined ? "the examples of this run" : `${data.length} rows of other data`,
    title,
    answers,
  };
  return pageHtml(reportData(parts, metrics));
}
