/** @file How far an analysis is, and what becomes of one that is stopped. */
import type { AnalyzeProgress } from "../analysis/index.ts";
import type { CliContext } from "./context.ts";
import { Interrupted } from "./failure.ts";
import { Progress } from "./progress.ts";

/** Runs analyses with a bar. @param out the store, where there is one: a run that is stopped goes on there */
export async function withAnalysisProgress<T>(
  { process: { stderr: stream }, signal }: CliContext,
  out: string | undefined,
  run: (onProgress: (progress: AnalyzeProgress) => void) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await run(({ done, total, pairs }) => {
      progress ??= new Progress({ label: "analyze", total, unit: "ex", stream, signal });
      progress.update(done, { note: pairs === undefined ? "" : `ablating ${pairs.done}/${pairs.total}` });
    });
  } catch (error) {
    progress?.finish("stopped");
    if (!(error instanceof Interrupted)) throw error;
    throw error.goesOn(
      out === undefined ? "nothing was stored" : `what is done is in ${out}: the same command with --resume goes on`,
    );
  } finally {
    progress?.finish();
  }
}
