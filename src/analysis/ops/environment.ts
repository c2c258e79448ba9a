/** @file The ops that the environment names. */
import type { ComponentOptions } from "../../session/components/manifest.ts";
import { opCollectionsAt, preferredOps } from "../../session/components/opPaths.ts";
import { bundledOps, type OpTable } from "./table.ts";
import { withComponents } from "./yaml.ts";

/**
 * A table with the compositions of the collections that `IT_ANALYSIS_OP_PATHS` lists on top; `IT_OP_PRECEDENCE` says who
 * keeps a name that several have. A session reads both by itself; whoever runs two bare sides gives this table to the
 * runner. Nothing is fetched, and no code is run.
 * @param options.env default `process.env`
 * @param options.table what they go on top of. Default: the bundled ops
 * @throws SessionError naming the variable and the entry that holds no collection; AnalysisError as {@link withComponents}
 * @example
 * const datamodule = { evalBatchSize: 2, batches: async function* () {} };
 * const runner = new AnalysisRunner({ module: { model, answers: null }, datamodule }, { ops: await environmentOps() });
 * runner.ops.has("logit_diffs_base"); // true
 */
export async function environmentOps(
  options: ComponentOptions & {
    readonly env?: Readonly<Partial<Record<string, string>>>;
    readonly table?: OpTable;
  } = {},
): Promise<OpTable> {
  const { env = process.env, table = bundledOps, ...sharing } = options;
  const collections = await opCollectionsAt(env["IT_ANALYSIS_OP_PATHS"] ?? "", [], sharing);
  return withComponents(table, collections, { prefer: preferredOps(env) ?? undefined });
}
