/** @file The command line, inside this process or as a program of its own. */
import { spawn, type ChildProcess } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runCli, type CliOptions } from "../../src/cli/index.ts";

export interface Finished {
  /** Exit code, or the signal that ended the program. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line inside this process, with no variables but one that keeps it off the network. */
export async function cli(
  args: readonly string[],
  options: Pick<CliOptions, "signal" | "env"> = {},
): Promise<Finished> {
  const out = { stdout: "", stderr: "" };
  const stream = (name: "stdout" | "stderr"): { write: (text: string) => boolean } => ({
    write: (text) => ((out[name] += text), true),
  });
  const env = { HF_HUB_OFFLINE: "1" };
  const code = await runCli(args, { env, ...options, stdout: stream("stdout"), stderr: stream("stderr") });
  return { code, ...out };
}

/** The JSON document of a command that must succeed. */
export async function document(args: readonly string[]): Promise<unknown> {
  const { code, stdout, stderr } = await cli([...args, "--json"]);
  if (code !== 0) throw new Error(`interpretune ${args.join(" ")} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

const jiti = join(dirname(createRequire(import.meta.url).resolve("jiti/package.json")), "lib", "jiti-cli.mjs");
const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

/** Starts the program as a process. */
export function start(args: readonly string[]): { process: ChildProcess; finished: Promise<Finished> } {
  const child = spawn(process.execPath, [jiti, main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const out = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("utf8").on("data", (text: string) => (out[name] += text));
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code: signal ?? code ?? -1, ...out }));
  });
  return { process: child, finished };
}

/** Runs the program as a process. */
export const program = (args: readonly string[]): Promise<Finished> => start(args).finished;
