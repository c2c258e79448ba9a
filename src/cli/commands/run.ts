/** @file `interpretune run`: a session from YAML files, checked, or run through one of its phases. */
import { stringify } from "yaml";
import { AnalysisRunner, configuredTargets, isAnalysisName } from "../../analysis/index.ts";
import { Runtime } from "../../runtime/index.ts";
import {
  canonicalAdapters,
  loadDefinitions,
  optionsTable,
  resolveSession,
  runSteps,
  Session,
  sessionJsonSchema,
  type SessionOverrides,
  type SteppedPhase,
} from "../../session/index.ts";
import { Table } from "../../display/index.ts";
import { withAnalysisProgress } from "../analysisProgress.ts";
import type { CliContext } from "../context.ts";
import { CliError } from "../failure.ts";
import { cliHub } from "../hub.ts";
import { Output, write } from "../output.ts";
import { showRun } from "./analyze.ts";
import { Progress } from "../progress.ts";
import { reportPlace, reportRun } from "./report.ts";
import { train } from "./runTraining.ts";

export interface RunFlags {
  readonly config?: readonly string[];
  readonly runCommand?: "analyze" | "train" | "fit" | "test" | "validate" | "predict";
  readonly adapters?: string;
  readonly model?: string;
  readonly saes?: readonly string[];
  readonly data?: string;
  readonly evalBatchSize?: number;
  readonly limitBatches?: number;
  readonly set?: readonly string[];
  readonly modules?: readonly string[];
  readonly out?: string;
  /** Empty: the store in `out`; else a checkpoint. */
  readonly resume?: string;
  /** Empty: beside the store, or in the present folder. */
  readonly report?: string;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly options?: boolean;
  readonly schema?: boolean;
  readonly offline?: boolean;
  readonly json?: boolean;
}

const phases = { test: "test", validate: "validation", predict: "predict" } as const satisfies Record<
  string,
  SteppedPhase
>;

export async function run(this: CliContext, flags: RunFlags): Promise<void> {
  const output = new Output(this, flags.json);
  if (flags.schema === true) {
    await write(this.process.stdout, `${JSON.stringify(sessionJsonSchema(), null, 2)}\n`);
    return;
  }
  if (flags.options === true) {
    const table = optionsTable();
    await output.say(String(table));
    await output.document(table);
    return;
  }
  const paths = flags.config ?? [];
  const set = (flags.set ?? []).map(assignment);
  const definitions = await loadDefinitions(flags.modules ?? []);
  const overrides = {
    ...overridesOf(flags, this),
    definitions,
    packages: flags.modules,
    set,
    env: this.process.env,
  };
  if (flags.dryRun === true) {
    const config = await resolveSession(paths, overrides);
    await output.say(stringify(config).trimEnd());
    await output.document(config);
    return;
  }
  if (flags.report !== undefined && flags.runCommand !== "analyze")
    throw new CliError("--report shows analyses", { code: "cli/flag", hint: "give --run-command analyze" });
  const start = performance.now();
  const session = await Session.fromConfig(paths, overrides);
  try {
    await output.say(`session in ${session.experimentFolder}`);
    if (flags.runCommand === undefined) {
      await output.document({ experiment_folder: session.experimentFolder, record: session.record });
      return;
    }
    const seconds = (performance.now() - start) / 1000;
    if (flags.runCommand === "analyze") await analyze(session, seconds, flags, this, output);
    else if (flags.runCommand === "train" || flags.runCommand === "fit") await train(session, flags, this, output);
    else await step(session, phases[flags.runCommand], flags, this, output);
  } finally {
    await session.end();
  }
}

function overridesOf(flags: RunFlags, context: CliContext): SessionOverrides {
  const { model, saes, data, evalBatchSize, threads } = flags;
  const { hub } = cliHub(context, flags);
  return {
    model,
    saes,
    data,
    evalBatchSize,
    adapterCtx: flags.adapters === undefined ? undefined : canonicalAdapters(flags.adapters.split(",")),
    runtime: new Runtime(threads === undefined ? {} : { threads }),
    logStream: context.process.stderr,
    signal: context.signal,
    hub,
  };
}

function assignment(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new CliError("--set takes a name and a value", { code: "cli/flag", expected: "NAME=VALUE", received: text });
}

async function analyze(
  session: Session,
  seconds: number,
  flags: RunFlags,
  context: CliContext,
  output: Output,
): Promise<void> {
  const { maxEpochs, limitAnalysisBatches, ignoreManual } = session.cfg.runCfg;
  const out = flags.out ?? session.cfg.runCfg.out ?? undefined;
  if (flags.resume !== undefined && (flags.resume !== "" || out === undefined))
    throw new CliError("--resume continues the store of analyses", {
      code: "cli/flag",
      expected: "--resume without a file, and the store as --out DIR",
      received: flags.resume === "" ? "no store" : flags.resume,
    });
  const page = await reportPlace(flags.report, out);
  const { modelNameOrPath: model } = session.cfg.moduleCfg;
  const { datasetPath: data } = session.cfg.datamoduleCfg;
  const run = await withAnalysisProgress(context, out, async (onProgress) => {
    const runner = new AnalysisRunner(session, {
      limitAnalysisBatches: flags.limitBatches ?? limitAnalysisBatches,
      maxEpochs,
      ignoreManual,
      targets: configuredTargets(session.cfg.runCfg),
      out,
      resume: flags.resume === "",
      provenance: { ...(model !== "" && { model }), ...(data !== null && { data }) },
      signal: context.signal,
      onProgress,
    });
    return { results: await runner.run(), ...runner.facts! };
  });
  const { results, timings, reused, answers } = run;
  const loaded = { model: session.module.model, saes: session.module.saes ?? [], seconds };
  const published = Object.fromEntries(Object.entries(results).filter(([name]) => isAnalysisName(name)));
  const others = Object.fromEntries(Object.entries(results).filter(([name]) => !isAnalysisName(name)));
  await showRun(output, { results: published, timings, reused }, { effects: "masked", out, loaded, others });
  if (page !== undefined) {
    const named = { ...loaded, ...(answers !== null && { answers }) };
    await reportRun(context, output, page, { results: published, store: out }, named);
  }
}

async function step(
  session: Session,
  phase: SteppedPhase,
  flags: RunFlags,
  { process, signal }: CliContext,
  output: Output,
): Promise<void> {
  using progress = new Progress({ label: phase, unit: "ex", stream: process.stderr, signal });
  const result = await runSteps(session, phase, {
    limit: flags.limitBatches,
    signal,
    onProgress: ({ examples }) => progress.update(examples),
  });
  progress.finish();
  const columns = [
    { key: "metric", label: "Metric" },
    { key: "value", label: "Value" },
  ];
  const rows = Object.entries(result.metrics).map(([name, value]) => [name, Number(value.toFixed(6))]);
  await output.say(String(new Table(columns, [["examples", result.examples], ...rows])));
  await output.document({ phase, ...result, outputs: result.outputs.filter((each) => each !== undefined) });
}
