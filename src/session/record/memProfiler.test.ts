import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memory } from "../../runtime/index.ts";
import type { LifecycleHook, Phase } from "../protocol.ts";
import {
  memoryFigure,
  memoryStatsRows,
  memProfiler,
  parseMemProfilerConfig,
  parseSnapshotKey,
  type MemProfiler,
} from "./memProfiler.ts";

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "interpretune-memprofiler-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A phase of some steps, as a loop calls its hooks; `work` is what a step does. */
async function run(
  profiler: MemProfiler,
  phase: Capitalize<Phase>,
  count: number,
  options: { epochs?: number; work?: () => void } = {},
): Promise<void> {
  const call = async (hook: LifecycleHook): Promise<void> => profiler.hooks[hook]?.();
  await call(`on${phase}Start`);
  for (let epoch = 0; epoch < (options.epochs ?? 1); epoch++) {
    await call(`on${phase}EpochStart`);
    for (let step = 0; step < count; step++) {
      await call(`on${phase}BatchStart`);
      options.work?.();
      await call(`on${phase}BatchEnd`);
    }
    await call(`on${phase}EpochEnd`);
  }
  await call(`on${phase}End`);
}
const on = { enabled: true };

describe("settings", () => {
  test("have the published defaults", () => {
    const all = ["training_step", "validation_step", "test_step", "predict_step", "analysis_step"];
    expect(parseMemProfilerConfig({})).toEqual({
      enabled: false,
      cudaAllocatorHistory: false,
      schedule: { warmupSteps: 0, maxStep: null },
      saveDir: null,
      enabledFuncs: { cpu: all, cuda: all, cudaAllocatorHistory: all },
      enableMemoryHooks: true,
      enableSavedTensorsHooks: true,
      memoryHooks: { preForward: null, postForward: null, resetState: null },
      saveHookAttrs: [
        "rss_pre_forward",
        "rss_post_forward",
        "rss_diff",
        "npp_pre_forward",
        "npp_post_forward",
        "npp_diff",
      ],
      retainHooksForFuncs: all,
    });
  });
  test("are read in snake_case and camelCase; others are errors", () => {
    const file = { enabled: true, schedule: { warmup_steps: 1, max_step: 3 }, enabled_funcs: { cpu: ["test_step"] } };
    expect(parseMemProfilerConfig(file)).toMatchObject({ schedule: { warmupSteps: 1, maxStep: 3 } });
    expect(() => memProfiler({ schedule: { warm: 1 } })).toThrow(/memprofiler_cfg.*warm/s);
    expect(() => memProfiler({ enabled_funcs: { cpu: ["forward"] } })).toThrow(/not valid/);
  });
});

