/** @file `interpretune analyze`: the four analyses over a data file, their tables, their store. */
import {
  analysisNames,
  analyzeDataset,
  attributionTables,
  accuracyTable,
  baseVsSaeLogitDiffs,
  latentMetrics,
  latentRows,
  type AnalysisName,
  type AnalysisResult,
  type AnalysisRun,
  type DiffKind,
  type OpResult,
} from "../../analysis/index.ts";
import { Table } from "../../display/index.ts";
import { openDataset, parseAnswers, type Dataset } from "../../data/index.ts";
import type { PositionPolicy } from "../../model/index.ts";
import { withAnalysisProgress } from "../analysisProgress.ts";
import type { CliContext } from "../context.ts";
import { embedded } from "../embedded.ts";
import { CliError } from "../failure.ts";
import { cliHub } from "../hub.ts";
import { load, type Loaded } from "../loading.ts";
import { Output, toJson } from "../output.ts";
import { packageVersion } from "../../formats/packageVersion.ts";
import { reportPlace, reportRun } from "./report.ts";

export interface AnalyzeFlags {
  readonly model?: string;
  readonly saes?: readonly string[];
  readonly data?: string;
  readonly split?: string;
  readonly analyses?: readonly AnalysisName[];
  readonly layers?: readonly number[];
  readonly answers?: string;
  readonly prompt: "package" | "inline";
  readonly chat?: boolean;
  readonly diff: DiffKind;
  readonly ablate: "answer" | "all";
  readonly batchSize: number;
  readonly paddingSide: "left" | "right";
  readonly limit?: number;
  readonly positions: PositionPolicy;
  readonly effects: "masked" | "all";
  readonly errorTerm?: boolean;
  readonly threads?: number;
  readonly offline?: boolean;
  readonly streaming?: boolean;
  readonly out?: string;
  readonly resume?: boolean;
  /** Empty: beside the store, or in the present folder. */
  readonly report?: string;
  readonly json?: boolean;
}

/** Flags with model, SAEs and data: those of the demo, where no model is given. */
type Chosen = AnalyzeFlags & { readonly model: string; readonly data: string };

function chosen({ model, saes, data, ...rest }: AnalyzeFlags): Chosen {
  if (model === undefined)
    return { ...rest, model: embedded.model, saes: saes ?? embedded.saes, data: data ?? embedded.data };
  if (data === undefined)
    throw new CliError("there is nothing to analyze", {
      code: "cli/flag",
      expected: "--data DATA beside --model",
      hint: "without --model, the demo that comes with the package is analyzed",
    });
  return { ...rest, model, saes, data };
}

export async function analyze(this: CliContext, given: AnalyzeFlags): Promise<void> {
  const flags = chosen(given);
  if (flags.resume === true && flags.out === undefined)
    throw new CliError("--resume continues a store", { code: "cli/flag", hint: "say which with --out" });
  const answers = flags.answers === undefined ? undefined : parseAnswers(flags.answers);
  const page = await reportPlace(flags.report, flags.out);
  const data = await openData(this, flags);
  const loaded = await load(this, flags);
  const output = new Output(this, flags.json);
  const run = await runAnalysis(this, flags, loaded, data, {
    answers,
    layers: flags.layers?.map((layer) => (layer < 0 ? layer + loaded.model.cfg.n_layers : layer)),
  });
  await showRun(output, run, { ...flags, loaded });
  if (page === undefined) return;
  const done = { results: run.results, store: flags.out };
  await reportRun(this, output, page, done, { ...loaded, answers: answers?.map(String) });
}

async function openData(context: CliContext, { data, split, limit, offline, streaming }: Chosen): Promise<Dataset> {
  const { hub, finish } = cliHub(context, { offline });
  return openDataset(data, { split, limit, stream: streaming, hub }).finally(finish);
}

async function runAnalysis(
  context: CliContext,
  flags: Chosen,
  { model, saes }: Loaded,
  data: Dataset,
  parsed: { answers: ReturnType<typeof parseAnswers> | undefined; layers: readonly number[] | undefined },
): Promise<AnalysisRun> {
  return withAnalysisProgress(context, flags.out, async (onProgress) =>
    analyzeDataset({
      model,
      saes,
      data,
      ...parsed,
      analyses: flags.analyses,
      prompt: flags.prompt,
      chat: flags.chat ? "template" : "plain",
      diff: flags.diff,
      ablate: flags.ablate,
      batchSize: flags.batchSize,
      paddingSide: flags.paddingSide,
      positions: flags.positions,
      useErrorTerm: flags.errorTerm,
      out: flags.out,
      resume: flags.resume,
      signal: context.signal,
      provenance: {
        interpretune: await packageVersion(),
        model: flags.model,
        saes: flags.saes ?? [],
        data: flags.data,
      },
      onProgress,
    }),
  );
}

interface Shown {
  readonly effects: "masked" | "all";
  readonly out?: string;
  readonly loaded: Loaded;
  /** Results that the published tables do not know, by name. */
  readonly others?: Readonly<Record<string, AnalysisResult | OpResult>>;
}

