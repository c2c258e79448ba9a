/** @file Runs a program of examples/ in this process. */
import { join } from "node:path";
import { vi } from "vitest";
import { repository } from "./docExamples.ts";

let runs = 0;

/** What it prints, called with these arguments; anew each time, whoever has run it before in this process. */
export async function runProgram(file: string, args: readonly string[]): Promise<string[]> {
  const said: string[] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...values) => void said.push(values.join(" ")));
  const table = vi.spyOn(console, "table").mockImplementation((rows) => void said.push(JSON.stringify(rows)));
  const { argv } = process;
  process.argv = ["node", file, ...args];
  try {
    await import(/* @vite-ignore */ `${join(repository, "examples", file)}?run=${(runs += 1)}`);
  } finally {
    process.argv = argv;
    log.mockRestore();
    table.mockRestore();
  }
  return said;
}
