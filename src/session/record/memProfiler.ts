/** @file A memory profiler: what the process and the ledger hold at the start and the end of every step. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { makeFolder } from "../../formats/disk/folder.ts";
import { Figure } from "../../display/index.ts";
import { writeFileAtomic } from "../../formats/index.ts";
import { memory } from "../../runtime/index.ts";
import { camelCase } from "../config/names.ts";
import { SessionError } from "../errors.ts";
import type { Extension } from "../lifecycle.ts";
import type { LifecycleHook, Phase } from "../protocol.ts";

/** The step of each phase, as configurations name it. */
const steps: { readonly [P in Phase]: string } = {
  train: "training_step",
  validation: "validation_step",
  test: "test_step",
  predict: "predict_step",
  analysis: "analysis_step",
};
const phases = Object.keys(steps) as Phase[];
const stepNames = z.array(z.enum(Object.values(steps))).default(() => Object.values(steps));

const hookAttributes = [
  "rss_pre_forward",
  "rss_post_forward",
  "rss_diff",
  "npp_pre_forward",
  "npp_post_forward",
  "npp_diff",
] as const;

const configSchema: z.ZodType<MemProfilerConfig, unknown> = z.strictObject({
  enabled: z.boolean().default(false),
  cudaAllocatorHistory: z.boolean().default(false),
  schedule: z
    .strictObject({
      warmupSteps: z.number().int().nonnegative().default(0),
      maxStep: z.number().int().positive().nullable().default(null),
    })
    .prefault({}),
  saveDir: z.string().nullable().default(null),
  enabledFuncs: z.strictObject({ cpu: stepNames, cuda: stepNames, cudaAllocatorHistory: stepNames }).prefault({}),
  enableMemoryHooks: z.boolean().default(true),
  enableSavedTensorsHooks: z.boolean().default(true),
  memoryHooks: z
    .strictObject({
      preForward: z.string().nullable().default(null),
      postForward: z.string().nullable().default(null),
      resetState: z.string().nullable().default(null),
    })
    .prefault({}),
  saveHookAttrs: z.array(z.enum(hookAttributes)).default(() => [...hookAttributes]),
  retainHooksForFuncs: stepNames,
});

/**
 * Settings of the profiler, by their published names; in files in snake_case. There is one process and no allocator of
 * CUDA, so `cudaAllocatorHistory` and `memoryHooks` are read and change nothing; where CUDA's figures stood, the
 * ledger's do.
 *
 * | setting | default | meaning |
 * | --- | --- | --- |
 * | `enabled` | false | whether anything is recorded |
 * | `schedule.warmupSteps` | 0 | steps of each phase that are left out at its beginning |
 * | `schedule.maxStep` | null | the step of each phase at which it is finished |
 * | `saveDir` | null | where to save; default `<experiment folder>/memprofiler` |
 * | `enabledFuncs.cpu`, `.cuda` | all steps | for which steps the process, the ledger are recorded |
 * | `enableMemoryHooks` | true | whether to add what a step changed, `saveHookAttrs` of it |
 * | `enableSavedTensorsHooks` | true | whether that includes `npp`, what the ledger holds beside parameters |
 * | `retainHooksForFuncs` | all steps | once the phases of these steps are finished, nothing more is recorded |
 */
export interface MemProfilerConfig {
  readonly enabled: boolean;
  readonly cudaAllocatorHistory: boolean;
  readonly schedule: { readonly warmupSteps: number; readonly maxStep: number | null };
  readonly saveDir: string | null;
  readonly enabledFuncs: {
    readonly cpu: readonly string[];
    readonly cuda: readonly string[];
    readonly cudaAllocatorHistory: readonly string[];
  };
  readonly enableMemoryHooks: boolean;
  readonly enableSavedTensorsHooks: boolean;
  readonly memoryHooks: {
    readonly preForward: string | null;
    readonly postForward: string | null;
    readonly resetState: string | null;
  };
  readonly saveHookAttrs: readonly (typeof hookAttributes)[number][];
  readonly retainHooksForFuncs: readonly string[];
}

/**
 * Settings with their defaults.
 * @param given camelCase or snake_case
 * @throws SessionError naming settings that there are not, or that have a wrong value
 * @example
 * parseMemProfilerConfig({ enabled: true, schedule: { warmup_steps: 2 } }).schedule; // { warmupSteps: 2, maxStep: null }
 */
export function parseMemProfilerConfig(given: Readonly<Record<string, unknown>>): MemProfilerConfig {
  const parsed = configSchema.safeParse(inCamelCase(given));
  if (parsed.success) return parsed.data;
  throw new SessionError("the memory profiler's settings are not valid", {
    code: "session/config",
    where: "memprofiler_cfg",
    received: z.prettifyError(parsed.error),
  });
}

const inCamelCase = (value: unknown): unknown =>
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [camelCase(key), inCamelCase(inner)]))
    : value;

