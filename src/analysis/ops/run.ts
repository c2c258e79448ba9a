/** @file Running ops over a batch: side by side, sharing what they have in common. */
import type { Columns, OpBatchResult } from "../tables/columns.ts";
import { AnalysisError } from "../errors.ts";
import { requireInputs, runSteps, stateOf, type AnyOp } from "./op.ts";
import { Rendezvous, Realizer } from "./realizer.ts";
import { batchResult, storedTree } from "./results.ts";
import { OpState } from "./state.ts";
import { openBatch, type AnalysisBatch, type OpSetting } from "./work.ts";

/** An op that is asked for. */
export interface OpRequest {
  readonly op: AnyOp;
  /** What its result is called. Default: the op's name. */
  readonly name?: string;
  /** Columns that are there before it runs: from a store, or of one's own. */
  readonly given?: Columns;
}

/** A setting, and what ops remember from batch to batch. */
export interface OpsSetting extends OpSetting {
  /** Default: ops start anew with every batch. */
  readonly state?: OpState;
}

/**
 * Runs ops over one batch, side by side. Whatever several of them need is computed once: when all of them wait for data
 * or are at their end, everything they ask for is realized together.
 * @param requests ops, or ops with names and columns to start from
 * @returns a result for each request by name, in their order
 * @throws AnalysisError when two requests have one name, an op lacks a column or a capability, or columns do not hold
 *   what they declare
 * @example
 * const data = await openDataset("rte/validation.jsonl", { limit: 2 });
 * for await (const batch of batches(data, { tokenizer })) {
 *   const results = await runOps({ model, saes }, [ops.logitDiffsBase, ops.logitDiffsSae], batch);
 *   console.log(results.get("logit_diffs_sae")!.examples.logit_diffs);
 * }
 */
export async function runOps(
  setting: OpsSetting,
  requests: readonly (AnyOp | OpRequest)[],
  batch: AnalysisBatch,
): Promise<Map<string, OpBatchResult>> {
  const { state = new OpState() } = setting;
  const chains = requests.map((request): Required<OpRequest> => {
    const { op, name = op.name, given = {} } = "op" in request ? request : { op: request };
    return { op, name, given };
  });
  const names = chains.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw new AnalysisError("two analyses have one name", {
      code: "analysis/name",
      received: twice,
      hint: "give one of them another name",
    });
  for (const { op, given } of chains)
    requireInputs(
      op,
      Object.keys(given).filter((name) => (given[name] ?? null) !== null),
    );
  const work = openBatch(setting, batch);
  const together = new Rendezvous(new Realizer(setting.model, setting.signal), chains.length);
  const run = async ({ op, name, given }: Required<OpRequest>, chain: number): Promise<OpBatchResult> => {
    try {
      // What is stored at the end is computed along with what the next step waits for.
      const realize = async <T>(tree: T, columns: Columns): Promise<T> =>
        (await together.realize(chain, [tree, storedTree(op, columns)] as const))[0];
      const columns = await runSteps(op.steps, given, work, (step) => stateOf(state, name, step), realize);
      const done = await together.realize(chain, storedTree(op, columns));
      return batchResult(name, op, done, work);
    } catch (error) {
      together.fail(error);
      throw error;
    } finally {
      together.leave(chain);
    }
  };
  const settled = await Promise.allSettled(chains.map(run));
  const failed = settled.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return new Map(
    settled.flatMap((result, i) => (result.status === "fulfilled" ? [[names[i]!, result.value] as const] : [])),
  );
}

/**
 * Runs one op over a batch.
 * @param given columns that are there before it runs
 * @returns the columns that a store would keep, realized
 * @throws AnalysisError as {@link runOps}
 * @example
 * const data = await openDataset("rte/validation.jsonl", { limit: 2 });
 * for await (const batch of batches(data, { tokenizer })) {
 *   const { examples } = await runOp(ops.logitDiffsBase, { model }, batch);
 *   console.log(examples.logit_diffs);
 * }
 */
export async function runOp(
  op: AnyOp,
  setting: OpsSetting,
  batch: AnalysisBatch,
  given?: Columns,
): Promise<OpBatchResult> {
  const results = await runOps(setting, [{ op, given }], batch);
  return results.get(op.name)!;
}
