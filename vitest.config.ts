import { fileURLToPath } from "node:url";
import { defineConfig, type ViteUserConfig } from "vitest/config";

/** `FULL=1`: tests that take minutes run at their whole size. */
const testTimeout = process.env["FULL"] === "1" ? 1_200_000 : 120_000;

const config: ViteUserConfig = defineConfig({
  // The examples import the package by its name.
  resolve: {
    alias: [{ find: /^interpretune$/, replacement: fileURLToPath(new URL("./src/index.ts", import.meta.url)) }],
  },
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout,
    hookTimeout: 120_000,
    pool: "forks",
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