/** What is recorded at the start or the end of a step, bytes; null where the step is not among `enabledFuncs`. */
export interface MemorySnapshot {
  /** Resident set of the process. */
  readonly rss: number | null;
  /** Virtual memory of the process; null where the system does not tell. */
  readonly vms: number | null;
  /** All that the ledger holds. */
  readonly ledger: number | null;
  /** What of that is no parameter of a model, an SAE or a transcoder. */
  readonly npp: number | null;
  /** At ends: the attributes among `saveHookAttrs`. `rss_diff` and `npp_diff` add up over the steps of a phase. */
  readonly hooks?: { readonly [A in (typeof hookAttributes)[number]]?: number };
}

/** Snapshots by `rank.phase.epoch.step.start|end`. */
export interface MemoryStats {
  readonly [key: string]: MemorySnapshot;
}

/** Where a snapshot belongs. */
export interface SnapshotKey {
  readonly rank: number;
  readonly phase: Phase;
  readonly epoch: number;
  /** Counted over all epochs of the phase. */
  readonly step: number;
  readonly moment: "start" | "end";
}

/**
 * The name of a snapshot.
 * @example
 * snapshotKey({ rank: 0, phase: "analysis", epoch: 0, step: 2, moment: "end" }); // "0.analysis.0.2.end"
 */
export function snapshotKey({ rank, phase, epoch, step, moment }: SnapshotKey): string {
  return [rank, phase, epoch, step, moment].join(".");
}

/**
 * The inverse of {@link snapshotKey}.
 * @throws SessionError for a text that names no snapshot
 * @example
 * parseSnapshotKey("0.test.0.2.end").step; // 2
 */
export function parseSnapshotKey(key: string): SnapshotKey {
  const [, rank, phase, epoch, step, moment] = /^(\d+)\.([a-z]+)\.(\d+)\.(\d+)\.(start|end)$/.exec(key) ?? [];
  if (moment === undefined || !phases.some((name) => name === phase))
    throw new SessionError("this names no snapshot", {
      code: "session/snapshot",
      received: key,
      expected: "rank.phase.epoch.step.start or …end",
    });
  return {
    rank: Number(rank),
    phase: phase as Phase,
    epoch: Number(epoch),
    step: Number(step),
    moment: moment as "start" | "end",
  };
}

/** Pages of virtual memory of this process, where there is `/proc`. */
async function virtualMemory(): Promise<number | null> {
  const text = await readFile("/proc/self/statm", "utf8").catch(() => undefined);
  return text === undefined ? null : Number(text.split(" ")[0]) * 4096;
}

const parameterKinds: ReadonlySet<string | undefined> = new Set(["HookedModel", "Sae", "Transcoder"]);

/** Figures of this moment. */
async function measure(process_: boolean, ledger: boolean): Promise<MemorySnapshot> {
  const npp = memory.entries().reduce((sum, { kind, bytes }) => (parameterKinds.has(kind) ? sum : sum + bytes), 0);
  return {
    rss: process_ ? process.memoryUsage.rss() : null,
    vms: process_ ? await virtualMemory() : null,
    ledger: ledger ? memory.bytes : null,
    npp: ledger ? npp : null,
  };
}

/** Where a phase is. */
interface PhaseState {
  epoch: number;
  step: number;
  start: MemorySnapshot | undefined;
  readonly sums: { rss: number; npp: number };
}

/** A profiler as an extension of a session, and what it has recorded. */
export interface MemProfiler extends Extension {
  readonly stats: MemoryStats;
  /** Writes what there is to `<folder>/memory_stats.json`; done at the end of each phase and of the session. */
  dump(): Promise<string | undefined>;
}

/**
 * A memory profiler after Interpretune's MemProfiler: snapshots around every step of every phase, kept as data and saved
 * as JSON. Sessions have one where `memprofiler_cfg` says `enabled: true`; others take it among their `extensions`. It
 * needs no history of an allocator, and a second analysis of a session adds to the first one's record.
 * @param given settings, see {@link MemProfilerConfig}
 * @throws SessionError for settings that are not valid
 * @example
 * const profiler = memProfiler({ enabled: true, schedule: { warmupSteps: 1 } });
 * await profiler.hooks.onTestStart?.();
 * for (let batch = 0; batch < 2; batch++) {
 *   await profiler.hooks.onTestBatchStart?.();
 *   await profiler.hooks.onTestBatchEnd?.();
 * }
 * Object.keys(profiler.stats); // ["0.test.0.1.start", "0.test.0.1.end"]
 */
