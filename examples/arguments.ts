/** @file What every example takes on its command line. */
import process from "node:process";
import { parseArgs } from "node:util";

/**
 * `--model`, `--saes` (repeated), `--data`, `--out`, `--limit`; a missing one that the example needs is an error that says so.
 * Notebooks have no command line: there `INTERPRETUNE_MODEL`, `INTERPRETUNE_SAES` (a list with `:` between) and
 * `INTERPRETUNE_DATA` say the same.
 */
export interface ExampleArguments {
  readonly model: string;
  readonly saes: readonly string[];
  readonly data?: string;
  readonly out?: string;
  readonly limit: number;
}

export function exampleArguments(needs: readonly ("saes" | "data")[] = []): ExampleArguments {
  const { INTERPRETUNE_MODEL, INTERPRETUNE_SAES, INTERPRETUNE_DATA } = process.env;
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: INTERPRETUNE_MODEL ?? "openai-community/gpt2" },
      saes: { type: "string", multiple: true, default: INTERPRETUNE_SAES?.split(":") ?? [] },
      data: { type: "string", default: INTERPRETUNE_DATA },
      out: { type: "string" },
      limit: { type: "string", default: "3" },
    },
  });
  for (const name of needs)
    if ((values[name]?.length ?? 0) === 0) throw new Error(`this example needs --${name}: a folder or a file`);
  return { ...values, limit: Number(values.limit) };
}
