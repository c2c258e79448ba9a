/** @file The documents of a file, as SAEs are trained on them. */
import { formatPrompt, openDataset, taskPrompt } from "../data/index.ts";
import { jsonLines } from "../data/lines.ts";
import { fileSource } from "../formats/index.ts";

/** Documents of a file, read anew each time: lines of text, or the texts, prompts or ids of rows. */
export function documents(path: string): () => AsyncGenerator<string | readonly number[]> {
  return async function* () {
    if (path.endsWith(".parquet")) {
      yield* rows(path);
      return;
    }
    const source = await fileSource(path);
    try {
      if (path.endsWith(".txt")) {
        const text = new TextDecoder().decode(await source.slice(0));
        for (const line of text.split("\n")) if (line.trim() !== "") yield line;
        return;
      }
      for await (const { value } of jsonLines(source)) {
        const found = textOf(value);
        if (found === undefined) {
          yield* rows(path);
          return;
        }
        yield found;
      }
    } finally {
      await source.close();
    }
  };
}

function textOf(value: unknown): string | readonly number[] | undefined {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return undefined;
  const { text, prompt, input_ids: ids } = value as Record<string, unknown>;
  if (typeof text === "string") return text;
  if (typeof prompt === "string") return prompt;
  return Array.isArray(ids) && ids.every((id) => typeof id === "number") ? ids : undefined;
}

/** Rows of a task as its prompts. */
async function* rows(path: string): AsyncGenerator<string | readonly number[]> {
  for await (const row of await openDataset(path)) {
    if (row.kind === "input_ids") yield row.ids;
    else yield formatPrompt(row.kind === "prompt" ? row.prompt : taskPrompt(row.first, row.second));
  }
}
