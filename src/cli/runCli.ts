/** @file The command line as a function. */
import { ExitCode, run } from "@stricli/core";
import { buildCli } from "./app.ts";
import type { CliProcess, OutputStream } from "./context.ts";
import { exitCodes } from "./failure.ts";

/** Where a command line reads and writes. */
export interface CliOptions {
  /** Default: the process's own. */
  readonly stdout?: OutputStream;
  readonly stderr?: OutputStream;
  readonly env?: Readonly<Partial<Record<string, string>>>;
  /** Abort it with an {@link Interrupted} as reason, as Ctrl-C does. */
  readonly signal?: AbortSignal;
}

/**
 * Runs one command line: results on stdout, progress and failures on stderr.
 * @param args as after the program's name
 * @returns the exit code: 0, 1 for a failed command, 2 for a wrong command line, 128 + n after signal n
 * @example
 * const code = await runCli(["info", "models/gpt2", "--json"]);
 */
export async function runCli(args: readonly string[], options: CliOptions = {}): Promise<number> {
  const { stdout = process.stdout, stderr = process.stderr, env = process.env } = options;
  const { signal = new AbortController().signal } = options;
  const own: CliProcess = { stdout, stderr, env };
  await run(buildCli(env["INTERPRETUNE_DEBUG"] === "1"), args, { process: own, signal });
  const code = Number(own.exitCode ?? 0);
  if (code >= 0) return code;
  const usage: readonly number[] = [ExitCode.InvalidArgument, ExitCode.UnknownCommand];
  return usage.includes(code) ? exitCodes.usage : exitCodes.failure;
}