describe("snapshots", () => {
  test("around every step of every phase, by rank, phase, epoch, step and moment", async () => {
    const profiler = memProfiler(on);
    await run(profiler, "Train", 2, { epochs: 2 });
    await run(profiler, "Validation", 1);
    expect(Object.keys(profiler.stats)).toEqual([
      "0.train.0.0.start",
      "0.train.0.0.end",
      "0.train.0.1.start",
      "0.train.0.1.end",
      "0.train.1.2.start",
      "0.train.1.2.end",
      "0.train.1.3.start",
      "0.train.1.3.end",
      "0.validation.0.0.start",
      "0.validation.0.0.end",
    ]);
    for (const { rss, vms, ledger } of Object.values(profiler.stats)) {
      expect(rss).toBeGreaterThan(1e7);
      if (process.platform === "linux") expect(vms).toBeGreaterThanOrEqual(rss!);
      expect(ledger).toBe(memory.bytes);
    }
  });

  test("what a step adds to the ledger stands at its end, parameters apart, and adds up", async () => {
    const profiler = memProfiler(on);
    const entry = { owner: "m", name: "x", object: "Tensor (250)", device: "cpu" };
    const held = [memory.add({ ...entry, kind: "HookedModel", bytes: 1e6 })];
    const npp = memory.bytes - 1e6;
    await run(profiler, "Analysis", 2, {
      work: () =>
        void held.push(memory.add({ ...entry, bytes: 1000 }), memory.add({ ...entry, kind: "Sae", bytes: 70 })),
    });
    for (const handle of held) handle.release();
    const [first, second] = ["0.analysis.0.0.end", "0.analysis.0.1.end"].map((key) => profiler.stats[key]!);
    expect(first!.npp).toBe(npp + 1000);
    expect(first!.hooks).toMatchObject({ npp_pre_forward: npp, npp_post_forward: npp + 1000, npp_diff: 1000 });
    expect(second!.hooks).toMatchObject({ npp_pre_forward: npp + 1000, npp_post_forward: npp + 2000, npp_diff: 2000 });
    expect(second!.ledger! - first!.ledger!).toBe(1070);
    expect(profiler.stats["0.analysis.0.1.start"]!.hooks).toBeUndefined();
    const { rss_pre_forward: from, rss_post_forward: to, rss_diff: diff } = first!.hooks!;
    expect(diff).toBe(to! - from!);
  });

  test("begin after the warm-up and end at the last step, in each phase", async () => {
    const profiler = memProfiler({ ...on, schedule: { warmupSteps: 1, maxStep: 3 } });
    await run(profiler, "Test", 5);
    await run(profiler, "Predict", 2);
    expect(memoryStatsRows(profiler.stats).map(({ phase, step, moment }) => [phase, step, moment])).toEqual([
      ["test", 1, "start"],
      ["test", 1, "end"],
      ["test", 2, "start"],
      ["test", 2, "end"],
      ["predict", 1, "start"],
      ["predict", 1, "end"],
    ]);
  });

  test("end everywhere once the phases of the retained steps are finished", async () => {
    const profiler = memProfiler({ ...on, schedule: { maxStep: 1 }, retain_hooks_for_funcs: ["test_step"] });
    await run(profiler, "Predict", 1);
    await run(profiler, "Test", 1);
    await run(profiler, "Validation", 1);
    expect(new Set(memoryStatsRows(profiler.stats).map(({ phase }) => phase))).toEqual(new Set(["predict", "test"]));
  });

  test("only of what is switched on", async () => {
    const profiler = memProfiler({ ...on, enabledFuncs: { cpu: ["test_step"], cuda: [] }, enableMemoryHooks: false });
    await run(profiler, "Test", 1);
    await run(profiler, "Predict", 1);
    const [test, , predict] = Object.values(profiler.stats);
    expect(test).toEqual({ rss: test!.rss, vms: test!.vms, ledger: null, npp: null });
    expect(test!.rss).toBeGreaterThan(0);
    expect(predict).toEqual({ rss: null, vms: null, ledger: null, npp: null });
    const some = memProfiler({ ...on, saveHookAttrs: ["rss_diff"], enableSavedTensorsHooks: false });
    await run(some, "Test", 1);
    expect(Object.keys(some.stats["0.test.0.0.end"]!.hooks!)).toEqual(["rss_diff"]);
  });

  test("none at all unless enabled", async () => {
    const profiler = memProfiler();
    await run(profiler, "Test", 1);
    expect([profiler.stats, await profiler.dump()]).toEqual([{}, undefined]);
  });
});

describe("saved", () => {
  test("as JSON in the experiment folder, at the end of each phase: a second analysis adds to the first", async () => {
    const profiler = memProfiler(on);
    const experimentFolder = join(folder, "experiment");
    profiler.connect!({ experimentFolder } as Parameters<NonNullable<MemProfiler["connect"]>>[0]);
    const read = async (): Promise<unknown> =>
      JSON.parse(await readFile(join(experimentFolder, "memprofiler", "memory_stats.json"), "utf8"));
    await run(profiler, "Analysis", 1);
    expect(await read()).toMatchObject({
      version: 1,
      stats: { "0.analysis.0.0.end": { rss: profiler.stats["0.analysis.0.0.end"]!.rss } },
    });
    await run(profiler, "Analysis", 1);
    await profiler.hooks.onSessionEnd!();
    expect(await read()).toEqual(
      JSON.parse(JSON.stringify({ version: 1, config: parseMemProfilerConfig(on), stats: profiler.stats })),
    );
    expect(Object.keys(profiler.stats)).toHaveLength(4);
  });
  test("where the settings say", async () => {
    const profiler = memProfiler({ ...on, saveDir: join(folder, "elsewhere") });
    profiler.connect!({ experimentFolder: folder } as Parameters<NonNullable<MemProfiler["connect"]>>[0]);
    expect(await profiler.dump()).toBe(join(folder, "elsewhere", "memory_stats.json"));
  });
});

test("drawn: a line for each figure, GB over snapshots", () => {
  const figure = memoryFigure({
    "0.test.0.0.start": { rss: 1e9, vms: 2e9, ledger: 5e8, npp: 0 },
    "0.test.0.0.end": { rss: 1.5e9, vms: 2e9, ledger: null, npp: null },
  });
  expect(figure.spec.series.map(({ name, x, y }) => [name, x, y])).toEqual([
    ["process", [0, 1], [1, 1.5]],
    ["ledger", [0], [0.5]],
    ["ledger without parameters", [0], [0]],
  ]);
  expect(String(memoryFigure({}))).toContain("Memory");
});

test("names of snapshots are read back", () => {
  expect(parseSnapshotKey("2.analysis.0.11.end")).toEqual({
    rank: 2,
    phase: "analysis",
    epoch: 0,
    step: 11,
    moment: "end",
  });
  for (const wrong of ["0.test.0.1", "0.sleep.0.1.end", "0.test.0.1.middle"])
    expect(() => parseSnapshotKey(wrong)).toThrow(/names no snapshot/);
});
