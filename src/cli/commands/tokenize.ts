/** @file `interpretune tokenize`: the tokens of a text. */
import { stat } from "node:fs/promises";
import { fileSource, openGguf } from "../../formats/index.ts";
import { loadTokenizer, tokenizerFromGguf, type Tokenizer } from "../../model/tokenizer/index.ts";
import type { CliContext } from "../context.ts";
import { aligned, Output } from "../output.ts";

export interface TokenizeFlags {
  readonly model: string;
  readonly text: string;
  readonly chat?: boolean;
  readonly json?: boolean;
}

export async function tokenize(this: CliContext, flags: TokenizeFlags): Promise<void> {
  const tokenizer = await tokenizerOf(flags.model);
  const { chat = false } = flags;
  const text = chat
    ? tokenizer.applyChatTemplate([{ role: "user", content: flags.text }], { addGenerationPrompt: true })
    : flags.text;
  const { ids, tokens } = tokenizer.encode(
    text,
    chat ? { addSpecialTokens: false } : { prependBos: tokenizer.defaultPrependBos },
  );
  const strings = tokenizer.tokenStrings(ids);
  const rows = ids.map((id, i) => [String(i), String(id), tokens[i]!, JSON.stringify(strings[i]!)]);
  const output = new Output(this, flags.json);
  await output.say(`${aligned([["position", "id", "token", "text"], ...rows])}\n${ids.length} tokens`);
  await output.document({ text, ids, tokens, strings });
}

async function tokenizerOf(path: string): Promise<Tokenizer> {
  const isFile = await stat(path).then(
    (s) => s.isFile(),
    () => false,
  );
  if (!isFile || !path.toLowerCase().endsWith(".gguf")) return loadTokenizer(path);
  const file = await openGguf(await fileSource(path));
  try {
    return tokenizerFromGguf(file.metadata);
  } finally {
    await file.close();
  }
}