/** Tables for people, and the same numbers as JSON. */
export async function showRun(output: Output, { results, timings }: AnalysisRun, shown: Shown): Promise<void> {
  const { loaded, effects, out, others = {} } = shown;
  const { logit_diffs_base: base, logit_diffs_sae: sae } = results;
  const { model } = loaded;
  const present = analysisNames.flatMap((name) => results[name] ?? []);
  const spliced = sae ?? results.logit_diffs_attr_grad ?? results.logit_diffs_attr_ablation;
  const diffs =
    base && spliced && baseVsSaeLogitDiffs(spliced, base, model.hasTokenizer ? { tokenizer: model.tokenizer } : {});
  const accuracy = accuracyTable(present, { pairs: results.logit_diffs_attr_ablation !== undefined });
  const latents = [results.logit_diffs_attr_ablation, results.logit_diffs_attr_grad].flatMap((result) => {
    if (result === undefined) return [];
    const metrics = latentMetrics(result, { effects, activations: sae ?? result });
    return [{ result, count: metrics.num_examples, tables: attributionTables(metrics) }];
  });
  const seconds = timingTable(loaded, timings);

  if (diffs !== undefined)
    await output.say(
      diffs.rows.length > 0
        ? `Logit differences of the plain model and with SAEs, examples that the plain model has right\n${String(diffs)}\n`
        : "The plain model has no example right: there are no logit differences to compare.\n",
    );
  if (present.length > 0) await output.say(`Accuracy per analysis\n${String(accuracy)}\n`);
  if (Object.keys(others).length > 0) await output.say(`Analyses by name\n${String(byName(others))}\n`);
  for (const { result, count, tables } of latents) {
    const of = result.analysis === "logit_diffs_attr_grad" ? "gradient" : `ablation, ${effects} effects`;
    await output.say(`Latents by ${of}, over the ${count} examples that are right`);
    await output.say(tables.tables.length > 0 ? String(tables) : "no latent has an effect there\n");
  }
  await output.say(`Timings\n${String(seconds)}`);
  if (out !== undefined) await output.say(`\nStore: ${out}`);
  if (!output.json) return;
  const all = { ...Object.fromEntries(present.map((result) => [result.analysis, result])), ...others };
  const [first] = Object.values(all);
  const summary = {
    out: out ?? null,
    examples: first?.examples.length ?? 0,
    hooks: first?.hooks ?? [],
    effects,
    base_vs_sae: diffs?.toJSON() ?? null,
    accuracy: accuracy.toJSON(),
    latents: Object.fromEntries(latents.map(({ result, tables }) => [result.analysis, tables.toJSON()])),
    timings: { load_seconds: loaded.seconds, ...timings },
  };
  await output.stream(documentPieces(summary, all));
}

/** The summary with the tables of every analysis as `results`, in pieces: latents may be many. */
function* documentPieces(
  summary: object,
  results: Readonly<Record<string, AnalysisResult | OpResult>>,
): Generator<string> {
  yield `${toJson(summary).slice(0, -1)},"results":{`;
  for (const [i, [name, result]] of Object.entries(results).entries()) {
    const { hooks, examples, latents } = result;
    yield `${i === 0 ? "" : ","}${JSON.stringify(name)}:{"examples":${toJson(examples)},"latents":[`;
    const piece = 4096;
    for (let start = 0; start < latents.length; start += piece) {
      const rows = latentRows(latents, hooks, start, Math.min(start + piece, latents.length));
      yield (start === 0 ? "" : ",") + rows.map((row) => toJson(row)).join(",");
    }
    yield "]";
    if ("batches" in result && result.batches.length > 0) yield `,"batches":${toJson(result.batches)}`;
    yield "}";
  }
  yield "}}\n";
}

/** What analyses that the published tables do not know have left. */
function byName(results: Readonly<Record<string, AnalysisResult | OpResult>>): Table {
  const columns = [
    { key: "analysis", label: "Analysis" },
    { key: "examples", label: "Examples" },
    { key: "latents", label: "Active Latents" },
    { key: "columns", label: "Columns", align: "left" },
  ] as const;
  const rows = Object.entries(results).map(([name, result]) => {
    const batches = "batches" in result ? result.batches : [];
    const latents = result.latents.length > 0 ? result.latents : {};
    const kept = Object.keys({ ...result.examples[0], ...latents, ...batches[0] });
    return [
      name,
      result.examples.length,
      result.latents.length,
      kept.filter((key) => !numbering.includes(key)).join(", "),
    ];
  });
  return new Table(columns, rows);
}

/** What numbers the rows of tables. */
const numbering = ["example", "batch", "hook", "latent", "length"];

function timingTable(loaded: Loaded, timings: AnalysisRun["timings"]): Table {
  const { prepare_seconds, compute_seconds, write_seconds, examples, ablated_pairs } = timings;
  const each = examples === 0 ? null : compute_seconds / examples;
  const rows: (readonly [string, number, string])[] = [
    ["load model and SAEs", loaded.seconds, ""],
    ["read and check data", prepare_seconds, ""],
    [
      "analyses",
      compute_seconds,
      `${examples} examples${each === null ? "" : `, ${each.toPrecision(3)} s each`}; ${ablated_pairs} latents ablated`,
    ],
    ["write store", write_seconds, ""],
  ];
  const columns = [
    { key: "step", label: "Step" },
    { key: "seconds", label: "Seconds" },
    { key: "note", label: "" },
  ];
  return new Table(
    columns,
    rows.map(([step, seconds, note]) => [step, Number(seconds.toFixed(3)), note]),
  );
}
