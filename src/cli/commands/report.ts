/** @file `interpretune report`: a store as one HTML page. */
import { AnalysisStore, type ResultsByName } from "../../analysis/index.ts";
import { batches, openDataset, type OpenDatasetOptions } from "../../data/index.ts";
import { writeFileAtomic } from "../../formats/index.ts";
import type { HookedModel } from "../../model/index.ts";
import { reportPage, type ReportOptions } from "../../report/index.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { checkWritable } from "../inputs.ts";
import { cliHub } from "../hub.ts";
import { load } from "../loading.ts";
import { Output } from "../output.ts";
import { Progress } from "../progress.ts";

export interface ReportFlags {
  readonly out?: string;
  readonly model?: string;
  readonly saes?: readonly string[];
  readonly data?: string;
  readonly limit?: number;
  readonly dashboards: number;
  readonly title?: string;
  readonly threads?: number;
  readonly offline?: boolean;
  readonly json?: boolean;
}

/** Where a report goes that was asked for without a place. */
const reportFile = (folder: string): string => `${folder.replace(/[\\/]+$/, "")}/report.html`;

/**
 * The file of a run's `--report`: the one that is given, else one in the run's store, else in the present folder.
 * @param flag empty where no file is given; undefined where no report is wanted
 * @throws CliError for a given file that cannot be written
 */
export async function reportPlace(flag: string | undefined, store: string | undefined): Promise<string | undefined> {
  if (flag === "") return store === undefined ? "report.html" : reportFile(store);
  if (flag !== undefined) await checkWritable(flag);
  return flag;
}

/** Writes the page of a run that has just ended: from its store, where there is one. */
export async function reportRun(
  context: CliContext,
  output: Output,
  page: string,
  run: { readonly results: ResultsByName; readonly store: string | undefined },
  options: Pick<ReportOptions, "model" | "saes" | "answers">,
): Promise<void> {
  const source = run.store === undefined ? run.results : await AnalysisStore.open(run.store);
  const { signal } = context;
  const html = await withProgress(context, (onProgress) => reportPage(source, { ...options, signal, onProgress }));
  await writeReport(output, page, html);
}

export async function report(this: CliContext, flags: ReportFlags, folder: string): Promise<void> {
  const { model: path, saes = [], data, limit } = flags;
  if ((path === undefined) !== (saes.length === 0))
    throw new CliError("dashboards need a model and its SAEs", {
      code: "cli/flag",
      received: path === undefined ? "--saes without --model" : "--model without --saes",
    });
  if (data !== undefined && path === undefined)
    throw new CliError("--data is what dashboards are computed from", {
      code: "cli/flag",
      hint: "give --model and --saes as well",
    });
  const output = new Output(this, flags.json);
  const store = await AnalysisStore.open(folder);
  const out = flags.out ?? reportFile(folder);
  await checkWritable(out);
  const loaded = path === undefined ? undefined : await load(this, { ...flags, model: path, saes });
  const { hub } = cliHub(this, flags);
  const html = await withProgress(this, async (onProgress) =>
    reportPage(store, {
      ...(loaded && { model: loaded.model, saes: loaded.saes }),
      ...(loaded && data !== undefined && { data: await tokenRows(loaded.model, data, { limit, hub }) }),
      topK: flags.dashboards,
      title: flags.title,
      signal: this.signal,
      onProgress,
    }),
  );
  await writeReport(output, out, html);
  await output.document({ report: out, bytes: Buffer.byteLength(html) });
}

/** Writes the page and says where it is. */
async function writeReport(output: Output, path: string, html: string): Promise<void> {
  await writeFileAtomic(path, html);
  await output.say(`Report: ${path} (${(Buffer.byteLength(html) / 1e6).toFixed(1)} MB)`);
}

type OnProgress = (progress: { done: number; total: number }) => void;

/** Shows how far dashboards are. */
async function withProgress<T>(context: CliContext, run: (onProgress: OnProgress) => Promise<T>): Promise<T> {
  const { signal } = context;
  let progress: Progress | undefined;
  try {
    return await run(({ done, total }) => {
      progress ??= new Progress({ label: "dashboards", total, unit: "rows", stream: context.process.stderr, signal });
      progress.update(done);
    });
  } finally {
    progress?.finish();
  }
}

/** Rows of a data file as token ids, prompted as `analyze` does. */
async function tokenRows(model: HookedModel, path: string, options: OpenDatasetOptions): Promise<number[][]> {
  const rows: number[][] = [];
  const reading = {
    tokenizer: model.hasTokenizer ? model.tokenizer : undefined,
    prependBos: model.cfg.default_prepend_bos ? undefined : false,
    maxLength: model.cfg.n_ctx,
    vocabSize: model.cfg.d_vocab,
  };
  for await (const { dims, tokens, mask } of batches(await openDataset(path, options), reading))
    for (let row = 0; row < dims[0]; row++) {
      const places = Array.from({ length: dims[1] }, (_, p) => row * dims[1] + p);
      rows.push(places.filter((i) => mask[i] === 1).map((i) => tokens[i]!));
    }
  return rows;
}
