/** @file What analyses took. */
import { fixed, Table, type Cell } from "../../display/index.ts";
import type { JsonObject } from "../../formats/index.ts";
import type { Manifest } from "../store/index.ts";

/** Seconds and counts of one run, as `analyzeDataset` gives and a store's manifest keeps them. */
export interface RunTimings {
  readonly prepare_seconds: number;
  readonly compute_seconds: number;
  readonly write_seconds: number;
  readonly examples: number;
  readonly ablated_pairs: number;
  readonly compilations: number;
}

const seconds = (cell: Cell): string => (cell === null ? "" : fixed(Number(cell), 3));

/**
 * What analyses took, a line per run: of a store (each process that wrote to it), or of timings by name, such as those
 * of analyses run one by one. Analyses that were computed together share a line, as they shared the work.
 *
 * @example
 * ```ts
 * const store = await AnalysisStore.open("runs/rte");
 * console.log(String(timingTable(store.manifest)));
 * const { timings } = await analyzeDataset({ model, data: await openDataset("rte/validation.jsonl"), analyses: ["logit_diffs_base"] });
 * console.log(String(timingTable({ logit_diffs_base: timings })));
 * ```
 */
export function timingTable(source: Manifest | Readonly<Record<string, RunTimings>>): Table {
  const runs = isManifest(source) ? runsOf(source) : Object.entries(source);
  const rows = runs.map(([name, run]): Cell[] => [
    name,
    run.examples,
    run.prepare_seconds,
    run.compute_seconds,
    run.examples > 0 ? (1000 * run.compute_seconds) / run.examples : null,
    run.ablated_pairs,
    run.write_seconds,
    run.compilations,
  ]);
  return new Table(
    [
      { key: "analyses", label: "Analyses", wrap: 40 },
      { key: "examples", label: "Examples" },
      { key: "prepare_seconds", label: "Prepare s", format: seconds },
      { key: "compute_seconds", label: "Compute s", format: seconds },
      {
        key: "milliseconds_per_example",
        label: "ms per Example",
        format: (cell) => (cell === null ? "" : fixed(Number(cell), 1)),
      },
      { key: "ablated_pairs", label: "Ablated Pairs" },
      { key: "write_seconds", label: "Write s", format: seconds },
      { key: "compilations", label: "Graphs Compiled" },
    ],
    rows,
    "What the analyses took",
  );
}

const isManifest = (source: Manifest | Readonly<Record<string, RunTimings>>): source is Manifest => "format" in source;

/** The finished runs of a store, with the analyses that were first asked for in each. */
function runsOf({ runs, analyses }: Manifest): [string, RunTimings][] {
  let names: readonly unknown[] = analyses;
  return runs.flatMap((run): [string, RunTimings][] => {
    const together = run["computed_together"];
    if (Array.isArray(together) && together.length > 0) names = together;
    return hasTimings(run) ? [[names.join(", "), run]] : [];
  });
}

const fields = ["prepare_seconds", "compute_seconds", "write_seconds", "examples", "ablated_pairs", "compilations"];
const hasTimings = (run: JsonObject): run is JsonObject & RunTimings =>
  fields.every((field) => typeof run[field] === "number");
