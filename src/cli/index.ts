/** @file The command line. */
export type { OutputStream } from "./context.ts";
export { CliError, Interrupted } from "./failure.ts";
export { Progress, track, type ProgressOptions, type ProgressStream } from "./progress.ts";
export { runCli, type CliOptions } from "./runCli.ts";
