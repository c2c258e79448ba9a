import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";

/** `FULL=1`: tests that take minutes run at their whole size. */
const testTimeout = process.env["FULL"] === "1" ? 1_200_000 : 120_000;

const all = ["src/**/*.test.ts", "test/**/*.test.ts"];
/** They read how large the process is, in which nothing else may have run. */
const weighing = [
  "src/analysis/run/runner.test.ts",
  "src/runtime/{forecast,memory}.test.ts",
  "src/session/record/memProfiler.test.ts",
  "test/info.test.ts",
];
/** They count what the ledger and caches hold: only files that leave nothing behind run beside them. */
const counting = [
  "src/model/heldWeights.test.ts",
  "src/runtime/{ledger,runtime,updates}.test.ts",
  "src/train/learner/learner.test.ts",
  "test/{factoredAttention,formatsFuzz,generate,modelLoading,sae,transcoder}.test.ts",
];

const config: ViteUserConfig = defineConfig({
  // The examples import the package by its name.
  resolve: {
    alias: [{ find: /^interpretune$/, replacement: fileURLToPath(new URL("./src/index.ts", import.meta.url)) }],
  },
  test: {
    // Files share a process, and with it what is loaded and compiled, as far as they do not disturb each other.
    projects: [
      { extends: true, test: { name: "shared", include: all, exclude: [...weighing, ...counting], isolate: false } },
      { extends: true, test: { name: "counting", include: counting, isolate: false } },
      { extends: true, test: { name: "weighing", include: weighing, isolate: true } },
    ],
    testTimeout,
    hookTimeout: 120_000,
    pool: "forks",
    // Short-lived objects of tracing die young instead of being moved.
    execArgv: ["--max-semi-space-size=64"],
    maxWorkers: 2,
    setupFiles: ["./test/setup.ts"],
    env: {
      // Tests of the hub bring their own.
      HF_HUB_OFFLINE: "1",
      // Two workers share the cores; threads that wait for each other's small operations would only spin.
      OMP_NUM_THREADS: "1",
    },
  },
});

export default config;