export function memProfiler(given: Readonly<Record<string, unknown>> = {}): MemProfiler {
  const cfg = parseMemProfilerConfig(given);
  const { warmupSteps, maxStep } = cfg.schedule;
  const stats: Record<string, MemorySnapshot> = {};
  const states = new Map<Phase, PhaseState>();
  let folder = cfg.saveDir ?? undefined;

  const finished = (phase: Phase): boolean => maxStep !== null && (states.get(phase)?.step ?? 0) >= maxStep;
  const retired = (): boolean =>
    maxStep !== null && phases.filter((phase) => cfg.retainHooksForFuncs.includes(steps[phase])).every(finished);
  const due = (phase: Phase, step: number): boolean =>
    cfg.enabled && step >= warmupSteps && !finished(phase) && !retired();
  const stateOf = (phase: Phase): PhaseState => {
    let state = states.get(phase);
    if (state === undefined)
      states.set(phase, (state = { epoch: 0, step: 0, start: undefined, sums: { rss: 0, npp: 0 } }));
    return state;
  };

  const snap = async (phase: Phase, moment: "start" | "end"): Promise<void> => {
    const state = stateOf(phase);
    const { epoch, step } = state;
    if (due(phase, step)) {
      const { cpu, cuda } = cfg.enabledFuncs;
      const now = await measure(cpu.includes(steps[phase]), cuda.includes(steps[phase]));
      if (moment === "start") state.start = now;
      const key = snapshotKey({ rank: 0, phase, epoch, step, moment });
      stats[key] =
        moment === "end" && cfg.enableMemoryHooks ? { ...now, hooks: changes(cfg, state.start, now, state.sums) } : now;
    }
    if (moment === "end") [state.start, state.step] = [undefined, step + 1];
  };

  const dump = async (): Promise<string | undefined> => {
    if (!cfg.enabled || folder === undefined) return undefined;
    await makeFolder(folder);
    const path = join(folder, "memory_stats.json");
    const text = `${JSON.stringify({ version: 1, config: cfg, stats }, null, 1)}\n`;
    await writeFileAtomic(path, text);
    return path;
  };

  const saved = async (): Promise<void> => void (await dump());
  const hooks: { [H in LifecycleHook]?: () => void | Promise<void> } = { onSessionEnd: saved };
  for (const phase of phases) {
    const title = `${phase.charAt(0).toUpperCase()}${phase.slice(1)}` as Capitalize<Phase>;
    let epochs = 0;
    hooks[`on${title}Start`] = () => void (epochs = 0);
    hooks[`on${title}EpochStart`] = () => void (stateOf(phase).epoch = epochs++);
    hooks[`on${title}BatchStart`] = () => snap(phase, "start");
    hooks[`on${title}BatchEnd`] = () => snap(phase, "end");
    hooks[`on${title}End`] = saved;
  }
  return {
    name: "MemProfiler",
    connect: ({ experimentFolder }) => void (folder ??= join(experimentFolder, "memprofiler")),
    hooks,
    stats,
    dump,
  };
}

/** What a step changed. */
function changes(
  cfg: MemProfilerConfig,
  before: MemorySnapshot | undefined,
  after: MemorySnapshot,
  sums: PhaseState["sums"],
): MemorySnapshot["hooks"] {
  const parts = { rss: true, npp: cfg.enableSavedTensorsHooks };
  const found: { [attribute: string]: number } = {};
  for (const name of ["rss", "npp"] as const) {
    const [from, to] = [before?.[name] ?? null, after[name]];
    if (!parts[name] || from === null || to === null) continue;
    sums[name] += to - from;
    const all = { [`${name}_pre_forward`]: from, [`${name}_post_forward`]: to, [`${name}_diff`]: sums[name] };
    for (const [attribute, value] of Object.entries(all))
      if (cfg.saveHookAttrs.some((wanted) => wanted === attribute)) found[attribute] = value;
  }
  return found;
}

/** A snapshot as a row: its place, and its figures in bytes. */
export interface MemoryStatsRow extends SnapshotKey, Pick<MemorySnapshot, "rss" | "vms" | "ledger" | "npp"> {
  readonly key: string;
}

/**
 * Snapshots as rows, in the order in which they were taken.
 * @example
 * memoryStatsRows({ "0.test.0.0.start": { rss: 5e8, vms: null, ledger: 2e8, npp: 0 } })[0]!.phase; // "test"
 */
export function memoryStatsRows(stats: MemoryStats): MemoryStatsRow[] {
  return Object.entries(stats).map(([key, { rss, vms, ledger, npp }]) => ({
    key,
    ...parseSnapshotKey(key),
    rss,
    vms,
    ledger,
    npp,
  }));
}

const drawn = { rss: "process", ledger: "ledger", npp: "ledger without parameters" } as const;

/**
 * Snapshots as a drawing: what the process and the ledger held, GB over snapshots.
 * @example
 * const figure = memoryFigure(memProfiler().stats);
 */
export function memoryFigure(stats: MemoryStats): Figure {
  const rows = memoryStatsRows(stats);
  const series = (Object.keys(drawn) as (keyof typeof drawn)[]).map((figure) => {
    const points = rows.flatMap((row, x) => (row[figure] === null ? [] : [{ x, y: row[figure] / 1e9, key: row.key }]));
    return {
      mark: "line" as const,
      name: drawn[figure],
      x: points.map(({ x }) => x),
      y: points.map(({ y }) => y),
      labels: points.map(({ key }) => key),
    };
  });
  return new Figure({
    title: "Memory",
    x: { label: "snapshot" },
    y: { label: "GB" },
    series: series.filter(({ x }) => x.length > 0),
  });
}
