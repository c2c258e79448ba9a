/** @file `interpretune demo`: the four analyses on the model that comes with the package, and their report. */
import type { CliContext } from "../context.ts";
import { analyze } from "./analyze.ts";

export interface DemoFlags {
  readonly limit: number;
  readonly report: string;
  readonly out?: string;
  readonly threads?: number;
  readonly json?: boolean;
}

export async function demo(this: CliContext, flags: DemoFlags): Promise<void> {
  await analyze.call(this, {
    ...flags,
    prompt: "package",
    diff: "mean",
    ablate: "answer",
    batchSize: 8,
    paddingSide: "left",
    positions: "explicit",
    effects: "masked",
  });
}
