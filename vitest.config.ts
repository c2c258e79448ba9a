import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";

/** `FULL=1`: tests that take minutes run at their whole size. */
const testTimeout = process.env["FULL"] === "1" ? 1_200_000 : 120_000;

const all = ["src/**/*.test.ts", "test/**/*.test.ts"];
/** They count what lies in memory, where tests of other files in the same process would disturb them. */
const counting = [
  "src/analysis/runner.test.ts",
  "src/model/heldWeights.test.ts",
  "src/runtime/{forecast,ledger,memory,runtime,updates}.test.ts",
  "src/session/memProfiler.test.ts",
  "src/train/learner.test.ts",
  "test/{factoredAttention,formatsFuzz,generate,info,modelLoading,sae,transcoder}.test.ts",
];

const config: ViteUserConfig = defineConfig({
  // The examples import the package by its name.
  resolve: {
    alias: [{ find: /^interpretune$/, replacement: fileURLToPath(new URL("./src/index.ts", import.meta.url)) }],
  },
  test: {
    // Files share a process, and with it what is loaded and compiled, unless they count memory.
    projects: [
      { extends: true, test: { name: "shared", include: all, exclude: counting, isolate: false } },
      { extends: true, test: { name: "counting", include: counting, isolate: true } },
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
