/** @file What every example takes on its command line. */
import { parseArgs } from "node:util";

/** `--model`, `--saes` (repeated), `--data`, `--out`, `--limit`; a missing one that the example needs is an error that says so. */
export interface ExampleArguments {
  readonly model: string;
  readonly saes: readonly string[];
  readonly data?: string;
  readonly out?: string;
  readonly limit: number;
}

export function exampleArguments(needs: readonly ("saes" | "data")[] = []): ExampleArguments {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: "openai-community/gpt2" },
      saes: { type: "string", multiple: true, default: [] },
      data: { type: "string" },
      out: { type: "string" },
      limit: { type: "string", default: "3" },
    },
  });
  for (const name of needs)
    if ((values[name]?.length ?? 0) === 0) throw new Error(`this example needs --${name}: a folder or a file`);
  return { ...values, limit: Number(values.limit) };
}
