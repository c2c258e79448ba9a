#!/usr/bin/env node
/** @file The `interpretune` program. */
import { constants } from "node:os";
import { Interrupted } from "./failure.ts";
import { runCli } from "./runCli.ts";

const controller = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  const code = 128 + constants.signals[name];
  process.on(name, () => {
    if (controller.signal.aborted) process.exit(code); // asked twice
    controller.abort(new Interrupted(name, code));
  });
}
// A reader that has seen enough, such as `head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await runCli(process.argv.slice(2), { signal: controller.signal });
